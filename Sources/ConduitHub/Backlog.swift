import ConduitCore
import ConduitWire
import NIOCore

/// What waits for one client whose socket takes nothing, frame by frame, where rooms have rules for that. Loop-bound:
/// owned by its ``Client``, and only while anything waits.
///
/// Frames keep their order. What is left out is always whole frames: those of rooms whose rule says so, no answers and no
/// other rooms' messages. The bytes of all frames stand in one buffer behind each other; those of frames that are gone are
/// given back when they are more than the rest.
final class Backlog {
    /// How many messages were left out, by rule.
    struct Drops: Equatable {
        var oldest = 0
        var newest = 0
        /// Replaced by a newer message with the same key.
        var conflated = 0
    }

    /// Messages that one room's member has missed.
    struct Gap: Equatable {
        /// The room's name as it is written in JSON.
        let room: [UInt8]
        var missed: UInt64
    }

    private struct Frame {
        /// Where it stands in ``storage``.
        var start: Int
        let length: Int32
        /// The room's name, and room and key together, from the frame's start.
        let place: Int32
        let roomLength: Int32
        let placeLength: Int32
        /// Of room and key, where messages are conflated by it; 0 otherwise.
        let hash: Int
        let policy: RoomPolicy.Slow
        var isGone = false

        var weight: Int { Int(length) + MemoryLayout<Frame>.stride }
        /// A frame that is never left out.
        init(start: Int, length: Int) {
            self.init(
                start: start, length: length, place: 0, roomLength: 0, placeLength: 0, hash: 0, policy: .disconnect)
        }

        init(
            start: Int, length: Int, place: Int, roomLength: Int, placeLength: Int, hash: Int, policy: RoomPolicy.Slow
        ) {
            self.start = start
            self.length = Int32(truncatingIfNeeded: length)
            self.place = Int32(truncatingIfNeeded: place)
            self.roomLength = Int32(truncatingIfNeeded: roomLength)
            self.placeLength = Int32(truncatingIfNeeded: placeLength)
            self.hash = hash
            self.policy = policy
        }

        var isDroppedForOthers: Bool { policy == .dropOldest || policy == .conflate }
    }

    /// Bytes of frames that are gone which are kept all the same.
    private static let slack = 16 << 10
    /// Rooms whose gaps are told.
    private static let mostGaps = 128

    private let rules: SlowRules
    /// Bytes that may wait.
    var limit: Int
    private var storage = ByteBuffer()
    private var frames: ContiguousArray<Frame> = []
    private var first = 0
    /// No frame before this may be dropped for others.
    private var oldest = 0
    /// The frame that waits for each room and key, by their hash.
    private var latest: [Int: Int] = [:]
    /// Frames that wait.
    private(set) var count = 0
    /// What they weigh: their bytes, and what is kept of each.
    private(set) var bytes = 0
    private var drops = Drops()
    private var gaps: [Gap] = []

    /// An empty one that holds `limit` bytes at most, what waits before it counted.
    init(rules: SlowRules, limit: Int) {
        self.rules = rules
        self.limit = limit
    }

    var isEmpty: Bool { count == 0 }

    /// What was left out since the last call.
    func takeDrops() -> Drops {
        defer { drops = Drops() }
        return drops
    }

    /// The same by room; what newer messages have replaced is no gap.
    func takeGaps() -> [Gap] {
        defer { gaps = [] }
        return gaps
    }

    var hasGaps: Bool { !gaps.isEmpty }

    // MARK: Adding

    /// Puts whole frames behind those that wait. Returns how many of them found no room though none may be left out:
    /// then the client has to go. All behind the first of those are counted too.
    ///
    /// - Parameter before: bytes that wait before the first frame.
    func add(_ bytes: ByteBuffer, before: Int) -> Int {
        let base = storage.writerIndex
        storage.writeImmutableBuffer(bytes)
        let span = bytes.readableBytesUInt8Span
        var offset = 0
        while offset < span.count {
            guard let frame = OutgoingFrame.next(in: span, at: offset) else {
                // Not ours to judge: kept as one piece.
                let rest = Frame(start: base + offset, length: span.count - offset)
                return append(rest, before: before) ? 0 : 1
            }
            offset = frame.range.upperBound
            guard append(judged(frame, span, base: base), before: before) else {
                return 1 + Self.frameCount(span, from: offset)
            }
        }
        compactIfWorthwhile()
        return 0
    }

    private static func frameCount(_ bytes: Span<UInt8>, from start: Int) -> Int {
        var (count, offset) = (0, start)
        while let frame = OutgoingFrame.next(in: bytes, at: offset) {
            offset = frame.range.upperBound
            count += 1
        }
        return count
    }

    private func judged(_ frame: OutgoingFrame, _ bytes: Span<UInt8>, base: Int) -> Frame {
        let start = base + frame.range.lowerBound
        guard let place = frame.place(in: bytes) else { return Frame(start: start, length: frame.range.count) }
        let policy = rules.policy(ofRoom: bytes.extracting(place.room))
        guard policy != .disconnect else { return Frame(start: start, length: frame.range.count) }
        let hash = policy == .conflate && place.key != nil ? Self.hash(bytes.extracting(place.whole)) : 0
        return Frame(
            start: start, length: frame.range.count, place: place.whole.lowerBound - frame.range.lowerBound,
            roomLength: place.room.count, placeLength: place.whole.count, hash: hash, policy: policy)
    }

