import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import NIOSSL

/// Asks other servers over HTTP: connections are kept, answers are bounded in size and time, redirects not followed.
final class WebClient: Sendable {
    /// An answer, whole.
    struct Answer: Sendable {
        let status: Int
        let body: ByteBuffer
    }

    private let client: HTTPClient

    /// - Parameters:
    ///   - caFile: who vouches for servers; empty for the system's authorities.
    ///   - connections: most connections to one server.
    init(caFile: String, connections: Int, connectTimeout: Duration) {
        var tls = TLSConfiguration.makeClientConfiguration()
        if !caFile.isEmpty { tls.trustRoots = .file(caFile) }
        tls.minimumTLSVersion = .tlsv12
        var configuration = HTTPClient.Configuration(
            tlsConfiguration: tls, redirectConfiguration: .disallow,
            timeout: .init(connect: TimeAmount(connectTimeout)))
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = connections
        // A server that is not there is told at once: whoever asks has better things to do than to wait.
        configuration.connectionPool.retryConnectionEstablishment = false
        configuration.connectionPool.idleTimeout = .seconds(30)
        configuration.httpVersion = .http1Only
        client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    /// Sends one request and waits for the whole answer.
    func send(
        _ method: HTTPMethod, _ url: String, headers: HTTPHeaders = [:], body: ByteBuffer? = nil,
        within limit: Duration,
        upTo bytes: Int
    ) async throws -> Answer {
        try await withinTime(limit) { [client] in
            var request = HTTPClientRequest(url: url)
            request.method = method
            request.headers = headers
            if let body { request.body = .bytes(body) }
            // Its own limit ends with the head; the one around it holds for the body too, and comes first.
            let spare = TimeAmount(limit) + .seconds(1)
            let response: HTTPClientResponse
            do {
                response = try await client.execute(request, timeout: spare)
            } catch let error as HTTPClientError where error == .remoteConnectionClosed {
                // The server closed a kept connection as it was used again. What is asked changes nothing, so again.
                response = try await client.execute(request, timeout: spare)
            } catch let error as HTTPClientError where error == .connectTimeout {
                throw TimedOut()
            }
            return Answer(status: Int(response.status.code), body: try await response.body.collect(upTo: bytes))
        }
    }

    /// Must be called before the last reference goes.
    func shutdown() async { try? await client.shutdown() }

    /// An error in words, without what was asked.
    static func words(_ error: any Error) -> String {
        switch error {
        case is TimedOut: "no answer in time"
        case let error as HTTPClientError: error.shortDescription
        case is NIOTooManyBytesError: "the answer is too large"
        default: "\(error)"
        }
    }
}

/// What is known of an address without asking.
package enum WebAddress {
    /// Whether it is a URL of http or https with a host, no user, and nothing odd in it.
    package static func isWeb(_ text: String) -> Bool {
        guard text.utf8.count <= 2048, text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }), let url = URL(string: text),
            let host = url.host, !host.isEmpty, url.user == nil, url.password == nil, url.fragment == nil
        else { return false }
        return url.scheme == "http" || url.scheme == "https"
    }

    /// Whether nobody between here and there can change what comes back: https, or loopback.
    package static func isSafe(_ text: String) -> Bool {
        guard isWeb(text), let url = URL(string: text) else { return false }
        if url.scheme == "https" { return true }
        let host = url.host ?? ""
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return ["localhost", "::1", "[::1]"].contains(host)
            || (parts.count == 4 && parts.first == "127" && parts.allSatisfy { UInt8($0) != nil })
    }

    /// Scheme, host and port: as much as may stand in a log.
    static func shown(_ text: String) -> String {
        guard let url = URL(string: text), let scheme = url.scheme, let host = url.host else { return "the server" }
        return "\(scheme)://\(host)" + (url.port.map { ":\($0)" } ?? "")
    }
}
