import NIOCore
import NIOSSL

/// Where the certificate of the public port lies.
public struct ServerTLS: Hashable, Sendable {
    /// PEM: the server's certificate, then those between it and its authority.
    public var certificateFile: String
    /// PEM: the private key of the first certificate.
    public var keyFile: String

    /// Names the two files; they are read when the node starts.
    public init(certificateFile: String, keyFile: String) {
        self.certificateFile = certificateFile
        self.keyFile = keyFile
    }

    /// Reads the files. One context serves all connections, so certificates are in memory once.
    ///
    /// - Throws: ``ServerTLSError``.
    func makeContext() throws(ServerTLSError) -> NIOSSLContext {
        let certificates: [NIOSSLCertificate]
        do {
            certificates = try NIOSSLCertificate.fromPEMFile(certificateFile)
        } catch {
            throw ServerTLSError(isAboutKey: false, message: "is no readable PEM file with certificates")
        }
        guard !certificates.isEmpty else {
            throw ServerTLSError(isAboutKey: false, message: "holds no certificate")
        }
        let key: NIOSSLPrivateKey
        do {
            key = try NIOSSLPrivateKey(file: keyFile, format: .pem)
        } catch {
            throw ServerTLSError(isAboutKey: true, message: "is no readable PEM file with a private key")
        }
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: certificates.map { .certificate($0) }, privateKey: .privateKey(key))
        configuration.minimumTLSVersion = .tlsv12
        do {
            return try NIOSSLContext(configuration: configuration)
        } catch {
            throw ServerTLSError(isAboutKey: true, message: "is not the key of the certificate")
        }
    }

    /// Reads the files and says what is wrong with them; `nil` when nothing is.
    package func problem() -> ServerTLSError? {
        do throws(ServerTLSError) {
            _ = try makeContext()
            return nil
        } catch {
            return error
        }
    }
}

/// Certificate or key can't be used.
public struct ServerTLSError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Whether it is the key's file, not the certificate's.
    package let isAboutKey: Bool
    /// What is wrong; begins with a verb, tells nothing of what the file holds.
    package let message: String

    /// One line.
    public var description: String { "the \(isAboutKey ? "key" : "certificate") of the public port \(message)" }
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
