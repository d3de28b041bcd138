import Glibc
import Logging
import NIOCore
import NIOEmbedded
import Synchronization
import Testing

@testable import ConduitGateway

@Suite struct AcceptGuardTests {
    /// Counts the lines that are logged.
    private struct CountingHandler: LogHandler {
        final class Count: Sendable {
            let lines = Mutex(0)
        }
        let count: Count
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.trace

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) { count.lines.withLock { $0 += 1 } }
    }

    @Test func wantOfDescriptorsIsSaidOnceAndClosesNothing() throws {
        let count = CountingHandler.Count()
        let channel = EmbeddedChannel()
        let logger = Logger(label: "test") { _ in CountingHandler(count: count) }
        try channel.pipeline.syncOperations.addHandler(AcceptGuard(logger: logger))
        try channel.pipeline.syncOperations.addHandler(AcceptBackoffHandler(shouldForwardIOErrorCaught: false))
        for _ in 0..<100 {
            channel.pipeline.fireErrorCaught(IOError(errnoCode: EMFILE, reason: "accept"))
        }
        #expect(count.lines.withLock { $0 } == 1)
        #expect(try channel.finish().isClean)
        // The last error would have been thrown here, had nobody taken it.
        try channel.throwIfErrorCaught()
    }
}
