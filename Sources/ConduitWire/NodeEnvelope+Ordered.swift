package import ConduitCore
package import NIOCore

/// One message of an ordered room, as the log and the bus carry it.
package struct OrderedMessage: Sendable, Hashable {
    /// No room gets as far: what is above is forged. Redis's scripts count exactly up to here.
    package static let highestOffset: UInt64 = 1 << 53

    /// Its number in the room, from 1.
    package let offset: UInt64
    /// Who doesn't get it.
    package let excluded: ClientID?
    /// The client envelope without its `offset`.
    package let json: ByteBuffer

    package init(offset: UInt64, excluded: ClientID? = nil, json: ByteBuffer) {
        self.offset = offset
        self.excluded = excluded
        self.json = json
    }
}

/// What a payload of ``NodeEnvelope/Kind/ordered`` says: messages with consecutive offsets of one epoch.
///
/// Its first entry is 8 bytes, the offset of the first message, then the epoch. Each further entry is a message:
/// 1 byte length of the client id that doesn't get it (0 = everybody gets it), the client id, the envelope's JSON
/// without `offset`. The sequence number of such a payload is 0: offsets tell what is missing.
package struct OrderedBatch: Sendable, Hashable {
    package let epoch: String
    package let messages: [OrderedMessage]

    package init(epoch: String, messages: [OrderedMessage]) {
        self.epoch = epoch
        self.messages = messages
    }

    /// Reads the entries; `nil` for anything malformed.
    package init?(_ envelope: NodeEnvelope) {
        guard envelope.kind == .ordered else { return nil }
        var entries = envelope.entries.makeIterator()
        guard var head = entries.next(), let first = head.readInteger(as: UInt64.self), first > 0,
            first <= OrderedMessage.highestOffset, (1...64).contains(head.readableBytes)
        else { return nil }
        epoch = String(buffer: head)
        var messages: [OrderedMessage] = []
        messages.reserveCapacity(envelope.entries.count - 1)
        while var entry = entries.next() {
            guard let length = entry.readInteger(as: UInt8.self), let name = entry.readString(length: Int(length)),
                entry.readableBytes > 1
            else { return nil }
            let excluded = ClientID(name)
            guard excluded != nil || length == 0 else { return nil }
            messages.append(OrderedMessage(offset: first + UInt64(messages.count), excluded: excluded, json: entry))
        }
        guard !messages.isEmpty else { return nil }
        self.messages = messages
    }
}
