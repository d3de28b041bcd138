import ConduitCore
import NIOCore

/// Names of channels by topic and topics by name, as they come again and again: spelt and read once, then found by a
/// comparison.
///
/// A value, owned by the bridge. Bounded: over the limit everything is forgotten and made anew.
struct ChannelTable {
    private let keys: ClusterKeys
    private let limit: Int
    private var names: [BusTopic: ByteBuffer] = [:]
    private var topics: [ByteBuffer: BusTopic] = [:]
    private var lastNamed: (topic: BusTopic, name: ByteBuffer)?
    private var lastRead: (name: ByteBuffer, topic: BusTopic)?

    init(keys: ClusterKeys, limit: Int = 16_384) {
        self.keys = keys
        self.limit = max(1, limit)
    }

    /// The channel of a topic.
    mutating func name(of topic: BusTopic) -> ByteBuffer {
        if let lastNamed, lastNamed.topic == topic { return lastNamed.name }
        if let name = names[topic] {
            lastNamed = (topic, name)
            return name
        }
        let name = ByteBuffer(string: keys.channel(topic))
        if names.count >= limit { names.removeAll() }
        names[topic] = name
        lastNamed = (topic, name)
        return name
    }

    /// What a channel is about; `nil` when it is none of ours.
    mutating func topic(of name: ByteBuffer) -> BusTopic? {
        if let lastRead, lastRead.name == name { return lastRead.topic }
        if let topic = topics[name] {
            lastRead = (name, topic)
            return topic
        }
        guard let topic = keys.topic(ofChannel: String(buffer: name)) else { return nil }
        if topics.count >= limit { topics.removeAll() }
        topics[name] = topic
        lastRead = (name, topic)
        return topic
    }
}
