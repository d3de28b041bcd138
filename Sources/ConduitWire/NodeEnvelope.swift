package import ConduitCore
package import NIOCore

/// What one node tells others in one PUBLISH: a binary header, then one or more entries.
///
/// All numbers are big-endian.
///
/// | bytes | content |
/// |---|---|
/// | 1 | version, 1 |
/// | 1 | kind, see ``Kind`` |
/// | 1 | flags: bit 0 = the sequence starts a new run (see ``startsRun``), bit 1 = a trace follows the header; the other bits are 0 |
/// | 1 | length *n* of the origin's node id, 1–64 |
/// | *n* | node id of the origin |
/// | 8 | incarnation: when the origin's process began, in microseconds since 1970 |
/// | 8 | sequence number of the first entry, counted by origin and channel, from 1 |
/// | 8 | when it was sent, in microseconds since 1970 |
/// | 26, with bit 1 | a trace, see ``trace``: 16 bytes its id, 8 bytes the span's id, 1 byte flags, 1 byte 0 |
/// | the rest | entries, at least one: 4 bytes length, then as many bytes |
///
/// An entry of ``Kind/broadcast`` is the client envelope's JSON, already encoded: a receiver copies it and parses
/// nothing. For the others see ``Kind``.
package struct NodeEnvelope: Sendable {
    /// The version that this code writes and reads.
    package static let version: UInt8 = 1
    /// Longest payload that is read.
    package static let maximumBytes = 16 * 1024 * 1024
    /// Most entries of one payload.
    package static let maximumEntries = 65_536

    /// What the entries are.
    package enum Kind: UInt8, Sendable, CaseIterable {
        /// To a room or to everybody, by the channel. Entry: envelope JSON.
        case broadcast = 1
        /// To a user (the channel's) or a client. Entry: 8 bytes request number (0 = nobody counts), 1 byte length
        /// of the client id (0 = the user), the client id, envelope JSON.
        case send = 2
        /// Who came and went in the channel's room. Entry: see `PresenceNews`.
        case presence = 3
        /// Commands of nodes to nodes. Entry: see `ControlMessage`.
        case control = 4
        /// A node pings itself. Entry: 8 bytes, its number.
        case probe = 5
        /// Messages of the channel's ordered room, published by the script that numbered them. Entries: see
        /// `OrderedBatch`.
        case ordered = 6
    }

    /// Why a payload was dropped.
    package enum Failure: String, Error, Sendable, CaseIterable {
        case truncated
        case oversized
        case unknownVersion = "unknown_version"
        case unknownKind = "unknown_kind"
        case badOrigin = "bad_origin"
        case empty
    }

    /// What the entries are.
    package let kind: Kind
    /// Who sent it.
    package let origin: NodeID
    /// Which life of that node.
    package let incarnation: UInt64
    /// The number of the first entry.
    package let sequence: UInt64
    /// The origin has forgotten its count for this channel and goes on above every number that it ever gave.
    package let startsRun: Bool
    /// When, in microseconds since 1970.
    package let sentAt: Int64
    /// The trace that its one message belongs to, as W3C Trace Context has it; `nil` without one, or where its ids are 0.
    package let trace: TraceContext?
    /// The entries' bytes: slices of the payload.
    package let entries: Entries

    /// The entries of a payload whose lengths are checked: they are cut out while one walks, without an array.
    package struct Entries: Sequence, Sendable {
        fileprivate let bytes: ByteBuffer
        /// How many there are, at least one.
        package let count: Int

        package func makeIterator() -> Iterator { Iterator(rest: bytes) }

        package struct Iterator: IteratorProtocol {
            fileprivate var rest: ByteBuffer

            package mutating func next() -> ByteBuffer? {
                rest.readInteger(as: UInt32.self).flatMap { rest.readSlice(length: Int($0)) }
            }
        }
    }

    /// Reads a whole payload, strictly: every byte must belong to something.
    package static func decode(_ payload: ByteBuffer) throws(Failure) -> NodeEnvelope {
        var buffer = payload
        guard buffer.readableBytes <= maximumBytes else { throw .oversized }
        guard let version = buffer.readInteger(as: UInt8.self) else { throw .truncated }
        guard version == Self.version else { throw .unknownVersion }
        guard let rawKind = buffer.readInteger(as: UInt8.self) else { throw .truncated }
        guard let kind = Kind(rawValue: rawKind) else { throw .unknownKind }
        guard let flags = buffer.readInteger(as: UInt8.self), let length = buffer.readInteger(as: UInt8.self),
            let origin = buffer.readSlice(length: Int(length))
        else { throw .truncated }
        // Flags that this version doesn't know may change what the rest means.
        guard flags & ~(Self.runFlag | Self.traceFlag) == 0 else { throw .unknownVersion }
        guard let node = NodeID(String(buffer: origin)) else { throw .badOrigin }
        guard let incarnation = buffer.readInteger(as: UInt64.self),
            let sequence = buffer.readInteger(as: UInt64.self), let sentAt = buffer.readInteger(as: Int64.self)
        else { throw .truncated }
        let trace = flags & Self.traceFlag == 0 ? nil : try Self.trace(&buffer)
        return NodeEnvelope(
            kind: kind, origin: node, incarnation: incarnation, sequence: sequence, startsRun: flags & 1 == 1,
            sentAt: sentAt, trace: trace, entries: Entries(bytes: buffer, count: try count(of: buffer)))
    }

    fileprivate static let runFlag: UInt8 = 1
    fileprivate static let traceFlag: UInt8 = 2
    fileprivate static let traceBytes = 26

    private static func trace(_ buffer: inout ByteBuffer) throws(Failure) -> TraceContext? {
        guard let high = buffer.readInteger(as: UInt64.self), let low = buffer.readInteger(as: UInt64.self),
            let span = buffer.readInteger(as: UInt64.self), let flags = buffer.readInteger(as: UInt8.self),
            // Kept for later; nothing is made of it.
            buffer.readInteger(as: UInt8.self) != nil
        else { throw .truncated }
        return TraceContext(traceHigh: high, traceLow: low, span: span, flags: flags)
    }

    /// How many entries fill the bytes exactly.
    private static func count(of bytes: ByteBuffer) throws(Failure) -> Int {
        var position = bytes.readerIndex
        var count = 0
        while position < bytes.writerIndex {
            guard count < maximumEntries else { throw .oversized }
            guard let length = bytes.getInteger(at: position, as: UInt32.self),
                Int(length) <= bytes.writerIndex - position - 4
            else { throw .truncated }
            position += 4 + Int(length)
            count += 1
        }
        guard count > 0 else { throw .empty }
        return count
    }
}

