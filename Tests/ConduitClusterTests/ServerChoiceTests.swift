import ConduitCore
import ConduitTesting
import Testing

@testable import ConduitCluster

@Suite struct ServerChoiceTests {
    /// Other programs compute the same: these are part of the contract.
    @Test func theHashIsTheSameForEver() {
        #expect(ServerChoice.hash("") == 0xEFD0_1F60_BA99_2926)
        #expect(ServerChoice.jump(0, buckets: 1) == 0)
        // From the reference implementation of the paper's authors.
        #expect(ServerChoice.jump(10_863_919_174_838_991, buckets: 11) == 6)
        #expect(ServerChoice.jump(2_016_238_256_797_177_309, buckets: 11) == 3)
        #expect(ServerChoice.jump(1_673_758_223_894_951_030, buckets: 11) == 5)
    }

    @Test func roomsAreSpreadEvenlyAndOneServerMoreMovesNoMoreThanItsShare() throws {
        let rooms = try (0..<9_000).map { try room("chat:\($0)") }
        let two = ServerChoice(count: 2), three = ServerChoice(count: 3)
        var counts = [0, 0, 0]
        var moved = 0
        for name in rooms {
            let now = three.index(of: name)
            counts[now] += 1
            if two.index(of: name) != now {
                moved += 1
                #expect(now == 2, "a room moves to the new server only")
            }
        }
        #expect(counts.allSatisfy { (2_700...3_300).contains($0) }, "\(counts)")
        #expect(moved == counts[2])
    }

    @Test(
        arguments: [
            ([], .alone), ([.connected, .connecting], .connecting), ([.connecting, .connected], .connecting),
            ([.degraded(since: 5), .connected, .degraded(since: 3)], .degraded(since: 3)),
            ([.connecting, .degraded(since: 1)], .degraded(since: 1)), ([.connected, .connected], .connected),
            ([.alone, .connected], .connected),
        ] as [([ClusterStatus], ClusterStatus)])
    func aNodeIsAsWellAsItsWorstServer(all: [ClusterStatus], worst: ClusterStatus) {
        #expect(ClusterStatus.worst(of: all) == worst)
    }
}
