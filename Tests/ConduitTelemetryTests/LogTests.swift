import ConduitTelemetry
import Logging
import Synchronization
import Testing

@Suite struct LogTests {
    private func line(_ message: String, _ metadata: Logger.Metadata = [:]) -> LogLine {
        LogLine(
            milliseconds: 1_795_473_000_123, level: .warning, label: "conduit", message: message, metadata: metadata)
    }

    @Test func textIsOneReadableLine() {
        #expect(
            line("Redis is away", ["address": "127.0.0.1:6379", "error": "connection refused"]).text
                == "2026-11-23T22:30:00.123Z warning  Redis is away address=127.0.0.1:6379 "
                + "error=\"connection refused\"\n")
    }

    @Test func jsonIsOneObject() {
        #expect(
            line("Redis is away", ["address": "127.0.0.1:6379", "level": "x"]).json
                == "{\"time\":\"2026-11-23T22:30:00.123Z\",\"level\":\"warning\",\"logger\":\"conduit\","
                + "\"message\":\"Redis is away\",\"address\":\"127.0.0.1:6379\",\"level_\":\"x\"}\n")
    }

    @Test(arguments: [
        "a\nb", "a\r\nb", "a\u{1B}[31mred", "a\u{9B}31m", "a\u{0}b", "a\u{2028}b", "a\u{202E}b", "a\u{7F}", "a\tb",
        "a\u{200B}b", "a\u{FEFF}", "\u{61C}", "\u{E0041}", "\u{85}",
    ])
    func controlCharactersOfOthersAreEscaped(text: String) {
        for written in [line(text, ["room": .string(text), text: "x"]).text, line(text, ["k": .string(text)]).json] {
            let body = written.dropLast()
            #expect(written.unicodeScalars.last == "\n")
            #expect(
                body.unicodeScalars.allSatisfy {
                    $0.value >= 0x20 && !(0x7F...0x9F).contains($0.value) && $0.value != 0x2028
                        && $0.properties.generalCategory != .format
                }, "\(body.debugDescription)")
        }
    }

    @Test func quotesAndBackslashesDoNotEndAString() {
        #expect(line("m", ["k": "a\" evil=\"1\\"]).text.hasSuffix(" k=\"a\\\" evil=\\\"1\\\\\"\n"))
        #expect(line("say \"hi\" \\").json.contains("\"message\":\"say \\\"hi\\\" \\\\\""))
    }

    @Test func escapesAreThoseOfJSON() {
        #expect(line("a\u{E0041}\u{1B}").json.contains("\"message\":\"a\\udb40\\udc41\\u001b\""))
        #expect(PrintableText.escaped("plain é 😀 \"\\") == "plain é 😀 \"\\")
        #expect(PrintableText.escaped("a\u{9B}31m\r\n") == "a\\u009b31m\\r\\n")
    }

    @Test func secretsAreNotWritten() {
        for written in [line("m", ["token": "s3cr3t"]).text, line("m", ["Password": "s3cr3t"]).json] {
            #expect(!written.contains("s3cr3t"))
        }
    }

    @Test func handlerKeepsLevelsAndMergesMetadata() {
        let collected = Collected()
        var logger = Logger(label: "test") { label in
            ConduitLogHandler(label: label, level: .info, format: .text, sink: collected.append)
        }
        logger[metadataKey: LogKey.node] = "n1"
        logger.debug("not this")
        logger.info("this", metadata: [LogKey.room: "r 1"])
        #expect(collected.lines.count == 1)
        #expect(collected.lines.first?.hasSuffix(" info     this node=n1 room=\"r 1\"\n") == true)
    }

    private final class Collected: Sendable {
        private let all = Mutex<[String]>([])
        var lines: [String] { all.withLock { $0 } }
        @Sendable func append(_ line: String) { all.withLock { $0.append(line) } }
    }

    @Test(
        arguments: [
            (0, "1970-01-01T00:00:00.000Z"), (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"), (-1, "1969-12-31T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"), (Int64.max, "9999-12-31T23:59:59.999Z"),
        ] as [(Int64, String)])
    func timesAreRFC3339(milliseconds: Int64, text: String) {
        #expect(WallClock.rfc3339(milliseconds: milliseconds) == text)
    }
}

@Suite struct ProcessFiguresTests {
    @Test func figuresOfThisProcessArePlausible() {
        let before = ProcessFigures.now()
        var sum: UInt64 = 0
        while ProcessFigures.now().cpuSeconds < before.cpuSeconds + 0.01 { sum &+= 1 }
        let after = ProcessFigures.now()
        #expect(after.residentBytes > 1_000_000)
        #expect(after.openDescriptors >= 3)
        #expect(after.maxDescriptors >= after.openDescriptors)
        #expect(after.cpuSeconds > before.cpuSeconds)
        #expect(after.cpuPercent(since: before) > 0)
    }

    @Test func cpuPercentIsOfOneCore() {
        let first = ProcessFigures(
            residentBytes: 0, cpuSeconds: 1, openDescriptors: 0, maxDescriptors: 0, takenAt: 10)
        var second = first
        second.cpuSeconds = 4
        second.takenAt = 12
        #expect(second.cpuPercent(since: first) == 150)
        #expect(first.cpuPercent(since: first) == 0)
    }
}
