import ArgumentParser
import ConduitCluster
import Foundation
import UnixSignals

/// Keys, signals and readings, one after the other, until somebody has seen enough.
final class TopSession {
    /// The first picture comes at once, with what rates need; the second has a minute of the past.
    static let firstSamples = 12
    static let minute = 64
    /// Printed once, there is no second picture: a third of a minute, so that it comes at once, too.
    static let once = 24

    enum Event: Sendable {
        case key(TerminalKey?)
        case signal(UnixSignal)
        case reading(TopReading)
        case failed(String)
        /// A terminal that was behind may take more now.
        case again
    }

    private let reader: ClusterReader
    private let prefix: String
    private let interval: Duration
    private let terminal: Terminal
    private var choice = TopChoice()
    private var reading: TopReading?
    private var message: String?
    private var isWaiting = false

    init(reader: ClusterReader, prefix: String, interval: Duration, _ terminal: Terminal) {
        self.reader = reader
        self.prefix = prefix
        self.interval = interval
        self.terminal = terminal
    }

    func run() async throws {
        // Before the terminal is taken: no signal may end the process without giving it back.
        let signals = await UnixSignalsSequence(trapping: .sigint, .sigterm, .sighup, .sigquit, .sigwinch, .sigcont)
        let (events, queue) = AsyncStream.makeStream(of: Event.self, bufferingPolicy: .bufferingOldest(1_024))
        let isPaused = PauseSwitch()
        terminal.enter()
        defer { terminal.leave() }
        terminal.readKeys { queue.yield(.key($0)) }
        let signalTask = Task { for await signal in signals { queue.yield(.signal(signal)) } }
        defer { signalTask.cancel() }
        let looker = TopLooker(reader: reader, prefix: prefix, interval: interval, isPaused: isPaused)
        let readTask = Task { await looker.run { queue.yield($0) } }
        defer { readTask.cancel() }
        for await event in events {
            // Thrown, 0 as well: after an error nobody waits for what Redis still owes.
            if let code = take(event) { throw ExitCode(code) }
            isPaused.isOn = choice.isPaused
            guard draw() else { throw ExitCode(129) }
            guard terminal.isBehind, !isWaiting else { continue }
            isWaiting = true
            Task {
                try? await Task.sleep(for: .milliseconds(200))
                queue.yield(.again)
            }
        }
    }

    /// Returns the exit code when it is over.
    private func take(_ event: Event) -> Int32? {
        switch event {
        case .reading(let new):
            reading = new
            message = nil
        case .failed(let text): message = text
        case .again: isWaiting = false
        case .key(let key?): return take(key)
        case .key(nil): return 129
        case .signal(let signal):
            switch signal {
            case .sigwinch: terminal.forget()
            case .sigcont: terminal.enter()
            case .sigint: return 130
            case .sigquit: return 131
            case .sighup: return 129
            default: return 143
            }
        }
        return nil
    }

    private func take(_ key: TerminalKey) -> Int32? {
        let page = max(1, terminal.size.rows - 12)
        switch key {
        case .letter("q"): return 0
        case .interrupt: return 130
        case .suspend:
            terminal.leave()
            // Stops here until somebody says SIGCONT, which takes the terminal again.
            kill(getpid(), SIGSTOP)
        case .redraw: terminal.forget()
        case .letter("p"), .letter(" "): choice.isPaused.toggle()
        case .letter("i"): choice.isReversed.toggle()
        case .letter("r"): choice.showsRooms.toggle()
        case .letter("?"), .letter("h"): choice.showsHelp.toggle()
        case .letter("<"), .left: moveSort(by: -1)
        case .letter(">"), .right: moveSort(by: 1)
        case .letter("n"): choice.sort = .node
        case .letter("c"): choice.sort = .clients
        case .letter("m"): choice.sort = .messages
        case .letter("d"): choice.sort = .deliveries
        case .letter("l"): choice.sort = .local
        case .up, .letter("k"): choice.first -= 1
        case .down, .letter("j"): choice.first += 1
        case .pageUp: choice.first -= page
        case .pageDown: choice.first += page
        case .home: choice.first = 0
        case .end: choice.first = .max / 2
        case .escape: choice.showsHelp = false
        case .letter: break
        }
        return nil
    }

    private func moveSort(by step: Int) {
        let columns = TopChoice.Column.byPlace.filter { $0 != .trend }
        let index = columns.firstIndex(of: choice.sort) ?? 0
        choice.sort = columns[(index + step + columns.count) % columns.count]
    }

    private func draw() -> Bool {
        let size = terminal.size
        guard let reading else {
            return terminal.draw([StyledLine(Columns.fit(message ?? "reading …", size.columns))])
        }
        let frame = TopFrame(reading, width: size.columns)
        return terminal.draw(frame.screen(height: size.rows, &choice, message: message))
    }
}
