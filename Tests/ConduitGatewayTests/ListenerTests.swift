import ConduitTesting
import Logging
import NIOCore
import NIOPosix
import Synchronization
import Testing

@testable import ConduitGateway

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// How connections come to the event loops.
@Suite struct ListenerTests {
    /// Counts connections by loop.
    final class Arrivals: Sendable {
        let loops = Mutex<[ObjectIdentifier: Int]>([:])

        func note(_ channel: any Channel) {
            loops.withLock { $0[ObjectIdentifier(channel.eventLoop), default: 0] += 1 }
        }
    }

    /// Opens `count` connections, one after the other, and says how many each loop got.
    static func arrivals(of count: Int, spreads: Bool) async throws -> [Int] {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 4)
        let arrivals = Arrivals()
        let listener = Listener(configuration: configuration(port: 0), logger: silent) { arrivals.note($0) }
        let channels = try await listener.bind(group: group, loops: Array(group.makeIterator()), isShared: spreads)
        let port = try #require(channels.first?.localAddress?.port)
        #expect(channels.allSatisfy { $0.localAddress?.port == port })
        var sockets: [TestSocket] = []
        for _ in 0..<count { sockets.append(try await TestSocket.connect(port: port)) }
        try await eventually { arrivals.loops.withLock { $0.values.reduce(0, +) } == count }
        for socket in sockets { await socket.close() }
        for channel in channels { try await channel.close() }
        await #expect(throws: (any Error).self) { try await TestSocket.connect(port: port) }
        try await group.shutdownGracefully()
        return arrivals.loops.withLock { Array($0.values) }
    }

    static let silent = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    static func configuration(port: Int) -> GatewayConfiguration {
        var configuration = GatewayConfiguration()
        configuration.port = port
        return configuration
    }

    @Test func theKernelSpreadsConnectionsOverTheLoops() async throws {
        // That one of four loops gets none of 64 has a chance of four in a hundred million.
        #expect(try await Self.arrivals(of: 64, spreads: true).count == 4)
    }

    @Test func oneSocketDealsThemOutInTurn() async throws {
        #expect(try await Self.arrivals(of: 8, spreads: false) == [2, 2, 2, 2])
    }

    @Test(arguments: [1, 4])
    func aPortThatSomebodyWouldShareIsTakenAllTheSame(_ loops: Int) async throws {
        let other = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelOption(
                ChannelOptions.Types.SocketOption(level: .socket, name: NIOBSDSocket.Option(rawValue: SO_REUSEPORT)),
                value: 1
            )
            .bind(host: "127.0.0.1", port: 0).get()
        let port = try #require(other.localAddress?.port)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: loops)
        let listener = Listener(configuration: Self.configuration(port: port), logger: Self.silent) { _ in }
        await #expect(throws: IOError.self) {
            _ = try await listener.bind(group: group, loops: Array(group.makeIterator()))
        }
        try await other.close()
        try await group.shutdownGracefully()
    }
}