    private static func hash(_ bytes: Span<UInt8>) -> Int {
        var hasher = Hasher()
        // Unsafe for the pointer, which lives for the closure only.
        unsafe bytes.withUnsafeBytes { raw in unsafe hasher.combine(bytes: raw) }
        let hash = hasher.finalize()
        return hash == 0 ? 1 : hash
    }

    /// Returns `false` when there is no room and the frame may not be left out.
    private func append(_ frame: Frame, before: Int) -> Bool {
        if frame.hash != 0, let index = latest[frame.hash], index >= first, !frames[index].isGone,
            isSamePlace(frames[index], frame)
        {
            remove(index)
            drops.conflated += 1
        }
        // An eighth is left for what can't be left out: answers and pings don't close a client whose rooms have a rule.
        let most = frame.policy == .disconnect ? limit : limit - limit / 8
        while before + bytes + frame.weight > most {
            switch frame.policy {
            case .dropNewest:
                drops.newest += 1
                noteGap(frame)
                return true
            case .dropOldest, .conflate:
                guard !dropOldest() else { continue }
                drops.oldest += 1
                noteGap(frame)
                return true
            case .disconnect:
                guard dropOldest() else { return false }
            }
        }
        if frame.hash != 0 { latest[frame.hash] = frames.count }
        frames.append(frame)
        count += 1
        bytes += frame.weight
        return true
    }

    private func isSamePlace(_ a: Frame, _ b: Frame) -> Bool {
        guard a.placeLength == b.placeLength else { return false }
        let all = storage
        let span = all.readableBytesUInt8Span
        let (first, second) = (a.start + Int(a.place), b.start + Int(b.place))
        for index in 0..<Int(a.placeLength) where span[first + index] != span[second + index] { return false }
        return true
    }

    // MARK: Leaving out

    private func dropOldest() -> Bool {
        oldest = max(oldest, first)
        while oldest < frames.count {
            let frame = frames[oldest]
            if !frame.isGone, frame.isDroppedForOthers {
                remove(oldest)
                drops.oldest += 1
                noteGap(frame)
                return true
            }
            oldest += 1
        }
        return false
    }

    private func remove(_ index: Int) {
        frames[index].isGone = true
        bytes -= frames[index].weight
        count -= 1
    }

    private func noteGap(_ frame: Frame) {
        let all = storage
        let start = frame.start + Int(frame.place)
        let room = all.readableBytesUInt8Span.extracting(start..<start + Int(frame.roomLength))
        for index in gaps.indices.reversed() where Self.isSame(gaps[index].room, room) {
            gaps[index].missed += 1
            return
        }
        guard gaps.count < Self.mostGaps else { return }
        var name: [UInt8] = []
        name.reserveCapacity(room.count)
        for index in room.indices { name.append(room[index]) }
        gaps.append(Gap(room: name, missed: 1))
    }

    private static func isSame(_ name: [UInt8], _ other: Span<UInt8>) -> Bool {
        guard name.count == other.count else { return false }
        for index in name.indices where name[index] != other[index] { return false }
        return true
    }

    // MARK: Taking

    /// The next frames, `most` bytes of them or a single larger one; `nil` when none waits.
    func next(atMost most: Int) -> (bytes: ByteBuffer, messages: Int)? {
        var piece = ByteBuffer()
        var messages = 0
        while first < frames.count {
            let frame = frames[first]
            if frame.isGone {
                first += 1
                continue
            }
            if messages > 0, piece.readableBytes + Int(frame.length) > most { break }
            if let bytes = storage.getSlice(at: frame.start, length: Int(frame.length)) {
                piece.writeImmutableBuffer(bytes)
            }
            messages += 1
            remove(first)
            first += 1
        }
        compactIfWorthwhile()
        return messages > 0 ? (piece, messages) : nil
    }

    /// Gives back what frames have left that are gone.
    private func compactIfWorthwhile() {
        let live = bytes - count * MemoryLayout<Frame>.stride
        guard storage.writerIndex - live > max(live, Self.slack) || frames.count - count > max(count, 1024) else {
            return
        }
        var packed = ByteBuffer()
        packed.reserveCapacity(live)
        var kept: ContiguousArray<Frame> = []
        kept.reserveCapacity(count)
        latest.removeAll(keepingCapacity: count > 0)
        for index in first..<frames.count where !frames[index].isGone {
            var frame = frames[index]
            if let bytes = storage.getSlice(at: frame.start, length: Int(frame.length)) {
                frame.start = packed.writerIndex
                packed.writeImmutableBuffer(bytes)
            }
            if frame.hash != 0 { latest[frame.hash] = kept.count }
            kept.append(frame)
        }
        storage = packed
        frames = kept
        first = 0
        oldest = 0
    }
}

@available(*, unavailable)
extension Backlog: Sendable {}
