import ConduitCore
import ConduitHub
import ConduitTesting
import Logging
import NIOCore
import NIOPosix
import Synchronization
import Testing

@testable import ConduitGateway

/// What is limited at the door, over real sockets.
@Suite struct LimitTests {
    static func refusal(
        _ port: Int, from source: String? = nil, headers: [(String, String)] = []
    ) async -> TestHTTPResponse? {
        await GatewayTests.refusal { try await TestWebSocket.connect(port: port, headers: headers, from: source) }
    }

    // MARK: By address

    @Test func connectionsOfAnAddressAreLimited() async throws {
        try await GatewayTests.withGateway({ $0.connectionsPerAddress = 2 }) { port, gateway, _ in
            let first = try await TestWebSocket.connect(port: port)
            let second = try await TestWebSocket.connect(port: port)
            let refusal = await Self.refusal(port)
            #expect(refusal?.status == 429)
            #expect(refusal?["retry-after"].flatMap { Int($0) } ?? 0 > 0)
            #expect(gateway.statistics.refused == ["connections_per_address": 1])
            #expect(gateway.statistics.results["429"] == 1)
            // Another address, and whoever doesn't upgrade, are not concerned.
            let other = try await TestWebSocket.connect(port: port, from: "127.0.0.2")
            #expect(try await GatewayTests.exchange(port, "GET /ready HTTP/1.1\r\nHost: a\r\n\r\n").status == 200)
            await first.drop()
            try await eventually { gateway.statistics.upgraded == 2 }
            let third = try await TestWebSocket.connect(port: port)
            for client in [second, third, other] { await client.drop() }
            try await eventually { gateway.statistics.upgraded == 0 }
            #expect(gateway.limits.addresses.count == 0)
        }
    }

    @Test func onlyWhatWasTakenIsGivenBack() throws {
        var configuration = GatewayConfiguration()
        let counters = GatewayCounters()
        let limits = DoorLimits(configuration, counters: counters)
        let address = try #require(IPAddress("192.0.2.1"))
        let user = try #require(UserID("ann"))
        func enter() throws -> any ConnectionObserver {
            guard case .entered(let counted) = limits.enter(address),
                case .entered(let countedUser) = limits.enter(user)
            else { throw CancellationError() }
            // Other limits while the handshake is under way.
            limits.reload(configuration)
            return limits.observer(address: counted, user: countedUser)
        }
        (configuration.connectionsPerAddress, configuration.connectionsPerUser) = (1, 1)
        let uncounted = try enter()
        let counted = try enter()
        #expect(limits.addresses.count == 1 && limits.users.count == 1)
        uncounted.connectionEnded()
        #expect(limits.addresses.count == 1 && limits.users.count == 1)
        counted.connectionEnded()
        #expect(limits.addresses.count == 0 && limits.users.count == 0)
        (configuration.connectionsPerAddress, configuration.connectionsPerUser) = (0, 0)
        let last = try enter()
        #expect(limits.addresses.count == 1 && limits.users.count == 1)
        last.connectionEnded()
        #expect(limits.addresses.count == 0 && limits.users.count == 0)
    }

