package import ConduitCore
import NIOCore

/// Somebody wants to know what each node has counted.
///
/// As an entry of `ControlMessage`: 8 bytes number of the request, 4 bytes *n*: only every *n*-th channel (by the hash
/// of its name, the same on all nodes), 1 byte length and name of a room (0: all channels).
package struct AuditRequest: Sendable, Hashable {
    package let request: UInt64
    package let every: UInt32
    package let room: RoomName?

    package init(request: UInt64, every: UInt32 = 1, room: RoomName? = nil) {
        self.request = request
        self.every = max(1, every)
        self.room = room
    }

    init?(_ buffer: inout ByteBuffer) {
        guard let request = buffer.readInteger(as: UInt64.self), let every = buffer.readInteger(as: UInt32.self),
            every > 0, let name = buffer.readShortText()
        else { return nil }
        let room = RoomName(name)
        guard room != nil || name.isEmpty else { return nil }
        self.init(request: request, every: every, room: room)
    }

    func write(to buffer: inout ByteBuffer) {
        buffer.writeInteger(request)
        buffer.writeInteger(every)
        buffer.writeShortText(room?.rawValue ?? "")
    }

    /// Whether a channel is among those that are asked for.
    package func covers(_ topic: BusTopic) -> Bool {
        let name: String
        switch topic {
        case .room(let own):
            if let room { return room == own }
            name = own.rawValue
        case .user(let user): name = user.rawValue
        case .everyone: name = ""
        case .node(let node): name = node.rawValue
        case .control: return false
        }
        guard room == nil else { return false }
        guard every > 1 else { return true }
        // FNV-1a.
        var hash: UInt32 = 2_166_136_261
        for byte in name.utf8 { hash = (hash ^ UInt32(byte)) &* 16_777_619 }
        return hash % every == 0
    }
}
