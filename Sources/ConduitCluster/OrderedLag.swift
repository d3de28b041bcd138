import ConduitCore
import ConduitHub
import ConduitWire
import NIOCore

/// Shards that were too busy for messages of an ordered room: they get none of it until they have caught up.
///
/// A value. What such a shard lacks is read from the log when it is calm again; what is delivered to the others during
/// the last of these reads is kept, so that it stands where they stand then.
struct OrderedLag {
    /// One read, and what came to the other shards meanwhile.
    struct Lag {
        var epoch: String
        /// The last offset that the shard has.
        var offset: UInt64
        var isReading = false
        var tail: [OrderedMessage] = []
        var tailBytes = 0
    }

    /// Messages that are kept during a read, and their bytes.
    static let tailLimit = 1_024
    static let tailByteLimit = 256 * 1024

    private(set) var rooms: [RoomName: [Int: Lag]] = [:]

    var isEmpty: Bool { rooms.isEmpty }

    /// The shards of a room that lag, as bits.
    func shards(of room: RoomName) -> UInt64 {
        guard !rooms.isEmpty, let lags = rooms[room] else { return 0 }
        return lags.keys.reduce(0) { $0 | 1 << UInt64($1) }
    }

    /// Shards didn't take a message.
    mutating func refused(_ mask: UInt64, _ message: OrderedMessage, epoch: String, in room: RoomName) {
        for shard in 0..<64 where mask & (1 << UInt64(shard)) != 0 && rooms[room]?[shard] == nil {
            rooms[room, default: [:]][shard] = Lag(epoch: epoch, offset: message.offset - 1)
        }
    }

    /// The others got a message.
    mutating func delivered(_ message: OrderedMessage, epoch: String, in room: RoomName) {
        guard let shards = rooms[room]?.keys else { return }
        for shard in Array(shards) where rooms[room]?[shard]?.isReading == true {
            change(room, shard) { lag in
                lag.tailBytes += message.json.readableBytes
                let fits = lag.tail.count < Self.tailLimit && lag.tailBytes <= Self.tailByteLimit
                if fits, lag.epoch == epoch { lag.tail.append(message) } else { lag.tailBytes = .max / 2 }
            }
        }
    }

    /// A shard's next read begins.
    mutating func readStarted(_ room: RoomName, _ shard: Int) {
        change(room, shard) {
            $0.isReading = true
            $0.tail = []
            $0.tailBytes = 0
        }
    }

    /// It has ended: what the shard lacks as far as it is known, oldest first.
    mutating func readEnded(_ room: RoomName, _ shard: Int, _ page: OrderedRoom.Page?) -> [OrderedMessage] {
        guard let lag = rooms[room]?[shard] else { return [] }
        change(room, shard) {
            $0.isReading = false
            $0.tail = []
            if let page, page.epoch != $0.epoch { ($0.epoch, $0.offset) = (page.epoch, 0) }
        }
        guard let page else { return [] }
        let known = page.messages.last?.offset ?? lag.offset
        let isTailWhole = page.isWhole && page.epoch == lag.epoch && lag.tailBytes <= Self.tailByteLimit
        return page.messages + (isTailWhole ? lag.tail.filter { $0.offset > known } : [])
    }

    /// The shard has taken everything up to an offset.
    mutating func advanced(_ room: RoomName, _ shard: Int, to offset: UInt64) {
        change(room, shard) { $0.offset = max($0.offset, offset) }
    }

    /// The shard stands where the others stand, or has nobody in the room any more.
    mutating func remove(_ room: RoomName, _ shard: Int) {
        rooms[room]?[shard] = nil
        if rooms[room]?.isEmpty == true { rooms[room] = nil }
    }

    mutating func removeAll(of room: RoomName) { rooms[room] = nil }

    private mutating func change(_ room: RoomName, _ shard: Int, _ body: (inout Lag) -> Void) {
        guard var lag = rooms[room]?[shard] else { return }
        body(&lag)
        rooms[room]?[shard] = lag
    }
}
