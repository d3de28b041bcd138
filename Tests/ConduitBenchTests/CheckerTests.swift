import ConduitTesting
import Testing

@testable import ConduitBench

/// What a server does wrong is found out, to the message.
@Suite(.timeLimit(.minutes(5)))
struct CheckerTests {
    static let members: UInt64 = 4

    private func run(
        _ script: ScriptedServer.Script, load: BenchPlan.Load = .rate(400), tls: TestCertificates? = nil,
        insecure: Bool = true,
        _ change: (inout BenchPlan) -> Void = { _ in },
        until isEnough: @escaping @Sendable (BenchProgress) -> Bool = { Plans.measured($0, 100) }
    ) async throws -> BenchReport {
        var report: BenchReport?
        try await ScriptedServer.with(script, tls: tls) { server in
            var plan = try Plans.plan(
                .fanout, ["\(tls == nil ? "ws" : "wss")://127.0.0.1:\(server.port)/ws"], clients: Int(Self.members))
            plan.load = load
            plan.insecure = insecure
            plan.threads = 2
            plan.publishers = 2
            change(&plan)
            report = try await Plans.run(plan, until: isEnough)
        }
        return try #require(report)
    }

    /// How many messages the script changed: every fifth of each publisher.
    private func fifths(_ report: BenchReport) -> UInt64 {
        report.sentByPublisher.reduce(0) { $0 + UInt64($1 / ScriptedServer.every) }
    }

    @Test func goodServerPasses() async throws {
        let report = try await run(.good)
        #expect(report.isClean)
        #expect(report.figures.sent > 0)
        #expect(report.figures.received == report.figures.sent * Self.members)
        #expect(report.expected == report.figures.received)
        #expect(report.figures.latency.count > 0)
    }

    @Test func lossIsCounted() async throws {
        let report = try await run(.loses)
        #expect(!report.isClean)
        #expect(report.lost == fifths(report) * Self.members)
        #expect(report.lost > 0)
        #expect(report.figures.duplicated == 0)
        #expect(report.figures.reordered == 0)
    }

    @Test func duplicatesAreCounted() async throws {
        let report = try await run(.doubles)
        #expect(!report.isClean)
        #expect(report.figures.duplicated == fifths(report) * Self.members)
        #expect(report.lost == 0)
        #expect(report.figures.received == report.figures.sent * Self.members)
    }

    @Test func wrongOrderIsCounted() async throws {
        // One publisher: with two the message behind may be the other's, which is no disorder.
        let report = try await run(.swaps) { $0.publishers = 1 }
        #expect(!report.isClean)
        let isLastHeld = report.figures.sent % UInt64(ScriptedServer.every) == 0
        #expect(report.figures.reordered == (fifths(report) - (isLastHeld ? 1 : 0)) * Self.members)
        #expect(report.lost == (isLastHeld ? Self.members : 0))
        #expect(report.figures.duplicated == 0)
    }

    @Test func closedLoopGoesOnAfterALoss() async throws {
        let report = try await run(.loses, load: .window(2)) { $0.lossTimeout = 0.1 }
        #expect(report.lost == fifths(report) * Self.members)
        #expect(report.figures.timeouts > 0)
        #expect(report.figures.sent > 5)
        #expect(!report.warnings.isEmpty)
    }

    @Test func fragmentsAndPingsBetweenThemAreNoFault() async throws {
        let report = try await run(.tears)
        #expect(report.isClean, "\(report.table)")
        #expect(report.figures.received == report.figures.sent * Self.members)
    }

    @Test func whatIsNoWebSocketEndsTheConnection() async throws {
        let report = try await run(.babbles, until: { $0.ready == 2 })
        #expect(!report.isClean)
        #expect(report.figures.invalid == Self.members)
        #expect(report.figures.lost == Int(Self.members))
        #expect(report.figures.failures.counts == ["the server sent a frame with a reserved bit": Int(Self.members)])
        #expect(report.lost == report.expected)
    }

    @Test func membersThatTheServerClosesAreNamedWithTheirCode() async throws {
        let report = try await run(.closes, until: { $0.ready == 2 })
        #expect(!report.isClean)
        #expect(report.figures.lost == Int(Self.members))
        #expect(
            report.figures.failures.counts == ["closed by the server with 3008 (slow consumer)": Int(Self.members)])
        #expect(report.lost > 0)
        #expect(report.lost + report.figures.received == report.expected)
    }

    @Test func certificatesAreCheckedUnlessToldOtherwise() async throws {
        let certificates = try await TestCertificates.make()
        let report = try await run(.good, tls: certificates)
        #expect(report.isClean)
        #expect(report.figures.received == report.figures.sent * Self.members)
        let error = await #expect(throws: BenchError.self) { try await run(.good, tls: certificates, insecure: false) }
        #expect(error?.description.contains("none of 6 connections could be opened: TLS: ") == true, "\(error as Any)")
    }

    @Test func refusalIsToldInTheServersWords() async throws {
        let text = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 8\r\n\r\ndraining"
        let error = await #expect(throws: BenchError.self) { try await run(.refuses(text)) }
        #expect(error?.description == "none of 6 connections could be opened: 503 Service Unavailable: draining")
    }

    @Test func silenceIsGivenUp() async throws {
        let error = await #expect(throws: BenchError.self) {
            try await run(.isSilent) { $0.connectTimeout = 0.2 }
        }
        #expect(
            error?.description == "none of 6 connections could be opened: no answer to the handshake in time")
    }

    @Test func membersThatAreKeptOutAreAFailure() async throws {
        let error = await #expect(throws: BenchError.self) { try await run(.keepsOut) }
        #expect(
            error?.description == "no member could be connected: joining was refused: permission_denied: members only")
    }
}
