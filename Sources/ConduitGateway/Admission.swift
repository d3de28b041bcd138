package import ConduitHub
import ConduitTelemetry
import Logging
package import NIOCore
import NIOHTTP1

/// A connection that was upgraded: what its next owner has to know.
package struct AcceptedHandshake: Sendable {
    /// Who it is.
    package let identity: Identity
    /// The subprotocol that was selected.
    package let subprotocol: String?
    package let remoteAddress: String?
    /// What the client sent right behind its request.
    package let leftover: ByteBuffer
}

/// Stands in the pipeline for the moment between HTTP and the client's own handler, and keeps what arrives. Loop-bound.
final class Admission: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer

    private let shared: Gateway.Shared
    private let identity: Identity
    private let handshake: Handshake
    private let remoteAddress: String?
    private var leftover = ByteBuffer()

    init(shared: Gateway.Shared, identity: Identity, handshake: Handshake, remoteAddress: String?) {
        self.shared = shared
        self.identity = identity
        self.handshake = handshake
        self.remoteAddress = remoteAddress
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        leftover.writeImmutableBuffer(unwrapInboundIn(data))
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    /// Hands the channel over and answers the handshake; nothing of HTTP is in the pipeline any more.
    ///
    /// In this order: who has read the answer is registered and misses no message. The new owner writes at the end of
    /// the turn at the earliest, so nothing overtakes the answer.
    func admit(_ channel: any Channel) {
        guard channel.isActive else { return }
        channel.pipeline.syncOperations.removeHandler(self).assumeIsolated().whenComplete { _ in
            guard channel.isActive else { return }
            do {
                try self.shared.admit(
                    channel,
                    AcceptedHandshake(
                        identity: self.identity, subprotocol: self.handshake.subprotocol,
                        remoteAddress: self.remoteAddress,
                        leftover: self.leftover))
                channel.writeAndFlush(ByteBuffer(string: self.handshake.answer), promise: nil)
                try channel.syncOptions?.setOption(.autoRead, value: true)
            } catch {
                self.shared.logger.debug("client not admitted", metadata: [LogKey.error: "\(error)"])
                let refusal = Refusal(.serviceUnavailable, "this node takes no clients", [("Retry-After", "1")])
                channel.writeAndFlush(refusal.answer.encode(withBody: true), promise: nil)
                channel.close(promise: nil)
            }
        }
    }
}

@available(*, unavailable)
extension Admission: Sendable {}
