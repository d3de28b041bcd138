import ConduitTelemetry
import NIOCore
import NIOSSL

/// What the public port needs to speak TLS: where its certificate lies, and whether clients show one.
public struct ServerTLS: Hashable, Sendable {
    /// Whether clients are asked for a certificate.
    public enum ClientCertificates: String, Sendable, CaseIterable {
        /// No.
        case none
        /// Yes; who has none comes in without, one that can't be verified is refused.
        case optional
        /// Yes; who has none is refused.
        case required
    }

    /// The oldest version that is spoken.
    public enum Version: String, Sendable, CaseIterable {
        /// TLS 1.2
        case tls12 = "1.2"
        /// TLS 1.3
        case tls13 = "1.3"
    }

    /// PEM: the server's certificate, then those between it and its authority.
    public var certificateFile: String
    /// PEM: the private key of the first certificate.
    public var keyFile: String
    /// PEM: the authorities that vouch for clients; needed when clients are asked for certificates.
    public var clientCAFile = ""
    /// Whether clients are asked for a certificate.
    public var clientCertificates = ClientCertificates.none
    /// The oldest version that is spoken.
    public var minimumVersion = Version.tls12
    /// How often the files are looked at, in milliseconds; 0 for never.
    public var reloadMilliseconds = 10_000

    /// Names the two files; they are read when the node starts, and when they change.
    public init(certificateFile: String, keyFile: String) {
        self.certificateFile = certificateFile
        self.keyFile = keyFile
    }

    /// What the files hold; a file that can't be read is `nil`.
    struct Files: Hashable, Sendable {
        let certificate: [UInt8]?
        let key: [UInt8]?
        let clientCA: [UInt8]?
    }

    private static let largestFile = 1_048_576

    /// Reads the files.
    func read() -> Files {
        Files(
            certificate: FileBytes.read(certificateFile, most: Self.largestFile),
            key: FileBytes.read(keyFile, most: Self.largestFile),
            clientCA: clientCertificates == .none ? nil : FileBytes.read(clientCAFile, most: Self.largestFile))
    }

    /// A context that serves all connections, so that certificates are in memory once, and when the first certificate
    /// of its chain ends, in seconds since 1970.
    ///
    /// - Throws: ``ServerTLSError``.
    func makeContext(_ files: Files) throws(ServerTLSError) -> (context: NIOSSLContext, notAfter: Int64) {
        let chain = try Self.certificates(files.certificate, .certificate)
        let key: NIOSSLPrivateKey
        do {
            key = try NIOSSLPrivateKey(bytes: files.key ?? [], format: .pem)
        } catch {
            throw ServerTLSError(part: .key, message: "is no readable PEM file with a private key")
        }
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(key))
        configuration.minimumTLSVersion = minimumVersion == .tls13 ? .tlsv13 : .tlsv12
        configuration.applicationProtocols = ["http/1.1"]
        // Who doesn't answer a close is a phone that sleeps: a node that stops can't wait for it.
        configuration.shutdownTimeout = .seconds(1)
        if clientCertificates != .none {
            configuration.trustRoots = .certificates(try Self.certificates(files.clientCA, .clientCA))
            configuration.certificateVerification =
                clientCertificates == .required ? .noHostnameVerification : .optionalVerification
            configuration.sendCANameList = true
        }
        do {
            let notAfter = chain.map { Int64($0.notValidAfter) }.min() ?? 0
            return (try NIOSSLContext(configuration: configuration), notAfter)
        } catch {
            throw ServerTLSError(part: .key, message: "is not the key of the certificate")
        }
    }

    private static func certificates(
        _ bytes: [UInt8]?, _ part: ServerTLSError.Part
    ) throws(ServerTLSError) -> [NIOSSLCertificate] {
        let certificates: [NIOSSLCertificate]
        do {
            certificates = try NIOSSLCertificate.fromPEMBytes(bytes ?? [])
        } catch {
            throw ServerTLSError(part: part, message: "is no readable PEM file with certificates")
        }
        guard !certificates.isEmpty else { throw ServerTLSError(part: part, message: "holds no certificate") }
        return certificates
    }

    /// Reads the files and says what is wrong with them; `nil` when nothing is.
    package func problem() -> ServerTLSError? {
        do throws(ServerTLSError) {
            _ = try makeContext(read())
            return nil
        } catch {
            return error
        }
    }
}

/// Certificate or key can't be used.
public struct ServerTLSError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Which file it is about.
    package enum Part: String, Sendable {
        case certificate, key
        case clientCA = "client authority"
    }

    /// Which file it is about.
    package let part: Part
    /// What is wrong; begins with a verb, tells nothing of what the file holds.
    package let message: String

    /// One line.
    public var description: String { "the \(part.rawValue) of the public port \(message)" }
}

/// For a channel whose bytes TLS takes: tiny at first, because NIO keeps that one, and then a buffer a read.
///
/// TLS copies out what it decrypts and lets the buffer go; nobody could give it back to the loop's pool.
struct TLSReceiveAllocator: RecvByteBufferAllocator {
    let bytes: Int
    private var hasRead = false

    init(bytes: Int) { self.bytes = bytes }

    func buffer(allocator: ByteBufferAllocator) -> ByteBuffer {
        allocator.buffer(capacity: hasRead ? bytes : FirstReceiveAllocator.bytes)
    }

    mutating func record(actualReadBytes: Int) -> Bool {
        hasRead = true
        return true
    }

    func nextBufferSize() -> Int? { nil }
}
