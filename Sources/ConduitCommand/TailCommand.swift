import ArgumentParser
import ConduitCluster
import ConduitCore
import ConduitRedis
import ConduitWire
import Foundation
import NIOCore
import Synchronization

/// `conduit tail`: follows what happens in a cluster, or what is said in a room, over Redis alone.
struct TailCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tail", abstract: "Follow the events of a cluster, or the messages of a room.",
        discussion: """
            Without --room: what stands in the stream of events, a line each, and what comes. With --room: what nodes publish \
            in that room, as lines of JSON; of an ordered room the newest messages of its log before (--lines). It ends with \
            Ctrl-C, or after --count lines. No node is asked.
            """)

    @OptionGroup var options: ClusterOptions

    @Option(help: ArgumentHelp("Follow the messages of this room.", valueName: "room"))
    var room: String?

    @Option(
        name: [.customShort("n"), .long],
        help: ArgumentHelp("Begin with so many of the past, 10 of events and 0 of rooms.", valueName: "number"))
    var lines: Int?

    @Option(
        help: ArgumentHelp(
            "Begin with the events since then: 90s, 10m, 2h, 1d, or a time such as 2026-11-28T09:00:00Z.",
            valueName: "time"))
    var since: String?

    @Option(help: ArgumentHelp("End after so many lines.", valueName: "number"))
    var count: Int?

    @Flag(help: "Lines of JSON (always, with --room).")
    var json = false

    @Flag(help: "With --room: say who joins and leaves, too.")
    var presence = false

    mutating func validate() throws {
        if let lines, !(0...1_000).contains(lines) { throw ValidationError("--lines takes 0 to 1000") }
        if let count, count < 1 { throw ValidationError("--count takes 1 and more") }
        if let room, RoomName(room) == nil { throw ValidationError("\(room) is not a room's name") }
        if room == nil, presence { throw ValidationError("--presence needs --room") }
        if let since {
            guard room == nil else { throw ValidationError("--since is for events; a room takes --lines") }
            guard lines == nil else { throw ValidationError("give --since or --lines") }
            guard TailStart(since) != nil else {
                throw ValidationError("--since takes 90s, 10m, 2h, 1d, or a time such as 2026-11-28T09:00:00Z")
            }
        }
    }

    func run() async throws {
        let cluster = try options.load()
        let output = TailOutput(limit: count ?? .max)
        var server = cluster.redis
        do {
            if let room = room.flatMap({ RoomName($0) }) {
                server = cluster.servers[cluster.choice.index(of: room)]
                try await RoomTail(
                    room: room, cluster: cluster, lines: lines ?? 0, showsPresence: presence, output: output
                ).run()
            } else {
                try await followEvents(cluster, output)
            }
        } catch is TailOutput.Full {
            return
        } catch {
            throw CommandExit.unreadable(server, error)
        }
    }

    /// Every server has a stream of its own; what a node says of itself it says on all of them.
    private func followEvents(_ cluster: ClusterConfiguration, _ output: TailOutput) async throws {
        let start = since.flatMap { TailStart($0) } ?? .newest(lines ?? 10)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (index, server) in cluster.servers.enumerated() {
                let tail = EventTail(
                    server: server, index: cluster.servers.count > 1 ? index : nil, prefix: cluster.prefix,
                    start: start, json: json, output: output)
                group.addTask { try await tail.run() }
            }
            defer { group.cancelAll() }
            while try await group.next() != nil {}
        }
    }
}

