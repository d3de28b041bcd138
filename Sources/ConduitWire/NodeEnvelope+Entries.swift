package import ConduitCore
package import NIOCore

/// An entry of ``NodeEnvelope/Kind/send``.
package struct NodeSend: Sendable {
    /// Under which number the origin counts the answers; 0 when it doesn't.
    package let request: UInt64
    /// The client; `nil` for the user of the channel.
    package let client: ClientID?
    /// The envelope's JSON.
    package let json: ByteBuffer

    package init(request: UInt64, client: ClientID?, json: ByteBuffer) {
        self.request = request
        self.client = client
        self.json = json
    }

    /// Reads an entry; `nil` for anything malformed.
    package init?(_ entry: ByteBuffer) {
        var buffer = entry
        guard let request = buffer.readInteger(as: UInt64.self), let length = buffer.readInteger(as: UInt8.self),
            let name = buffer.readString(length: Int(length))
        else { return nil }
        let client = ClientID(name)
        guard client != nil || length == 0, buffer.readableBytes > 0 else { return nil }
        self.init(request: request, client: client, json: buffer)
    }

    /// Writes the entry.
    package func write(to buffer: inout ByteBuffer) {
        buffer.writeInteger(request)
        buffer.writeShortText(client?.rawValue ?? "")
        buffer.writeImmutableBuffer(json)
    }
}

/// An entry of ``NodeEnvelope/Kind/presence``: 1 byte, then
/// for 1 (joined) the member's JSON as it stands in Redis,
/// for 2 (left) 1 byte reason (1 left, 2 disconnected, 3 node lost) and the client id,
/// for 3 (the digest of the origin's members) 4 bytes count and 8 bytes hash,
/// for 4 (the origin keeps a node's members differently from their digest) the node id.
package enum PresenceNews: Sendable, Hashable {
    case joined(Member)
    case left(ClientID, LeaveReason)
    case digest(PresenceDigest)
    case differs(NodeID)

    private static let reasons: [LeaveReason] = [.left, .disconnected, .nodeLost]

    /// Reads an entry; `nil` for anything malformed.
    package init?(_ entry: ByteBuffer) {
        var buffer = entry
        switch buffer.readInteger(as: UInt8.self) {
        case 1:
            guard let member = MemberCodec.decode(buffer) else { return nil }
            self = .joined(member)
        case 2:
            guard let number = buffer.readInteger(as: UInt8.self), (1...Self.reasons.count).contains(Int(number)),
                let client = ClientID(String(buffer: buffer))
            else { return nil }
            self = .left(client, Self.reasons[Int(number) - 1])
        case 3:
            guard let count = buffer.readInteger(as: UInt32.self), let hash = buffer.readInteger(as: UInt64.self),
                buffer.readableBytes == 0
            else { return nil }
            self = .digest(PresenceDigest(count: Int(count), hash: hash))
        case 4:
            guard let node = NodeID(String(buffer: buffer)) else { return nil }
            self = .differs(node)
        default: return nil
        }
    }

    /// Writes the entry.
    package func write(to buffer: inout ByteBuffer) {
        switch self {
        case .joined(let member):
            buffer.writeInteger(1 as UInt8)
            buffer.writeMember(member)
        case .left(let client, let reason):
            buffer.writeInteger(2 as UInt8)
            buffer.writeInteger(UInt8(clamping: (Self.reasons.firstIndex(of: reason) ?? 0) + 1))
            buffer.writeString(client.rawValue)
        case .digest(let digest):
            buffer.writeInteger(3 as UInt8)
            buffer.writeInteger(UInt32(clamping: digest.count))
            buffer.writeInteger(digest.hash)
        case .differs(let node):
            buffer.writeInteger(4 as UInt8)
            buffer.writeString(node.rawValue)
        }
    }
}