/// Knows the broadcasts of one process of a node by the first bytes of their payload.
///
/// Half of what a node hears in a room of its own is what it has said itself, which is dropped: for the price of a
/// comparison.
package struct NodeEnvelopeMark: Sendable {
    /// Everything of a header from the length of the node's id to the incarnation.
    private let origin: ByteBuffer

    package init(origin: NodeID, incarnation: UInt64) {
        var bytes = ByteBuffer()
        bytes.writeInteger(UInt8(clamping: origin.rawValue.utf8.count))
        bytes.writeString(origin.rawValue)
        bytes.writeInteger(incarnation)
        self.origin = bytes
    }

    /// Whether the payload is such a broadcast. Its entries are not looked at.
    package func isBroadcast(_ payload: ByteBuffer) -> Bool {
        let start = payload.readerIndex
        guard payload.getInteger(at: start, as: UInt8.self) == NodeEnvelope.version,
            payload.getInteger(at: start + 1, as: UInt8.self) == NodeEnvelope.Kind.broadcast.rawValue,
            let flags = payload.getInteger(at: start + 2, as: UInt8.self), flags <= 3
        else { return false }
        return payload.getSlice(at: start + 3, length: origin.readableBytes) == origin
    }

    /// How many entries such a broadcast has: only their lengths are read.
    package func count(of payload: ByteBuffer) -> Int {
        var position = payload.readerIndex + 3 + origin.readableBytes + 16
        if let flags = payload.getInteger(at: payload.readerIndex + 2, as: UInt8.self),
            flags & NodeEnvelope.traceFlag != 0
        {
            position += NodeEnvelope.traceBytes
        }
        var count = 0
        while let length = payload.getInteger(at: position, as: UInt32.self) {
            position += 4 + Int(length)
            count += 1
        }
        return count
    }
}

