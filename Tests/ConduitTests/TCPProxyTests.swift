import ConduitTesting
import Foundation
import NIOCore
import Testing

/// The proxy of the fault tests, in front of a real server: what it lets through, what it holds, what it breaks.
@Suite(.timeLimit(.minutes(5))) struct TCPProxyTests {
    private func pong(_ socket: TestSocket, _ count: Int) async throws {
        try await socket.send("PING\r\n")
        _ = try await socket.wait { $0.components(separatedBy: "+PONG").count == count + 1 }
    }

    @Test func blackHoleHoldsAndLetsGo() async throws {
        let redis = try await RedisServer.start()
        let proxy = try await TCPProxy.start(to: redis.port)
        let socket = try await TestSocket.connect(port: proxy.port)
        try await pong(socket, 1)
        #expect(try await proxy.connections == 1)
        // One way or the other, or both: no answer comes until it is mended, and then it comes once.
        var count = 1
        for (up, down) in [(false, true), (true, false), (false, false)] {
            var behaviour = TCPProxy.Behaviour.pass
            behaviour.passesUp = up
            behaviour.passesDown = down
            try await proxy.set(behaviour)
            try await socket.send("PING\r\n")
            await #expect(throws: TestTimeout.self) {
                let expected = count + 2
                _ = try await socket.wait(timeout: .milliseconds(150)) {
                    $0.components(separatedBy: "+PONG").count == expected
                }
            }
            try await proxy.set(.pass)
            count += 1
            let expected = count + 1
            _ = try await socket.wait { $0.components(separatedBy: "+PONG").count == expected }
        }
        await socket.close()
        try await eventually("both ends are gone") { try await proxy.connections == 0 }
    }

    @Test func resetEndsWhatIsOpenAndRefusingWhatComes() async throws {
        let redis = try await RedisServer.start()
        let proxy = try await TCPProxy.start(to: redis.port)
        let socket = try await TestSocket.connect(port: proxy.port)
        try await pong(socket, 1)
        try await proxy.reset()
        _ = try await socket.waitForClose()
        let again = try await TestSocket.connect(port: proxy.port)
        try await pong(again, 1)
        var behaviour = TCPProxy.Behaviour.pass
        behaviour.refuses = true
        try await proxy.set(behaviour)
        if let refused = try? await TestSocket.connect(port: proxy.port) { _ = try await refused.waitForClose() }
        try await pong(again, 2)
    }

    @Test func throttleLetsTheServersBufferFill() async throws {
        let redis = try await RedisServer.start()
        let proxy = try await TCPProxy.start(to: redis.port)
        let socket = try await TestSocket.connect(port: proxy.port)
        try await socket.send("SUBSCRIBE room\r\n")
        _ = try await socket.wait { $0.contains("subscribe") }
        try await redis.redisCLI("CONFIG", "SET", "client-output-buffer-limit", "pubsub 131072 65536 1")
        var behaviour = TCPProxy.Behaviour.pass
        behaviour.downBytesPerSecond = 1
        try await proxy.set(behaviour)
        let message = String(repeating: "x", count: 100_000)
        try await eventually("Redis closes it") {
            try await redis.redisCLI("PUBLISH", "room", message)
            return try await redis.redisCLI("PUBSUB", "NUMSUB", "room").hasSuffix("\n0")
        }
    }
}
