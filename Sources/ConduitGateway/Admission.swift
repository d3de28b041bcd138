package import ConduitHub
import ConduitTelemetry
import Logging
package import NIOCore

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
    private let subprotocol: String?
    private let remoteAddress: String?
    private var leftover = ByteBuffer()

    init(shared: Gateway.Shared, identity: Identity, subprotocol: String?, remoteAddress: String?) {
        self.shared = shared
        self.identity = identity
        self.subprotocol = subprotocol
        self.remoteAddress = remoteAddress
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        leftover.writeImmutableBuffer(unwrapInboundIn(data))
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    /// Hands the channel over; nothing of HTTP is in its pipeline any more.
    func admit(_ channel: any Channel) {
        guard channel.isActive else { return }
        channel.pipeline.syncOperations.removeHandler(self).assumeIsolated().whenComplete { _ in
            guard channel.isActive else { return }
            do {
                try self.shared.admit(
                    channel,
                    AcceptedHandshake(
                        identity: self.identity, subprotocol: self.subprotocol, remoteAddress: self.remoteAddress,
                        leftover: self.leftover))
                try channel.syncOptions?.setOption(.autoRead, value: true)
            } catch {
                self.shared.logger.debug("client not admitted", metadata: [LogKey.error: "\(error)"])
                channel.close(promise: nil)
            }
        }
    }
}

@available(*, unavailable)
extension Admission: Sendable {}
