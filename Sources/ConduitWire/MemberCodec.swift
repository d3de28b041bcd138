package import ConduitCore
package import NIOCore

/// The JSON of a roster's member: in answers, in `presence_diff`, and as the value in Redis.
package enum MemberCodec {
    private enum Key: UInt8, JSONKey {
        case client, user, info, node, joinedAt, reason

        var name: StaticString {
            switch self {
            case .client: "client_id"
            case .user: "user_id"
            case .info: "info"
            case .node: "node_id"
            case .joinedAt: "joined_at"
            case .reason: "reason"
            }
        }

        static func named(_ bytes: Span<UInt8>) -> Key? {
            switch bytes.count {
            case 4: Key.info.ifNamed(bytes)
            case 6: Key.reason.ifNamed(bytes)
            case 7: Key.user.ifNamed(bytes) ?? Key.node.ifNamed(bytes)
            case 9: Key.client.ifNamed(bytes) ?? Key.joinedAt.ifNamed(bytes)
            default: nil
            }
        }
    }

    /// `{"client_id","user_id","info","node_id","joined_at"}`.
    package static func encode(_ member: Member) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.reserveCapacity(160 + member.info.count)
        buffer.writeMember(member)
        return buffer
    }

    /// How many of the first members fit into so many bytes: at least one, if there is one.
    package static func count(of members: [Member], fitting bytes: Int) -> Int {
        var rest = bytes
        for (index, member) in members.enumerated() {
            rest -= 200 + member.info.count + (member.user?.rawValue.utf8.count ?? 0)
            if rest < 0 { return max(1, index) }
        }
        return members.count
    }

    /// Reads what ``encode(_:)`` writes; `nil` for anything else. Unknown keys are ignored, for newer nodes.
    package static func decode(_ json: ByteBuffer) -> Member? {
        decodeLeaving(json)?.member
    }

    /// Reads a member and, where one is given, why it left.
    package static func decodeLeaving(_ json: ByteBuffer) -> (member: Member, reason: LeaveReason?)? {
        // Others can write to Redis too, so here the bytes are checked as those of a client are.
        guard UTF8Validator.isValid(json.readableBytesUInt8Span) else { return nil }
        var fields = JSONFields<Key>()
        do throws(JSONError) {
            try fields.readDocument(json.readableBytesUInt8Span)
        } catch {
            return nil
        }
        guard fields.isObject, fields.duplicate == nil else { return nil }
        func text(_ key: Key) -> String? {
            guard let token = fields[key], token.kind == .string else { return nil }
            return json.text(of: token)
        }
        guard let clientText = text(.client), let client = ClientID(clientText), let nodeText = text(.node),
            let node = NodeID(nodeText), let time = text(.joinedAt), let joinedAt = Timestamp.milliseconds(time)
        else { return nil }
        let userText = text(.user) ?? ""
        let user = UserID(userText)
        guard user != nil || userText.isEmpty else { return nil }
        var info: [UInt8] = []
        if let token = fields[.info], token.kind != .null {
            guard token.range.count <= Command.maximumInfoBytes else { return nil }
            info = Array(buffer: json.slice(token.range))
        }
        let member = Member(client: client, user: user, node: node, joinedAt: joinedAt, info: info)
        return (member, text(.reason).flatMap(LeaveReason.init(rawValue:)))
    }
}

extension ByteBuffer {
    /// Appends a member's JSON, with a reason for one who left.
    package mutating func writeMember(_ member: Member, reason: LeaveReason? = nil) {
        writeStaticString("{\"client_id\":")
        writeJSONString(member.client.rawValue)
        writeStaticString(",\"user_id\":")
        writeJSONString(member.user?.rawValue ?? "")
        writeStaticString(",\"info\":")
        if member.info.isEmpty {
            writeStaticString("null")
        } else {
            writeBytes(member.info)
        }
        writeStaticString(",\"node_id\":")
        writeJSONString(member.node.rawValue)
        writeStaticString(",\"joined_at\":\"")
        writeTimestamp(member.joinedAt)
        writeStaticString("\"")
        if let reason {
            writeStaticString(",\"reason\":")
            writeJSONString(reason.rawValue)
        }
        writeStaticString("}")
    }
}
