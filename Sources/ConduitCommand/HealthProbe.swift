import Foundation
import NIOCore
import NIOPosix

/// One GET and the status of its answer: as much HTTP as a health check needs.
struct HealthProbe: CustomStringConvertible {
    let host: String
    let port: Int
    let path: String

    /// The node that listens on `host`; one that listens everywhere is asked over loopback.
    init(host: String, port: Int, path: String) {
        self.host = ["0.0.0.0": "127.0.0.1", "::": "::1"][host] ?? host
        self.port = port
        self.path = path
    }

    /// `http://host:port/path`; `nil` for anything else.
    init?(url: String) {
        guard let parts = URLComponents(string: url), parts.scheme == "http", let host = parts.host, !host.isEmpty,
            (1...65_535).contains(parts.port ?? 80)
        else { return nil }
        let bare = host.hasPrefix("[") ? String(host.dropFirst().dropLast()) : host
        let query = parts.percentEncodedQuery.map { "?" + $0 } ?? ""
        self.init(
            host: bare, port: parts.port ?? 80,
            path: (parts.percentEncodedPath.isEmpty ? "/" : parts.percentEncodedPath) + query)
    }

    private var authority: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    var description: String { "http://\(authority)\(path)" }

    /// Asks, and gives the status of the answer.
    func status(within limit: TimeAmount) async throws -> Int {
        let group = MultiThreadedEventLoopGroup.singleton
        let answer = group.next().makePromise(of: Int.self)
        let request = "GET \(path) HTTP/1.1\r\nHost: \(authority)\r\nConnection: close\r\n\r\n"
        let deadline = answer.futureResult.eventLoop.scheduleTask(in: limit) {
            answer.fail(HealthProbeError.tookTooLong)
        }
        ClientBootstrap(group: answer.futureResult.eventLoop)
            .connectTimeout(limit)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(StatusReader(request: request, answer: answer))
                }
            }
            .connect(host: host, port: port)
            .cascadeFailure(to: answer)
        defer { deadline.cancel() }
        return try await answer.futureResult.get()
    }
}

/// Why there is no status.
enum HealthProbeError: Error, CustomStringConvertible {
    case tookTooLong
    case closed
    case notHTTP

    var description: String {
        switch self {
        case .tookTooLong: "no answer in time"
        case .closed: "the connection was closed without an answer"
        case .notHTTP: "the answer is not HTTP"
        }
    }
}

/// Sends the request and reads the first line of the answer, nothing more. Loop-bound: owned by its channel.
private final class StatusReader: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let request: String
    private let answer: EventLoopPromise<Int>
    private var line: [UInt8] = []

    init(request: String, answer: EventLoopPromise<Int>) {
        self.request = request
        self.answer = answer
    }

    func channelActive(context: ChannelHandlerContext) {
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: request)), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        line += unwrapInboundIn(data).readableBytesView
        if let end = line.firstIndex(of: UInt8(ascii: "\n")) {
            finish(line[..<end], context)
        } else if line.count > 1024 {
            finish([], context)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        answer.fail(HealthProbeError.closed)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        answer.fail(error)
        context.close(promise: nil)
    }

    /// `HTTP/1.1 200 OK`
    private func finish(_ line: ArraySlice<UInt8>, _ context: ChannelHandlerContext) {
        let words = line.split(separator: UInt8(ascii: " "))
        if words.count >= 2, words[0].starts(with: "HTTP/1.".utf8), words[1].count == 3,
            let status = Int(String(decoding: words[1], as: UTF8.self))
        {
            answer.succeed(status)
        } else {
            answer.fail(HealthProbeError.notHTTP)
        }
        context.close(promise: nil)
    }
}

@available(*, unavailable)
extension StatusReader: Sendable {}
