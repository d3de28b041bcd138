import ConduitTelemetry
import ConduitTesting
import Foundation
import Logging
import Synchronization
import Testing

@Suite struct LogLimiterTests {
    @Test func aFewLinesOfEachKindInAPeriod() {
        var limiter = LogLimiter<String>(lines: 2, per: 1_000)
        #expect(limiter.admit("a", now: 0) == .write(repeated: 0))
        #expect(limiter.admit("a", now: 1) == .write(repeated: 0))
        #expect(limiter.admit("a", now: 2) == .count(isFirst: true))
        #expect(limiter.admit("a", now: 3) == .count(isFirst: false))
        #expect(limiter.admit("b", now: 4) == .write(repeated: 0))
        #expect(limiter.admit("a", now: 1_000) == .write(repeated: 2))
        #expect(limiter.admit("a", now: 1_001) == .write(repeated: 0))
        #expect(limiter.admit("a", now: 1_002) == .count(isFirst: true))
        #expect(limiter.takeCounted("a") == 1)
        #expect(limiter.takeCounted("a") == 0)
        #expect(limiter.takeCounted("c") == 0)
    }

    @Test func kindsAreBounded() {
        var limiter = LogLimiter<Int>(lines: 1, per: 1_000, kinds: 8)
        for kind in 0..<1_000 { _ = limiter.admit(kind, now: 0) }
        #expect(limiter.count == 8)
        // Their time is over: others have their places.
        #expect(limiter.admit(5_000, now: 2_000) == .write(repeated: 0))
        #expect(limiter.count <= 8)
    }

    @Test func whatWasHeldBackIsToldAtTheEnd() async throws {
        let lines = Lines()
        let logger = Logger(label: "test") {
            ConduitLogHandler(label: $0, level: .info, format: .json, sink: lines.add)
        }
        let limited = LimitedLogger(logger, per: .seconds(2))
        for number in 1...5 { limited.log(.warning, "handler failed", [LogKey.reason: "\(number)"]) }
        limited.log(.debug, "below the level")
        limited.log(.info, "another line")
        try await eventually("what was held back is told") { lines.all.count == 3 }
        #expect(lines.all[0].contains("\"message\":\"handler failed\",\"reason\":\"1\""))
        #expect(lines.all[1].contains("another line"))
        #expect(lines.all[2].contains("\"message\":\"handler failed\",\"repeated\":\"4\""))
    }

    @Test func loggersThatWereCopiedFollowTheLevel() {
        let lines = Lines()
        let level = LogLevelCell(.info)
        var logger = Logger(label: "test") {
            ConduitLogHandler(label: $0, level: .error, format: .json, sink: lines.add)
        }
        logger.handler = LeveledLogHandler(logger.handler, level)
        logger[metadataKey: LogKey.node] = "n"
        var own = logger
        own.logLevel = .critical
        let copy = logger
        copy.info("one")
        copy.debug("two")
        level.level = .debug
        copy.debug("three")
        own.error("four")
        level.level = .critical
        copy.error("five")
        #expect(lines.all.count == 2)
        #expect(lines.all[0].contains("one") && lines.all[0].contains("\"node\":\"n\""))
        #expect(lines.all[1].contains("three"))
    }

    /// What collectors are told to look for stays the same: no key of a line is written out where it is logged.
    @Test func everyKeyInTheSourcesIsOneOfTheTable() throws {
        var root = URL(fileURLWithPath: #filePath)
        for _ in 0..<3 { root.deleteLastPathComponent() }
        let folder = root.appendingPathComponent("Sources")
        let files = try #require(FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil))
        var seen = 0
        for case let file as URL in files where file.pathExtension == "swift" {
            let text = try String(contentsOf: file, encoding: .utf8)
            seen += 1
            for found in text.matches(of: /metadata: \[\s*"|metadataKey: "|metadata\["|Logger\.Metadata = \["/) {
                Issue.record("\(file.lastPathComponent): \(text[found.range])")
            }
        }
        #expect(seen > 100)
        #expect(Set(LogKey.all).count == LogKey.all.count)
        #expect(LogKey.all.allSatisfy { $0.wholeMatch(of: /[a-z_]+/) != nil })
        let documented = try String(contentsOf: root.appendingPathComponent("Docs/operations.md"), encoding: .utf8)
        for key in LogKey.all { #expect(documented.contains("| `\(key)` |"), "\(key) stands in Docs/operations.md") }
    }
}

private final class Lines: Sendable {
    private let lines = Mutex<[String]>([])
    var all: [String] { lines.withLock { $0 } }
    var add: @Sendable (String) -> Void { { line in self.lines.withLock { $0.append(line) } } }
}
