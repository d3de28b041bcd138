import ConduitCore
import ConduitWire
import NIOCore

// What was on its way to this node when a client was told to go elsewhere. A peer may have sent messages until it sees the
// close frame, and RFC 6455 lets us take them until it answers that one: so nothing is lost that was published in good
// faith. Only answers can't be given any more, so a client can't tell these messages from lost ones: it publishes them
// again with their keys.
extension Shard {
    /// From now on until the client answers its close frame, or is cut, its messages are published without an answer.
    /// Call it while the client is in its rooms.
    func takeLateMessages(of client: Client) {
        // Where anybody may publish nobody asks whether it was a member.
        let asks = hasPolicies || !client.identity.mayPublishWithoutJoining
        client.lateRooms = asks ? Set(rooms.roomNames(of: client.slot)) : []
        lateClients.insert(client.slot)
    }

    /// Nothing of what a client sends from now on is published.
    func refuseLateMessages(of client: Client) {
        guard client.lateRooms != nil else { return }
        client.lateRooms = nil
        lateClients.remove(client.slot)
    }

    /// Those of a user or client whose messages are still published. They are in no room, and no longer the user's.
    func lateClients(of target: SendTarget) -> [Client] {
        guard !lateClients.isEmpty else { return [] }
        switch target {
        case .user(let user): return lateClients.compactMap { clients[$0] }.filter { $0.identity.user == user }
        case .client(let id): return client(id).map { $0.lateRooms == nil ? [] : [$0] } ?? []
        }
    }

    /// A message that was read behind the close frame.
    func takeLate(_ bytes: Span<UInt8>, from client: Client) {
        guard isHeardLate(client) else { return drop("after_close") }
        statistics.messagesIn += 1
        if let meter = client.meter, meter.take(bytes.count, now: now) != nil { return drop("after_close") }
        publishLate(bytes, client)
    }

    /// Publishes a message under the rights that the client had; what is no publication is of no use to anybody now.
    func publishLate(_ bytes: Span<UInt8>, _ client: Client) {
        guard isHeardLate(client), !revocations.isRevoked(client.identity),
            let command = try? CommandDecoder.decode(bytes, maximumDepth: configuration.jsonDepth),
            command.kind == .broadcast || command.kind == .send
        else { return drop("after_close") }
        do throws(RequestError) {
            try carryOut(command, bytes, client)
        } catch {
            statistics.errors[error.code.rawValue, default: 0] += 1
            drop("after_close")
        }
    }

    /// Whether what a client sends behind its close frame is published: not when its time is over, though it is cut only by
    /// the next sweep.
    private func isHeardLate(_ client: Client) -> Bool {
        guard client.lateRooms != nil, case .closing(let deadline) = client.state, now < deadline else { return false }
        return true
    }

    /// Whether a client publishes to a room as a member: it is one, or was when it was told to go.
    @inline(__always)
    func isMember(_ client: Client, at number: Int32) -> Bool {
        rooms.contains(client.slot, at: number) || client.lateRooms != nil && wasMember(client, at: number)
    }

    private func wasMember(_ client: Client, at number: Int32) -> Bool {
        guard let room = rooms.name(at: number) else { return false }
        return client.lateRooms?.contains(room) ?? false
    }
}
