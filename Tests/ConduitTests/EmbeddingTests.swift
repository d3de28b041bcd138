import Conduit
import ConduitTesting
import NIOConcurrencyHelpers
import NIOCore
import Testing

/// The public API as an application uses it, over real sockets.
@Suite struct EmbeddingTests {
    @Test func handlersAnswerInOrderAndTheirErrorsAreErrorEvents() async throws {
        struct Shout: Codable { let text: String }
        struct Broken: Error {}
        var router = MessageRouter()
        try router.handle("shout") { request in
            let shout: Shout = try request.data.decode()
            // The first takes longest; order must hold all the same.
            for _ in 0..<(shout.text == "first" ? 200 : 1) { await Task.yield() }
            return try Reply("shouted", RawJSON(encoding: Shout(text: shout.text.uppercased())))
        }
        try router.handle("silent") { _ in nil }
        try router.handle("refuse") { _ in throw RequestError(.permissionDenied, "not today") }
        try router.handle("break") { _ in throw Broken() }
        #expect(throws: RequestError.self) { try router.handle("ping") { _ in nil } }

        try await TestNode.with(router: router) { node in
            let client = try await node.connect()
            for (id, text) in [("1", "first"), ("2", "second"), ("3", "third")] {
                try await client.send(#"{"type":"shout","data":{"text":"\#(text)"},"id":"\#(id)"}"#)
            }
            for text in ["FIRST", "SECOND", "THIRD"] {
                #expect(try await client.next(type: "shouted").data["text"] as? String == text)
            }
            #expect(try await client.request("shout", "7").data["code"] as? String == "bad_request")
            #expect(try await client.request("refuse").data["code"] as? String == "permission_denied")
            let broken = try await client.request("break")
            #expect(broken.data["code"] as? String == "internal")
            #expect(broken.data["request_type"] as? String == "break")
            #expect(!broken.text.contains("Broken"))
            try await client.send(#"{"type":"silent"}"#)
            #expect(try await client.request("ping").type == "pong")
        }
    }

    @Test func aHandlerThatNeverEndsHoldsBackOnlyItsOwnClientAndABoundedNumber() async throws {
        var router = MessageRouter()
        let gate = NIOLockedValueBox<[CheckedContinuation<Void, Never>]>([])
        try router.handle("wait") { _ in
            await withCheckedContinuation { continuation in gate.withLockedValue { $0.append(continuation) } }
            return Reply("done")
        }
        var configuration = TestNode.configuration()
        configuration.hub.handlerQueue = 3
        try await TestNode.with(configuration, router: router) { node in
            let (stuck, other) = (try await node.connect(), try await node.connect())
            for id in 0..<5 { try await stuck.send(#"{"type":"wait","id":"\#(id)"}"#) }
            #expect(try await stuck.next(id: "4").data["code"] as? String == "rate_limited")
            #expect(try await stuck.request("ping").type == "pong")
            #expect(try await other.request("ping").type == "pong")
            for _ in 0..<4 {
                try await eventually { gate.withLockedValue { !$0.isEmpty } }
                gate.withLockedValue { $0.removeFirst() }.resume()
                _ = try await stuck.next(type: "done")
            }
        }
    }

    @Test func metadataRoomsAndDurationOfAClient() async throws {
        let handles = NIOLockedValueBox<[ClientHandle]>([])
        var hooks = HubHooks()
        hooks.onConnect = { client in handles.withLockedValue { $0.append(client) } }
        try await TestNode.with(
            hooks: hooks, authenticate: { _ in Identity(user: "ann", metadata: ["device": "phone"]) }
        ) { node in
            let client = try await node.connect()
            _ = try await client.request("ping")
            let handle = try #require(handles.withLockedValue { $0.first })
            #expect(handle.user == "ann")
            #expect(await handle.metadata("device") == "phone")
            #expect(await handle.setMetadata("theme", to: "dark"))
            #expect(await handle.metadata("theme") == "dark")
            #expect(await handle.setMetadata("device", to: nil))
            #expect(await handle.metadata("device") == nil)
            for entry in 0..<63 { #expect(await handle.setMetadata("k\(entry)", to: "v")) }
            #expect(await handle.setMetadata("one too many", to: "v") == false)

            try await handle.join("b")
            try await handle.join("a")
            #expect(await handle.rooms() == ["a", "b"])
            _ = try await client.next(type: "room_joined")
            #expect(await handle.leave("b"))
            #expect(await handle.leave("b") == false)
            let info = try #require(await handle.info())
            #expect(info.rooms == ["a"])
            #expect(info.connectionDuration >= 0)
            #expect(info.lastHeartbeat >= info.connectedAt)
            #expect(await node.hub.client(handle.id)?.user == "ann")

            handle.send("note", RawJSON(string: "hello"))
            #expect(try await client.next(type: "note").object["data"] as? String == "hello")
            handle.disconnect(.forceDisconnect)
            #expect(try await client.waitForCloseCode() == 3503)
            await client.drop()
            try await eventually { await !handle.isConnected() }
            await #expect(throws: RequestError.self) { try await handle.join("c") }
        }
    }

    @Test func theRoomManagerDoesEveryRowOfThePackage() async throws {
        try await TestNode.with { node in
            let rooms = node.hub.rooms
            let made = await rooms.getOrCreate("kept")
            #expect(made.members == 0)
            #expect(await rooms.getOrCreate("kept") == made)
            #expect(await rooms.get("nowhere") == nil)
            let clients = try await [node.connect(), node.connect(), node.connect()]
            for client in clients { _ = try await client.request("join_room", #"{"room":"lobby"}"#) }
            #expect(await rooms.list() == ["kept", "lobby"])
            #expect(await rooms.count() == 2)
            #expect(await rooms.get("lobby")?.members == 3)
            #expect(await rooms.statistics().map(\.members) == [3, 0])
            let figures = await node.hub.statistics()
            #expect(figures.clients == 3)
            #expect(figures.rooms == 2)
            #expect(figures.memberships == 3)

            try rooms.broadcast("m", RawJSON("1"), to: "lobby")
            for client in clients { #expect(try await client.next(type: "m").object["data"] as? Int == 1) }
            let status = try await clients[0].request("status")
            let id = try #require(ClientID(status.data["client_id"] as? String ?? ""))
            try rooms.broadcast("n", RawJSON("2"), to: "lobby", except: id)
            for client in clients[1...] { #expect(try await client.next(type: "n").object["data"] as? Int == 2) }
            _ = try await clients[0].request("ping")
            #expect(clients[0].waitingMessages.isEmpty)
            #expect(throws: RequestError.self) { try rooms.broadcast("pong", to: "lobby") }

            #expect(await rooms.cleanupEmpty() == 1)
            #expect(await rooms.delete("lobby"))
            #expect(await rooms.delete("lobby") == false)
            for client in clients { _ = try await client.next(type: "room_left") }
            #expect(await rooms.count() == 0)
        }
    }

    @Test func theApplicationBroadcastsToAllAndSendsToUsersAndClients() async throws {
        try await TestNode.with(authenticate: { handshake in
            handshake.token.flatMap { UserID($0.value) }.map { Identity(user: $0) }
        }) { node in
            await #expect(throws: TestHTTPResponse.self) { try await node.connect() }
            let (ann, bob) = (try await node.connect(token: "ann"), try await node.connect(token: "bob"))
            try node.hub.broadcastToAll("news", RawJSON(#"{"n":1}"#))
            for client in [ann, bob] { #expect(try await client.next(type: "news").data["n"] as? Int == 1) }
            try node.hub.send("direct", to: "ann")
            _ = try await ann.next(type: "direct")
            _ = try await bob.request("ping")
            #expect(bob.waitingMessages.isEmpty)
            node.hub.disconnect("bob" as UserID)
            #expect(try await bob.waitForCloseCode() == 3503)
            #expect(try await ann.request("ping").type == "pong")
        }
    }

    @Test func aReaderThatStopsIsClosedAndHoldsNobodyUp() async throws {
        var configuration = TestNode.configuration()
        configuration.hub.pendingBytes = 256 * 1024
        try await TestNode.with(configuration) { node in
            let (slow, healthy) = (
                try await node.connect(receiveBufferBytes: 4096), try await node.connect()
            )
            for client in [slow, healthy] { _ = try await client.request("join_room", #"{"room":"x"}"#) }
            try await slow.stopReading()
            let payload = try RawJSON(encoding: String(repeating: "x", count: 16 * 1024))
            for n in 0..<800 {
                try node.hub.broadcast("m\(n)", payload, to: "x")
                _ = try await healthy.next(type: "m\(n)")
            }
            try await eventually { await node.hub.statistics().closed[3008] == 1 }
            #expect(await node.hub.statistics().pendingBytes == 0)
            #expect(try await healthy.request("ping").type == "pong")
        }
    }

    @Test func shutdownClosesEveryClientWith3001AndRunReturns() async throws {
        let node = try await TestNode.start()
        let running = Task { try await node.node.run() }
        let client = try await node.connect(subprotocols: ["conduit.v1.json"])
        #expect(node.node.readiness == "ready")
        await node.node.shutdown()
        #expect(try await client.next(type: "reconnect").data["reason"] as? String == "drain")
        #expect(try await client.waitForCloseCode() == 3001)
        try await running.value
        // The doors are closed: what is asked of a node that has stopped returns at once.
        #expect(await node.hub.clientCount() == 0)
        #expect(await node.hub.rooms.list().isEmpty)
        try node.hub.broadcastToAll("late")
        await #expect(throws: (any Error).self) { try await node.connect() }
    }

    @Test func aPortThatIsTakenIsAnErrorAndLeavesNothingBehind() async throws {
        try await TestNode.with { node in
            var configuration = TestNode.configuration()
            configuration.gateway.port = node.node.httpPort
            let error = await #expect(throws: PortUnavailable.self) {
                _ = try await ConduitNode.start(configuration: configuration)
            }
            #expect(error?.description.contains("127.0.0.1:\(node.node.httpPort)") == true)
            #expect(error?.description.contains("http.port") == true)
        }
    }

    @Test func aNodeWhosePlacesAreTakenSaysSoAndTakesClientsAgain() async throws {
        var configuration = TestNode.configuration()
        configuration.gateway.connections = 1
        try await TestNode.with(configuration) { node in
            #expect(node.node.readiness == "ready")
            let client = try await node.connect()
            #expect(node.node.readiness == "overloaded")
            let refused = await #expect(throws: TestHTTPResponse.self) { try await node.connect() }
            #expect(refused?.status == 503)
            await client.drop()
            try await eventually { node.node.readiness == "ready" }
            _ = try await node.connect()
        }
    }
}
