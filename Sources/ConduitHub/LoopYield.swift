import Glibc
import NIOCore
import NIOPosix

/// Goes on with work after the loop has looked at its sockets once more. Loop-bound: owned by its ``Shard``.
///
/// `execute` doesn't do that: NIO runs such tasks one after the other before it looks at sockets again. A pipe that
/// the loop watches like any other descriptor does; whoever became readable before it is read before it.
final class LoopYield: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let eventLoop: any EventLoop
    private let work: (Shard) -> Void
    private unowned let shard: Shard
    /// The end that is written to; it holds one byte at most, so it never blocks.
    private var descriptor: Int32 = -1
    private var isPending = false

    init(shard: Shard, work: @escaping (Shard) -> Void) {
        self.eventLoop = shard.eventLoop
        self.shard = shard
        self.work = work
    }

    /// Opens the descriptor. Until it is open, and on loops without sockets, `execute` is used.
    func open() {
        guard let bootstrap = NIOPipeBootstrap(validatingGroup: eventLoop) else { return }
        var ends: [Int32] = [-1, -1]
        // Unsafe for the pointer, which is to two places and lives for the call only.
        guard unsafe pipe(&ends) == 0 else { return }
        let (input, output) = (ends[0], ends[1])
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        bootstrap
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(bound.value) }
            }
            .takingOwnershipOfDescriptor(input: input)
            .assumeIsolated().whenComplete { result in
                switch result {
                case .success: self.descriptor = output
                case .failure:
                    close(input)
                    close(output)
                }
            }
    }

    /// Whether the loop's sockets are looked at in between.
    var isReady: Bool { descriptor >= 0 }

    /// Runs the work soon, once however often it was asked.
    func schedule() {
        guard !isPending else { return }
        isPending = true
        var byte: UInt8 = 1
        // Unsafe for the pointer, which lives for the call only.
        if descriptor >= 0, unsafe write(descriptor, &byte, 1) == 1 { return }
        eventLoop.assumeIsolated().execute { self.run() }
    }

    private func run() {
        guard isPending else { return }
        isPending = false
        work(shard)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { run() }

    func channelInactive(context: ChannelHandlerContext) {
        if descriptor >= 0 { close(descriptor) }
        descriptor = -1
        // Whoever waits is not forgotten.
        if isPending { eventLoop.assumeIsolated().execute { self.run() } }
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}

@available(*, unavailable)
extension LoopYield: Sendable {}
