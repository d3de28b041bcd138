import NIOCore

/// Decides what becomes of a request: a value without I/O.
struct FrontDoor: Sendable {
    /// What is to be done.
    enum Decision: Sendable {
        /// A page; `/ready` is one too when it says no.
        case page(HTTPAnswer)
        case refuse(Refusal)
        /// Correct and welcome, but not yet authenticated. The request, where it was needed to decide.
        case upgrade(Handshake, HandshakeRequest?)
    }

    private let configuration: GatewayConfiguration
    /// The window of what is compressed; 0 compresses for nobody.
    private let windowBits: UInt8

    init(configuration: GatewayConfiguration, windowBits: UInt8 = 0) {
        self.configuration = configuration
        self.windowBits = windowBits
    }

    func decide(_ head: RequestHead, readiness: Readiness, remoteAddress: () -> String?) -> Decision {
        do throws(Refusal) {
            if head.hasPath(configuration.path) && (Handshake.isUpgrade(head) || !isPage(configuration.path)) {
                return try upgrade(head, readiness: readiness, remoteAddress: remoteAddress)
            }
            if configuration.echo, head.hasPath(GatewayConfiguration.echoPath) {
                return try upgrade(head, isEcho: true, readiness: readiness, remoteAddress: remoteAddress)
            }
            let path = HandshakeRequest.split(uri: head.target).path
            return .page(try page(path, head, readiness: readiness))
        } catch {
            return .refuse(error)
        }
    }

    /// What an authentication handler is shown.
    func request(
        _ head: RequestHead, remoteAddress: String?, clientCertificate: ClientCertificate? = nil
    ) -> HandshakeRequest {
        HandshakeRequest(
            head: head, remoteAddress: remoteAddress, tokenCookie: configuration.tokenCookie,
            clientCertificate: clientCertificate)
    }

    private func upgrade(
        _ head: RequestHead, isEcho: Bool = false, readiness: Readiness, remoteAddress: () -> String?
    ) throws(Refusal) -> Decision {
        var handshake = try Handshake.check(head, windowBits: windowBits)
        handshake.isEcho = isEcho
        var request: HandshakeRequest?
        // What isn't a browser's page passes every rule: nothing has to be looked at.
        if head.contains("origin") {
            let made = self.request(head, remoteAddress: remoteAddress())
            guard configuration.origins.allows(made) else { throw Refusal(.forbidden, "this origin may not connect") }
            request = made
        }
        guard readiness.acceptsClients else {
            var refusal = Refusal(.serviceUnavailable, "the node is \(readiness.word)", [("Retry-After", "1")])
            refusal.isOverload = readiness == .overloaded
            throw refusal
        }
        return .upgrade(handshake, request)
    }

    // MARK: Pages

    private func isPage(_ path: String) -> Bool {
        path == "/health" || path == "/ready" || (path == "/" && configuration.exampleClient)
    }

    private func page(_ path: String, _ head: RequestHead, readiness: Readiness) throws(Refusal) -> HTTPAnswer {
        guard isPage(path) else { throw Refusal(.notFound, "nothing is here") }
        guard head.method == .get || head.method == .head else {
            throw Refusal(.methodNotAllowed, "only GET and HEAD are served", [("Allow", "GET, HEAD")])
        }
        // Health checks of old load balancers speak HTTP/1.0 without a Host.
        guard head.count("host") == 1 || (head.version == .http1_0 && !head.contains("host")) else {
            throw Refusal(.badRequest, "exactly one Host is needed")
        }
        switch path {
        case "/health":
            return HTTPAnswer(.ok, "status", "alive")
        case "/ready":
            switch readiness {
            case .ready: return HTTPAnswer(.ok, "status", readiness.word)
            case .degraded:
                return HTTPAnswer(
                    HTTPStatus(code: configuration.degradedStatus), "status", readiness.word)
            case .starting, .overloaded, .leaving, .draining:
                return HTTPAnswer(.serviceUnavailable, "status", readiness.word, headers: [("Retry-After", "1")])
            }
        default:
            return Self.examplePage
        }
    }

    /// The page may run what is in it and connect by WebSocket; it loads nothing and can't be framed.
    private static let examplePage = HTTPAnswer(
        .ok, contentType: "text/html; charset=utf-8", body: ByteBuffer(bytes: PackageResources.example_client_html),
        headers: [
            (
                "Content-Security-Policy",
                "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self' data:; "
                    + "connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            ),
            ("Referrer-Policy", "no-referrer"),
        ])
}