/// An entry of ``NodeEnvelope/Kind/control``: 1 byte, then
/// for 1 (hello: this node listens again) nothing,
/// for 2 (answer to a hello) nothing,
/// for 3 (a node is down) 1 byte reason (1 lost, 2 shutdown), 1 byte length and the node id,
/// for 4 (answer to a counted send) 8 bytes request number and 4 bytes connections,
/// for 5 (disconnect) 2 bytes close code, 1 byte target (1 user, 2 client), 1 byte length and the target,
/// for 6 (give me what I missed) see ``RepairRequest``,
/// for 7 (a part of it) see ``RepairedMessage``,
/// for 8 (that was all) see ``RepairEnd``,
/// for 9 (tell your counts) see ``AuditRequest``,
/// for 10 (tokens are revoked) 8 bytes since when and 8 bytes until when, in ms since 1970, 1 byte target (1 user,
/// 2 token), 1 byte length and the user or the token's id,
/// for 11 (an operator asks: tell, or do and count) see ``SurveyRequest``,
/// for 12 (the answer to such a question) see ``SurveyAnswer``,
/// for 13 (take clients out of a room, and count) see ``SurveyRequest``,
/// for 14 (drain, to the node of the channel) 4 bytes milliseconds that it may take, 0 for as long as it is configured,
/// for 15 (rebalance) 1 byte, which is 1: now.
package enum ControlMessage: Sendable, Hashable {
    /// Why a node is down.
    package enum DownReason: UInt8, Sendable, Hashable {
        case lost = 1
        case shutdown = 2
    }

    /// Whom a disconnect concerns.
    package enum Target: Sendable, Hashable {
        case user(UserID)
        case client(ClientID)
    }

    case hello
    case helloAnswer
    case nodeDown(NodeID, DownReason)
    case delivered(request: UInt64, count: UInt32)
    case disconnect(Target, code: UInt16)
    case repair(RepairRequest)
    case repaired(RepairedMessage)
    case repairEnd(RepairEnd)
    case audit(AuditRequest)
    case revoke(Revocation)
    case ask(SurveyRequest)
    case answer(SurveyAnswer)
    case drain(milliseconds: UInt32)
    case rebalance

    /// Reads an entry; `nil` for anything malformed.
    package init?(_ entry: ByteBuffer) {
        var buffer = entry
        switch buffer.readInteger(as: UInt8.self) {
        case 1: self = .hello
        case 2: self = .helloAnswer
        case 3:
            guard let reason = buffer.readInteger(as: UInt8.self).flatMap(DownReason.init(rawValue:)),
                let node = buffer.readShortText().flatMap({ NodeID($0) })
            else { return nil }
            self = .nodeDown(node, reason)
        case 4:
            guard let request = buffer.readInteger(as: UInt64.self), let count = buffer.readInteger(as: UInt32.self)
            else { return nil }
            self = .delivered(request: request, count: count)
        case 5:
            guard let code = buffer.readInteger(as: UInt16.self), let kind = buffer.readInteger(as: UInt8.self),
                let name = buffer.readShortText()
            else { return nil }
            switch kind {
            case 1:
                guard let user = UserID(name) else { return nil }
                self = .disconnect(.user(user), code: code)
            case 2:
                guard let client = ClientID(name) else { return nil }
                self = .disconnect(.client(client), code: code)
            default: return nil
            }
        case 6:
            guard let request = RepairRequest(&buffer) else { return nil }
            self = .repair(request)
        case 7:
            guard let message = RepairedMessage(&buffer) else { return nil }
            self = .repaired(message)
        case 8:
            guard let end = RepairEnd(&buffer) else { return nil }
            self = .repairEnd(end)
        case 9:
            guard let request = AuditRequest(&buffer) else { return nil }
            self = .audit(request)
        case 10:
            guard let revocation = Self.revocation(&buffer) else { return nil }
            self = .revoke(revocation)
        case 11:
            guard let request = SurveyRequest(ask: &buffer) else { return nil }
            self = .ask(request)
        case 12:
            guard let answer = SurveyAnswer(&buffer) else { return nil }
            self = .answer(answer)
        case 13:
            guard let request = SurveyRequest(kick: &buffer) else { return nil }
            self = .ask(request)
        case 14:
            guard let milliseconds = buffer.readInteger(as: UInt32.self) else { return nil }
            self = .drain(milliseconds: milliseconds)
        case 15:
            guard buffer.readInteger(as: UInt8.self) == 1 else { return nil }
            self = .rebalance
        default: return nil
        }
        guard buffer.readableBytes == 0 else { return nil }
    }

    private static func revocation(_ buffer: inout ByteBuffer) -> Revocation? {
        guard let revokedAt = buffer.readInteger(as: Int64.self), let expiresAt = buffer.readInteger(as: Int64.self),
            let kind = buffer.readInteger(as: UInt8.self), let name = buffer.readShortText()
        else { return nil }
        switch kind {
        case 1:
            guard let user = UserID(name) else { return nil }
            return Revocation(.user(user), revokedAt: revokedAt, expiresAt: expiresAt)
        case 2 where !name.isEmpty: return Revocation(.token(name), revokedAt: revokedAt, expiresAt: expiresAt)
        default: return nil
        }
    }

    /// Writes the entry.
    package func write(to buffer: inout ByteBuffer) {
        switch self {
        case .hello: buffer.writeInteger(1 as UInt8)
        case .helloAnswer: buffer.writeInteger(2 as UInt8)
        case .nodeDown(let node, let reason):
            buffer.writeInteger(3 as UInt8)
            buffer.writeInteger(reason.rawValue)
            buffer.writeShortText(node.rawValue)
        case .delivered(let request, let count):
            buffer.writeInteger(4 as UInt8)
            buffer.writeInteger(request)
            buffer.writeInteger(count)
        case .disconnect(let target, let code):
            buffer.writeInteger(5 as UInt8)
            buffer.writeInteger(code)
            switch target {
            case .user(let user):
                buffer.writeInteger(1 as UInt8)
                buffer.writeShortText(user.rawValue)
            case .client(let client):
                buffer.writeInteger(2 as UInt8)
                buffer.writeShortText(client.rawValue)
            }
        case .repair(let request):
            buffer.writeInteger(6 as UInt8)
            request.write(to: &buffer)
        case .repaired(let message):
            buffer.writeInteger(7 as UInt8)
            message.write(to: &buffer)
        case .repairEnd(let end):
            buffer.writeInteger(8 as UInt8)
            end.write(to: &buffer)
        case .audit(let request):
            buffer.writeInteger(9 as UInt8)
            request.write(to: &buffer)
        case .revoke(let revocation):
            buffer.writeInteger(10 as UInt8)
            buffer.writeInteger(revocation.revokedAt)
            buffer.writeInteger(revocation.expiresAt)
            switch revocation.target {
            case .user(let user):
                buffer.writeInteger(1 as UInt8)
                buffer.writeShortText(user.rawValue)
            case .token(let id):
                buffer.writeInteger(2 as UInt8)
                buffer.writeShortText(id)
            }
        case .ask(let request): request.write(to: &buffer)
        case .answer(let answer):
            buffer.writeInteger(12 as UInt8)
            answer.write(to: &buffer)
        case .drain(let milliseconds):
            buffer.writeInteger(14 as UInt8)
            buffer.writeInteger(milliseconds)
        case .rebalance:
            buffer.writeInteger(15 as UInt8)
            buffer.writeInteger(1 as UInt8)
        }
    }
}

extension ByteBuffer {
    /// One byte length, then the text. Every name here has at most 255 bytes.
    mutating func writeShortText(_ text: String) {
        writeInteger(UInt8(clamping: text.utf8.count))
        writeString(text)
    }

    mutating func readShortText() -> String? {
        readInteger(as: UInt8.self).flatMap { readText(length: Int($0)) }
    }

    /// Strictly UTF-8: what is repaired while it is read is longer than it was, and could not be written again.
    mutating func readText(length: Int) -> String? {
        readSlice(length: length).flatMap { String(validating: $0.readableBytesView, as: UTF8.self) }
    }

    mutating func readRoomName() -> RoomName? { readShortText().flatMap { RoomName($0) } }

    mutating func readClientID() -> ClientID? { readShortText().flatMap { ClientID($0) } }
}
