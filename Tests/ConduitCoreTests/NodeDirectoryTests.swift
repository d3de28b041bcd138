import ConduitCore
import ConduitTesting
import Testing

@Suite struct NodeDirectoryTests {
    private func node(_ name: String) throws -> NodeID { try #require(NodeID(name)) }

    @Test func leaseRunsOutAndIsClaimed() throws {
        let a = try node("a"), b = try node("b")
        var directory = NodeDirectory(own: a, leaseMilliseconds: 5_000)
        check(
            directory.heartbeatAnswered(now: 10_000, scores: [(a, 10_000), (b, 9_500)], added: true) == [.appeared(b)])
        #expect(directory.living == [b])
        check(directory.heartbeatAnswered(now: 13_000, scores: [(a, 13_000), (b, 9_500)], added: false).isEmpty)
        #expect(directory.nodes[b]?.state == .suspect)
        check(
            directory.heartbeatAnswered(now: 14_500, scores: [(a, 14_500), (b, 9_500)], added: false) == [.claim(b)])
        #expect(directory.living.isEmpty)
        check(
            directory.heartbeatAnswered(now: 15_000, scores: [(b, 9_500)], added: false).isEmpty,
            "a claim isn't tried at every heartbeat")
        check(directory.heartbeatAnswered(now: 17_500, scores: [(b, 9_500)], added: false) == [.claim(b)])
        check(directory.heartbeatAnswered(now: 18_000, scores: [(b, 18_000)], added: false).isEmpty)
        #expect(directory.nodes[b]?.state == .live)
    }

    @Test func aNodeThatIsNoLongerListedIsForgottenAfterALease() throws {
        let a = try node("a"), b = try node("b")
        var directory = NodeDirectory(own: a, leaseMilliseconds: 5_000)
        _ = directory.heartbeatAnswered(now: 1_000, scores: [(b, 1_000)], added: true)
        check(directory.heartbeatAnswered(now: 2_000, scores: [], added: false).isEmpty)
        check(directory.heartbeatAnswered(now: 6_999, scores: [], added: false).isEmpty)
        check(directory.heartbeatAnswered(now: 7_000, scores: [], added: false) == [.vanished(b)])
        #expect(directory.nodes.isEmpty)
    }

    @Test func ourOwnEntryGoneMeansAssertAgain() throws {
        let a = try node("a")
        var directory = NodeDirectory(own: a, leaseMilliseconds: 5_000)
        check(directory.heartbeatAnswered(now: 1, scores: [(a, 1)], added: true).isEmpty)
        check(directory.heartbeatAnswered(now: 2, scores: [(a, 2)], added: false).isEmpty)
        check(directory.heartbeatAnswered(now: 3, scores: [(a, 3)], added: true) == [.reassert])
    }

    @Test func listsThatOthersWroteAreBounded() throws {
        var directory = NodeDirectory(own: try node("a"), leaseMilliseconds: 5_000)
        let many = try (0..<10_000).map { (node: try node("n\($0)"), heartbeat: Int64.min) }
        _ = directory.heartbeatAnswered(now: Int64.max, scores: many, added: true)
        #expect(directory.nodes.isEmpty, "a clock that can't be")
        _ = directory.heartbeatAnswered(now: 1_000_000_000_000_000, scores: many, added: true)
        #expect(directory.nodes.count == NodeDirectory.maximumNodes)
    }

    @Test(arguments: [Int64.min, -1, 0, 1, 1_000_000_000_000_000, Int64.max], [1, Int64.max])
    func noTimeIsTooStrange(time: Int64, lease: Int64) throws {
        let b = try node("b")
        var directory = NodeDirectory(own: try node("a"), leaseMilliseconds: lease)
        for now in [Int64.min, 0, time, 1_000_000_000_000_000, Int64.max] {
            for heartbeat in [Int64.min, time, Int64.max] {
                _ = directory.heartbeatAnswered(now: now, scores: [(b, heartbeat)], added: false)
                _ = directory.heartbeatAnswered(now: now, scores: [], added: false)
            }
        }
        _ = directory.heartbeatAnswered(now: 5, scores: [(b, 5)], added: false)
        #expect(directory.nodes[b] != nil)
    }

    /// The model computes each node's age by itself.
    @Test(arguments: [21, 22, 23] as [UInt64])
    func randomWalkAgreesWithAges(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let own = try node("own")
        let others = try (0..<5).map { try node("n\($0)") }
        var directory = NodeDirectory(own: own, leaseMilliseconds: 4_000)
        var redis: [NodeID: Int64] = [:]
        var now: Int64 = 100_000
        var claimedAt: [NodeID: Int64] = [:]
        for step in 0..<2_000 {
            now += Int64.random(in: 200...1_200, using: &random)
            for node in others {
                switch Int.random(in: 0..<10, using: &random) {
                case 0...2: redis[node] = now
                case 3 where Int.random(in: 0..<20, using: &random) == 0: redis[node] = nil
                default: break
                }
            }
            let scores = redis.map { (node: $0.key, heartbeat: $0.value) }
            let actions = directory.heartbeatAnswered(now: now, scores: scores, added: false)
            for action in actions {
                switch action {
                case .claim(let node):
                    #expect(now - (redis[node] ?? now) >= 4_000, "seed \(seed) step \(step)")
                    #expect(now - (claimedAt[node] ?? 0) >= 2_000, "seed \(seed) step \(step)")
                    claimedAt[node] = now
                case .appeared(let node): #expect(redis[node] != nil)
                case .vanished(let node): #expect(redis[node] == nil)
                case .reassert: Issue.record("never lost")
                }
            }
            let living = Set(redis.filter { now - $0.value < 4_000 }.keys)
            #expect(directory.living.isSuperset(of: living), "seed \(seed) step \(step)")
            for node in directory.living.subtracting(living) { #expect(redis[node] == nil) }
        }
    }
}
