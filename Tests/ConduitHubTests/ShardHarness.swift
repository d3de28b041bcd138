import ConduitCore
import ConduitWire
import Foundation
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOEmbedded
import Testing

@testable import ConduitHub

/// Keeps what the shards told the bridge.
final class RecordingRelay: HubRelay {
    private let confirms = NIOLockedValueBox(false)
    var confirmsRooms: Bool {
        get { confirms.withLockedValue { $0 } }
        set { confirms.withLockedValue { $0 = newValue } }
    }
    private let events = NIOLockedValueBox<[HubEvent]>([])
    func relay(_ batch: [HubEvent], fromShard index: Int) { events.withLockedValue { $0 += batch } }
    var all: [HubEvent] { events.withLockedValue { $0 } }
}

/// Shards on embedded loops, stepped by the test: no threads, no waiting, no sockets.
final class ShardHarness {
    let node: NodeID
    let loops: [EmbeddedEventLoop]
    let shards: [Shard]
    let relay = RecordingRelay()

    init(
        shards count: Int = 1, configuration: HubConfiguration = HubConfiguration(),
        router: MessageRouter = MessageRouter(), hooks: HubHooks = HubHooks()
    ) throws {
        let node = try #require(NodeID("test"))
        self.node = node
        self.loops = (0..<count).map { _ in EmbeddedEventLoop() }
        let relay = self.relay
        self.shards = loops.enumerated().map { index, loop in
            Shard(
                index: index, node: node, eventLoop: loop, configuration: configuration, router: router, hooks: hooks,
                relay: relay, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        }
        let doors = shards.map { ShardRef($0) }
        for shard in shards { shard.start(neighbours: doors) }
    }

    /// Ends the turn of every loop until nothing is left to do.
    func turn() { for _ in 0..<4 { for loop in loops { loop.run() } } }

    func connect(
        shard: Int = 0, user: String? = nil, identity: Identity? = nil, subprotocol: String? = nil,
        deflate: DeflateParameters? = nil
    ) throws -> TestClient {
        var identity = identity ?? Identity.anonymous
        if let user { identity.user = UserID(user) }
        identity.subprotocol = subprotocol
        let channel = EmbeddedChannel(loop: loops[shard])
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        try shards[shard].admit(channel, identity: identity, deflate: deflate)
        turn()
        return TestClient(channel: channel, harness: self)
    }

    /// What the bridge was told of one kind, in words.
    var roomEvents: [String] {
        relay.all.compactMap { event in
            switch event {
            case .joined(let room, let member): "joined \(room) \(member.user?.rawValue ?? "?")"
            case .left(let room, _, let reason): "left \(room) \(reason.rawValue)"
            case .broadcast(let room, _): "broadcast \(room)"
            case .broadcastAll: "broadcast all"
            default: nil
            }
        }
    }
}

/// The peer of one client: writes masked frames and reads what it is sent.
final class TestClient {
    let channel: EmbeddedChannel
    private let harness: ShardHarness
    private var parser = WebSocketFrameParser(maximumMessageBytes: 1 << 24, role: .client)
    private(set) var writes = 0
    private var pending: [WebSocketFrameParser.Event] = []

    init(channel: EmbeddedChannel, harness: ShardHarness) {
        self.channel = channel
        self.harness = harness
    }

    /// Sends a text message and lets the turn end.
    func send(_ text: String) throws {
        try queue(text)
        harness.turn()
    }

    /// Sends a text message in the running turn.
    func queue(_ text: String) throws { try channel.writeInbound(Self.frame(0x81, Array(text.utf8))) }

    func sendFrame(_ first: UInt8, _ payload: [UInt8] = []) throws {
        try channel.writeInbound(Self.frame(first, payload))
        harness.turn()
    }

    static func frame(_ first: UInt8, _ payload: [UInt8]) -> ByteBuffer {
        var frame = ByteBuffer()
        frame.writeInteger(first)
        switch payload.count {
        case ..<126: frame.writeInteger(0x80 | UInt8(payload.count))
        case ...0xFFFF:
            frame.writeInteger(0x80 | 126 as UInt8)
            frame.writeInteger(UInt16(payload.count))
        default:
            frame.writeInteger(0x80 | 127 as UInt8)
            frame.writeInteger(UInt64(payload.count))
        }
        let mask: [UInt8] = [1, 2, 3, 4]
        frame.writeBytes(mask)
        frame.writeBytes(payload.enumerated().map { $1 ^ mask[$0 % 4] })
        return frame
    }

    /// Every frame that was written since the last call.
    func frames() throws -> [WebSocketFrameParser.Event] {
        var events: [WebSocketFrameParser.Event] = []
        while var bytes = try channel.readOutbound(as: ByteBuffer.self) {
            writes += 1
            while let event = try parser.next(from: &bytes) { events.append(event) }
        }
        return events
    }

    /// The envelopes that were written since the last call.
    func events() throws -> [Envelope] {
        try frames().compactMap { frame in
            guard case .text(let text) = frame else { return nil }
            return try Envelope(text)
        }
    }

    var closeCode: UInt16? {
        get throws {
            for case .close(let code, _) in try frames() { return code }
            return nil
        }
    }
}

/// One envelope, for comparing.
struct Envelope {
    let text: String
    let object: [String: Any]

    init(_ buffer: ByteBuffer) throws {
        self.text = String(buffer: buffer)
        self.object = try #require(
            try JSONSerialization.jsonObject(with: Data(buffer.readableBytesView)) as? [String: Any])
    }

    var type: String { object["type"] as? String ?? "" }
    var data: [String: Any] { object["data"] as? [String: Any] ?? [:] }
    var code: String { data["code"] as? String ?? "" }
}
