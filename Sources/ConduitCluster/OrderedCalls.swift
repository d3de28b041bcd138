import ConduitCore
import ConduitHub
import ConduitRedis
import ConduitWire
import NIOCore

/// The keys and arguments of one run of a script.
struct ScriptCall {
    let keys: [String]
    let arguments: [RedisArgument]
}

/// How to call ``ClusterScript/orderedPublish`` and what its answer says.
struct OrderedPublishCall {
    /// How long a room's epoch and offset are remembered without a message: far longer than its log.
    static let metaMilliseconds: Int64 = 720 * 3_600_000
    /// How long a message's key is remembered.
    static let keyMilliseconds: Int64 = 300_000

    /// What became of one message.
    enum Verdict: Hashable {
        case accepted(UInt64)
        /// A newer version is there; the room's last offset.
        case suppressed(UInt64)
        /// Where its first one is.
        case duplicate(RecoveryPoint)
    }

    let room: RoomName
    let messages: [OrderedPublish]
    let policy: RoomPolicy
    /// PUBLISH, or SPUBLISH in a Redis Cluster.
    let word: String
    /// Of the bus payload, up to its entries.
    let header: ByteBuffer
    /// For a room that has none.
    let epoch: String
    let known: [RecoveryPoint]

    func call(_ keys: ClusterKeys) -> ScriptCall {
        var names = [keys.meta(of: room), keys.log(of: room)]
        var arguments: [RedisArgument] = [
            .string(word), .string(keys.channel(.room(room))), .buffer(header), .string(epoch),
            .integer(Int64(clamping: max(0, policy.historySize))), .integer(max(1, policy.historyMilliseconds)),
            .integer(Self.metaMilliseconds), .integer(Self.keyMilliseconds),
        ]
        arguments.reserveCapacity(arguments.count + 5 * messages.count + 3)
        arguments += known.words
        for message in messages {
            if let key = message.key {
                names.append(keys.key(key, of: room))
                arguments.append(.integer(Int64(names.count)))
            } else {
                arguments.append(0)
            }
            arguments.append(.string(message.version.map { String($0) } ?? ""))
            arguments.append(.string(message.versionEpoch ?? ""))
            arguments.append(.string(message.excluded?.rawValue ?? ""))
            arguments.append(.buffer(message.json))
        }
        return ScriptCall(keys: names, arguments: arguments)
    }

    /// Reads the answer; `nil` for anything but one.
    func answer(_ value: RedisValue) -> (position: RecoveryPoint, verdicts: [Verdict])? {
        guard let words = value.array, words.count == messages.count + 2, let epoch = words[0].string,
            let top = words[1].offset
        else { return nil }
        var verdicts: [Verdict] = []
        verdicts.reserveCapacity(messages.count)
        for word in words.dropFirst(2) {
            guard let verdict = word.string.flatMap(Self.verdict) else { return nil }
            verdicts.append(verdict)
        }
        return (RecoveryPoint(epoch: epoch, offset: top), verdicts)
    }

    private static func verdict(_ text: String) -> Verdict? {
        let rest = text.dropFirst()
        switch text.utf8.first {
        case UInt8(ascii: "a"): return UInt64(rest).map { .accepted($0) }
        case UInt8(ascii: "s"): return UInt64(rest).map { .suppressed($0) }
        case UInt8(ascii: "d"):
            let parts = rest.split(separator: " ", maxSplits: 1)
            guard parts.count == 2, let offset = UInt64(parts[0]) else { return nil }
            return .duplicate(RecoveryPoint(epoch: String(parts[1]), offset: offset))
        default: return nil
        }
    }
}

/// How to call ``ClusterScript/orderedRead`` and what its answer says.
struct OrderedReadCall {
    let room: RoomName
    /// For a room that has none; `nil` leaves it so.
    var epoch: String?
    var known: [RecoveryPoint] = []
    /// Behind which to read; from the beginning where the room has another epoch.
    var after: RecoveryPoint?
    /// Up to which, the log's end when `nil`.
    var through: UInt64?
    /// The last ones that fit into the bounds instead of the first.
    var isNewest = false
    /// Most messages; 0 asks for the position alone.
    var most: Int
    var bytes: Int

    func call(_ keys: ClusterKeys) -> ScriptCall {
        let arguments: [RedisArgument] = [
            .string(epoch ?? ""), .integer(OrderedPublishCall.metaMilliseconds), isNewest ? "newest" : "after",
            .string(after?.epoch ?? ""), .string(String(after?.offset ?? 0)),
            .string(through.map { String($0) } ?? ""), .integer(Int64(most)), .integer(Int64(bytes)),
        ]
        return ScriptCall(keys: [keys.meta(of: room), keys.log(of: room)], arguments: arguments + known.words)
    }

    /// Reads the answer; `nil` for anything but one. Entries that hold no envelope are left out, as if they were trimmed.
    func answer(_ value: RedisValue) -> OrderedRoom.Page? {
        guard let words = value.array, words.count >= 3, words.count % 3 == 0, let epoch = words[0].string,
            let top = words[1].offset, let more = words[2].integer
        else { return nil }
        var messages: [OrderedMessage] = []
        messages.reserveCapacity(words.count / 3 - 1)
        var reach: UInt64 = 0
        for at in stride(from: 3, to: words.count, by: 3) {
            guard let offset = words[at].offset, let excluded = words[at + 1].string, let json = words[at + 2].bytes
            else { return nil }
            guard offset > 0 else { return nil }
            reach = max(reach, offset)
            guard json.isEnvelope else { continue }
            messages.append(OrderedMessage(offset: offset, excluded: ClientID(excluded), json: json))
        }
        if isNewest { messages.reverse() }
        return OrderedRoom.Page(epoch: epoch, top: top, messages: messages, isWhole: more == 0, reach: reach)
    }
}

extension ByteBuffer {
    /// Whether an offset can be put on its end: a JSON object with something in it.
    var isEnvelope: Bool {
        readableBytes > 2 && getInteger(at: readerIndex) == UInt8(ascii: "{")
            && getInteger(at: writerIndex - 1) == UInt8(ascii: "}")
    }
}

extension RedisValue {
    fileprivate var offset: UInt64? {
        guard let number = integer, number >= 0, number <= OrderedMessage.highestOffset else { return nil }
        return UInt64(number)
    }
}

extension [RecoveryPoint] {
    /// Their number, then epoch and offset of each.
    fileprivate var words: [RedisArgument] {
        [.integer(Int64(count))] + flatMap { [.string($0.epoch), .string(String($0.offset))] }
    }
}
