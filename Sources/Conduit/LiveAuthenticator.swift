import ConduitAuth
import ConduitCore
import ConduitGateway
import ConduitHub
import ConduitTelemetry
import Logging
import Synchronization

/// The ``Authenticator`` of now. Another one takes its place when the settings change; who has asked the one before gets its
/// answer.
final class LiveAuthenticator: Sendable {
    /// How long one that was replaced lives on at least for those who have asked it: as long as an answer to a connected
    /// client may take. Longer where its server may take longer for a handshake.
    private static let farewell = Duration.seconds(10)

    private struct State {
        var current: Authenticator
        var leaving: [Int: Task<Void, Never>] = [:]
        var number = 0
        var isShutDown = false
    }

    private let state: Mutex<State>
    private let logger: Logger

    init(_ configuration: AuthConfiguration, logger: Logger) async throws(AuthSetupError) {
        self.state = Mutex(State(current: try await Authenticator.make(configuration, logger: logger)))
        self.logger = logger
    }

    private var current: Authenticator { state.withLock { $0.current } }

    /// Others decide from now on.
    ///
    /// - Throws: which setting is wrong; then all stays as it was.
    func replace(_ configuration: AuthConfiguration) async throws(AuthSetupError) {
        let made = try await Authenticator.make(configuration, after: current, logger: logger)
        let isTaken = state.withLock { state in
            guard !state.isShutDown else { return false }
            let old = state.current
            let farewell = max(Self.farewell, (old.hookTimeout ?? .zero) + .seconds(1))
            state.current = made
            state.number += 1
            let number = state.number
            state.leaving[number] = Task { [weak self] in
                try? await Task.sleep(for: farewell)
                await old.shutdown()
                self?.state.withLock { $0.leaving[number] = nil }
            }
            return true
        }
        // The node has ended meanwhile.
        if !isTaken { await made.shutdown() }
    }

    func shutdown() async {
        let (current, leaving) = state.withLock { state in
            state.isShutDown = true
            return (state.current, Array(state.leaving.values))
        }
        for task in leaving {
            task.cancel()
            await task.value
        }
        await current.shutdown()
    }

    var statistics: AuthStatistics { current.statistics }

    /// What the application's server is to be asked about what clients do with rooms.
    var questions: Set<AuthorizationQuestion.Action> { current.questions }

    func authenticate(_ request: HandshakeRequest, _ revocations: Revocations) async throws -> Identity {
        try await current.authenticate(request, revocations)
    }

    func refresh(_ token: String, _ identity: Identity) async throws -> Identity {
        try await current.refresh(token, identity)
    }

    func authorize(_ question: AuthorizationQuestion) async throws -> Bool { try await current.authorize(question) }
}
