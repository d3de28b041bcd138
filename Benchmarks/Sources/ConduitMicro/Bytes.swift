import ConduitCore
import ConduitRedis
import ConduitWire
import NIOCore

/// What the benchmarks read and write.
enum Sample {
    /// A payload of so many bytes: `{"m":"xxx…"}`.
    static func payload(_ bytes: Int) -> String { #"{"m":""# + String(repeating: "x", count: bytes - 8) + #""}"# }

    /// A client's broadcast request with such a payload.
    static func broadcast(_ bytes: Int) -> ByteBuffer {
        ByteBuffer(string: #"{"type":"broadcast","data":{"room":"room-1","type":"m","payload":\#(payload(bytes))}}"#)
    }

    /// A client's masked text frame.
    static func frame(_ text: ByteBuffer) -> ByteBuffer {
        let bytes = Array(text.readableBytesView)
        var frame = ByteBuffer(bytes: [0x81])
        switch bytes.count {
        case ..<126: frame.writeInteger(0x80 | UInt8(bytes.count))
        default:
            frame.writeInteger(0x80 | 126 as UInt8)
            frame.writeInteger(UInt16(bytes.count))
        }
        let mask: [UInt8] = [0x12, 0x34, 0x56, 0x78]
        frame.writeBytes(mask)
        frame.writeBytes(bytes.enumerated().map { $1 ^ mask[$0 % 4] })
        return frame
    }
}

/// Bytes to values and back.
func measureBytes(_ harness: inout Harness) throws {
    for (label, bytes) in [("100 B", 100), ("1 KB", 1_000), ("16 KB", 16_000)] {
        let request = Sample.broadcast(bytes)
        let frame = Sample.frame(request)
        let parser = WebSocketFrameParser(maximumMessageBytes: 1 << 20)
        var scratch: [UInt8] = []
        harness.measure("parse and unmask a frame, \(label)") { count in
            for _ in 0..<count {
                keep(parser.wholeText(in: frame.readableBytesUInt8Span, from: 0, scratch: &scratch))
            }
        }
        try harness.measure("scan the envelope, \(label)") { count in
            for _ in 0..<count { keep(try CommandDecoder.decode(request.readableBytesUInt8Span)) }
        }
        let command = try CommandDecoder.decode(request.readableBytesUInt8Span)
        try harness.measure("scan the broadcast in it, \(label)") { count in
            for _ in 0..<count { keep(try command.broadcast(in: request.readableBytesUInt8Span)) }
        }
        let broadcast = try command.broadcast(in: request.readableBytesUInt8Span)
        harness.measure("encode its event, \(label)") { count in
            for _ in 0..<count { keep(EventEncoder.event(for: broadcast, in: request.readableBytesUInt8Span)) }
        }
    }
    let request = ByteBuffer(string: #"{"type":"echo","data":\#(Sample.payload(100))}"#)
    let echo = try CommandDecoder.decode(request.readableBytesUInt8Span)
    var answers = ByteBuffer()
    harness.measure("encode the answer to an echo, 100 B") { count in
        for _ in 0..<count {
            answers.clear()
            EventEncoder.writeEcho(of: echo, in: request.readableBytesUInt8Span, into: &answers)
        }
    }
    try measureBus(&harness)
}

/// What the other nodes and Redis say.
private func measureBus(_ harness: inout Harness) throws {
    guard let node = NodeID("node-a") else { return }
    let event = EventEncoder.event(
        type: "m", payload: ByteBuffer(string: Sample.payload(100)), room: RoomName("room-1"))
    let entry = event.json
    func envelope() -> ByteBuffer {
        var writer = NodeEnvelopeWriter()
        writer.append(entry)
        return writer.finish(
            kind: .broadcast, origin: node, incarnation: 1, sequence: 2, startsRun: false, sentAt: 3)
    }
    harness.measure("encode a bus envelope of one message") { count in for _ in 0..<count { keep(envelope()) } }
    let encoded = envelope()
    try harness.measure("decode a bus envelope of one message") { count in
        for _ in 0..<count { keep(try NodeEnvelope.decode(encoded)) }
    }

    let channel = "conduit:room:{room-1}"
    var publication = ByteBuffer(string: "*3\r\n$7\r\nmessage\r\n$\(channel.utf8.count)\r\n\(channel)\r\n")
    publication.writeString("$\(encoded.readableBytes)\r\n")
    publication.writeImmutableBuffer(encoded)
    publication.writeString("\r\n")
    var hundred = ByteBuffer()
    for _ in 0..<100 { hundred.writeImmutableBuffer(publication) }
    let reader = try RedisReplyReader(mode: .pushes)
    try harness.measure("read a publication of Redis, one a read") { count in
        for _ in 0..<count {
            try reader.read(publication) {
                keep($0)
                return true
            }
        }
    }
    try harness.measure("read a publication of Redis, 100 a read") { count in
        for _ in 0..<(count + 99) / 100 {
            try reader.read(hundred) {
                keep($0)
                return true
            }
        }
    }
}
