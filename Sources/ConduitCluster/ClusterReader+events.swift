package import ConduitRedis

/// The id of an entry in a stream: when, and which one of that millisecond.
package struct StreamID: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// Milliseconds since 1970.
    package let milliseconds: Int64
    package let sequence: UInt64

    package init(milliseconds: Int64, sequence: UInt64) {
        self.milliseconds = max(0, milliseconds)
        self.sequence = sequence
    }

    /// From `<ms>-<number>` or `<ms>`; `nil` for anything else.
    package init?(_ text: String) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count <= 2, let milliseconds = parts.first.flatMap({ UInt64($0) }),
            milliseconds <= UInt64(Int64.max), text.utf8.first != UInt8(ascii: "+")
        else { return nil }
        guard let sequence = parts.count == 2 ? UInt64(parts[1]) : 0 else { return nil }
        self.milliseconds = Int64(milliseconds)
        self.sequence = sequence
    }

    /// The highest id below this one. Redis before 6.2 knows no open ends of ranges.
    package var before: StreamID? {
        if sequence > 0 { return StreamID(milliseconds: milliseconds, sequence: sequence - 1) }
        return milliseconds > 0 ? StreamID(milliseconds: milliseconds - 1, sequence: .max) : nil
    }

    /// The lowest id above this one.
    package var after: StreamID {
        if sequence < .max { return StreamID(milliseconds: milliseconds, sequence: sequence + 1) }
        return StreamID(milliseconds: milliseconds < .max ? milliseconds + 1 : milliseconds, sequence: 0)
    }

    package var description: String { "\(milliseconds)-\(sequence)" }

    package static func < (left: StreamID, right: StreamID) -> Bool {
        (left.milliseconds, left.sequence) < (right.milliseconds, right.sequence)
    }
}

/// One entry of `p:events`.
package struct ClusterEvent: Sendable {
    /// Its id in the stream, `<ms>-<number>`.
    package let id: String
    /// When Redis took it, in milliseconds since 1970.
    package let at: Int64
    /// What happened, such as `node_up`.
    package let event: String
    /// Who wrote it.
    package let node: String
    /// The rest, in the order in which it stands there.
    package let fields: [(String, String)]

    /// From an entry of the stream; `nil` for what is none.
    package init?(_ entry: RedisValue) {
        guard let parts = entry.array, parts.count == 2, let id = parts[0].string.flatMap(StreamID.init),
            let words = parts[1].array
        else { return nil }
        var event = "", node = ""
        var fields: [(String, String)] = []
        for index in stride(from: 0, to: words.count - 1, by: 2) {
            guard let name = words[index].string, let value = words[index + 1].string else { continue }
            switch name {
            case "event": event = value
            case "node": node = value
            default: fields.append((name, value))
            }
        }
        self.id = id.description
        self.at = id.milliseconds
        self.event = event
        self.node = node
        self.fields = fields
    }
}

extension ClusterReader {
    /// Most events that are read at once.
    package static let mostEvents = 1_000

    /// The newest events, or the newest below an id, the newest first.
    package func events(before: String?, limit: Int) async throws -> [ClusterEvent] {
        var end = "+"
        if let before {
            guard let id = StreamID(before) else {
                throw RedisError(.invalidCommand, "what comes before must be the id of an event")
            }
            guard let last = id.before else { return [] }
            end = last.description
        }
        let count = RedisArgument.integer(Int64(max(1, min(limit, Self.mostEvents))))
        let entries = try await client.send("XREVRANGE", .string(keys.events), .string(end), "-", "COUNT", count)
        return (entries.array ?? []).compactMap { ClusterEvent($0) }
    }

    /// The oldest events from an id on, that one too, the oldest first.
    package func events(from start: StreamID, limit: Int) async throws -> [ClusterEvent] {
        let count = RedisArgument.integer(Int64(max(1, min(limit, Self.mostEvents))))
        let entries = try await client.send(
            "XRANGE", .string(keys.events), .string(start.description), "+", "COUNT", count)
        return (entries.array ?? []).compactMap { ClusterEvent($0) }
    }
}

extension ClusterReader {
    /// The events after an id as soon as there are some, or none after a while. Holds up the connection meanwhile.
    package func events(after id: StreamID, waitMilliseconds: Int64, limit: Int) async throws -> [ClusterEvent] {
        let count = RedisArgument.integer(Int64(max(1, min(limit, Self.mostEvents))))
        let reply = try await client.send(
            "XREAD", "COUNT", count, "BLOCK", .integer(max(1, waitMilliseconds)), "STREAMS", .string(keys.events),
            .string(id.description))
        guard let stream = reply.array?.first?.array, stream.count == 2 else { return [] }
        return (stream[1].array ?? []).compactMap { ClusterEvent($0) }
    }

    /// Redis's clock, in milliseconds since 1970.
    package func time() async throws -> Int64 { try Self.milliseconds(try await client.send("TIME")) }
}
