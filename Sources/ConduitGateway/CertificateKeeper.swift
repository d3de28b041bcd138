import ConduitTelemetry
import Logging
import NIOConcurrencyHelpers
import NIOSSL

/// The certificate that new connections get. Read again when its files change; connections that stand keep theirs.
///
/// What the files hold is compared, not their times: a copy that keeps the time, a link that points elsewhere and a
/// file system without inodes are all seen, and the bytes that were compared are the ones that are used.
final class CertificateKeeper: Sendable {
    private struct State {
        var context: NIOSSLContext
        var notAfter: Int64
        /// What was tried last, whether or not it was any good.
        var tried: ServerTLS.Files
        /// Why the last try was no good; `nil` when it was.
        var problem: ServerTLSError?
        var reloads: UInt64 = 0
        var failures: UInt64 = 0
    }

    private let tls: ServerTLS
    private let logger: Logger
    private let state: NIOLockedValueBox<State>

    /// - Throws: ``ServerTLSError``.
    init(_ tls: ServerTLS, logger: Logger) throws(ServerTLSError) {
        self.tls = tls
        self.logger = logger
        let files = tls.read()
        let made = try tls.makeContext(files)
        state = NIOLockedValueBox(State(context: made.context, notAfter: made.notAfter, tried: files))
    }

    /// What the next connection gets.
    var context: NIOSSLContext { state.withLockedValue { $0.context } }

    /// Looks at the files, which blocks. Returns whether a new certificate is in use.
    ///
    /// - Throws: ``ServerTLSError`` when the files are no good; the certificate that was there stays.
    @discardableResult
    func reload() throws(ServerTLSError) -> Bool {
        let files = tls.read()
        let (isKnown, known) = state.withLockedValue { ($0.tried == files, $0.problem) }
        if isKnown {
            if let known { throw known }
            return false
        }
        do throws(ServerTLSError) {
            let made = try tls.makeContext(files)
            state.withLockedValue {
                $0.context = made.context
                $0.notAfter = made.notAfter
                $0.tried = files
                $0.problem = nil
                $0.reloads += 1
            }
            logger.notice("new connections get the new certificate")
            return true
        } catch {
            state.withLockedValue {
                $0.tried = files
                $0.problem = error
                $0.failures += 1
            }
            logger.warning(
                "the new certificate can't be used, the old one stays", metadata: [LogKey.error: "\(error)"])
            throw error
        }
    }

    /// Puts its figures into the statistics of the port.
    func report(_ statistics: inout GatewayStatistics) {
        state.withLockedValue {
            statistics.certificateNotAfter = $0.notAfter
            statistics.certificateReloads = $0.reloads
            statistics.certificateFailures = $0.failures
        }
    }
}
