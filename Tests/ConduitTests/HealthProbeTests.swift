import NIOCore
import NIOPosix
import Testing

@testable import ConduitCommand

/// What `conduit health` understands and what it makes of answers.
@Suite struct HealthProbeTests {
    @Test(arguments: [
        ("http://127.0.0.1:8080/ready", "http://127.0.0.1:8080/ready"),
        ("http://[::1]:8080/health?x=%20y", "http://[::1]:8080/health?x=%20y"),
        ("http://node", "http://node:80/"),
    ])
    func addressesAreTakenApartAndPutTogether(url: String, expected: String) {
        #expect(HealthProbe(url: url)?.description == expected)
    }

    @Test(arguments: ["", "node", "https://node/", "http://", "http://node:0/", "http://node:65536/", "unix:///x"])
    func otherAddressesAreRefused(url: String) {
        #expect(HealthProbe(url: url) == nil)
    }

    @Test(arguments: [("0.0.0.0", "http://127.0.0.1:1/health"), ("::", "http://[::1]:1/health")])
    func nodesThatListenEverywhereAreAskedOverLoopback(host: String, expected: String) {
        #expect(HealthProbe(host: host, port: 1, path: "/health").description == expected)
    }

    @Test(arguments: [
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200), ("HTTP/1.0 503 Service Unavailable\r\n\r\n", 503),
    ])
    func theStatusIsTakenFromTheFirstLine(answer: String, status: Int) async throws {
        try await withServer(answering: answer, closes: false) { probe in
            let seen = try await probe.status(within: .seconds(60))
            #expect(seen == status)
        }
    }

    @Test(arguments: ["SSH-2.0-OpenSSH\r\n", "HTTP/1.1 two hundred\r\n", String(repeating: "x", count: 2000)])
    func otherAnswersAreAnError(answer: String) async throws {
        try await withServer(answering: answer, closes: false) { probe in
            await #expect(throws: HealthProbeError.notHTTP) { try await probe.status(within: .seconds(60)) }
        }
    }

    @Test func aServerThatHangsUpIsAnError() async throws {
        try await withServer(answering: "", closes: true) { probe in
            await #expect(throws: HealthProbeError.closed) { try await probe.status(within: .seconds(60)) }
        }
    }

    @Test func aServerThatSaysNothingIsNotWaitedForLongerThanTheLimit() async throws {
        try await withServer(answering: "", closes: false) { probe in
            await #expect(throws: HealthProbeError.tookTooLong) { try await probe.status(within: .milliseconds(50)) }
        }
    }

    @Test func nobodyThereIsAnError() async throws {
        let probe = try await withServer(answering: "", closes: false) { $0 }
        await #expect(throws: (any Error).self) { try await probe.status(within: .seconds(60)) }
    }

    /// A server on a free port that answers every first bytes with the same text.
    @discardableResult
    private func withServer<Result: Sendable>(
        answering answer: String, closes: Bool, _ body: (HealthProbe) async throws -> Result
    ) async throws -> Result {
        let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(FixedAnswer(text: answer, closes: closes))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let port = try #require(server.localAddress?.port)
        do {
            let result = try await body(HealthProbe(host: "127.0.0.1", port: port, path: "/health"))
            try await server.close()
            return result
        } catch {
            try await server.close()
            throw error
        }
    }
}

private final class FixedAnswer: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let text: String
    private let closes: Bool

    init(text: String, closes: Bool) {
        self.text = text
        self.closes = closes
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if !text.isEmpty { context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: text)), promise: nil) }
        if closes { context.close(promise: nil) }
    }
}

@available(*, unavailable)
extension FixedAnswer: Sendable {}