/// Collects the entries of one PUBLISH, behind a space into which the header is written last: the payload is one
/// buffer, and no byte of it moves.
package struct NodeEnvelopeWriter: Sendable {
    /// The longest header: 4 bytes, a node's id, three numbers.
    private static let plainSpace = 4 + 64 + 24
    private let headerSpace: Int
    private var bytes = ByteBuffer()
    /// Entries so far.
    package private(set) var count = 0

    /// Bytes of entries so far.
    package var byteCount: Int { bytes.readableBytes }

    /// Nothing collected.
    ///
    /// - Parameter isTraced: whether there is to be room for a trace.
    package init(isTraced: Bool = false) {
        headerSpace = Self.plainSpace + (isTraced ? NodeEnvelope.traceBytes : 0)
    }

    /// Adds an entry that is encoded already.
    package mutating func append(_ entry: ByteBuffer) {
        begin(entry.readableBytes)
        bytes.writeInteger(UInt32(clamping: entry.readableBytes))
        bytes.writeImmutableBuffer(entry)
    }

    /// Adds an entry that `write` encodes in place.
    package mutating func append(_ write: (inout ByteBuffer) -> Void) {
        begin(0)
        let start = bytes.writerIndex
        bytes.writeInteger(UInt32(0))
        write(&bytes)
        bytes.setInteger(UInt32(clamping: bytes.writerIndex - start - 4), at: start)
    }

    private mutating func begin(_ size: Int) {
        if count == 0 {
            bytes.reserveCapacity(headerSpace + 4 + size)
            bytes.moveWriterIndex(to: headerSpace)
            bytes.moveReaderIndex(to: headerSpace)
        }
        count += 1
    }

    /// The payload. The writer is empty afterwards.
    package mutating func finish(
        kind: NodeEnvelope.Kind, origin: NodeID, incarnation: UInt64, sequence: UInt64, startsRun: Bool, sentAt: Int64,
        trace: TraceContext? = nil
    ) -> ByteBuffer {
        if count == 0 { begin(0) }
        var payload = bytes
        // The only owner writes in place.
        bytes = ByteBuffer()
        count = 0
        let length = min(origin.rawValue.utf8.count, 64)
        let isTraced = trace != nil && headerSpace > Self.plainSpace
        let start = headerSpace - 28 - length - (isTraced ? NodeEnvelope.traceBytes : 0)
        payload.setInteger(NodeEnvelope.version, at: start)
        payload.setInteger(kind.rawValue, at: start + 1)
        let flags = (startsRun ? NodeEnvelope.runFlag : 0) | (isTraced ? NodeEnvelope.traceFlag : 0)
        payload.setInteger(flags, at: start + 2)
        payload.setInteger(UInt8(clamping: length), at: start + 3)
        payload.setString(origin.rawValue, at: start + 4)
        payload.setInteger(incarnation, at: start + 4 + length)
        payload.setInteger(sequence, at: start + 12 + length)
        payload.setInteger(sentAt, at: start + 20 + length)
        if isTraced, let trace {
            let place = start + 28 + length
            payload.setInteger(trace.traceHigh, at: place)
            payload.setInteger(trace.traceLow, at: place + 8)
            payload.setInteger(trace.span, at: place + 16)
            payload.setInteger(trace.flags, at: place + 24)
            payload.setInteger(0 as UInt8, at: place + 25)
        }
        payload.moveReaderIndex(to: start)
        return payload
    }
}
