package import ConduitCore

/// Every Redis key and channel of a cluster, in one place.
///
/// `{R}` and `{U}` are hash tags: all keys of one room live in one slot. Only `%`, `{` and `}` of a name are encoded.
package struct ClusterKeys: Sendable, Hashable {
    /// What every key begins with.
    package let prefix: String
    private let roomChannelPrefix: String
    private let userChannelPrefix: String

    package init(prefix: String) {
        self.prefix = prefix
        self.roomChannelPrefix = prefix + ":room:{"
        self.userChannelPrefix = prefix + ":user:{"
    }

    /// zset: node id → last heartbeat in Redis's clock, milliseconds.
    package var nodes: String { prefix + ":nodes" }
    /// hash with a lease: a node's figures.
    package func node(_ node: NodeID) -> String { "\(prefix):node:\(node)" }
    /// set: rooms in which a node holds presence.
    package func rooms(of node: NodeID) -> String { "\(prefix):node:\(node):rooms" }
    /// string with an expiry: who cleans up after a dead node. An extension of the contract.
    package func claim(of node: NodeID) -> String { besideNodes("claim") + ":\(node)" }
    /// A key in the slot of ``nodes``, for scripts that need both: the whole name of that key is this one's hash tag.
    package func besideNodes(_ name: String) -> String { "\(prefix):\(name):{\(nodes)}" }
    /// string with the lease's expiry: which process holds a node's lease. An extension of the contract.
    package func holder(of node: NodeID) -> String { "\(prefix):holder:\(node)" }
    /// list with an expiry: what the nodes have answered to an audit, in parts. An extension of the contract.
    package func audit(_ request: UInt64) -> String { "\(prefix):audit:\(request)" }
    /// zset with an expiry: whose tokens are good no more → until when that is remembered, ms since 1970. An extension
    /// of the contract.
    package var revoked: String { prefix + ":revoked" }
    /// stream: a node's figures over time.
    package func series(of node: NodeID) -> String { "\(prefix):series:\(node)" }
    /// zset with a lease: the rooms that most is published to on a node → messages a second. An extension of the contract.
    package func busy(of node: NodeID) -> String { "\(prefix):busy:\(node)" }
    /// stream: what happened in the cluster.
    package var events: String { prefix + ":events" }
    /// hash: `<node>/<client>` → member JSON.
    package func members(of room: RoomName) -> String { "\(prefix):members:{\(Self.encode(room.rawValue))}" }
    /// stream: the messages of an ordered room, by offset.
    package func log(of room: RoomName) -> String { "\(prefix):log:{\(Self.encode(room.rawValue))}" }
    /// hash: epoch, last offset and version guard of an ordered room.
    package func meta(of room: RoomName) -> String { "\(prefix):meta:{\(Self.encode(room.rawValue))}" }
    /// hash with an expiry: what became of a message that was published under a key.
    package func key(_ key: String, of room: RoomName) -> String {
        "\(prefix):key:{\(Self.encode(room.rawValue))}:\(key)"
    }
    /// A field of ``members(of:)``.
    package func memberField(_ client: ClientID, node: NodeID) -> String { "\(node)/\(client)" }
    /// The pattern of all fields of a node, for HSCAN: a node id has no character that a pattern means.
    package func memberFields(of node: NodeID) -> String { "\(node)/*" }

    /// The channel of a topic.
    package func channel(_ topic: BusTopic) -> String {
        switch topic {
        case .room(let room): "\(roomChannelPrefix)\(Self.encode(room.rawValue))}"
        case .user(let user): "\(userChannelPrefix)\(Self.encode(user.rawValue))}"
        case .everyone: prefix + ":all"
        case .control: prefix + ":ctl"
        case .node(let node): "\(prefix):ctl:\(node)"
        }
    }

    /// What a channel is about; `nil` when it is none of ours.
    package func topic(ofChannel channel: String) -> BusTopic? {
        if let name = Self.tagged(channel, after: roomChannelPrefix) { return RoomName(name).map { .room($0) } }
        if let name = Self.tagged(channel, after: userChannelPrefix) { return UserID(name).map { .user($0) } }
        guard channel.utf8.starts(with: prefix.utf8) else { return nil }
        let rest = channel.utf8.dropFirst(prefix.utf8.count)
        if rest.elementsEqual(":all".utf8) { return .everyone }
        if rest.elementsEqual(":ctl".utf8) { return .control }
        guard rest.starts(with: ":ctl:".utf8), let id = String(rest.dropFirst(5)) else { return nil }
        return NodeID(id).map { .node($0) }
    }

    private static func tagged(_ channel: String, after prefix: String) -> String? {
        guard channel.utf8.starts(with: prefix.utf8), channel.utf8.last == UInt8(ascii: "}") else { return nil }
        return decode(channel.utf8.dropFirst(prefix.utf8.count).dropLast())
    }

    /// `%`, `{` and `}` as `%25`, `%7B` and `%7D`.
    package static func encode(_ name: String) -> String {
        guard name.utf8.contains(where: { $0 == 0x25 || $0 == 0x7B || $0 == 0x7D }) else { return name }
        var bytes: [UInt8] = []
        for byte in name.utf8 {
            switch byte {
            case 0x25: bytes += Array("%25".utf8)
            case 0x7B: bytes += Array("%7B".utf8)
            case 0x7D: bytes += Array("%7D".utf8)
            default: bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The name behind an encoded one; `nil` when ``encode(_:)`` never writes this.
    private static func decode(_ encoded: some Collection<UInt8>) -> String? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(encoded.count)
        var rest = encoded[...]
        while let byte = rest.popFirst() {
            switch byte {
            case 0x7B, 0x7D: return nil
            case 0x25:
                switch (rest.popFirst(), rest.popFirst()) {
                case (0x32, 0x35): bytes.append(0x25)
                case (0x37, 0x42): bytes.append(0x7B)
                case (0x37, 0x44): bytes.append(0x7D)
                default: return nil
                }
            default: bytes.append(byte)
            }
        }
        return String(validating: bytes, as: UTF8.self)
    }

    /// The room of an encoded name, as it stands in ``rooms(of:)``. That set holds plain names.
    package func room(inSet member: String) -> RoomName? { RoomName(member) }
}
