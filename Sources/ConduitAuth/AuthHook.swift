import ConduitCore
import ConduitGateway
import ConduitHub
import ConduitTelemetry
import ConduitWire
import Logging
import NIOCore
import NIOHTTP1
import Synchronization

/// The application's server gave no answer that can be used: nobody can tell.
package struct HookUnavailable: Error, Hashable, CustomStringConvertible {
    package let description: String
}

/// Asks the application's own server: one POST with JSON a question, over connections that are kept.
///
/// Bounded all around: so many questions at once, so many that wait, so much time, so large an answer; and after some
/// failures in a row nothing is asked for a while, so that a server in trouble isn't buried.
final class AuthHook: Sendable {
    /// What the server says.
    enum Verdict: Sendable {
        case granted(JSONValue?)
        case refused(String?)
    }

    /// Waiting questions for each that is under way.
    private static let queueFactor = 4

    private let configuration: HookConfiguration
    private let web: WebClient
    private let turnstile: Turnstile
    private let breaker: Mutex<CircuitBreaker>
    private let counters: AuthCounters
    private let logger: Logger

    init(_ configuration: HookConfiguration, web: WebClient, counters: AuthCounters, logger: Logger) {
        self.configuration = configuration
        self.web = web
        self.counters = counters
        self.logger = logger
        let places = max(1, configuration.concurrency)
        turnstile = Turnstile(places: places, waiting: places * Self.queueFactor)
        breaker = Mutex(
            CircuitBreaker(failures: configuration.breakerFailures, pause: configuration.breakerPause))
        counters.breaker(.closed)
    }

    func asks(_ ask: HookConfiguration.Ask) -> Bool { configuration.asks.contains(ask) }

    // MARK: Questions

    func connect(_ credentials: Credentials) async throws -> Verdict {
        var body = ByteBuffer()
        body.writeStaticString("{\"event\":\"connect\"")
        body.writeMember("token", credentials.token)
        body.writeMember("remote_address", credentials.remoteAddress)
        body.writeMember("path", credentials.path)
        let told = credentials.headers.map { (name: $0.name.lowercased(), value: $0.value) }
            .filter { Credentials.toldHeaders.contains($0.name) }
        body.writeMember("headers", told)
        body.writeMember("query", credentials.query.filter { $0.name != "token" })
        body.writeStaticString(",\"client_certificate\":")
        body.writeCertificate(credentials.clientCertificate)
        body.writeStaticString("}")
        return try await ask(body)
    }

    func refresh(_ token: String, user: UserID?) async throws -> Verdict {
        var body = ByteBuffer()
        body.writeStaticString("{\"event\":\"refresh\"")
        body.writeMember("token", token)
        body.writeMember("user", user?.rawValue)
        body.writeStaticString("}")
        return try await ask(body)
    }

    func authorize(_ question: AuthorizationQuestion) async throws -> Verdict {
        var body = ByteBuffer()
        body.writeString("{\"event\":\"\(question.action.rawValue)\"")
        body.writeMember("user", question.user?.rawValue)
        body.writeMember("client", question.client.rawValue)
        body.writeMember("room", question.room.rawValue)
        body.writeStaticString("}")
        return try await ask(body)
    }

    // MARK: Asking

    private func ask(_ body: ByteBuffer) async throws -> Verdict {
        let deadline = ContinuousClock.now + configuration.timeout
        guard !breaker.withLock({ $0.isShut(at: .now) }) else { throw notAsked() }
        do {
            try await turnstile.enter(until: deadline)
        } catch let error where error is CancellationError {
            throw error
        } catch {
            throw tooBusy()
        }
        // The server isn't to blame for our own queue: who has waited too long doesn't ask in a hurry.
        guard ContinuousClock.now.duration(to: deadline) >= configuration.timeout / 4 else {
            await turnstile.leave()
            throw tooBusy()
        }
        do {
            let verdict = try await askNow(body, deadline)
            await turnstile.leave()
            return verdict
        } catch {
            await turnstile.leave()
            throw error
        }
    }

    private func tooBusy() -> HookUnavailable {
        counters.hook("busy")
        return HookUnavailable(description: "too many questions wait for the authentication server")
    }

    private func notAsked() -> HookUnavailable {
        counters.hook("open")
        return HookUnavailable(description: "the authentication server has failed and is not asked for a while")
    }

