package import ConduitCore
package import NIOCore

/// A node has missed messages of another one and asks for them.
///
/// As an entry of `ControlMessage`: 8 bytes number of the request; 8 bytes incarnation of the asked node as far as the
/// asker knows it, else 0; 4 bytes: all channels, since so many milliseconds ago (all bits set: only those that are
/// listed); 4 bytes number of channels; of each: the channel, 8 bytes last number that the asker has seen (0: none), 4
/// bytes milliseconds since it listens there.
package struct RepairRequest: Sendable, Hashable {
    /// One channel.
    package struct Wanted: Sendable, Hashable {
        package let topic: BusTopic
        /// The last number seen; 0 when that isn't known.
        package let last: UInt64
        /// How long the asker has listened there.
        package let ageMilliseconds: UInt32

        package init(topic: BusTopic, last: UInt64, ageMilliseconds: UInt32) {
            self.topic = topic
            self.last = last
            self.ageMilliseconds = ageMilliseconds
        }
    }

    /// Most channels in one request.
    package static let maximumTopics = 4_096
    package let request: UInt64
    package let incarnation: UInt64
    /// Also the messages of all other channels, of so many milliseconds; `nil`: only of those that are listed.
    package let allMilliseconds: UInt32?
    package let topics: [Wanted]

    package init(request: UInt64, incarnation: UInt64, allMilliseconds: UInt32?, topics: [Wanted]) {
        self.request = request
        self.incarnation = incarnation
        self.allMilliseconds = allMilliseconds
        self.topics = topics
    }

    init?(_ buffer: inout ByteBuffer) {
        guard let request = buffer.readInteger(as: UInt64.self),
            let incarnation = buffer.readInteger(as: UInt64.self), let all = buffer.readInteger(as: UInt32.self),
            let count = buffer.readInteger(as: UInt32.self), count <= Self.maximumTopics
        else { return nil }
        var topics: [Wanted] = []
        for _ in 0..<count {
            guard let topic = buffer.readTopic(), let last = buffer.readInteger(as: UInt64.self),
                let age = buffer.readInteger(as: UInt32.self)
            else { return nil }
            topics.append(Wanted(topic: topic, last: last, ageMilliseconds: age))
        }
        self.init(
            request: request, incarnation: incarnation, allMilliseconds: all == .max ? nil : all, topics: topics)
    }

    func write(to buffer: inout ByteBuffer) {
        buffer.writeInteger(request)
        buffer.writeInteger(incarnation)
        buffer.writeInteger(allMilliseconds ?? .max)
        buffer.writeInteger(UInt32(clamping: topics.count))
        for wanted in topics {
            buffer.writeTopic(wanted.topic)
            buffer.writeInteger(wanted.last)
            buffer.writeInteger(wanted.ageMilliseconds)
        }
    }
}

/// One payload of the past, given again to the node that asked.
///
/// As an entry of `ControlMessage`: 8 bytes number of the request, 4 bytes (signed) how many milliseconds before the
/// request it was sent, the channel, then the payload as it was published.
package struct RepairedMessage: Sendable, Hashable {
    package let request: UInt64
    /// How long before the request it was sent last; negative when it was later.
    package let ageMilliseconds: Int32
    package let topic: BusTopic
    package let payload: ByteBuffer

    package init(request: UInt64, ageMilliseconds: Int32, topic: BusTopic, payload: ByteBuffer) {
        self.request = request
        self.ageMilliseconds = ageMilliseconds
        self.topic = topic
        self.payload = payload
    }

    init?(_ buffer: inout ByteBuffer) {
        guard let request = buffer.readInteger(as: UInt64.self), let age = buffer.readInteger(as: Int32.self),
            let topic = buffer.readTopic(), let payload = buffer.readSlice(length: buffer.readableBytes)
        else { return nil }
        self.init(request: request, ageMilliseconds: age, topic: topic, payload: payload)
    }

    func write(to buffer: inout ByteBuffer) {
        buffer.writeInteger(request)
        buffer.writeInteger(ageMilliseconds)
        buffer.writeTopic(topic)
        buffer.writeImmutableBuffer(payload)
    }
}

/// All that a node had was given.
///
/// As an entry of `ControlMessage`: 8 bytes number of the request, 4 bytes number of channels; of each: the channel and
/// 8 bytes: up to this number, what the asker hasn't got is gone.
package struct RepairEnd: Sendable, Hashable {
    /// A channel of which the node has no more what the asker misses.
    package struct Lost: Sendable, Hashable {
        package let topic: BusTopic
        package let last: UInt64

        package init(topic: BusTopic, last: UInt64) {
            self.topic = topic
            self.last = last
        }
    }

    package let request: UInt64
    package let lost: [Lost]

    package init(request: UInt64, lost: [Lost]) {
        self.request = request
        self.lost = lost
    }

    init?(_ buffer: inout ByteBuffer) {
        guard let request = buffer.readInteger(as: UInt64.self), let count = buffer.readInteger(as: UInt32.self),
            count <= RepairRequest.maximumTopics
        else { return nil }
        var lost: [Lost] = []
        for _ in 0..<count {
            guard let topic = buffer.readTopic(), let last = buffer.readInteger(as: UInt64.self) else { return nil }
            lost.append(Lost(topic: topic, last: last))
        }
        self.init(request: request, lost: lost)
    }

    func write(to buffer: inout ByteBuffer) {
        buffer.writeInteger(request)
        buffer.writeInteger(UInt32(clamping: lost.count))
        for entry in lost {
            buffer.writeTopic(entry.topic)
            buffer.writeInteger(entry.last)
        }
    }
}

extension ByteBuffer {
    /// 1 byte kind (1 room, 2 user, 3 everybody, 4 node), 1 byte length and the name.
    fileprivate mutating func writeTopic(_ topic: BusTopic) {
        let (kind, name): (UInt8, String) =
            switch topic {
            case .room(let room): (1, room.rawValue)
            case .user(let user): (2, user.rawValue)
            case .everyone: (3, "")
            case .node(let node): (4, node.rawValue)
            case .control: (5, "")
            }
        writeInteger(kind)
        writeShortText(name)
    }

    /// What ``writeTopic(_:)`` has written; `nil` for anything else, and for channels whose messages have no numbers.
    fileprivate mutating func readTopic() -> BusTopic? {
        guard let kind = readInteger(as: UInt8.self), let name = readShortText() else { return nil }
        switch kind {
        case 1: return RoomName(name).map { .room($0) }
        case 2: return UserID(name).map { .user($0) }
        case 3: return name.isEmpty ? .everyone : nil
        case 4: return NodeID(name).map { .node($0) }
        default: return nil
        }
    }
}
