import NIOCore

/// Settings of the public port.
public struct GatewayConfiguration: Sendable {
    /// The address to listen on.
    public var host = "127.0.0.1"
    /// The port to listen on; 0 takes any free one.
    public var port = 8080
    /// Proxies whose `Forwarded`, `X-Forwarded-For` and PROXY headers are believed.
    public var trustedProxies = TrustedProxies.none
    /// Whether trusted proxies begin each connection with a PROXY header.
    public var proxyProtocol = false
    /// Certificate and key; `nil` speaks plain HTTP, for a balancer in front that ends TLS.
    public var tls: ServerTLS?
    /// Where clients upgrade.
    public var path = "/ws"
    /// Whether `/echo` sends back whatever a WebSocket client says: for tests of conformance and of connections.
    public var echo = false
    /// Whether `GET /` serves the example client.
    public var exampleClient = true
    /// Which web pages may connect.
    public var origins = OriginPolicy.sameHost
    /// A connection must be upgraded or answered this long after it was accepted, in milliseconds.
    public var handshakeTimeoutMilliseconds = 10_000
    /// Largest head of a request in bytes.
    public var maxHeaderBytes = 16_384
    /// Most header fields of a request.
    public var maxHeaderFields = 100
    /// The cookie that may carry a token; empty for none.
    public var tokenCookie = "conduit_token"
    /// Connections that the kernel keeps until they are accepted.
    public var backlog = 4096
    /// Most upgraded connections; 0 for no limit but the system's.
    public var connections = 0
    /// Most upgraded connections of one address, or of one /64 of IPv6; 0 for no limit.
    public var connectionsPerAddress = 0
    /// Most upgraded connections of one user on this node; 0 for no limit.
    public var connectionsPerUser = 0
    /// Upgrades that are let in a second, and as many at once; 0 for no limit.
    public var handshakesPerSecond = 0
    /// Upgrades that are let in a second from one address, or one /64 of IPv6, and as many at once; 0 for no limit.
    public var handshakesPerSecondPerAddress = 0
    /// Most connections that are neither upgraded nor answered; beyond it the oldest give way.
    public var handshaking = 4_096
    /// Resident memory above which no new clients are taken; 0 for four fifths of the control group's limit.
    public var memoryBytes = 0
    /// The status of `GET /ready` while the other nodes can't be reached.
    public var degradedStatus = 200

    /// Where ``echo`` answers.
    package static let echoPath = "/echo"

    /// The defaults.
    public init() {}
}

/// Whether a node wants work: what `GET /ready` says.
public enum Readiness: String, Sendable, CaseIterable {
    /// Not yet.
    case starting
    /// Yes.
    case ready
    /// Yes, but the other nodes can't be reached.
    case degraded
    /// No: it has as much as it can do.
    case overloaded
    /// No: it is about to go. Who comes all the same is taken, since the balancer may not have seen it yet.
    case leaving
    /// No: it is on its way out.
    case draining

    /// Whether new connections are taken.
    public var acceptsClients: Bool { self == .ready || self == .degraded || self == .leaving }

    /// The word for it. For those outside, a node drains from the moment that it wants no more clients.
    public var word: String { self == .leaving ? Readiness.draining.rawValue : rawValue }
}
