import NIOCore

/// The end of the pipeline: bytes from Redis to the reader, replies to the link. Loop-bound.
final class RedisChannelHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let reader: RedisReplyReader
    private let attempt: Int
    /// `nil` when the link has let go of this connection.
    private var link: RedisLink?

    init(reader: RedisReplyReader, attempt: Int, link: RedisLink) {
        self.reader = reader
        self.attempt = attempt
        self.link = link
    }

    /// The link wants to hear no more of this connection.
    func detach() { link = nil }

    /// The handshake is over, and the connection is for subscriptions.
    func expectPushes() { reader.expectPushes() }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard let link else { return }
        link.heard()
        do throws(RedisError) {
            // A reply can make the link let go of this connection in the middle of a read.
            try reader.read(unwrapInboundIn(data)) { reply in
                self.link?.received(reply)
                return self.link != nil
            }
        } catch {
            self.link?.connectionEnded(attempt: attempt, error)
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        link?.readComplete()
        context.fireChannelReadComplete()
    }

    func channelInactive(context: ChannelHandlerContext) {
        link?.connectionEnded(attempt: attempt, RedisError(.connectionLost, "Redis closed the connection"))
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard let link else { return }
        link.connectionEnded(attempt: attempt, RedisConnector.describe(error, whileConnecting: false))
        context.close(promise: nil)
    }
}

@available(*, unavailable)
extension RedisChannelHandler: Sendable {}
