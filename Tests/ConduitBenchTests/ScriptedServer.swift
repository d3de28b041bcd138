import ConduitTesting
import ConduitWire
import NIOCore
import NIOPosix
import NIOSSL

@testable import ConduitBench

/// A server of one room that does to messages what a good one never does; number 0, the probe, always arrives.
final class ScriptedServer: Sendable {
    enum Script: Sendable {
        case good
        /// Every fifth message of a publisher is not delivered.
        case loses
        /// Every fifth is delivered twice.
        case doubles
        /// Every fifth is delivered after the one behind it.
        case swaps
        /// Every fifth is torn into fragments, with a ping between them.
        case tears
        /// Instead of the first message: bytes that are no frame.
        case babbles
        /// Closes everybody with a code at the fifth message.
        case closes
        /// The answer to every handshake.
        case refuses(String)
        /// Says nothing at all.
        case isSilent
        /// Answers join_room with an error.
        case keepsOut
    }

    static let every: UInt32 = 5
    private let group: MultiThreadedEventLoopGroup
    private let channel: any Channel
    let port: Int

    private init(group: MultiThreadedEventLoopGroup, channel: any Channel, port: Int) {
        self.group = group
        self.channel = channel
        self.port = port
    }

    static func with(
        _ script: Script, tls: TestCertificates? = nil, _ body: (ScriptedServer) async throws -> Void
    ) async throws {
        let server = try await start(script, tls: tls)
        let result: Result<Void, any Error>
        do {
            result = .success(try await body(server))
        } catch {
            result = .failure(error)
        }
        try await server.channel.close()
        try await server.group.shutdownGracefully()
        try result.get()
    }

    private static func start(_ script: Script, tls: TestCertificates?) async throws -> ScriptedServer {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let context = try tls.map { certificates in
            try NIOSSLContext(
                configuration: .makeServerConfiguration(
                    certificateChain: NIOSSLCertificate.fromPEMFile(certificates.certificateFile).map {
                        .certificate($0)
                    }, privateKey: .privateKey(NIOSSLPrivateKey(file: certificates.keyFile, format: .pem))))
        }
        let loop = group.next()
        let room = try await loop.submit { NIOLoopBound(Room(), eventLoop: loop) }.get()
        let channel = try await ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 256)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let context {
                        try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: context))
                    }
                    try channel.pipeline.syncOperations.addHandler(Session(room: room.value, script: script))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        return ScriptedServer(group: group, channel: channel, port: channel.localAddress?.port ?? 0)
    }
}

/// Who is there. Loop-bound: of the server's one loop.
private final class Room {
    var members: [ObjectIdentifier: Session] = [:]
    var held: ByteBuffer?

    func deliver(_ payload: ByteBuffer, room: String) {
        for member in members.values { member.sendEvent(payload, room: room) }
    }
}

