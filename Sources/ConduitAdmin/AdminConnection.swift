import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1

/// A connection to the admin port: Hummingbird's, with errors that are JSON where a request can't be read, too.
struct AdminConnection: ServerChildChannel {
    typealias Value = HTTP1Channel.Value

    let http1: HTTP1Channel

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        http1.setup(channel: channel, logger: logger).flatMapThrowing { value in
            let pipeline = channel.pipeline.syncOperations
            let decoder = try pipeline.handler(type: ByteToMessageHandler<HTTPRequestDecoder>.self)
            try pipeline.addHandler(UnreadableRequests(), position: .after(decoder))
            return value
        }
    }

    func handle(value: Value, logger: Logger) async { await http1.handle(value: value, logger: logger) }
}

/// Gives the answer to a request that is no HTTP, or too long, its body: Hummingbird's own is empty.
private final class UnreadableRequests: ChannelDuplexHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    private var error: AdminError?

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if let failure = error as? HTTPParserError, self.error == nil {
            self.error = failure == .headerOverflow ? .headTooLong : .unreadable
        }
        context.fireErrorCaught(error)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        // Requests before it may still be answered.
        guard let error, case .head(let head) = unwrapOutboundIn(data), head.status == .badRequest,
            head.headers.first(name: "content-length") == "0"
        else { return context.write(data, promise: promise) }
        self.error = nil
        let body = AdminJSON.error(error)
        let headers: HTTPHeaders = [
            "content-type": "application/json", "content-length": "\(body.readableBytes)", "cache-control": "no-store",
            "x-content-type-options": "nosniff", "connection": "close",
        ]
        let status = HTTPResponseStatus(statusCode: error.status)
        let full = HTTPResponseHead(version: .http1_1, status: status, headers: headers)
        context.write(wrapOutboundOut(.head(full)), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: promise)
    }
}
