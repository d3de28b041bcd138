import Conduit
import ConduitTesting
import NIOCore
import Testing

/// Real sockets and enough of them at a time that the shards read past NIO. What is promised doesn't change.
@Suite struct PollingTests {
    /// Clients that each have many requests outstanding get every answer, in order; small messages and large ones.
    @Test(arguments: [10, 20_000]) func aFloodIsAnsweredInOrder(_ size: Int) async throws {
        var configuration = TestNode.configuration()
        configuration.eventLoops = 1
        try await TestNode.with(configuration) { node in
            let padding = String(repeating: "x", count: size)
            let rounds = size > 1_000 ? 30 : 200
            try await withThrowingTaskGroup(of: Void.self) { group in
                for name in 0..<60 {
                    group.addTask {
                        let client = try await node.connect()
                        for number in 0..<rounds {
                            try await client.send(
                                #"{"type":"ping","data":"\#(padding)","id":"\#(name)-\#(number)"}"#)
                        }
                        for number in 0..<rounds {
                            let event = try await client.next(type: "pong")
                            #expect(event.id == "\(name)-\(number)")
                        }
                        try await client.close()
                    }
                }
                try await group.waitForAll()
            }
            let statistics = await node.hub.statistics()
            #expect(statistics.messagesIn == UInt64(60 * rounds))
        }
    }

    /// A node that has polled is read from by NIO again: a single client is served afterwards.
    @Test func theFloodEnds() async throws {
        var configuration = TestNode.configuration()
        configuration.eventLoops = 1
        try await TestNode.with(configuration) { node in
            var clients: [TestWebSocket] = []
            for _ in 0..<60 { clients.append(try await node.connect()) }
            // Until they came so close to each other that the shard began to poll.
            var round = 0
            while await node.hub.statistics().polledReads == 0 {
                round += 1
                try #require(round < 10_000, "the shard never polled")
                for client in clients { client.sendWithoutWaiting(#"{"type":"ping","id":"\#(round)"}"#) }
                for client in clients {
                    let answer = try await client.next(type: "pong")
                    #expect(answer.id == "\(round)")
                }
            }
            for client in clients.dropFirst() { try await client.close() }
            for number in 0..<5 {
                try await clients[0].send(#"{"type":"echo","data":\#(number),"id":"last\#(number)"}"#)
                let answer = try await clients[0].next(type: "echo")
                #expect(answer.id == "last\(number)")
            }
            try await clients[0].close()
        }
    }
}
