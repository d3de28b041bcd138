import ConduitTelemetry
import Logging
import NIOCore

/// Says once a minute at most that connections can't be accepted, say for want of descriptors. Loop-bound.
///
/// The listener stays open: NIO closes it for errors only that can't pass, and the handler behind this one
/// (`AcceptBackoffHandler`) waits a second before the next try.
final class AcceptGuard: ChannelInboundHandler {
    typealias InboundIn = any Channel

    private let logger: Logger
    private var nextReport = NIODeadline.uptimeNanoseconds(0)

    init(logger: Logger) { self.logger = logger }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        let now = NIODeadline.now()
        if now >= nextReport {
            nextReport = now + .minutes(1)
            logger.warning(
                "connections can't be accepted; raise the limit of open files or lower limits.connections",
                metadata: [LogKey.error: "\(error)"])
        }
        context.fireErrorCaught(error)
    }
}

@available(*, unavailable)
extension AcceptGuard: Sendable {}
