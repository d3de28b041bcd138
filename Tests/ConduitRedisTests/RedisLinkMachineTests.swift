import ConduitRedis
import NIOCore
import Testing

@Suite struct RedisLinkMachineTests {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)
    private let refused = RedisError(.connectFailed, "refused")

    private func configuration(password: String? = nil, name: String? = nil) -> RedisConfiguration {
        var configuration = RedisConfiguration(password: password, clientName: name)
        configuration.reconnectMin = .milliseconds(50)
        configuration.reconnectMax = .seconds(2)
        return configuration
    }

    private func ready(_ configuration: RedisConfiguration) -> RedisLinkMachine {
        var machine = RedisLinkMachine(configuration)
        #expect(machine.start() == .connect(attempt: 1))
        #expect(machine.connected(attempt: 1) == .handshake([.ping]))
        #expect(machine.handshakeReply(.simple("PONG"), now: start) == .ready)
        return machine
    }

    @Test func theHandshakeIntroducesItselfInOrder() {
        var machine = RedisLinkMachine(configuration(password: "p", name: "n"))
        #expect(machine.phase == .idle)
        #expect(machine.start() == .connect(attempt: 1))
        #expect(machine.start() == .none)
        #expect(machine.phase == .connecting)
        #expect(machine.connected(attempt: 1) == .handshake([.authenticate, .setName, .ping]))
        #expect(machine.handshakeReply(.simple("OK"), now: start) == .wait)
        #expect(machine.handshakeReply(.simple("OK"), now: start) == .wait)
        #expect(machine.phase == .handshaking)
        #expect(machine.handshakeReply(.simple("PONG"), now: start) == .ready)
        #expect(machine.phase == .ready)
    }

    @Test(arguments: [
        ("WRONGPASS invalid", RedisError.Code.authentication),
        ("ERR invalid password", .authentication),
        ("ERR AUTH <password> called without any password configured", .authentication),
        ("LOADING Redis is loading", .server),
        ("DENIED Redis is running in protected mode", .server),
        ("ERR max number of clients reached", .server),
    ])
    func aRefusedAuthenticationIsTold(text: String, code: RedisError.Code) {
        var machine = RedisLinkMachine(configuration(password: "p"))
        _ = machine.start()
        _ = machine.connected(attempt: 1)
        #expect(machine.handshakeReply(.error(text), now: start) == .fail(RedisError(code, text)))
    }

    @Test func aMissingPasswordIsAnAuthenticationError() {
        var machine = RedisLinkMachine(configuration())
        _ = machine.start()
        _ = machine.connected(attempt: 1)
        let text = "NOAUTH Authentication required."
        #expect(machine.handshakeReply(.error(text), now: start) == .fail(RedisError(.authentication, text)))
    }

    @Test func aForbiddenNameDoesNoHarm() {
        var machine = RedisLinkMachine(configuration(name: "n"))
        _ = machine.start()
        #expect(machine.connected(attempt: 1) == .handshake([.setName, .ping]))
        #expect(machine.handshakeReply(.error("NOPERM no"), now: start) == .wait)
        #expect(machine.handshakeReply(.simple("PONG"), now: start) == .ready)
    }

    @Test(arguments: [RedisValue.simple("OK"), .integer(1), .null, .array([])])
    func somethingElseThanRedisIsAProtocolViolation(value: RedisValue) {
        var machine = RedisLinkMachine(configuration())
        _ = machine.start()
        _ = machine.connected(attempt: 1)
        guard case .fail(let error) = machine.handshakeReply(value, now: start) else {
            Issue.record("accepted \(value)")
            return
        }
        #expect(error.code == .protocolViolation)
    }

    @Test func waitsDoubleUpToTheirBoundAndAreFullyRandom() {
        var machine = RedisLinkMachine(configuration())
        _ = machine.start()
        var bounds: [TimeAmount] = []
        for attempt in 1...8 {
            guard case .retry(let delay, false, _) = machine.ended(attempt: attempt, refused, now: start, random: 1)
            else {
                Issue.record("no retry")
                return
            }
            bounds.append(delay)
            #expect(machine.phase == .waiting)
            #expect(machine.retry() == .connect(attempt: attempt + 1))
        }
        #expect(bounds == [50, 100, 200, 400, 800, 1600, 2000, 2000].map { TimeAmount.milliseconds($0) })
        guard case .retry(let none, _, _) = machine.ended(attempt: 9, refused, now: start, random: 0) else {
            Issue.record("no retry")
            return
        }
        #expect(none == .zero)
    }

    @Test func manyFailuresNeverOverflow() {
        var machine = RedisLinkMachine(configuration())
        _ = machine.start()
        for attempt in 1...200 {
            guard case .retry(let delay, _, _) = machine.ended(attempt: attempt, refused, now: start, random: 0.999)
            else {
                Issue.record("no retry")
                return
            }
            #expect(delay <= .seconds(2))
            _ = machine.retry()
        }
    }

    @Test func aStableConnectionStartsAfreshAndAFlappingOneDoesNot() {
        var machine = ready(configuration())
        #expect(
            machine.ended(attempt: 1, refused, now: start + .seconds(2), random: 1)
                == .retry(after: .milliseconds(50), wasReady: true, warn: true))
        for (attempt, wait) in [(2, 100), (3, 200), (4, 400)] {
            #expect(machine.retry() == .connect(attempt: attempt))
            _ = machine.connected(attempt: attempt)
            #expect(machine.handshakeReply(.simple("PONG"), now: start) == .ready)
            #expect(
                machine.ended(attempt: attempt, refused, now: start + .milliseconds(1), random: 1)
                    == .retry(after: .milliseconds(Int64(wait)), wasReady: true, warn: true))
        }
    }

    @Test func operatorsAreToldOncePerKindOfTrouble() {
        var machine = RedisLinkMachine(configuration())
        _ = machine.start()
        let slow = RedisError(.timedOut, "slow")
        var warned: [Bool] = []
        for (attempt, error) in [refused, refused, slow, refused, slow].enumerated() {
            guard case .retry(_, _, let warn) = machine.ended(attempt: attempt + 1, error, now: start, random: 0) else {
                return
            }
            warned.append(warn)
            _ = machine.retry()
        }
        #expect(warned == [true, false, true, false, false])
    }

    @Test func aWrongPasswordIsRetriedSlowlyAndToldEachHalfMinute() {
        var machine = RedisLinkMachine(configuration(password: "p"))
        _ = machine.start()
        let wrong = RedisError(.authentication, "WRONGPASS")
        var warned: [Bool] = []
        for attempt in 1...7 {
            let now = start + .seconds(Int64(attempt) * 10)
            guard case .retry(let delay, _, let warn) = machine.ended(attempt: attempt, wrong, now: now, random: 0.5)
            else {
                Issue.record("no retry")
                return
            }
            #expect(delay == .milliseconds(7500))
            warned.append(warn)
            _ = machine.retry()
        }
        #expect(warned == [true, false, false, true, false, false, true])
    }

    @Test func aFormerConnectionIsIgnored() {
        var machine = ready(configuration())
        _ = machine.ended(attempt: 1, refused, now: start, random: 0)
        #expect(machine.ended(attempt: 1, refused, now: start, random: 0) == .ignore)
        #expect(machine.retry() == .connect(attempt: 2))
        #expect(machine.ended(attempt: 1, refused, now: start, random: 0) == .ignore)
        #expect(machine.connected(attempt: 1) == .discard)
        #expect(machine.phase == .connecting)
    }

    @Test func closingWaitsForOwedAnswersOnly() {
        var machine = ready(configuration())
        #expect(machine.close(hasPendingReplies: true) == .drain)
        #expect(machine.close(hasPendingReplies: true) == .none)
        #expect(machine.phase == .closing)
        #expect(machine.drained() == .closeNow)
        #expect(machine.drained() == .none)
        #expect(machine.phase == .closed)

        var idle = ready(configuration())
        #expect(idle.close(hasPendingReplies: false) == .closeNow)
        #expect(idle.ended(attempt: 1, refused, now: start, random: 0) == .ignore)
        #expect(idle.retry() == .none)
        #expect(idle.start() == .none)
    }

    @Test func aConnectionLostWhileClosingIsClosed() {
        var machine = ready(configuration())
        _ = machine.close(hasPendingReplies: true)
        #expect(machine.ended(attempt: 1, refused, now: start, random: 0) == .closed)
        #expect(machine.phase == .closed)
    }

    @Test func closingWhileConnectingDiscardsWhatArrivesLate() {
        var machine = RedisLinkMachine(configuration())
        _ = machine.start()
        #expect(machine.close(hasPendingReplies: false) == .closeNow)
        #expect(machine.connected(attempt: 1) == .discard)
    }

    @Test func onlySilenceMakesAnAnswerOverdue() {
        var pending = RedisPendingReplies<Int>()
        let timeout = TimeAmount.seconds(5)
        #expect(!pending.isOverdue(now: start + .hours(1), lastHeard: start, timeout: timeout))
        pending.append(1, sent: start)
        pending.append(2, sent: start + .seconds(1))
        #expect(!pending.isOverdue(now: start + .milliseconds(4999), lastHeard: .distantPast, timeout: timeout))
        #expect(pending.isOverdue(now: start + .seconds(5), lastHeard: .distantPast, timeout: timeout))
        #expect(!pending.isOverdue(now: start + .seconds(5), lastHeard: start + .seconds(1), timeout: timeout))
        #expect(pending.isOverdue(now: start + .seconds(6), lastHeard: start + .seconds(1), timeout: timeout))
        pending.replaceFirst(with: 3)
        #expect(pending.isOverdue(now: start + .seconds(5), lastHeard: .distantPast, timeout: timeout))
        #expect(pending.popFirst() == 3)
        #expect(!pending.isOverdue(now: start + .seconds(5), lastHeard: .distantPast, timeout: timeout))
        #expect(pending.removeAll() == [2])
        #expect(pending.isEmpty)
    }
}
