import ConduitCluster
import ConduitCore
import ConduitRedis
import ConduitTelemetry
import ConduitWire
import NIOCore

/// Follows the messages of a room: over its channel, and of an ordered room over its log where the channel has holes.
struct RoomTail {
    let room: RoomName
    let cluster: ClusterConfiguration
    let lines: Int
    let showsPresence: Bool
    let output: TailOutput

    func run() async throws {
        let server = cluster.servers[cluster.choice.index(of: room)]
        let channel = ClusterKeys(prefix: cluster.prefix).channel(.room(room))
        try await RedisClient.withConnection(server) { client in
            let reader = ClusterReader(client: client, prefix: cluster.prefix)
            try await RedisListener.withSubscriptions(server, to: [channel]) { try await follow($0, reader) }
        }
    }

    private func follow(_ listener: RedisListener, _ reader: ClusterReader) async throws {
        /// Up to where the log has been shown; `nil` in a fast room.
        var shown: LogPosition?
        var isFirst = true
        var complaints: Set<String> = []
        for await event in listener.events {
            listener.took(event)
            switch event {
            case .subscribed:
                // After the confirmation: what comes from now on is heard, what came before is in the log.
                if shown == nil {
                    let entries = try await patiently { try await reader.log(of: room, newest: max(lines, 1)) }
                    // Without lines to show, only where the log ends is of interest.
                    try show(entries, &shown, isSilent: isFirst && lines == 0)
                } else {
                    try await catchUp(&shown, reader)
                }
                if !isFirst { CommandExit.say("conduit: Redis is back") }
                isFirst = false
            case .lost(let error):
                CommandExit.say("conduit: Redis is away (\(error)); trying again")
            case .refused(_, let error): throw error
            case .message(_, let payload):
                let envelope: NodeEnvelope
                do {
                    envelope = try NodeEnvelope.decode(payload)
                } catch {
                    if complaints.insert(error.rawValue).inserted {
                        CommandExit.say("conduit: what came is not a message of a node: \(error.rawValue)")
                    }
                    continue
                }
                try await show(envelope, &shown, reader)
            }
            let dropped = listener.takeDropped()
            if dropped > 0 {
                // Of an ordered room they are in the log; presence and fast messages are nowhere.
                if shown != nil { try await catchUp(&shown, reader) }
                CommandExit.say(
                    "conduit: \(dropped) messages came too fast and are not shown"
                        + (shown == nil ? "" : ", except what the log has"))
            }
        }
    }

    /// The subscription may be back before the connection for commands is: what fails for that is tried again.
    private func patiently(_ read: () async throws -> [LogEntry]) async throws -> [LogEntry] {
        while true {
            do {
                return try await read()
            } catch let error as RedisError where error.code != .server || error.isPassing {
                try await Task.sleep(for: .milliseconds(100))
            }
        }
    }

    /// Shows what the log has above what was shown, all of it.
    private func catchUp(_ shown: inout LogPosition?, _ reader: ClusterReader) async throws {
        while let place = shown {
            let entries = try await patiently { try await missed(after: place, reader) }
            if let first = entries.first, first.epoch == place.epoch, first.message.offset > place.offset + 1 {
                let gone = first.message.offset - place.offset - 1
                CommandExit.say("conduit: \(gone) messages are no longer in the log")
            }
            try show(entries, &shown)
            if entries.count < ClusterReader.mostLogEntries { return }
        }
    }

    private func show(_ entries: [LogEntry], _ shown: inout LogPosition?, isSilent: Bool = false) throws {
        for entry in entries {
            if !isSilent {
                try output.write(TailLine.json(entry.message, room: room, epoch: entry.epoch, at: entry.at, node: nil))
            }
            shown = LogPosition(epoch: entry.epoch, offset: entry.message.offset)
        }
    }

    /// What the log has above what was shown; all that is left of it where it has begun anew.
    private func missed(after shown: LogPosition, _ reader: ClusterReader) async throws -> [LogEntry] {
        let entries = try await reader.log(of: room, after: shown.offset)
        guard entries.first.map({ $0.epoch != shown.epoch }) ?? true else { return entries }
        let newest = try await reader.log(of: room, newest: ClusterReader.mostLogEntries)
        return newest.first?.epoch == shown.epoch ? [] : newest
    }

    private func show(
        _ envelope: NodeEnvelope, _ shown: inout LogPosition?, _ reader: ClusterReader
    ) async throws {
        let at = envelope.sentAt / 1_000
        switch envelope.kind {
        case .broadcast:
            for entry in envelope.entries {
                try output.write(TailLine.json(entry, room: room, at: at, node: envelope.origin))
            }
        case .ordered:
            guard let batch = OrderedBatch(envelope) else { return }
            if let first = batch.messages.first, let place = shown, place.epoch == batch.epoch,
                first.offset > place.offset, first.offset - place.offset > 1
            {
                try await catchUp(&shown, reader)
            }
            for message in batch.messages where shown?.epoch != batch.epoch || message.offset > shown?.offset ?? 0 {
                shown = LogPosition(epoch: batch.epoch, offset: message.offset)
                try output.write(
                    TailLine.json(message, room: room, epoch: batch.epoch, at: at, node: envelope.origin))
            }
        case .presence where showsPresence:
            for news in envelope.entries.compactMap({ PresenceNews($0) }) {
                if let line = TailLine.json(news, room: room, at: at, node: envelope.origin) {
                    try output.write(line)
                }
            }
        case .presence, .send, .control, .probe: break
        }
    }
}
