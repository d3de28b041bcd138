import NIOCore

/// Takes the PROXY header off a trusted proxy's connection and leaves; TLS and HTTP come behind. Loop-bound.
final class ProxyHeaderHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    /// Where the connection's time runs and its address is kept.
    private let door: FrontDoorHandler
    private var header = ProxyHeader()
    private var isOver = false

    init(door: FrontDoorHandler) { self.door = door }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isOver else { return }
        switch header.next(unwrapInboundIn(data)) {
        case .incomplete:
            break
        case .malformed:
            isOver = true
            door.cut(as: .badProxyHeader)
        case .complete(let party, let rest):
            isOver = true
            header = ProxyHeader()
            door.announced = party
            if let rest { context.fireChannelRead(wrapInboundOut(rest)) }
            context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
        }
    }
}

@available(*, unavailable)
extension ProxyHeaderHandler: Sendable {}
