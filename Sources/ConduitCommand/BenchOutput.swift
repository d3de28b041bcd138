import ArgumentParser
import ConduitBench
import Foundation
import UnixSignals

/// Runs a plan for people: progress while it goes, the report at the end, an exit code that scripts can use.
struct BenchOutput {
    let options: BenchConnectionOptions

    func run(_ plan: BenchPlan) async throws {
        let stop = StopSignal()
        let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint)
        let stopper = Task {
            for await signal in signals {
                // The second one means it.
                guard !stop.isStopped else { CommandExit.stopNow(by: signal) }
                stop.stop()
            }
        }
        defer { stopper.cancel() }
        let progress = ProgressLine(isQuiet: options.quiet)
        let report: BenchReport
        do {
            report = try await BenchRun(plan: plan, stop: stop, progress: { progress.show($0) }).run()
        } catch {
            progress.end()
            throw CommandExit.failure(1, ["\(error)"])
        }
        progress.end()
        if let file = options.json, file != "-" {
            do {
                try Data(report.json.utf8).write(to: URL(fileURLWithPath: file))
            } catch {
                CommandExit.say("conduit: \(file) can't be written: \(error.localizedDescription)")
                print(report.table, terminator: "")
                throw ExitCode(1)
            }
        }
        print(options.json == "-" ? report.json : report.table, terminator: "")
        guard report.isClean else { throw ExitCode(1) }
    }
}

/// One line on standard error: written over on a terminal, a line each elsewhere.
struct ProgressLine: Sendable {
    let isQuiet: Bool
    private let isTerminal = isatty(2) == 1

    init(isQuiet: Bool) { self.isQuiet = isQuiet }

    func show(_ progress: BenchProgress) {
        guard !isQuiet else { return }
        write(isTerminal ? "\r\u{1B}[K" + progress.line : progress.line + "\n")
    }

    /// Takes the line away.
    func end() {
        if isTerminal, !isQuiet { write("\r\u{1B}[K") }
    }

    private func write(_ text: String) { FileHandle.standardError.write(Data(text.utf8)) }
}