    @Test func placesOfRefusedClientsAreFreeAgain() async throws {
        try await GatewayTests.withGateway(
            { $0.connectionsPerAddress = 1 }, authenticate: { $0.token == nil ? nil : .anonymous }
        ) { port, gateway, _ in
            for _ in 0..<3 { #expect(await Self.refusal(port)?.status == 401) }
            #expect(gateway.limits.addresses.count == 0)
            let client = try await TestWebSocket.connect(port: port, path: "/ws?token=x")
            await client.drop()
        }
    }

    @Test func clientsBehindATrustedProxyAreToldApart() async throws {
        let seen = Mutex<[String]>([])
        try await GatewayTests.withGateway(
            {
                $0.connectionsPerAddress = 1
                $0.trustedProxies = TrustedProxies.list(["127.0.0.1/32"]) ?? .none
            },
            authenticate: { request in
                seen.withLock { $0.append(request.remoteAddress ?? "") }
                return .anonymous
            }
        ) { port, _, _ in
            let field = "X-Forwarded-For"
            let first = try await TestWebSocket.connect(port: port, headers: [(field, "1.1.1.1, 203.0.113.1")])
            let second = try await TestWebSocket.connect(port: port, headers: [(field, "1.1.1.1, 203.0.113.2")])
            #expect(await Self.refusal(port, headers: [(field, "9.9.9.9, 203.0.113.1")])?.status == 429)
            // IPv6 counts by /64.
            let third = try await TestWebSocket.connect(port: port, headers: [(field, "2001:db8::1")])
            #expect(await Self.refusal(port, headers: [(field, "2001:db8::2")])?.status == 429)
            // Who is not trusted can't choose another address.
            let direct = try await TestWebSocket.connect(
                port: port, headers: [(field, "203.0.113.9")], from: "127.0.0.2")
            #expect(await Self.refusal(port, from: "127.0.0.2", headers: [(field, "203.0.113.8")])?.status == 429)
            #expect(seen.withLock { $0 } == ["203.0.113.1", "203.0.113.2", "2001:db8::1", "127.0.0.2"])
            for client in [first, second, third, direct] { await client.drop() }
        }
    }

    // MARK: By user

    @Test func connectionsOfAUserAreLimited() async throws {
        try await GatewayTests.withGateway(
            { $0.connectionsPerUser = 2 },
            authenticate: { request in
                Identity(user: request.token.flatMap { UserID($0.value) })
            }
        ) { port, gateway, hub in
            let first = try await TestWebSocket.connect(port: port, path: "/ws?token=ann")
            let second = try await TestWebSocket.connect(port: port, path: "/ws?token=ann")
            let third = try await TestWebSocket.connect(port: port, path: "/ws?token=ann")
            #expect(try await third.waitForCloseCode() == 3504)
            try await third.waitUntilGone()
            #expect(gateway.statistics.refused == ["connections_per_user": 1])
            #expect(gateway.statistics.results["3504"] == 1)
            #expect(gateway.statistics.upgraded == 2)
            #expect(await hub.clientCount() == 2)
            let other = try await TestWebSocket.connect(port: port, path: "/ws?token=bob")
            let nobody = try await TestWebSocket.connect(port: port)
            await first.drop()
            try await eventually { gateway.statistics.upgraded == 3 }
            let again = try await TestWebSocket.connect(port: port, path: "/ws?token=ann")
            #expect(try await again.request("ping", "1").int("timestamp") == 1)
            for client in [second, other, nobody, again] { await client.drop() }
            try await eventually { gateway.statistics.upgraded == 0 }
            #expect(gateway.limits.users.count == 0)
        }
    }

    // MARK: A second

    @Test func handshakesOfAnAddressAreLimited() async throws {
        try await GatewayTests.withGateway({ $0.handshakesPerSecondPerAddress = 1 }) { port, gateway, _ in
            let first = try await TestWebSocket.connect(port: port, from: "127.0.0.2")
            // However slow this machine is, of some at once one is refused.
            let statuses = await withTaskGroup(of: Int?.self) { group in
                for _ in 0..<8 { group.addTask { await Self.refusal(port, from: "127.0.0.3")?.status } }
                return await group.reduce(into: []) { $0.append($1) }
            }
            #expect(statuses.contains(429))
            #expect(statuses.allSatisfy { $0 == nil || $0 == 429 })
            #expect(gateway.statistics.refused["handshakes_per_second_per_address"] ?? 0 > 0)
            let other = try await TestWebSocket.connect(port: port, from: "127.0.0.4")
            try await eventually { await Self.refusal(port, from: "127.0.0.3") == nil }
            await first.drop()
            await other.drop()
            // A full bucket is not remembered.
            try await eventually {
                gateway.limits.sweep()
                return gateway.limits.rememberedAddresses == 0
            }
        }
    }

    @Test func handshakesOfTheNodeAreLimited() async throws {
        try await GatewayTests.withGateway({ $0.handshakesPerSecond = 1 }) { port, gateway, _ in
            let answers = await withTaskGroup(of: TestHTTPResponse?.self) { group in
                for number in 2..<10 { group.addTask { await Self.refusal(port, from: "127.0.0.\(number)") } }
                return await group.reduce(into: []) { $0.append($1) }
            }
            let refused = answers.compactMap(\.self)
            #expect(!refused.isEmpty)
            #expect(refused.allSatisfy { $0.status == 503 && Int($0["retry-after"] ?? "") ?? 0 > 0 })
            #expect(gateway.statistics.refused == ["handshakes_per_second": UInt64(refused.count)])
            #expect(try await GatewayTests.exchange(port, "GET /ready HTTP/1.1\r\nHost: a\r\n\r\n").status == 200)
            try await eventually { await Self.refusal(port) == nil }
        }
    }

    @Test func tablesAreBounded() throws {
        let rates = RateTable(perSecond: 1, shards: 1, entries: 100)
        for number in 0..<10_000 {
            #expect(rates.take(IPAddress(high: UInt64(number), low: 0), now: 0) == nil)
            #expect(rates.count <= 100)
        }
        // Not yet forgotten: one is remembered exactly.
        let address = IPAddress(high: 9_999, low: 0)
        #expect(rates.take(address, now: 0) == 1_000)
        #expect(rates.take(address, now: 400) == 600)
        #expect(rates.take(address, now: 1_000) == nil)
        rates.sweep(now: 1_500)
        #expect(rates.count == 1)
        rates.sweep(now: 2_000)
        #expect(rates.count == 0)

        let places = PlaceTable<Int>()
        #expect(places.take(1, limit: 1))
        #expect(!places.take(1, limit: 1))
        places.giveBack(1)
        places.giveBack(1)
        #expect(places.count == 0)
        #expect(places.take(1, limit: 1))
    }

    // MARK: Unfinished handshakes

    @Test func halfOpenConnectionsDontKeepClientsOut() async throws {
        try await GatewayTests.withGateway({
            $0.handshaking = 16
            $0.connections = 4
        }) { port, gateway, _ in
            var silent: [TestSocket] = []
            let first = try await TestWebSocket.connect(port: port)
            for number in 0..<600 {
                silent.append(try await TestSocket.connect(port: port))
                guard number % 200 == 100 else { continue }
                // Behind as many as there may be, a healthy client comes in.
                let client = try await TestWebSocket.connect(port: port)
                #expect(try await client.request("ping", "7").int("timestamp") == 7)
                await client.drop()
            }
            try await eventually { gateway.statistics.open <= 16 + 1 + 1 }
            #expect(gateway.statistics.refused["handshaking"] ?? 0 >= 500)
            #expect(gateway.statistics.results["overflow"] == nil)
            #expect(try await first.request("ping", "8").int("timestamp") == 8)
            await first.drop()
            for socket in silent { await socket.close() }
            try await eventually { gateway.statistics.open == 0 }
        }
    }

    @Test func whoIsBeingAuthenticatedStaysLonger() async throws {
        let gate = AsyncStream<Void>.makeStream()
        try await GatewayTests.withGateway(
            { $0.handshaking = 2 },
            authenticate: { _ in
                for await _ in gate.stream { break }
                return .anonymous
            }
        ) { port, gateway, _ in
            let asking = try await TestSocket.connect(port: port)
            try await asking.send("GET /ws HTTP/1.1\r\n\(GatewayTests.upgrade)\r\n")
            try await eventually { gateway.statistics.upgraded == 1 }
            var silent: [TestSocket] = []
            for _ in 0..<20 { silent.append(try await TestSocket.connect(port: port)) }
            try await eventually { gateway.statistics.refused["handshaking"] ?? 0 >= 16 }
            gate.continuation.yield()
            try await asking.wait { $0.hasPrefix("HTTP/1.1 101 ") }
            for socket in silent + [asking] { await socket.close() }
        }
    }

    @Test func aByteASecondEndsWithTheHandshakeTimeout() async throws {
        try await GatewayTests.withGateway({ $0.handshakeTimeoutMilliseconds = 700 }) { port, gateway, _ in
            let slow = try await TestSocket.connect(port: port)
            let dribble = Task {
                for byte in "GET /ws HTTP/1.1\r\nHost: a\r\n\(String(repeating: "X: y\r\n", count: 1_000))".utf8 {
                    guard (try? await slow.send(ByteBuffer(integer: byte))) != nil else { return }
                    try? await Task.sleep(for: .milliseconds(50))
                }
            }
            #expect(TestHTTPResponse(try await slow.waitForClose())?.status == 408)
            dribble.cancel()
            try await eventually { gateway.statistics.results["timeout"] == 1 }
            await slow.close()
        }
    }

    // MARK: Memory

    @Test func memoryAtItsLimitRefusesTheNewAndKeepsTheOld() async throws {
        let resident = Mutex<UInt64>(500)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        var configuration = GatewayConfiguration()
        configuration.port = 0
        configuration.memoryBytes = 1_000
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let hub = try await Hub.make(
            node: try #require(NodeID("n1")), eventLoops: Array(group.makeIterator()), logger: logger)
        let gateway = Gateway(
            configuration: configuration, group: group, logger: logger, readiness: { .ready },
            residentBytes: { resident.withLock { $0 } }
        ) { channel, accepted in
            try hub.shard(on: channel.eventLoop)?.admit(
                channel, identity: accepted.identity, leftover: accepted.leftover, observer: accepted.observer)
        }
        let port = try #require(try await gateway.start().port)
        let client = try await TestWebSocket.connect(port: port)
        resident.withLock { $0 = 1_000 }
        try await eventually { gateway.readiness == .overloaded }
        let ready = try await GatewayTests.exchange(port, "GET /ready HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(ready.status == 503)
        #expect(ready.body == "{\"status\":\"overloaded\"}\n")
        let refusal = await Self.refusal(port)
        #expect(refusal?.status == 503)
        #expect(refusal?["retry-after"] != nil)
        #expect(gateway.statistics.refused == ["memory_bytes": 1])
        #expect(gateway.statistics.isMemoryOver)
        #expect(try await client.request("ping", "1").int("timestamp") == 1)
        // Not before it is 5 % below.
        let memory = MemoryGuard(limit: 1_000) { resident.withLock { $0 } }
        for (bytes, isOver) in [(999, false), (1_000, true), (960, true), (950, true), (949, false), (999, false)] {
            resident.withLock { $0 = UInt64(bytes) }
            memory.look(logger)
            #expect(memory.isOver == isOver, "\(bytes)")
        }
        resident.withLock { $0 = 949 }
        try await eventually { gateway.readiness == .ready }
        let second = try await TestWebSocket.connect(port: port)
        await second.drop()
        await client.drop()
        await gateway.stopAccepting()
        await hub.shutdown(within: .seconds(1))
        try await group.shutdownGracefully()
    }
}