/// Where to begin.
package enum TailStart: Sendable, Hashable {
    case newest(Int)
    /// Milliseconds before now, by Redis's clock.
    case ago(Int64)
    /// Milliseconds since 1970.
    case at(Int64)

    /// `90s`, `10m`, `2h`, `1d`, or RFC 3339 in UTC, with or without milliseconds.
    package init?(_ text: String) {
        let units: [Character: Int64] = ["s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000]
        if let unit = text.last.flatMap({ units[$0] }), let number = Int64(text.dropLast()),
            (0...1_000_000).contains(number), text.first != "+"
        {
            self = .ago(number * unit)
        } else if let time = Timestamp.milliseconds(text)
            ?? Timestamp.milliseconds(text.replacing("Z", with: ".000Z"))
        {
            self = .at(time)
        } else {
            return nil
        }
    }
}

/// Writes lines at once, each whole, however many tasks have some.
final class TailOutput: Sendable {
    /// As many lines as were asked for have been written, or nobody reads any more.
    struct Full: Error {}

    private let left: Mutex<Int>

    init(limit: Int) { left = Mutex(limit) }

    func write(_ line: String) throws {
        try left.withLock { left in
            guard left > 0 else { throw Full() }
            left -= 1
            do {
                try FileHandle.standardOutput.write(contentsOf: Data((line + "\n").utf8))
            } catch {
                throw Full()
            }
            if left == 0 { throw Full() }
        }
    }
}

/// Follows the events of one server.
private struct EventTail: Sendable {
    let server: RedisConfiguration
    /// Which of several servers; `nil` when there is one.
    let index: Int?
    let prefix: String
    let start: TailStart
    let json: Bool
    let output: TailOutput

    /// Milliseconds that one question waits: a silent connection is taken for dead after the time-out.
    private var wait: Int64 { min(2_000, max(50, server.commandTimeout.nanoseconds / 2_000_000)) }

    func run() async throws {
        try await RedisClient.withConnection(server) { client in
            let reader = ClusterReader(client: client, prefix: prefix)
            var last = try await showPast(reader)
            // The rights of a node don't ask for XREAD: then the stream is looked at.
            var mayWait = true
            var isAway = false
            while !Task.isCancelled {
                do {
                    let events =
                        mayWait
                        ? try await reader.events(after: last, waitMilliseconds: wait, limit: 500)
                        : try await reader.events(from: last.after, limit: 500)
                    if isAway {
                        isAway = false
                        CommandExit.say("conduit: Redis is back")
                    }
                    for event in events {
                        try show(event)
                        last = max(last, StreamID(event.id) ?? last)
                    }
                    if !mayWait, events.isEmpty { try await Task.sleep(for: .milliseconds(300)) }
                } catch let error as RedisError {
                    if error.serverPrefix == "NOPERM", mayWait {
                        mayWait = false
                        continue
                    }
                    guard error.code != .server || error.isPassing else { throw error }
                    if !isAway { CommandExit.say("conduit: Redis is away (\(error)); trying again") }
                    isAway = true
                    try await Task.sleep(for: .milliseconds(300))
                }
            }
        }
    }

    /// Shows what was asked for of the past; returns the id of the newest entry.
    private func showPast(_ reader: ClusterReader) async throws -> StreamID {
        let none = StreamID(milliseconds: 0, sequence: 0)
        let first: Int64
        switch start {
        case .newest(let count):
            let events = try await reader.events(before: nil, limit: max(1, count))
            for event in events.prefix(count).reversed() { try show(event) }
            return events.first.flatMap { StreamID($0.id) } ?? none
        case .ago(let milliseconds): first = try await reader.time() - milliseconds
        case .at(let milliseconds): first = milliseconds
        }
        var next = StreamID(milliseconds: first, sequence: 0)
        while true {
            let events = try await reader.events(from: next, limit: ClusterReader.mostEvents)
            for event in events { try show(event) }
            guard let last = events.last.flatMap({ StreamID($0.id) }) else { return next.before ?? none }
            next = last.after
        }
    }

    private func show(_ event: ClusterEvent) throws {
        // Once is enough: all servers have these.
        if let index, index > 0, event.event.hasPrefix("node_") { return }
        try output.write(json ? TailLine.json(event, server: index) : TailLine.text(event, server: index))
    }
}
