import NIOCore
import NIOPosix
import NIOSSL

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Opens the socket of a link, with TLS when it is asked for, and puts socket errors into words.
enum RedisConnector {
    /// A connection that doesn't read yet, so that nothing is lost before its handler is there.
    static func connect(
        to endpoint: RedisConfiguration.Endpoint, _ configuration: RedisConfiguration, on eventLoop: any EventLoop
    ) -> EventLoopFuture<any Channel> {
        let bootstrap = ClientBootstrap(group: eventLoop)
            .connectTimeout(configuration.connectTimeout)
            .channelOption(.autoRead, value: false)
            .channelOption(.maxMessagesPerRead, value: 8)
            .channelOption(
                .recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: RedisReplyReader.slice))
        switch endpoint {
        case .host(let host, let port):
            return
                bootstrap
                .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                .channelOption(.socketOption(.so_keepalive), value: 1)
                .connect(host: host, port: port)
        case .unixSocket(let path):
            return bootstrap.connect(unixDomainSocketPath: path)
        }
    }

    /// What checks the server, made once for a link; `nil` without TLS.
    static func makeTLSContext(_ configuration: RedisConfiguration) throws(RedisError) -> NIOSSLContext? {
        guard let tls = configuration.tls, case .host = configuration.endpoint else { return nil }
        var settings = TLSConfiguration.makeClientConfiguration()
        settings.minimumTLSVersion = .tlsv12
        settings.certificateVerification = tls.verify ? .fullVerification : .none
        if let file = tls.caFile { settings.trustRoots = .file(file) }
        do throws(RedisTLSProblem) {
            if let identity = try tls.clientIdentity() {
                settings.certificateChain = identity.chain.map { .certificate($0) }
                settings.privateKey = .privateKey(identity.key)
            }
        } catch {
            throw RedisError(.tls, "the \(error.isAboutKey ? "key" : "certificate") for Redis \(error.message)")
        }
        do {
            return try NIOSSLContext(configuration: settings)
        } catch {
            throw RedisError(
                .tls, "TLS can't be set up\(tls.caFile.map { " with CA file \($0)" } ?? "")", underlying: "\(error)")
        }
    }

    static func makeTLSHandler(
        _ context: NIOSSLContext, _ configuration: RedisConfiguration, for endpoint: RedisConfiguration.Endpoint
    ) throws(RedisError) -> NIOSSLClientHandler {
        guard case .host(let host, _) = endpoint else {
            throw RedisError(.tls, "no TLS on a unix socket")
        }
        let name = configuration.tls?.serverName ?? host
        do {
            // An address is no server name in TLS: NIOSSL compares it with the certificate by itself.
            let isAddress = (try? SocketAddress(ipAddress: name, port: 0)) != nil
            return try NIOSSLClientHandler(context: context, serverHostname: isAddress ? nil : name)
        } catch {
            throw RedisError(.tls, "\(name) is no server name for TLS", underlying: "\(error)")
        }
    }

    /// Puts an error of the channel into our terms.
    static func describe(_ error: any Error, whileConnecting: Bool) -> RedisError {
        switch error {
        case let error as RedisError: error
        case let error as NIOSSLError: RedisError(.tls, "TLS with Redis failed", underlying: "\(error)")
        case let error as NIOSSLExtraError:
            RedisError(.tls, "the certificate of Redis was refused", underlying: "\(error)")
        case let error as BoringSSLError: RedisError(.tls, "TLS with Redis failed", underlying: "\(error)")
        case ChannelError.connectTimeout: RedisError(.timedOut, "Redis did not accept the connection in time")
        default:
            whileConnecting
                ? RedisError(.connectFailed, "Redis can't be reached", underlying: words(error))
                : RedisError(.connectionLost, "the connection to Redis broke", underlying: words(error))
        }
    }

    private static func words(_ error: any Error) -> String {
        switch error {
        case let failure as IOError:
            // Unsafe: the C library's text for a number; it is copied at once.
            return unsafe String(cString: strerror(failure.errnoCode))
        case let failure as NIOConnectionError:
            if let first = failure.connectionErrors.first { return words(first.error) }
            if let dns = failure.dnsAError ?? failure.dnsAAAAError { return "\(failure.host): \(dns)" }
            return "\(failure)"
        default: return "\(error)"
        }
    }
}
