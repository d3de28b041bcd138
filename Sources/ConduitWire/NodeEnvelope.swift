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
/// | 1 | flags: bit 0 = the sequence starts a new run (see ``startsRun``); the other bits are 0 |
/// | 1 | length *n* of the origin's node id, 1–64 |
/// | *n* | node id of the origin |
/// | 8 | incarnation: when the origin's process began, in microseconds since 1970 |
/// | 8 | sequence number of the first entry, counted by origin and channel, from 1 |
/// | 8 | when it was sent, in microseconds since 1970 |
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
    /// The entries' bytes: slices of the payload.
    package let entries: [ByteBuffer]

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
        guard flags & ~1 == 0 else { throw .unknownVersion }
        guard let node = NodeID(String(buffer: origin)) else { throw .badOrigin }
        guard let incarnation = buffer.readInteger(as: UInt64.self),
            let sequence = buffer.readInteger(as: UInt64.self), let sentAt = buffer.readInteger(as: Int64.self)
        else { throw .truncated }
        var entries: [ByteBuffer] = []
        while buffer.readableBytes > 0 {
            guard entries.count < maximumEntries else { throw .oversized }
            guard let length = buffer.readInteger(as: UInt32.self), let entry = buffer.readSlice(length: Int(length))
            else { throw .truncated }
            entries.append(entry)
        }
        guard !entries.isEmpty else { throw .empty }
        return NodeEnvelope(
            kind: kind, origin: node, incarnation: incarnation, sequence: sequence, startsRun: flags & 1 == 1,
            sentAt: sentAt, entries: entries)
    }
}

/// Collects the entries of one PUBLISH.
package struct NodeEnvelopeWriter: Sendable {
    private var body = ByteBuffer()
    /// Entries so far.
    package private(set) var count = 0

    /// Bytes of entries so far.
    package var byteCount: Int { body.readableBytes }

    /// Nothing collected.
    package init() {}

    /// Adds an entry that is encoded already.
    package mutating func append(_ entry: ByteBuffer) {
        body.writeInteger(UInt32(clamping: entry.readableBytes))
        body.writeImmutableBuffer(entry)
        count += 1
    }

    /// Adds an entry that `write` encodes in place.
    package mutating func append(_ write: (inout ByteBuffer) -> Void) {
        let start = body.writerIndex
        body.writeInteger(UInt32(0))
        write(&body)
        body.setInteger(UInt32(clamping: body.writerIndex - start - 4), at: start)
        count += 1
    }

    /// The payload.
    package func finish(
        kind: NodeEnvelope.Kind, origin: NodeID, incarnation: UInt64, sequence: UInt64, startsRun: Bool, sentAt: Int64
    ) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.reserveCapacity(4 + 64 + 24 + body.readableBytes)
        buffer.writeInteger(NodeEnvelope.version)
        buffer.writeInteger(kind.rawValue)
        buffer.writeInteger(startsRun ? 1 : 0 as UInt8)
        buffer.writeInteger(UInt8(clamping: origin.rawValue.utf8.count))
        buffer.writeString(origin.rawValue)
        buffer.writeInteger(incarnation)
        buffer.writeInteger(sequence)
        buffer.writeInteger(sentAt)
        buffer.writeImmutableBuffer(body)
        return buffer
    }
}
