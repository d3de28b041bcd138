import ConduitCluster
import ConduitCommand
import ConduitCore
import Foundation
import Testing

/// What fits on a terminal, and how it is drawn: values, without a terminal.
@Suite struct TopFrameTests {
    @Test func whateverNodesTellTheJSONIsJSON() throws {
        let nodes = try ["a", "b", "c"].map { try #require(NodeID($0)) }
        let table = ClusterTable(
            prefix: "p", rows: [], rates: [nodes[0]: 1e308, nodes[1]: 1.7e308, nodes[2]: .infinity],
            deliveryRates: [nodes[0]: .nan, nodes[1]: 2],
            busiest: [BusyRoomRow(room: "r", messagesPerSecond: .infinity, nodes: 1)])
        let object = try #require(try JSONSerialization.jsonObject(with: Data(table.json.utf8)) as? [String: Any])
        let totals = try #require(object["totals"] as? [String: Any])
        #expect(totals["deliveries_per_second"] as? Double == 2)
        #expect((object["busiest"] as? [Any])?.isEmpty == true)
        #expect(!table.text.contains("inf"))
    }

    @Test func hostileNamesAreMeasuredAsTheyAreShown() {
        #expect(Columns.fit("lobby", 10) == "lobby")
        #expect(Columns.fit("a rather long name", 8) == "a rathe…")
        #expect(Columns.fit("\u{1B}[2J", 20) == "\\u001b[2J")
        #expect(Columns.fit("a\nb", 20) == "a\\nb")
        #expect(Columns.width("日本語") == 6)
        #expect(Columns.fit("日本語の部屋", 7) == "日本語…")
        #expect(Columns.fit("日本語の部屋", 6) == "日本…")
        #expect(Columns.pad("日本", 6) == "日本  ")
        #expect(Columns.pad("7", 4, right: true) == "   7")
        #expect(Columns.fitMiddle("web-eu-west-1-x3f9", 11) == "web-e…-x3f9")
        #expect(Columns.fit("x", 0) == "")
        // Marks without a width must not make a line of thousands of them.
        let zalgo = "a" + String(repeating: "\u{0301}", count: 10_000)
        #expect(Columns.fit(zalgo, 10).unicodeScalars.count < 60)
        #expect(Columns.width(Columns.fit(zalgo, 10)) <= 10)
        #expect(!Columns.fit("\u{202E}abc", 20).unicodeScalars.contains("\u{202E}"))
    }

    @Test(
        arguments: [
            (nil, "-"), (0, "0"), (0.04, "0"), (0.52, "0.5"), (9.96, "10.0"), (12.4, "12"), (99_999, "99999"),
            (100_000, "100k"), (1_234_567, "1.2M"), (9.9e18, "9.9E"), (-3, "-3.0"), (.infinity, "-"),
        ] as [(Double?, String)])
    func numbersAreShort(value: Double?, text: String) {
        #expect(ShortFigure.number(value) == text)
    }

    @Test(
        arguments: [
            (nil, "-"), (0, "0us"), (999, "999us"), (1_000, "1.0ms"), (12_345, "12.3ms"), (999_400, "999ms"),
            (3_400_000, "3.4s"), (600_000_000, "600s"), (1e15, "long"),
        ] as [(Double?, String)])
    func durationsAreShort(value: Double?, text: String) {
        #expect(ShortFigure.duration(microseconds: value) == text)
    }

    @Test func sparklinesShowTheCourse() {
        #expect(Sparkline.text([0, 7, 14]) == "▁▅█")
        #expect(Sparkline.text([nil, 5, 5]) == " ██")
        #expect(Sparkline.text([0, 0]) == "▁▁")
        // A fifth of the greatest is the least range: noise stays small.
        #expect(Sparkline.text([99, 100]) == "██")
        #expect(Sparkline.text([]) == "")
    }

    @Test func keysAreReadWhateverComesTogether() {
        #expect(TerminalKey.read(Array("q".utf8)) == [.letter("q")])
        #expect(TerminalKey.read([0x1B, 0x5B, 0x41, 0x1B, 0x4F, 0x42, 0x03]) == [.up, .down, .interrupt])
        #expect(TerminalKey.read(Array("\u{1B}[5~\u{1B}[6~\u{1B}[1;5C".utf8)) == [.pageUp, .pageDown, .right])
        #expect(TerminalKey.read([0x1B]) == [.escape])
        #expect(TerminalKey.read([0x1B, 0x5B]) == [])
        #expect(TerminalKey.read([0xFF, 0x00, 0x1A]) == [.suspend])
    }

    // MARK: Rates

    private func node(_ name: String) throws -> NodeID { try #require(NodeID(name)) }

    private func row(_ name: String, _ fields: [String: String] = ["state": "ready"], age: Int64 = 100) throws
        -> NodeRow
    {
        NodeRow(node: try node(name), heartbeatAgeMilliseconds: age, fields: fields)
    }

    @Test func ratesComeFromTheSeriesAndSurviveARestart() throws {
        let (a, b) = (try node("a"), try node("b"))
        func sample(_ at: Int64, _ messages: Double) -> Sample { Sample(at: at, figures: ["messages_in": messages]) }
        var history = TopHistory()
        let rows = [try row("a"), try row("b")]
        history.take([a: [sample(0, 0), sample(1_000, 50), sample(2_000, 100)], b: [sample(2_000, 9)]], rows, now: 0)
        #expect(history.rate("messages_in", of: a) == 50)
        #expect(history.rate("messages_in", of: b) == nil)
        // The same entries again, and a newer one: each counts once.
        history.take(
            [a: [sample(1_000, 50), sample(2_000, 100), sample(3_000, 160)], b: [sample(2_000, 9)]], rows, now: 0)
        #expect(history.rate("messages_in", of: a) == 160.0 / 3)
        #expect(history.values("messages_in", .rate, count: 3, step: 1_000, only: a) == [50, 50, 60])
        // Counters begin anew.
        history.take([a: [sample(4_000, 5)]], rows, now: 0)
        #expect(history.rate("messages_in", of: a) == nil)
        // A node that is gone leaves nothing behind.
        history.take([:], [try row("b")], now: 0)
        #expect(history.values("messages_in", .sum, count: 1, step: 1_000, only: a) == [nil])
    }

    @Test func aNodeWithoutASeriesHasRatesFromWhatWasSeen() throws {
        let a = try node("a")
        var history = TopHistory()
        history.take([:], [try row("a", ["messages_in": "10", "state": "ready"])], now: 1_000)
        history.take([:], [try row("a", ["messages_in": "30", "state": "ready"])], now: 3_000)
        #expect(history.rate("messages_in", of: a) == 10)
    }

    @Test func theClusterIsTheSumOfItsNodesOverTime() throws {
        let (a, b) = (try node("a"), try node("b"))
        func samples(_ values: [Double], from: Int64 = 0) -> [Sample] {
            values.enumerated().map {
                Sample(
                    at: from + Int64($0.offset) * 1_000, figures: ["clients": $0.element, "relay_p99_us": $0.element])
            }
        }
        var history = TopHistory()
        // The second node beats half a second later, and has just come.
        history.take(
            [a: samples([1, 2, 3, 4]), b: samples([10, 20], from: 1_500)], [try row("a"), try row("b")], now: 0)
        #expect(history.values("clients", .sum, count: 4, step: 1_000) == [1, 2, 13, 24])
        #expect(history.values("relay_p99_us", .greatest, count: 4, step: 1_000) == [1, 2, 10, 20])
    }

    // MARK: The picture

    /// So many nodes with hostile companions.
    private func reading(_ count: Int) throws -> TopReading {
        var reading = TopReading()
        reading.rows = try (0..<count).map { number in
            try row(
                "node-with-a-long-name-\(number)",
                [
                    "state": ["ready", "draining", "\u{1B}[31mowned"][number % 3], "clients": "\(number * 1_000)",
                    "rooms": "9223372036854775807", "local_p99_us": "1234", "relay_p99_us": "-5", "cpu_percent": "250",
                    "rss_bytes": "123456789", "version": String(repeating: "長", count: 500),
                ])
        }
        if count > 4 { reading.rows[4] = try row("node-gone", [:], age: 60_000) }
        reading.busiest = ["\u{202E}evil", "\u{1B}]0;title\u{07}", String(repeating: "長", count: 300), "", "lobby"].map
        {
            BusyRoomRow(room: $0, messagesPerSecond: 1e12, nodes: 50)
        }
        reading.took = .milliseconds(12)
        return reading
    }

    @Test(arguments: [20, 33, 60, 79, 80, 81, 100, 132, 250], [1, 2, 5, 13, 14, 24, 25, 60])
    func everyLineFitsWhateverTheTerminal(width: Int, height: Int) throws {
        for count in [0, 1, 50] {
            let frame = TopFrame(try reading(count), width: width)
            var choice = TopChoice()
            for sort in TopChoice.Column.allCases {
                choice.sort = sort
                choice.first = 1_000
                let lines = frame.screen(height: height, &choice, message: sort == .cpu ? "wrong\u{1B}[2J" : nil)
                #expect(lines.count == height)
                for line in lines {
                    #expect(line.width <= width, "\(line.plain)")
                    #expect(
                        line.plain.unicodeScalars.allSatisfy {
                            $0.value >= 0x20 && $0.value != 0x7F && $0 != "\u{202E}"
                        })
                }
            }
            for line in frame.whole() { #expect(line.width <= width, "\(line.plain)") }
        }
    }

    @Test func fiftyNodesAreReadableOn80Columns() throws {
        let frame = TopFrame(try reading(50), width: 80)
        var choice = TopChoice()
        choice.sort = .clients
        let lines = frame.screen(height: 24, &choice).map(\.plain)
        #expect(lines[0].hasPrefix("conduit  50 nodes  17 ready"))
        #expect(lines[0].contains("1 lost") && lines[0].contains("other"))
        let titles = lines[6].split(separator: " ").map(String.init)
        #expect(
            titles.starts(with: ["NODE", "STATE", "CLIENTS"]) && titles.contains("RELAY") && titles.contains("MEM"))
        #expect(lines[7].contains("…") && lines[7].contains("49000"))
        #expect(lines.last?.contains("1-12 of 50") == true)
        // The end of the list, and no further.
        choice.first = .max / 2
        _ = frame.screen(height: 24, &choice)
        #expect(choice.first == 38)
        choice.isReversed = true
        choice.first = 0
        #expect(frame.screen(height: 24, &choice)[7].plain.contains("lost"))
        // Everything at once, for a file.
        #expect(frame.whole().count { $0.plain.hasPrefix("node-") } == 50)
        choice.showsHelp = true
        #expect(frame.screen(height: 24, &choice)[0].plain.contains("No node is asked"))
    }
}
