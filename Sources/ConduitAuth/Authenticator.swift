package import ConduitCore
package import ConduitGateway
package import ConduitHub
package import ConduitTelemetry
package import Logging
import NIOCore

/// Says who a client is: by its token, or by what the application's server says of it.
///
/// A token is judged here alone when there are keys. Whoever brings none, or when there are no keys, is for the server
/// to tell, where it is asked. It never runs on a loop that carries messages: a handshake waits for it in a task.
package final class Authenticator: Sendable {
    private let configuration: AuthConfiguration
    private let rules: TokenRules
    private let store: KeyStore?
    private let hook: AuthHook?
    private let web: WebClient
    private let counters: AuthCounters
    private let logger: Logger

    private init(
        _ configuration: AuthConfiguration, store: KeyStore?, hook: AuthHook?, web: WebClient, counters: AuthCounters,
        logger: Logger
    ) {
        self.configuration = configuration
        self.rules = TokenRules(configuration)
        self.store = store
        self.hook = hook
        self.web = web
        self.counters = counters
        self.logger = logger
    }

    /// Makes one and begins to look after its keys. It must be ``shutdown()``.
    ///
    /// - Parameter previous: whose place it takes: its figures go on.
    package static func make(
        _ configuration: AuthConfiguration, after previous: Authenticator? = nil, logger: Logger
    ) async throws(AuthSetupError) -> Authenticator {
        try await make(configuration, times: KeyStore.Times(), after: previous, logger: logger)
    }

    static func make(
        _ configuration: AuthConfiguration, times: KeyStore.Times, after previous: Authenticator? = nil, logger: Logger
    ) async throws(AuthSetupError) -> Authenticator {
        let counters = previous?.counters ?? AuthCounters()
        let web = WebClient(
            caFile: configuration.caFile, connections: max(8, configuration.hook?.concurrency ?? 0),
            connectTimeout: configuration.hook?.timeout ?? times.fetch)
        let before = counters.snapshot
        if previous != nil { counters.restarted() }
        var store: KeyStore?
        if configuration.jwt.isConfigured {
            do throws(AuthSetupError) {
                store = try await KeyStore(
                    configuration.jwt, web: web, times: times, after: previous?.store, counters: counters,
                    logger: logger)
            } catch {
                counters.restored(before)
                await web.shutdown()
                throw error
            }
        }
        await store?.start()
        // Who takes another's place must not refuse anybody for want of keys that the other had.
        if let previous, let store {
            await store.firstReading()
            // The one that is there is better than one without keys. Where it has the same address, it has none either.
            if await store.lacksSet, await store.address != previous.store?.address {
                await store.stop()
                counters.restored(before)
                await web.shutdown()
                throw AuthSetupError(key: "auth.jwt.jwks-url", message: "no keys could be had from there")
            }
        }
        let hook = configuration.hook.map { AuthHook($0, web: web, counters: counters, logger: logger) }
        return Authenticator(
            configuration, store: store, hook: hook, web: web, counters: counters, logger: logger)
    }

    package func shutdown() async {
        await store?.stop()
        await web.shutdown()
    }

    package var statistics: AuthStatistics { counters.snapshot }

    /// How long the application's server may take for an answer; `nil` where it isn't asked.
    package var hookTimeout: Duration? { configuration.hook?.timeout }

    // MARK: Connecting

    /// The handshake's question.
    package func authenticate(_ request: HandshakeRequest, _ revocations: Revocations) async throws -> Identity {
        try await authenticate(Credentials(request), revocations)
    }

    package func authenticate(
        _ credentials: Credentials, _ revocations: Revocations = Revocations()
    ) async throws -> Identity {
        do {
            let identity = try await identity(credentials)
            guard !revocations.isRevoked(identity) else {
                throw AuthenticationError(.revoked, "the token was revoked")
            }
            counters.count(credentials.token == nil && identity.user == nil ? "anonymous" : "accepted")
            return identity
        } catch let error as AuthenticationError {
            counters.count(error.reason.rawValue)
            throw error
        } catch let error as CancellationError {
            throw error
        } catch {
            counters.count("unavailable")
            throw error
        }
    }

    private func identity(_ credentials: Credentials) async throws -> Identity {
        if let token = credentials.token, store != nil { return try await identity(token: token) }
        if let hook, hook.asks(.connect) { return try identity(of: try await hook.connect(credentials)) }
        // A token that nobody can check is a bad token, even where clients without one come in.
        guard credentials.token == nil else { throw AuthenticationError(.refused, "no tokens are taken here") }
        guard configuration.allowsAnonymous else { throw AuthenticationError(.missing, "a token is needed") }
        return Identity(user: nil, maySend: false, rights: configuration.anonymousRights)
    }

    private func identity(of verdict: AuthHook.Verdict) throws -> Identity {
        switch verdict {
        case .refused(let message): throw AuthenticationError(.refused, message ?? "not allowed")
        case .granted(nil): return Identity(user: nil, rights: configuration.defaultRights)
        case .granted(let answer?):
            do throws(AuthenticationError) {
                return try ClaimsReader(answer, noun: "the answer's")
                    .identity(user: "user", expiry: "expires_at", defaultRights: configuration.defaultRights)
            } catch {
                // The server's mistake, not the client's.
                throw HookUnavailable(description: error.message)
            }
        }
    }

    // MARK: Tokens

    /// Who a token is for.
    package func identity(token text: String) async throws -> Identity {
        let token = try SignedToken(text)
        try await verify(token)
        return try rules.identity(of: try token.claims(), now: WallClock.milliseconds)
    }

    private func verify(_ token: SignedToken) async throws {
        guard let store else { throw AuthenticationError(.refused, "no tokens are taken here") }
        let algorithm = try rules.algorithm(of: token)
        do throws(AuthenticationError) {
            return try rules.verify(token, algorithm, with: await store.keys)
        } catch {
            // Key sets hold public keys only: nothing new is to be found for a secret.
            guard !algorithm.isSymmetric, await store.mayHaveNews(of: token.keyID) else { throw error }
        }
        await store.lookAgain()
        do throws(AuthenticationError) {
            try rules.verify(token, algorithm, with: await store.keys)
        } catch {
            guard await store.lacksSet else { throw error }
            throw HookUnavailable(description: "the key set has not been read yet")
        }
    }

    // MARK: Connected

    /// Takes a new token of a connected client, who must stay the same user.
    package func refresh(_ token: String, _ current: Identity) async throws(RequestError) -> Identity {
        do {
            var identity: Identity
            if store != nil {
                identity = try await self.identity(token: token)
            } else if let hook, hook.asks(.connect) {
                identity = try self.identity(of: try await hook.refresh(token, user: current.user))
            } else {
                throw AuthenticationError(.refused, "no tokens are taken here")
            }
            guard identity.user == current.user else {
                throw AuthenticationError(.refused, "the token is for another user")
            }
            identity.subprotocol = current.subprotocol
            counters.count("refreshed")
            return identity
        } catch let error as AuthenticationError {
            counters.count(error.reason.rawValue)
            throw RequestError(error.reason == .expired ? .tokenExpired : .permissionDenied, error.message)
        } catch {
            counters.count("unavailable")
            throw RequestError(.unavailable, "nobody can tell whether the token is good")
        }
    }

    /// What the server is to be asked about what clients do with rooms.
    package var questions: Set<AuthorizationQuestion.Action> {
        guard let hook else { return [] }
        return Set(AuthorizationQuestion.Action.allCases.filter { hook.asks(Self.ask(of: $0)) })
    }

    private static func ask(of action: AuthorizationQuestion.Action) -> HookConfiguration.Ask {
        switch action {
        case .join: .join
        case .publish: .publish
        }
    }

    /// Asks the server, where it wants to be asked about that. A thrown error means that nobody could tell.
    package func authorize(_ question: AuthorizationQuestion) async throws -> Bool {
        guard let hook, hook.asks(Self.ask(of: question.action)) else { return true }
        switch try await hook.authorize(question) {
        case .granted: return true
        case .refused: return false
        }
    }
}
