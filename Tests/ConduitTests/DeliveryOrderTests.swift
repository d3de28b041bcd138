import Conduit
import ConduitTesting
import NIOCore
import Testing

/// Real sockets, and ways of delivery that differ from the usual one. The order stays.
@Suite struct DeliveryOrderTests {
    private func join(_ client: TestWebSocket, _ room: String) async throws {
        try await client.send(#"{"type":"join_room","data":{"room":"\#(room)"}}"#)
        _ = try await client.next(type: "room_joined")
    }

    /// A room that is served in slices, and a small one beside it: who is in both reads one sender's messages in order.
    @Test func aVeryLargeRoomIsServedInOrder() async throws {
        var configuration = TestNode.configuration()
        configuration.eventLoops = 1
        try await TestNode.with(configuration) { node in
            let sender = try await node.connect()
            var members: [TestWebSocket] = []
            for _ in 0..<540 { members.append(try await node.connect()) }
            for member in members { try await join(member, "large") }
            let both = Array(members.suffix(5))
            for member in both { try await join(member, "small") }
            for number in 0..<60 {
                let room = number % 3 == 0 ? "small" : "large"
                sender.sendWithoutWaiting(
                    #"{"type":"broadcast","data":{"room":"\#(room)","type":"m","payload":{"n":\#(number)}}}"#)
                // Answers in between are for one client only, and are not held up by the others.
                if number % 10 == 0 { both[0].sendWithoutWaiting(#"{"type":"ping","id":"\#(number)"}"#) }
            }
            for member in members.prefix(535) {
                for number in 0..<60 where number % 3 != 0 {
                    let event = try await member.next(type: "m")
                    #expect(event.int("n") == number)
                }
            }
            for member in both {
                for number in 0..<60 {
                    let event = try await member.next(type: "m")
                    #expect(event.int("n") == number)
                }
            }
            for client in members + [sender] { await client.drop() }
        }
    }

    /// A socket that is full is written to through the channel and, when it takes again, directly: nothing overtakes.
    @Test func aSocketThatWasFullLosesNothing() async throws {
        var configuration = TestNode.configuration()
        configuration.eventLoops = 1
        configuration.hub.pendingBytes = 64 << 20
        // However long the machine takes for it: this is not about time.
        configuration.hub.writeTimeoutMilliseconds = 600_000
        configuration.hub.idleTimeoutMilliseconds = 600_000
        try await TestNode.with(configuration) { node in
            let sender = try await node.connect()
            let slow = try await node.connect(receiveBufferBytes: 4096)
            let quick = try await node.connect()
            for client in [slow, quick] { try await join(client, "r") }
            let padding = String(repeating: "x", count: 10_000)
            for round in 0..<3 {
                try await slow.stopReading()
                for number in 0..<500 {
                    try await sender.send(
                        #"{"type":"broadcast","data":{"room":"r","type":"m","payload":{"n":\#(number),"x":"\#(padding)"}}}"#
                    )
                }
                for number in 0..<500 {
                    let event = try await quick.next(type: "m")
                    #expect(event.int("n") == number, "round \(round)")
                }
                try await slow.resumeReading()
                for number in 0..<500 {
                    let event = try await slow.next(type: "m")
                    #expect(event.int("n") == number, "round \(round)")
                }
            }
            for client in [sender, slow, quick] { try await client.close() }
        }
    }

    /// Clients that read nothing in the middle of a flood are closed, each once; the node and its other clients go on.
    @Test func slowConsumersInAFloodHurtNobody() async throws {
        var configuration = TestNode.configuration()
        configuration.eventLoops = 1
        configuration.hub.pendingBytes = 128 << 10
        try await TestNode.with(configuration) { node in
            var slow: [TestWebSocket] = []
            for _ in 0..<40 { slow.append(try await node.connect(receiveBufferBytes: 4096)) }
            let quick = try await node.connect()
            for client in slow + [quick] { try await join(client, "r") }
            for client in slow { try await client.stopReading() }
            let padding = String(repeating: "x", count: 15_000)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for name in 0..<8 {
                    group.addTask {
                        let sender = try await node.connect()
                        for number in 0..<400 {
                            try await sender.send(
                                #"{"type":"broadcast","data":{"room":"r","type":"m\#(name)","payload":{"n":\#(number),"x":"\#(padding)"}}}"#
                            )
                        }
                        try await sender.close()
                    }
                }
                var next = [Int](repeating: 0, count: 8)
                for _ in 0..<8 * 400 {
                    let event = try #require(TestEvent(try await quick.nextText()))
                    let name = try #require(event.type.last?.wholeNumberValue)
                    #expect(event.int("n") == next[name])
                    next[name] += 1
                }
                try await group.waitForAll()
            }
            try await eventually { await node.hub.statistics().closed[3008] == 40 }
            let statistics = await node.hub.statistics()
            #expect(statistics.dropped["slow_consumer", default: 0] > 0)
            for client in slow { await client.drop() }
            try await eventually { await node.hub.clientCount() == 1 }
            try await quick.close()
        }
    }
}
