/// A limit on what one client may ask for: the label of the metric that counts what went over it.
public enum ClientLimit: String, Sendable, CaseIterable {
    /// `limits.rooms-per-client`.
    case roomsPerClient = "rooms_per_client"
    /// `limits.members-per-room` and `rooms.<namespace>.members`.
    case membersPerRoom = "members_per_room"
    /// `limits.room-name-bytes`.
    case roomNameBytes = "room_name_bytes"
    /// `limits.json-depth`.
    case jsonDepth = "json_depth"
    /// `limits.message-bytes`, expanded messages too.
    case messageBytes = "message_bytes"
    /// `limits.frames-per-message`.
    case framesPerMessage = "frames_per_message"
    /// `compression.max-ratio`.
    case compressionRatio = "compression_ratio"
    /// `limits.messages-per-second`.
    case messagesPerSecond = "messages_per_second"
    /// `limits.bytes-per-second`.
    case bytesPerSecond = "bytes_per_second"
    /// `limits.handler-queue`.
    case handlerQueue = "handler_queue"
    /// The longest `info` of a member.
    case infoBytes = "info_bytes"
    /// The longest token of a `refresh`.
    case tokenBytes = "token_bytes"
    /// `heartbeat.read-timeout`.
    case readTimeout = "read_timeout"
}
