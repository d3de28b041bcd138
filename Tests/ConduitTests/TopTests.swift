import ConduitTesting
import Foundation
import Testing

/// `conduit top` and `conduit cluster` on a real Redis, the former in a real terminal.
@Suite(.timeLimit(.minutes(5))) struct TopTests {
    /// Fifty nodes that live until the object dies.
    private final class Simulation: Sendable {
        private let process: SpawnedProcess

        init(_ redis: RedisServer, _ arguments: String...) throws {
            let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
                .deletingLastPathComponent().appendingPathComponent("dev/simulate-nodes").path
            process = try SpawnedProcess(
                ["python3", script, "--port", String(redis.port), "--series", "90"] + arguments)
            // It says so once everything is there.
            _ = process.output.availableData
        }

        deinit { process.signal(SIGKILL) }
    }

    private func start(
        _ redis: RedisServer, columns: Int = 80, rows: Int = 24, prefix: String = ""
    ) async throws -> TestTerminal {
        let program = "\(try Program.path) top --redis-url \(redis.url) --interval 0.2"
        return try await TestTerminal.start(
            "stty -g >$FOLDER/before; \(prefix)\(program); echo \"code=$?\"; stty -g >$FOLDER/after", columns: columns,
            rows: rows)
    }

    /// The program has ended, and the terminal is as it was.
    private func expectEnd(_ terminal: TestTerminal, code: Int) async throws {
        let screen = try await terminal.shows("code=\(code)")
        #expect(!screen.contains { $0.contains("CLIENTS") }, "\(screen)")
        try await eventually("the shell goes on") { terminal.file("after").hasSuffix("\n") }
        #expect(terminal.file("after") == terminal.file("before"))
    }

    @Test(.enabled(if: TestTerminal.isThere)) func fiftyNodesLive() async throws {
        let redis = try await RedisServer.start()
        let simulation = try Simulation(redis, "--hostile", "50")
        let terminal = try await start(redis)
        // The last line is drawn last: with it the picture is whole.
        var screen = try await terminal.shows("q quit")
        #expect(screen.count == 24 && screen.contains { $0.hasPrefix("sim-00") })
        #expect(screen[0].hasPrefix("conduit  50 nodes  47 ready  2 starting  1 draining"))
        #expect(screen[0].hasSuffix("Z"), "the last column is there")
        #expect(screen[1].hasPrefix("clients") && screen[1].contains("messages/s"))
        #expect(screen[23].hasPrefix("q quit"))
        // A minute of the past is drawn soon after the first look.
        try await terminal.shows("█")
        #expect(try await terminal.colouredScreen().contains("\u{1B}["))
        // Scrolling, sorting, help.
        try await terminal.press("End")
        try await terminal.shows("sim-49")
        try await terminal.press("Home", "c")
        screen = try await terminal.shows("1-12 of 50")
        try await terminal.press("?")
        try await terminal.shows("No node is asked")
        try await terminal.press("?", "p")
        try await terminal.shows("PAUSED")
        try await terminal.press("p")
        // Another size is drawn at once, to the last line.
        try await terminal.resize(columns: 132, rows: 43)
        try await eventually("drawn anew") {
            let screen = try await terminal.screen()
            return screen.count == 43 && screen[42].hasPrefix("q quit") && screen.contains { $0.contains("VERSION") }
        }
        // Nothing of a hostile name has reached the terminal.
        try await terminal.resize(columns: 60, rows: 12)
        try await eventually("drawn anew") {
            let screen = try await terminal.screen()
            return screen.count == 12 && screen[11].hasPrefix("q quit") && screen[0].hasPrefix("conduit  50 nodes")
        }
        try await terminal.press("q")
        try await expectEnd(terminal, code: 0)
        withExtendedLifetime(simulation) {}
    }

    @Test(.enabled(if: TestTerminal.isThere)) func theTerminalIsGivenBackOnEveryEnd() async throws {
        let redis = try await RedisServer.start()
        let pressed = try await start(redis)
        try await pressed.shows("No node of the cluster")
        try await pressed.press("C-c")
        try await expectEnd(pressed, code: 130)
        for (signal, code) in [(SIGTERM, 143), (SIGHUP, 129), (SIGQUIT, 131), (SIGINT, 130)] {
            let terminal = try await start(redis, prefix: "echo $$ >$FOLDER/shell; ")
            try await terminal.shows("No node of the cluster")
            let shell = terminal.file("shell").trimmingCharacters(in: .whitespacesAndNewlines)
            let child = try await ChildProcess.run(["pgrep", "-P", shell, "conduit"]).output
            let pid = try #require(Int32(child.trimmingCharacters(in: .whitespacesAndNewlines)), "\(child)")
            kill(pid, signal)
            try await expectEnd(terminal, code: code)
        }
    }

    @Test(.enabled(if: TestTerminal.isThere)) func stoppedAndContinuedItDrawsAnew() async throws {
        let redis = try await RedisServer.start()
        let terminal = try await start(redis, prefix: "set -m; echo $$ >$FOLDER/shell; ")
        try await terminal.shows("No node of the cluster")
        try await terminal.press("C-z")
        // The shell has its terminal again: it says the code of a stopped job and goes on.
        let screen = try await terminal.shows("code=")
        #expect(!screen.contains { $0.contains("No node of the cluster") })
        #expect(terminal.file("after").isEmpty || terminal.file("after") == terminal.file("before"))
    }

    @Test(.enabled(if: TestTerminal.isThere)) func itOutlivesItsRedis() async throws {
        let redis = try await RedisServer.start()
        let simulation = try Simulation(redis, "--once", "3")
        let terminal = try await start(redis)
        try await terminal.shows("sim-02")
        try await redis.stop()
        let screen = try await terminal.shows("Redis can't be read")
        #expect(screen.contains { $0.contains("sim-02") }, "what was last known stays")
        try await redis.restart()
        try await terminal.shows("No node of the cluster")
        try await terminal.press("q")
        try await expectEnd(terminal, code: 0)
        withExtendedLifetime(simulation) {}
    }

    /// A terminal that takes nothing any more, as behind a connection that hangs, holds nobody: signals and keys are heard.
    @Test(arguments: [SIGTERM, 0]) func aTerminalThatTakesNothingHoldsNobody(signal: Int32) async throws {
        let redis = try await RedisServer.start()
        let simulation = try Simulation(redis, "50")
        let terminal = try UnreadTerminal(columns: 200, rows: 60)
        let before = terminal.settings
        let program = try SpawnedProcess([
            "sh", "-c",
            "exec \(try Program.path) top --redis-url \(redis.url) --interval 0.2 <\(terminal.path) >\(terminal.path)",
        ])
        try await eventually("it has the terminal") { terminal.settings != before }
        // It draws everything anew until no byte more has room.
        try await eventually("the terminal is full", poll: .milliseconds(50)) {
            terminal.press(0x0C)
            return terminal.isFull
        }
        if signal != 0 { program.signal(signal) } else { terminal.press(0x03) }
        try await eventually("it has ended") { !program.isRunning }
        #expect(program.exitStatus == (signal != 0 ? 143 : 130))
        #expect(terminal.settings == before)
        withExtendedLifetime(simulation) {}
    }

    /// Slow is not gone: what was cut off is drawn to its end once there is room.
    @Test func aTerminalThatTakesAgainIsDrawnOn() async throws {
        let redis = try await RedisServer.start()
        let simulation = try Simulation(redis, "--once", "50")
        let terminal = try UnreadTerminal(columns: 200, rows: 60)
        let program = try SpawnedProcess([
            "sh", "-c",
            "exec \(try Program.path) top --redis-url \(redis.url) --interval 60 <\(terminal.path) >\(terminal.path)",
        ])
        try await eventually("the terminal is full", poll: .milliseconds(50)) {
            terminal.press(0x0C)
            return terminal.isFull
        }
        _ = terminal.read()
        terminal.press(UInt8(ascii: "?"))
        var text = ""
        try await eventually("the page of help") {
            text += terminal.read()
            return text.contains("No node is asked")
        }
        terminal.press(UInt8(ascii: "q"))
        try await eventually("it has ended") {
            _ = terminal.read()
            return !program.isRunning
        }
        #expect(program.exitStatus == 0)
        withExtendedLifetime(simulation) {}
    }

    @Test func aDumbTerminalIsPrintedTo() async throws {
        let redis = try await RedisServer.start()
        let terminal = try UnreadTerminal(columns: 80, rows: 24)
        let program = try SpawnedProcess([
            "sh", "-c",
            "TERM=dumb exec \(try Program.path) top --redis-url \(redis.url) <\(terminal.path) >\(terminal.path)",
        ])
        try await eventually("it has ended") { !program.isRunning }
        #expect(program.exitStatus == 0)
        let text = terminal.read()
        #expect(text.contains("No node of the cluster") && !text.contains("\u{1B}"))
    }

    @Test func withoutATerminalItIsPrintedOnce() async throws {
        let redis = try await RedisServer.start()
        let simulation = try Simulation(redis, "--once", "--hostile", "50")
        let whole = try await Program.run("top", "--redis-url", redis.url)
        #expect(whole.status == 0)
        let lines = whole.output.split(separator: "\n", omittingEmptySubsequences: false)
        #expect(lines.count { $0.hasPrefix("sim-") } == 50)
        #expect(lines.allSatisfy { $0.unicodeScalars.count <= 80 })
        #expect(whole.output.unicodeScalars.allSatisfy { $0 == "\n" || $0.value >= 0x20 && $0.value != 0x7F })
        #expect(whole.output.contains("BUSIEST ROOMS"))
        let wide = try await Program.run("top", "--once", "--width", "160", "--redis-url", redis.url)
        #expect(wide.output.contains("VERSION"))
        let none = try await Program.run(
            "top", "--redis-url", "redis://:s3cr3t@127.0.0.1:\(try await RedisServer.freePort())")
        #expect(none.status == 69 && !none.output.contains("s3cr3t"), "\(none)")
        #expect(try await Program.run("top", "--interval", "0").status == 64)
        withExtendedLifetime(simulation) {}
    }

    @Test func clusterTellsRatesAndBusyRoomsInJSON() async throws {
        let redis = try await RedisServer.start()
        let simulation = try Simulation(redis, "--once", "--hostile", "50")
        let json = try await Program.run("cluster", "--json", "--redis-url", redis.url)
        let object = try #require(try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any])
        let nodes = try #require(object["nodes"] as? [[String: Any]])
        #expect(nodes.count == 50)
        #expect(nodes.allSatisfy { $0["deliveries_per_second"] as? Double ?? 0 > 0 })
        let totals = try #require(object["totals"] as? [String: Any])
        #expect(totals["messages_in_per_second"] as? Double ?? 0 > 0)
        let rooms = try #require(object["busiest"] as? [[String: Any]])
        #expect(rooms.count == 20)
        #expect(rooms.allSatisfy { $0["messages_per_second"] as? Double ?? 0 > 0 && $0["nodes"] as? Int ?? 0 > 0 })
        withExtendedLifetime(simulation) {}
    }
}
