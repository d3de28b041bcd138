import ArgumentParser
import ConduitCluster
import ConduitRedis
import Foundation
import Synchronization
import UnixSignals

/// `conduit top`: a live view of a cluster, read from Redis alone.
struct TopCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "top", abstract: "Watch a cluster live, as Redis has it.",
        discussion: """
            Nodes with clients, rooms, rates, percentiles and their course, the busiest rooms and the last events. Press ? \
            for the keys. Where the output is no terminal, or with --once, it is printed once. No node is asked.
            """)

    @OptionGroup var options: ClusterOptions

    @Option(help: ArgumentHelp("How often to look, in seconds, 0.2 to 60.", valueName: "number"))
    var interval = 1.0

    @Flag(help: "Print everything once and end.")
    var once = false

    @Option(help: ArgumentHelp("Columns, with --once; else the terminal's, else 80.", valueName: "number"))
    var width: Int?

    mutating func validate() throws {
        guard interval >= 0.2, interval <= 60 else { throw ValidationError("--interval takes 0.2 to 60 seconds") }
        if let width, !(20...1_000).contains(width) { throw ValidationError("--width takes 20 to 1000") }
    }

    func run() async throws {
        let cluster = try options.load()
        let terminal = once ? nil : Terminal()
        do {
            try await ClusterReader.withServer(in: cluster) { reader in
                guard let terminal else {
                    let reading = try await TopReading.read(
                        reader, prefix: cluster.prefix, TopHistory(), samples: TopSession.once)
                    let lines = TopFrame(reading, width: width ?? Self.outputWidth).whole()
                    return print(lines.map(\.plain).joined(separator: "\n"))
                }
                try await TopSession(
                    reader: reader, prefix: cluster.prefix, interval: .milliseconds(Int64(interval * 1_000)), terminal
                ).run()
            }
        } catch let error as ExitCode {
            throw error
        } catch {
            let server = cluster.redis.map { "\($0)" } ?? ""
            throw CommandExit.failure(CommandExit.unavailable, ["Redis at \(server) can't be read: \(error)"])
        }
    }

    private static var outputWidth: Int {
        if let terminal = Terminal() { return terminal.size.columns }
        return ProcessInfo.processInfo.environment["COLUMNS"].flatMap { Int($0) } ?? 80
    }
}

/// Whether somebody wants to look at what is there.
private final class PauseSwitch: Sendable {
    private let value = Atomic(false)

    var isOn: Bool {
        get { value.load(ordering: .relaxed) }
        set { value.store(newValue, ordering: .relaxed) }
    }
}

/// Reads a cluster again and again.
private struct TopLooker: Sendable {
    let reader: ClusterReader
    let prefix: String
    let interval: Duration
    let isPaused: PauseSwitch

    func run(_ take: @Sendable (TopSession.Event) -> Void) async {
        var history = TopHistory()
        var samples = TopSession.firstSamples
        var isFirst = true
        let clock = ContinuousClock()
        var next = clock.now
        while !Task.isCancelled {
            if !isPaused.isOn {
                let started = clock.now
                do {
                    let reading = try await TopReading.read(reader, prefix: prefix, history, samples: samples)
                    history = reading.history
                    // Nodes beat once a second; one that beats faster leaves holes that nobody sees.
                    let few = min(TopSession.minute, 4 + 2 * Int(interval.components.seconds))
                    samples = isFirst ? TopSession.minute : few
                    isFirst = false
                    take(.reading(reading))
                } catch {
                    take(.failed("Redis can't be read: \(error)"))
                    samples = TopSession.minute
                }
                // A slow Redis is not asked without a pause.
                next = max(next + interval, started + interval, clock.now + interval / 4)
            } else {
                next = clock.now + .milliseconds(100)
                samples = TopSession.minute
            }
            try? await clock.sleep(until: next)
        }
    }
}

/// Keys, signals and readings, one after the other, until somebody has seen enough.
private final class TopSession {
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
    }

    private let reader: ClusterReader
    private let prefix: String
    private let interval: Duration
    private let terminal: Terminal
    private var choice = TopChoice()
    private var reading: TopReading?
    private var message: String?

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
            if let code = take(event) {
                guard code != 0 else { return }
                throw ExitCode(code)
            }
            isPaused.isOn = choice.isPaused
            guard draw() else { throw ExitCode(129) }
        }
    }

    /// Returns the exit code when it is over.
    private func take(_ event: Event) -> Int32? {
        switch event {
        case .reading(let new):
            reading = new
            message = nil
        case .failed(let text): message = text
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
