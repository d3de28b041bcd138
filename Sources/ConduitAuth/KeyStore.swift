import ConduitTelemetry
import Foundation
import Logging
import NIOCore
import NIOHTTP1

/// Keeps the keys: those of the settings, and those of a key set that may change while the node runs.
///
/// The last good set stays when a new one can't be had. A file is looked at every few seconds; an address is asked in
/// regular intervals, and once more, but not often, when a token names a key that nobody knows. Who waits for that
/// waits with all the others for one answer.
actor KeyStore {
    /// How it deals with time.
    struct Times: Sendable {
        /// Least time between two fetches for the sake of unknown keys.
        var unknownKeyPause = Duration.seconds(10)
        /// How often a file is looked at.
        var filePoll = Duration.seconds(2)
        /// When to try again after a failure, at the latest.
        var retry = Duration.seconds(30)
        /// How long a fetch may take.
        var fetch = Duration.seconds(5)
    }

    private enum Source {
        case file(String)
        case url(String, WebClient)
    }

    private let fixed: [VerificationKey]
    private let tokens: TokenConfiguration
    private let source: Source?
    private let times: Times
    private let counters: AuthCounters
    private let logger: Logger
    private var loaded: [VerificationKey] = []
    private var content: ByteBuffer?
    private var isFailing = false
    private var lastAttempt: ContinuousClock.Instant?
    private var running: Task<Void, Never>?
    private var watcher: Task<Void, Never>?

    /// - Parameter previous: whose key set is good until there is a newer one, where it came from the same address.
    /// - Throws: which setting is wrong. An address that doesn't answer is no mistake of the settings.
    init(
        _ tokens: TokenConfiguration, web: WebClient, times: Times = Times(), after previous: KeyStore? = nil,
        counters: AuthCounters, logger: Logger
    ) async throws(AuthSetupError) {
        self.tokens = tokens
        self.times = times
        self.counters = counters
        self.logger = logger
        fixed = try await tokens.fixedKeys()
        source =
            if !tokens.jwksFile.isEmpty { .file(tokens.jwksFile) } else if !tokens.jwksURL.isEmpty {
                .url(tokens.jwksURL, web)
            } else { nil }
        if case .url(let url, _)? = source, let previous, await previous.address == url {
            (loaded, content) = await previous.reading
            if !loaded.isEmpty { counters.loaded(keys: loaded.count) }
        }
        if case .file(let path)? = source {
            do throws(KeyError) {
                let bytes = ByteBuffer(string: try KeyMaterial.text(ofFile: path))
                loaded = try await JWKSReader.read(bytes).keys
                content = bytes
                counters.loaded(keys: loaded.count)
            } catch {
                throw AuthSetupError(key: "auth.jwt.jwks-file", message: "\(path.debugDescription): \(error)")
            }
        }
    }

    /// Where the key set is fetched from.
    var address: String? { if case .url(let url, _)? = source { url } else { nil } }

    /// What was read last.
    private var reading: (keys: [VerificationKey], content: ByteBuffer?) { (loaded, content) }

    /// Returns when a set was had, or couldn't be had.
    func firstReading() async {
        guard loaded.isEmpty, address != nil else { return }
        await renew()
    }

    /// Begins to look after the set.
    func start() {
        guard source != nil, watcher == nil else { return }
        watcher = Task { [weak self] in
            while !Task.isCancelled, let pause = await self?.look() {
                try? await Task.sleep(for: pause)
            }
        }
    }

    func stop() async {
        watcher?.cancel()
        watcher = nil
        running?.cancel()
        await running?.value
    }

    /// The keys that are good now.
    var keys: KeySet { KeySet(keys: fixed + loaded.filter { tokens.allows($0.algorithm) }) }

    /// Whether a set has not been had yet, so that nobody can tell which keys are good.
    var lacksSet: Bool { if case .url? = source { loaded.isEmpty } else { false } }

    /// Whether looking once more may help: no set was had yet, or none of its keys has the name.
    func mayHaveNews(of id: String?) -> Bool {
        guard source != nil else { return false }
        return loaded.isEmpty || (id != nil && !loaded.contains { $0.id == id })
    }

    /// Looks once more for a key that isn't known, unless that was done a moment ago.
    func lookAgain() async {
        if running == nil {
            guard source != nil else { return }
            if let lastAttempt, lastAttempt.duration(to: .now) < times.unknownKeyPause { return }
        }
        await renew()
    }

    /// One round of the watcher; returns how long to wait for the next.
    private func look() async -> Duration {
        await renew()
        if case .file? = source { return times.filePoll }
        return isFailing ? min(times.retry, tokens.jwksRefresh) : tokens.jwksRefresh
    }

    /// Reads the source; who comes while that is done waits for the same answer.
    private func renew() async {
        if let running { return await running.value }
        lastAttempt = .now
        let task = Task {
            await self.read()
            // Here and not where it is awaited: nobody may join a reading that is over and take it for a new one.
            self.running = nil
        }
        running = task
        await task.value
    }

    private func read() async {
        guard let source else { return }
        do {
            let bytes: ByteBuffer
            switch source {
            case .file(let path): bytes = ByteBuffer(string: try KeyMaterial.text(ofFile: path))
            case .url(let url, let web):
                let answer = try await web.send(
                    .GET, url, headers: ["accept": "application/jwk-set+json, application/json"], within: times.fetch,
                    upTo: JWKSReader.maximumBytes)
                guard answer.status == 200 else { throw KeyError("the answer's status is \(answer.status)") }
                bytes = answer.body
            }
            if bytes != content {
                let reading = try await JWKSReader.read(bytes)
                loaded = reading.keys
                content = bytes
                logger.info(
                    "key set read",
                    metadata: [LogKey.count: "\(reading.keys.count)", LogKey.skipped: "\(reading.skipped)"])
            }
            if isFailing { logger.notice("the key set can be read again") }
            isFailing = false
            counters.fetched(true)
            counters.loaded(keys: loaded.count)
        } catch {
            counters.fetched(false)
            // One line at the edge; the counter tells the rest.
            if !isFailing {
                logger.warning(
                    "the key set can't be read; the last good one stays",
                    metadata: [LogKey.error: "\(WebClient.words(error))", LogKey.count: "\(loaded.count)"])
            }
            isFailing = true
        }
    }
}
