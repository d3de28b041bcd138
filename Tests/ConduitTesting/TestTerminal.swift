import Foundation

/// A real terminal of one test, by tmux: a program runs in it, keys are pressed, the screen is read. It dies with this
/// object.
package final class TestTerminal: Sendable {
    private let name: String
    private let folder: TemporaryFolder

    /// Whether tmux is installed; `dev/install` does it.
    package static let isThere = ["/usr/bin/tmux", "/usr/local/bin/tmux", "/bin/tmux"]
        .contains { FileManager.default.isExecutableFile(atPath: $0) }

    private init() throws {
        name = "conduit-test-\(String(UInt64.random(in: 0...UInt64.max), radix: 36))"
        folder = try TemporaryFolder("terminal")
    }

    deinit {
        // A server of tmux that only this terminal has.
        let tmux = try? SpawnedProcess(["tmux", "-L", name, "kill-server"], discardingErrors: true)
        for _ in 0..<5_000 where tmux?.isRunning == true { usleep(1_000) }
    }

    /// Runs a line of shell in a new terminal; it may use `$FOLDER` for files.
    package static func start(_ line: String, columns: Int, rows: Int) async throws -> TestTerminal {
        let terminal = try TestTerminal()
        // Should this process crash, the terminal ends by itself.
        let script = "FOLDER=\(terminal.folder.url.path); \(line); sleep 600"
        let outcome = try await ChildProcess.run([
            "env", "TERM=xterm-256color", "LC_ALL=C.UTF-8", "tmux", "-L", terminal.name, "-f", "/dev/null",
            "new-session", "-d",
            "-x", "\(columns)", "-y", "\(rows)", "timeout --foreground 600 sh -c '\(script)'",
        ])
        guard outcome.status == 0 else { throw SpawnedProcess.Failure(description: "tmux: \(outcome.output)") }
        return terminal
    }

    private func tmux(_ arguments: [String]) async throws -> String {
        let outcome = try await ChildProcess.run(["env", "LC_ALL=C.UTF-8", "tmux", "-L", name] + arguments)
        guard outcome.status == 0 else { throw SpawnedProcess.Failure(description: "tmux: \(outcome.output)") }
        return outcome.output
    }

    /// The lines of the screen, as many as it has rows.
    package func screen() async throws -> [String] {
        try await tmux(["capture-pane", "-p"]).split(separator: "\n", omittingEmptySubsequences: false).dropLast()
            .map(String.init)
    }

    /// The same with the codes of colours.
    package func colouredScreen() async throws -> String { try await tmux(["capture-pane", "-p", "-e"]) }

    /// Waits until the screen has a text somewhere, and gives the screen.
    @discardableResult
    package func shows(_ text: String) async throws -> [String] {
        var last: [String] = []
        do {
            try await eventually("the screen shows \(text)", poll: .milliseconds(50)) {
                last = try await self.screen()
                return last.contains { $0.contains(text) }
            }
        } catch {
            throw NeverHappened(description: "\(error)\n\(last.joined(separator: "\n"))")
        }
        return last
    }

    /// Presses keys, in tmux's words: `q`, `Down`, `C-c`.
    package func press(_ keys: String...) async throws { _ = try await tmux(["send-keys"] + keys) }

    package func resize(columns: Int, rows: Int) async throws {
        _ = try await tmux(["resize-window", "-x", "\(columns)", "-y", "\(rows)"])
    }

    /// The text of a file in `$FOLDER`.
    package func file(_ name: String) -> String {
        (try? String(contentsOfFile: folder.path(name), encoding: .utf8)) ?? ""
    }
}
