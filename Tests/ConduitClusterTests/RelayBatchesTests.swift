import ConduitCore
import ConduitTesting
import ConduitWire
import NIOCore
import Testing

@testable import ConduitCluster

@Suite struct RelayBatchesTests {
    @Test func neighboursShareAndNothingOvertakes() throws {
        let a = BusTopic.room(try room("a")), b = BusTopic.room(try room("b"))
        var batches = RelayBatches()
        let topics = [a, a, b, a, a, a, .everyone]
        for (index, topic) in topics.enumerated() {
            batches.add(topic, .broadcast, request: 0, sentAt: Int64(index)) { $0.append(ByteBuffer(string: "{}")) }
        }
        batches.add(.everyone, .send, request: 7, sentAt: 7) { $0.append(ByteBuffer(string: "{}")) }
        #expect(batches.bytes == 8 * 6)
        var seen: [(BusTopic, Int, Int64, [UInt64])] = []
        batches.removeAll { seen.append(($0.topic, $0.writer.count, $0.sentAt, $0.requests)) }
        #expect(seen.map(\.0) == [a, b, a, .everyone, .everyone])
        #expect(seen.map(\.1) == [2, 1, 3, 1, 1])
        #expect(seen.map(\.2) == [0, 2, 3, 6, 7], "when its first message came")
        #expect(seen.map(\.3) == [[], [], [], [], [7]])
        #expect(batches.isEmpty && batches.bytes == 0)
    }

    @Test func aLargePublishTakesNoMore() throws {
        let a = BusTopic.room(try room("a"))
        var batches = RelayBatches()
        for _ in 0..<4 {
            batches.add(a, .broadcast, request: 0, sentAt: 0) { $0.append(ByteBuffer(repeating: 0x20, count: 150_000)) }
        }
        var counts: [Int] = []
        batches.removeAll { counts.append($0.writer.count) }
        #expect(counts == [2, 2])
    }

    @Test func theOutboxCountsWhatIsCollected() throws {
        var outbox = RelayOutbox(byteLimit: 1_000, ageMilliseconds: 1_000)
        outbox.collected.add(.everyone, .broadcast, request: 0, sentAt: 0) { $0.append(ByteBuffer(string: "{}")) }
        #expect(outbox.bytes == 6)
        #expect(!outbox.isEmpty, "a drain waits for it")
    }
}

@Suite struct ChannelTableTests {
    @Test func itSaysWhatTheKeysSayHoweverOftenAndHoweverMany() throws {
        let keys = ClusterKeys(prefix: "p")
        var table = ChannelTable(keys: keys, limit: 3)
        var topics: [BusTopic] = [.everyone, .control, .node(try #require(NodeID("n")))]
        for name in ["a", "b{1}", "c%", "a", "d"] { topics.append(.room(try room(name))) }
        topics.append(.user(try #require(UserID("a"))))
        for topic in topics + topics.reversed() + topics.flatMap({ [$0, $0] }) {
            let name = table.name(of: topic)
            #expect(String(buffer: name) == keys.channel(topic))
            #expect(table.topic(of: name) == topic)
            #expect(table.topic(of: ByteBuffer(bytes: name.readableBytesView)) == topic)
        }
        for foreign in ["", "p", "p:room:{a", "q:all", "p:room:{}"] {
            #expect(table.topic(of: ByteBuffer(string: foreign)) == nil)
        }
    }
}
