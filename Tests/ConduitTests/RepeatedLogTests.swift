import Conduit
import ConduitTesting
import Logging
import Synchronization
import Testing

/// What clients can cause again and again is a line or two in the log.
@Suite(.timeLimit(.minutes(5)))
struct RepeatedLogTests {
    private struct Failure: Error {}

    private final class Lines: Sendable {
        let all = Mutex<[String]>([])
        func count(_ text: String) -> Int { all.withLock { $0.filter { $0.contains(text) }.count } }
    }

    @Test func aFloodOfFailuresIsALine() async throws {
        let lines = Lines()
        var router = MessageRouter()
        try router.handle("fail") { _ in throw Failure() }
        var configuration = TestNode.configuration()
        configuration.logLevel = .info
        configuration.eventLoops = 1
        configuration.hub.handlerQueue = 200
        let logger = Logger(label: "test") {
            ConduitLogHandler(label: $0, level: .trace, format: .json) { line in lines.all.withLock { $0.append(line) }
            }
        }
        let fails = Mutex(true)
        // A line each ten seconds: more than one on a very busy machine.
        let began = ContinuousClock.now
        func most() -> Int { 1 + Int((ContinuousClock.now - began) / .seconds(10)) }
        let node = try await ConduitNode.start(configuration: configuration, router: router, logger: logger) { _ in
            if fails.withLock({ $0 }) { throw Failure() }
            return .anonymous
        }
        for _ in 0..<30 {
            await #expect(throws: TestHTTPResponse.self) { try await TestWebSocket.connect(port: node.httpPort) }
        }
        #expect((1...most()).contains(lines.count("authentication failed to answer")))
        fails.withLock { $0 = false }
        let client = try await TestWebSocket.connect(port: node.httpPort)
        for id in 0..<100 { client.sendWithoutWaiting(#"{"type":"fail","id":\#(id)}"#) }
        for id in 0..<100 { #expect(try await client.next(id: "\(id)").string("code") == "internal") }
        #expect((1...most()).contains(lines.count("message handler failed")))
        await client.drop()
        await node.shutdown()
    }
}
