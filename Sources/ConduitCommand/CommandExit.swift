import ArgumentParser
import ConduitRedis
import ConduitTelemetry
import Foundation
import UnixSignals

/// How the command ends when it can't do what it was asked for: lines for people, and a number by sysexits.h.
enum CommandExit {
    /// EX_DATAERR: what was given is not good.
    static let badData: Int32 = 65
    /// EX_UNAVAILABLE: something that the command needs can't be reached.
    static let unavailable: Int32 = 69
    /// EX_CONFIG: the configuration is wrong.
    static let configuration: Int32 = 78

    /// Says why on standard error and gives the code to throw.
    static func failure(_ code: Int32, _ lines: [String]) -> ExitCode {
        for line in lines { say("conduit: " + line) }
        return ExitCode(code)
    }

    /// Redis doesn't answer, or not as it must; its password is not told.
    static func unreadable(_ server: RedisConfiguration?, _ error: any Error) -> ExitCode {
        failure(unavailable, ["Redis at \(server.map { "\($0)" } ?? "") can't be read: \(error)"])
    }

    /// Ends the process without another word, with the code that shells give to a signal. No handlers of `atexit`
    /// run, because other threads still work.
    static func stopNow(by signal: UnixSignal) -> Never { _exit(signal == .sigint ? 130 : 143) }

    /// A line on standard error, or several. Nothing in them commands a terminal.
    static func say(_ text: String) {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map {
            PrintableText.escaped(String($0))
        }
        FileHandle.standardError.write(Data((lines.joined(separator: "\n") + "\n").utf8))
    }
}
