package import ConduitCore
import ConduitRedis
import NIOCore

/// A node's figures at one time, from `p:series:<id>`.
package struct Sample: Sendable, Hashable {
    /// When Redis took it, in milliseconds since 1970.
    package let at: Int64
    /// The figures by their names in redis.md.
    package let figures: [String: Double]

    package init(at: Int64, figures: [String: Double]) {
        self.at = at
        self.figures = figures
    }

    /// How much a counter rises a second from an earlier sample to this one; `nil` where that can't be told, as after a
    /// restart.
    package func rate(of name: String, since earlier: Sample) -> Double? {
        guard at > earlier.at, let before = earlier.figures[name], let after = figures[name], after >= before else {
            return nil
        }
        // What somebody else has written may be of any size.
        let rate = (after - before) / Double(at - earlier.at) * 1_000
        return rate.isFinite ? rate : nil
    }
}

/// A room in which much is said, from `p:busy:<id>`.
package struct BusyRoomRow: Sendable, Hashable {
    package let room: String
    /// Published a second, over all nodes that tell of it.
    package let messagesPerSecond: Double
    /// How many nodes tell of it.
    package let nodes: Int

    package init(room: String, messagesPerSecond: Double, nodes: Int) {
        self.room = room
        self.messagesPerSecond = messagesPerSecond
        self.nodes = nodes
    }
}

extension ClusterReader {
    /// Most samples of a node that are read at once.
    package static let mostSamples = 3_600
    /// Most rooms of a node that are read.
    private static let mostRooms: Int64 = 20

    /// The newest samples of some nodes, the oldest first, in one round trip. `names`: only these figures; `nil` for all.
    package func series(
        of nodes: [NodeID], count: Int, only names: Set<String>? = nil
    ) async throws -> [NodeID: [Sample]] {
        let count = RedisArgument.integer(Int64(max(1, min(count, Self.mostSamples))))
        let answers = try await client.pipeline(
            nodes.map { ["XREVRANGE", .string(keys.series(of: $0)), "+", "-", "COUNT", count] })
        var series: [NodeID: [Sample]] = [:]
        var reader = SampleReader(names: names)
        for (node, answer) in zip(nodes, answers) {
            series[node] = (answer.array ?? []).reversed().compactMap { reader.read($0) }
        }
        return series
    }

    /// The rooms in which most is said, as the nodes tell it, the busiest first, in one round trip.
    package func busiest(of nodes: [NodeID]) async throws -> [BusyRoomRow] {
        let answers = try await client.pipeline(
            nodes.map { ["ZRANGE", .string(keys.busy(of: $0)), .integer(-Self.mostRooms), "-1", "WITHSCORES"] })
        var sums: [String: (rate: Double, nodes: Int)] = [:]
        for words in answers.map({ $0.array ?? [] }) {
            for index in stride(from: 0, to: words.count - 1, by: 2) {
                guard let room = words[index].string, let rate = words[index + 1].string.flatMap(Double.init),
                    rate.isFinite, rate > 0
                else { continue }
                let sum = sums[room] ?? (0, 0)
                sums[room] = (min(sum.rate + rate, .greatestFiniteMagnitude), sum.nodes + 1)
            }
        }
        let rooms = sums.map { BusyRoomRow(room: $0.key, messagesPerSecond: $0.value.rate, nodes: $0.value.nodes) }
        return rooms.sorted { ($1.messagesPerSecond, $0.room) < ($0.messagesPerSecond, $1.room) }
    }
}

/// Reads entries of series. Their words are nearly always the same in the same places, so a name becomes text once.
struct SampleReader {
    private let names: Set<String>?
    /// The name that stood in each place last, and whether it is wanted.
    private var known: [(bytes: ByteBuffer, text: String, isWanted: Bool)] = []
    /// Most fields of an entry that are read.
    private static let mostFields = 256

    init(names: Set<String>?) { self.names = names }

    /// `nil` for what is no entry of a stream.
    mutating func read(_ entry: RedisValue) -> Sample? {
        guard let parts = entry.array, parts.count == 2, let words = parts[1].array,
            let at = parts[0].string.flatMap(StreamID.init)?.milliseconds
        else { return nil }
        let count = min(words.count / 2, Self.mostFields)
        var figures = [String: Double](minimumCapacity: min(count, names?.count ?? count))
        // Of the pairs that can be read: what is skipped has no place.
        var place = 0
        for pair in 0..<count {
            guard let name = words[2 * pair].bytes, let value = words[2 * pair + 1].bytes else { continue }
            if place == known.count {
                known.append(entryFor(name))
            } else if known[place].bytes != name {
                known[place] = entryFor(name)
            }
            if known[place].isWanted, let number = Self.number(value) { figures[known[place].text] = number }
            place += 1
        }
        return Sample(at: at, figures: figures)
    }

    private func entryFor(_ name: ByteBuffer) -> (bytes: ByteBuffer, text: String, isWanted: Bool) {
        let text = String(buffer: name)
        return (name, text, names?.contains(text) ?? true)
    }

    /// Nearly always a whole number; whatever else is finite counts too.
    private static func number(_ bytes: ByteBuffer) -> Double? {
        let view = bytes.readableBytesView
        if (1...15).contains(view.count), view.allSatisfy({ (0x30...0x39).contains($0) }) {
            return Double(view.reduce(0 as Int64) { $0 * 10 + Int64($1 - 0x30) })
        }
        return Double(String(buffer: bytes)).flatMap { $0.isFinite ? $0 : nil }
    }
}