    private func askNow(_ body: ByteBuffer, _ deadline: ContinuousClock.Instant) async throws -> Verdict {
        let start = ContinuousClock.now
        guard breaker.withLock({ $0.mayAsk(at: start) }) else { throw notAsked() }
        var headers: HTTPHeaders = ["content-type": "application/json", "accept": "application/json"]
        if !configuration.secret.isEmpty { headers.add(name: "authorization", value: "Bearer \(configuration.secret)") }
        do {
            let answer = try await web.send(
                .POST, configuration.url, headers: headers, body: body, within: start.duration(to: deadline),
                upTo: configuration.answerBytes)
            let verdict = try Self.verdict(answer)
            let result = if case .granted = verdict { "granted" } else { "refused" }
            counters.hook(result, took: start.duration(to: .now))
            note(breaker.withLock { ($0.succeeded(), $0.state) })
            return verdict
        } catch  where Task.isCancelled {
            note(
                breaker.withLock {
                    $0.abandoned(at: .now)
                    return (.none, $0.state)
                })
            throw CancellationError()
        } catch {
            let words = (error as? HookUnavailable)?.description ?? WebClient.words(error)
            counters.hook(error is TimedOut ? "timeout" : "failed", took: start.duration(to: .now))
            // A server that didn't answer in half of the time that it has might have in the whole.
            let wasHurried = error is TimedOut && start.duration(to: deadline) < configuration.timeout * 3 / 4
            note(
                breaker.withLock { breaker in
                    guard wasHurried else { return (breaker.failed(at: .now), breaker.state) }
                    breaker.abandoned(at: .now)
                    return (.none, breaker.state)
                }, words)
            throw HookUnavailable(description: "the authentication server gave no usable answer: \(words)")
        }
    }

    private func note(_ outcome: (CircuitBreaker.Change, CircuitBreaker.State), _ words: String = "") {
        switch outcome.1 {
        case .closed: counters.breaker(.closed)
        case .halfOpen: counters.breaker(.halfOpen)
        case .open: counters.breaker(.open)
        }
        switch outcome.0 {
        case .opened:
            logger.warning(
                "the authentication server keeps failing and is not asked for a while",
                metadata: [LogKey.address: "\(WebAddress.shown(configuration.url))", LogKey.error: "\(words)"])
        case .closed: logger.notice("the authentication server answers again")
        case .none: break
        }
    }

    // MARK: Answers

    /// 200 and 204 grant, 401 and 403 refuse; anything else is no answer.
    private static func verdict(_ answer: WebClient.Answer) throws -> Verdict {
        switch answer.status {
        case 200 where answer.body.readableBytes > 0:
            guard let value = try? JSONValue(document: answer.body), value.object != nil else {
                throw HookUnavailable(description: "the answer is not a JSON object")
            }
            return .granted(value)
        case 200, 204: return .granted(nil)
        case 401, 403: return .refused(message(answer.body))
        default: throw HookUnavailable(description: "the answer's status is \(answer.status)")
        }
    }

    /// What the server wants the client's developer to read.
    private static func message(_ body: ByteBuffer) -> String? {
        guard let message = (try? JSONValue(document: body))?.object?["message"]?.string,
            (1...200).contains(message.utf8.count), !message.containsControlCharacter
        else { return nil }
        return message
    }
}

extension ByteBuffer {
    /// `,"name":"value"`, or `null`.
    fileprivate mutating func writeMember(_ name: StaticString, _ value: String?) {
        writeString(",\"\(name)\":")
        if let value { writeJSONString(value) } else { writeStaticString("null") }
    }

    /// `{"common_name":…,"names":[…]}`, or `null`.
    fileprivate mutating func writeCertificate(_ certificate: ClientCertificate?) {
        guard let certificate else {
            writeStaticString("null")
            return
        }
        writeStaticString("{\"common_name\":")
        if let name = certificate.commonName { writeJSONString(name) } else { writeStaticString("null") }
        writeStaticString(",\"names\":[")
        for (index, name) in certificate.names.enumerated() {
            if index > 0 { writeStaticString(",") }
            writeJSONString(name)
        }
        writeStaticString("]}")
    }

    /// `,"name":{…}`. Of a name that stands twice the first counts.
    fileprivate mutating func writeMember(_ name: StaticString, _ values: [(name: String, value: String)]) {
        writeString(",\"\(name)\":{")
        var seen: Set<String> = []
        for (key, value) in values where seen.insert(key).inserted {
            if seen.count > 1 { writeStaticString(",") }
            writeJSONString(key)
            writeStaticString(":")
            writeJSONString(value)
        }
        writeStaticString("}")
    }
}
