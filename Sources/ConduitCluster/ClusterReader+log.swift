package import ConduitCore
import ConduitRedis
package import ConduitWire
import NIOCore

/// A message of an ordered room, as its log has it.
package struct LogEntry: Sendable, Hashable {
    package let epoch: String
    /// When Redis took it, in milliseconds since 1970.
    package let at: Int64
    package let message: OrderedMessage
}

extension ClusterReader {
    /// Most messages of a log that are read at once.
    package static let mostLogEntries = 1_000

    /// The newest messages of an ordered room, the oldest first; none of a fast one.
    package func log(of room: RoomName, newest count: Int) async throws -> [LogEntry] {
        guard count > 0 else { return [] }
        let count = RedisArgument.integer(Int64(min(count, Self.mostLogEntries)))
        return try await log(of: room, ["XREVRANGE", .string(keys.log(of: room)), "+", "-", "COUNT", count]).reversed()
    }

    /// The messages above an offset, the oldest first.
    package func log(of room: RoomName, after offset: UInt64) async throws -> [LogEntry] {
        let count = RedisArgument.integer(Int64(Self.mostLogEntries))
        return try await log(
            of: room, ["XRANGE", .string(keys.log(of: room)), .string("\(offset &+ 1)-0"), "+", "COUNT", count])
    }

    private func log(of room: RoomName, _ command: [RedisArgument]) async throws -> [LogEntry] {
        let answers = try await client.pipeline([["HMGET", .string(keys.meta(of: room)), "e", "o"], command])
        guard let epoch = answers[0].array?.first?.string else { return [] }
        return (answers[1].array ?? []).compactMap { entry in
            guard let parts = entry.array, parts.count == 2, let words = parts[1].array,
                let offset = parts[0].string.flatMap(StreamID.init)?.milliseconds, offset > 0
            else { return nil }
            var at: Int64 = 0
            var excluded: ClientID?
            var json: ByteBuffer?
            for index in stride(from: 0, to: words.count - 1, by: 2) {
                switch words[index].string {
                case "t": at = words[index + 1].integer ?? 0
                case "d": json = words[index + 1].bytes
                case "x": excluded = words[index + 1].string.flatMap { ClientID($0) }
                default: break
                }
            }
            guard let json else { return nil }
            return LogEntry(
                epoch: epoch, at: at, message: OrderedMessage(offset: UInt64(offset), excluded: excluded, json: json))
        }
    }
}
