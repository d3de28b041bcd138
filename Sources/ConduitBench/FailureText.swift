import NIOCore
import NIOPosix
import NIOSSL

/// Errors in words for people.
package enum FailureText {
    package static func describe(_ error: any Error) -> String {
        switch error {
        case let error as BenchError: error.description
        case let error as IOError: describe(error)
        case let error as NIOConnectionError:
            error.connectionErrors.first.map { describe($0.error) } ?? "\(error.host) is not known"
        case ChannelError.connectTimeout: "no connection in time"
        case let error as NIOSSLError: "TLS: \(error)"
        case let error as NIOSSLExtraError: "TLS: the certificate does not fit the host (\(error))"
        case let error as BoringSSLError: "TLS: \(error)"
        default: "\(error)"
        }
    }

    private static func describe(_ error: IOError) -> String {
        switch error.errnoCode {
        case 111: "connection refused"
        case 104: "connection reset"
        case 110: "no answer (timed out)"
        case 113: "no route to the host"
        case 99: "no free local port or address: give more addresses with --source"
        case 24: "too many open files: raise the limit (ulimit -n)"
        default: "\(error)"
        }
    }

    /// What a server says, for a terminal.
    static func printable(_ text: String) -> String {
        var view = String.UnicodeScalarView()
        for scalar in text.unicodeScalars.prefix(200) {
            let isControl = scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value)
            view.append(isControl ? " " : scalar)
        }
        return String(view)
    }
}