/// Loop-bound: owned by its channel.
private final class Session: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let room: Room
    private let script: ScriptedServer.Script
    private var head: ByteBuffer? = ByteBuffer()
    private var parser = WebSocketFrameParser(maximumMessageBytes: 1 << 20)
    private var context: ChannelHandlerContext?

    init(room: Room, script: ScriptedServer.Script) {
        self.room = room
        self.script = script
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelInactive(context: ChannelHandlerContext) { room.members[ObjectIdentifier(self)] = nil }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var input = unwrapInboundIn(data)
        if var head {
            head.writeBuffer(&input)
            self.head = head
            // Nothing follows the request before our answer.
            guard String(buffer: head).hasSuffix("\r\n\r\n") else { return }
            self.head = nil
            return answer()
        }
        do {
            while let event = try parser.next(from: &input) {
                switch event {
                case .text(let text): try handle(text)
                case .close: write(ByteBuffer(bytes: [0x88, 0])) { $0.close(promise: nil) }
                default: break
                }
            }
        } catch {
            context.close(promise: nil)
        }
    }

    private func answer() {
        switch script {
        case .isSilent: break
        case .refuses(let text): write(ByteBuffer(string: text)) { $0.close(promise: nil) }
        default:
            write(
                ByteBuffer(
                    string: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        + "Sec-WebSocket-Accept: \(HandshakeRequest.accept)\r\n\r\n"))
        }
    }

    private func handle(_ text: ByteBuffer) throws {
        let command = try CommandDecoder.decode(text)
        let data = command.dataJSON
        switch command.kind {
        case .status: send("{\"type\":\"status\",\"data\":{\"node_id\":\"scripted\"}}")
        case .joinRoom:
            if case .keepsOut = script {
                return send(
                    "{\"type\":\"error\",\"data\":{\"code\":\"permission_denied\",\"message\":\"members only\","
                        + "\"request_type\":\"join_room\"}}")
            }
            room.members[ObjectIdentifier(self)] = self
            send("{\"type\":\"room_joined\",\"data\":\(String(buffer: data))}")
        case .broadcast:
            let all = String(buffer: data)
            guard let name = ServerText(all).string("room"),
                let index = DeliveryMark.find(in: data, range: data.readerIndex..<data.writerIndex),
                let mark = DeliveryMark.read(data, at: index),
                let payload = data.getSlice(at: index - 6, length: data.writerIndex - index + 5)
            else { return }
            broadcast(payload, mark, name)
        default: break
        }
    }

    private func broadcast(_ payload: ByteBuffer, _ mark: DeliveryMark, _ name: String) {
        let isFifth = mark.number > 0 && mark.number % ScriptedServer.every == 0
        switch script {
        case .loses where isFifth: return
        case .doubles where isFifth:
            room.deliver(payload, room: name)
        case .swaps where isFifth:
            room.held = payload
            return
        case .babbles where mark.number > 0:
            for member in room.members.values { member.write(ByteBuffer(bytes: [0xF1, 0x00])) }
            return
        case .closes where isFifth:
            let text = "slow consumer"
            var frame = ByteBuffer(bytes: [0x88, UInt8(text.utf8.count + 2)])
            frame.writeInteger(UInt16(3008))
            frame.writeString(text)
            for member in room.members.values { member.write(frame) }
            return
        case .tears where isFifth:
            for member in room.members.values { member.sendTorn(payload, room: name) }
            return
        default: break
        }
        room.deliver(payload, room: name)
        if let held = room.held {
            room.held = nil
            room.deliver(held, room: name)
        }
    }

    func sendEvent(_ payload: ByteBuffer, room: String) {
        send("{\"type\":\"bench\",\"data\":\(String(buffer: payload)),\"room\":\"\(room)\"}")
    }

    func sendTorn(_ payload: ByteBuffer, room: String) {
        let text = ByteBuffer(string: "{\"type\":\"bench\",\"data\":\(String(buffer: payload)),\"room\":\"\(room)\"}")
        for start in stride(from: 0, to: text.readableBytes, by: 13) {
            let count = min(13, text.readableBytes - start)
            let isLast = start + count == text.readableBytes
            var frame = ByteBuffer(bytes: [(isLast ? 0x80 : 0) | (start == 0 ? 0x1 : 0x0), UInt8(count)])
            frame.writeImmutableBuffer(text.getSlice(at: text.readerIndex + start, length: count) ?? ByteBuffer())
            if start == 13 { frame.writeImmutableBuffer(FrameEncoder.ping) }
            write(frame)
        }
    }

    private func send(_ text: String) {
        var frame = ByteBuffer(bytes: [0x81])
        if text.utf8.count < 126 {
            frame.writeInteger(UInt8(text.utf8.count))
        } else {
            frame.writeInteger(126 as UInt8)
            frame.writeInteger(UInt16(text.utf8.count))
        }
        frame.writeString(text)
        write(frame)
    }

    private func write(_ bytes: ByteBuffer, then: ((ChannelHandlerContext) -> Void)? = nil) {
        guard let context else { return }
        guard let then else { return context.writeAndFlush(wrapOutboundOut(bytes), promise: nil) }
        context.writeAndFlush(wrapOutboundOut(bytes)).assumeIsolated().whenComplete { _ in then(context) }
    }
}

@available(*, unavailable)
extension Session: Sendable {}

@available(*, unavailable)
extension Room: Sendable {}
