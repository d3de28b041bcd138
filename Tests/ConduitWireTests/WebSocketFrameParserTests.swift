import ConduitCore
import ConduitTesting
import ConduitWire
import NIOCore
import Testing

@Suite struct WebSocketFrameParserTests {
    typealias Event = WebSocketFrameParser.Event

    /// Feeds slices and returns all events, and the error if one came.
    static func parse(
        _ slices: [ByteBuffer], limit: Int = 1 << 20, role: WebSocketFrameParser.Role = .server
    ) -> (events: [Event], error: WebSocketError?) {
        var parser = WebSocketFrameParser(maximumMessageBytes: limit, role: role)
        var events: [Event] = []
        for slice in slices {
            var input = slice
            do throws(WebSocketError) {
                while let event = try parser.next(from: &input) { events.append(event) }
            } catch {
                return (events, error)
            }
        }
        return (events, nil)
    }

    static func error(_ bytes: [UInt8], limit: Int = 1 << 20) -> WebSocketError? {
        parse([ByteBuffer(bytes: bytes)], limit: limit).error
    }

    static func join(_ frames: [ByteBuffer]) -> ByteBuffer {
        frames.reduce(into: ByteBuffer()) { $0.writeImmutableBuffer($1) }
    }

    static func slices(_ buffer: ByteBuffer, by sizes: () -> Int) -> [ByteBuffer] {
        var rest = buffer
        var result: [ByteBuffer] = []
        while rest.readableBytes > 0 {
            if let slice = rest.readSlice(length: min(rest.readableBytes, max(1, sizes()))) { result.append(slice) }
        }
        return result
    }

    static func buffer(_ text: String) -> ByteBuffer { ByteBuffer(string: text) }

    // MARK: What is right

    static let conversation: (bytes: ByteBuffer, events: [Event]) = {
        let long = String(repeating: "é😀x", count: 30_000)
        let frames = [
            MaskedFrame.text(""), MaskedFrame.text("hello"),
            MaskedFrame.encode(.text, buffer("fr"), isFinal: false),
            MaskedFrame.encode(.ping, buffer("between"), mask: [1, 2, 3, 4]),
            MaskedFrame.encode(.continuation, buffer(""), isFinal: false),
            MaskedFrame.encode(.continuation, buffer("agments"), mask: [0, 0, 0, 0]),
            MaskedFrame.encode(.binary, ByteBuffer(bytes: [0xFF, 0x00, 0xC0])),
            MaskedFrame.encode(.pong, buffer("")), MaskedFrame.text(String(repeating: "m", count: 125)),
            MaskedFrame.text(String(repeating: "n", count: 126)),
            MaskedFrame.text(String(repeating: "o", count: 65_535)),
            MaskedFrame.text(long), MaskedFrame.encode(.ping, buffer(String(repeating: "p", count: 125))),
            MaskedFrame.encode(.close, closePayload(1000, "bye")),
        ]
        let events: [Event] = [
            .text(buffer("")), .text(buffer("hello")), .ping(buffer("between")), .text(buffer("fragments")),
            .binary(ByteBuffer(bytes: [0xFF, 0x00, 0xC0])), .pong(buffer("")),
            .text(buffer(String(repeating: "m", count: 125))), .text(buffer(String(repeating: "n", count: 126))),
            .text(buffer(String(repeating: "o", count: 65_535))), .text(buffer(long)),
            .ping(buffer(String(repeating: "p", count: 125))), .close(code: 1000, reason: buffer("bye")),
        ]
        return (join(frames), events)
    }()

    static func closePayload(_ code: UInt16, _ reason: String = "") -> ByteBuffer {
        var payload = ByteBuffer(integer: code)
        payload.writeString(reason)
        return payload
    }

    @Test func readsAConversationWhole() {
        let result = Self.parse([Self.conversation.bytes])
        #expect(result.events == Self.conversation.events)
        #expect(result.error == nil)
    }

    @Test func readsAConversationByteByByte() {
        let result = Self.parse(Self.slices(Self.conversation.bytes) { 1 })
        #expect(result.events == Self.conversation.events)
        #expect(result.error == nil)
    }

    @Test(arguments: 0..<20)
    func readsAConversationInRandomSlices(_ seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let sizes = [3, 20, 1000, 70_000]
        let result = Self.parse(
            Self.slices(Self.conversation.bytes) {
                Int.random(in: 1...(sizes.randomElement(using: &generator) ?? 1), using: &generator)
            })
        #expect(result.events == Self.conversation.events)
        #expect(result.error == nil)
    }

    @Test func readsTheSampleOfTheStandard() {
        // RFC 6455 section 5.7: a masked "Hello".
        let frame: [UInt8] = [0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58]
        #expect(Self.parse([ByteBuffer(bytes: frame)]).events == [.text(Self.buffer("Hello"))])
    }

    @Test func theReceiveBufferIsNeitherChangedNorKept() throws {
        let original = MaskedFrame.text("shared with others")
        var input = original
        var parser = WebSocketFrameParser(maximumMessageBytes: 100)
        let event = try parser.next(from: &input)
        #expect(event == .text(Self.buffer("shared with others")))
        #expect(original == MaskedFrame.text("shared with others"))
    }

    @Test func tellsWhetherAMessageIsUnfinished() throws {
        var parser = WebSocketFrameParser(maximumMessageBytes: 100)
        #expect(!parser.hasUnfinishedMessage)
        for byte in Self.join([
            MaskedFrame.encode(.text, Self.buffer("ab"), isFinal: false), MaskedFrame.encode(.ping, Self.buffer("")),
            MaskedFrame.encode(.continuation, Self.buffer("c")),
        ]).readableBytesView.dropLast() {
            var input = ByteBuffer(integer: byte)
            _ = try parser.next(from: &input)
            #expect(parser.hasUnfinishedMessage)
        }
        var last = ByteBuffer(integer: UInt8(ascii: "c") ^ 0x37)
        #expect(try parser.next(from: &last) == .text(Self.buffer("abc")))
        #expect(!parser.hasUnfinishedMessage)
    }

    @Test func anIdleParserIsSmall() {
        #expect(MemoryLayout<WebSocketFrameParser>.size <= 136)
    }

    @Test func aClaimedLengthReservesNothing() throws {
        // 300 MB are claimed, ten bytes come: what is held grows with the bytes.
        var header: [UInt8] = [0x82, 0xFF]
        header += (0..<8).map { UInt8(truncatingIfNeeded: UInt64(300 << 20) >> (56 - 8 * $0)) } + [0, 0, 0, 0]
        var parser = WebSocketFrameParser(maximumMessageBytes: 1 << 30)
        var input = ByteBuffer(bytes: header + [UInt8](repeating: 7, count: 10))
        #expect(try parser.next(from: &input) == nil)
        #expect(parser.reservedBytes <= 64)
    }

    // MARK: What is wrong

    @Test(
        arguments: [
            ([0xC1, 0x80, 0, 0, 0, 0], "reserved bit 1"), ([0xA1, 0x80, 0, 0, 0, 0], "reserved bit 2"),
            ([0x91, 0x80, 0, 0, 0, 0], "reserved bit 3"), ([0x83, 0x80, 0, 0, 0, 0], "opcode 3"),
            ([0x87, 0x80, 0, 0, 0, 0], "opcode 7"), ([0x8B, 0x80, 0, 0, 0, 0], "opcode 11"),
            ([0x8F, 0x80, 0, 0, 0, 0], "opcode 15"), ([0x81, 0x00], "not masked"),
            ([0x81, 0x05, 1, 2, 3, 4, 5], "not masked"),
            ([0x09, 0x80, 0, 0, 0, 0], "fragmented ping"), ([0x08, 0x80, 0, 0, 0, 0], "fragmented close"),
            ([0x89, 0xFE, 0, 126, 0, 0, 0, 0], "long ping"), ([0x89, 0xFF], "very long ping"),
            ([0x81, 0xFE, 0, 125, 0, 0, 0, 0], "16-bit length of 125"),
            ([0x81, 0xFE, 0, 0, 0, 0, 0, 0], "16-bit length of 0"),
            ([0x81, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0, 0, 0, 0], "64-bit length of 65535"),
            ([0x81, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "64-bit length with the top bit"),
            ([0x80, 0x80, 0, 0, 0, 0], "continuation first"),
            ([0x01, 0x80, 0, 0, 0, 0, 0x81, 0x80, 0, 0, 0, 0], "message inside a message"),
            ([0x02, 0x80, 0, 0, 0, 0, 0x01, 0x80, 0, 0, 0, 0], "fragment of another message"),
            ([0x88, 0x81, 0, 0, 0, 0, 3], "close of one byte"),
        ] as [([UInt8], String)])
    func violationsAreProtocolErrors(_ bytes: [UInt8], _ name: String) {
        #expect(Self.error(bytes)?.reason == .protocolError, "\(name)")
        #expect(Self.parse(bytes.map { ByteBuffer(integer: $0) }).error?.reason == .protocolError, "\(name), in bytes")
    }

    @Test func closeCodesAreChecked() {
        for code in UInt16.min...UInt16.max {
            let legal = [1000...1003, 1007...1014, 3000...4999].contains { $0.contains(Int(code)) }
            let frame = MaskedFrame.encode(.close, Self.closePayload(code))
            let result = Self.parse([frame])
            if legal {
                #expect(result.events == [.close(code: code, reason: ByteBuffer())])
            } else {
                #expect(result.error?.reason == .protocolError, "\(code)")
            }
        }
        #expect(
            Self.parse([MaskedFrame.encode(.close, ByteBuffer())]).events == [.close(code: nil, reason: ByteBuffer())])
    }

    @Test func aCloseReasonMustBeText() {
        var payload = Self.closePayload(1000)
        payload.writeBytes([0xC3, 0x28])
        #expect(Self.parse([MaskedFrame.encode(.close, payload)]).error?.reason == .invalidText)
    }

    @Test func nothingIsReadBehindClose() throws {
        var input = Self.join([MaskedFrame.encode(.close, ByteBuffer()), MaskedFrame.text("late")])
        var parser = WebSocketFrameParser(maximumMessageBytes: 100)
        #expect(try parser.next(from: &input) == .close(code: nil, reason: ByteBuffer()))
        #expect(try parser.next(from: &input) == nil)
        #expect(input.readableBytes == 0)
        #expect(!parser.hasUnfinishedMessage)
    }

    @Test func nothingIsReadBehindAnError() throws {
        var input = ByteBuffer(bytes: [0xFF, 0xFF])
        var parser = WebSocketFrameParser(maximumMessageBytes: 100)
        #expect(throws: WebSocketError.self) { try parser.next(from: &input) }
        var good = MaskedFrame.text("late")
        #expect(try parser.next(from: &good) == nil)
        #expect(good.readableBytes == 0)
    }

    @Test func theLimitCountsAllFragments() {
        let ten = Self.buffer("0123456789")
        #expect(Self.parse([MaskedFrame.encode(.text, ten)], limit: 10).error == nil)
        #expect(Self.parse([MaskedFrame.encode(.text, ten)], limit: 9).error?.reason == .tooLarge)
        let parts = [
            MaskedFrame.encode(.text, ten, isFinal: false), MaskedFrame.encode(.continuation, ten, isFinal: false),
            MaskedFrame.encode(.continuation, Self.buffer("x")),
        ]
        #expect(Self.parse(parts, limit: 21).error == nil)
        #expect(Self.parse(parts, limit: 20).error?.reason == .tooLarge)
        // Refused by the header: not a byte of the payload is waited for.
        #expect(
            Self.error([0x81, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0])?.reason == .tooLarge)
        // Control frames don't count.
        #expect(Self.parse([MaskedFrame.encode(.ping, ten)], limit: 1).error == nil)
    }

    @Test func textMustBeUTF8() {
        for bytes in [[0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xE2, 0x82], [0xF0, 0x9F, 0x98]] as [[UInt8]] {
            #expect(Self.parse([MaskedFrame.encode(.text, ByteBuffer(bytes: bytes))]).error?.reason == .invalidText)
            #expect(Self.parse([MaskedFrame.encode(.binary, ByteBuffer(bytes: bytes))]).error == nil)
        }
    }

    @Test func aCharacterMayBeSplitOverFragments() {
        let euro = Array("€".utf8)
        let frames = [
            MaskedFrame.encode(.text, ByteBuffer(bytes: euro[0..<1]), isFinal: false),
            MaskedFrame.encode(.continuation, ByteBuffer(bytes: euro[1..<2]), isFinal: false),
            MaskedFrame.encode(.continuation, ByteBuffer(bytes: euro[2..<3])),
        ]
        #expect(Self.parse(frames).events == [.text(Self.buffer("€"))])
    }

    @Test func badTextFailsBeforeTheMessageIsWhole() {
        let frame = MaskedFrame.encode(.text, ByteBuffer(bytes: [0x61, 0xFF] + [UInt8](repeating: 0x61, count: 50)))
        #expect(Self.parse([frame.getSlice(at: 0, length: 8) ?? ByteBuffer()]).error?.reason == .invalidText)
    }

    // MARK: Bytes at random

    @Test(arguments: 0..<30)
    func noBytesCanTrapIt(_ seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let base = Self.join([
            MaskedFrame.text("hello"), MaskedFrame.encode(.text, Self.buffer("é€"), isFinal: false),
            MaskedFrame.encode(.ping, Self.buffer("p")), MaskedFrame.encode(.continuation, Self.buffer("😀")),
            MaskedFrame.text(String(repeating: "z", count: 300)), MaskedFrame.encode(.close, Self.closePayload(1001)),
        ])
        for _ in 0..<200 {
            var bytes = Array(base.readableBytesView)
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                let place = Int.random(in: 0..<min(bytes.count, 40), using: &generator)
                bytes[place] = UInt8.random(in: 0...255, using: &generator)
            }
            // Whole and in slices it is the same conversation, whatever it is.
            let whole = Self.parse([ByteBuffer(bytes: bytes)], limit: 1000)
            let sliced = Self.parse(
                Self.slices(ByteBuffer(bytes: bytes)) { Int.random(in: 1...9, using: &generator) }, limit: 1000)
            #expect(whole.events == sliced.events, "seed \(seed): \(bytes)")
            #expect(whole.error == sliced.error, "seed \(seed): \(bytes)")
        }
    }

    // MARK: The server's frames

    @Test func controlFramesOfTheServerAreReadByAClient() {
        let frames = [
            FrameEncoder.ping, FrameEncoder.pong(Self.buffer("payload")), FrameEncoder.close(.slowConsumer),
        ]
        let result = Self.parse(frames, role: .client)
        #expect(
            result.events == [
                .ping(ByteBuffer()), .pong(Self.buffer("payload")),
                .close(code: 3008, reason: Self.buffer("slow consumer")),
            ])
        #expect(
            Self.parse([FrameEncoder.emptyClose], role: .client).events == [.close(code: nil, reason: ByteBuffer())])
        #expect(Self.parse([FrameEncoder.ping]).error?.reason == .protocolError)
    }

    @Test func aLongCloseTextIsCutBetweenCharacters() {
        let frame = FrameEncoder.close(code: 3000, text: String(repeating: "é", count: 100))
        let result = Self.parse([frame], role: .client)
        #expect(result.events == [.close(code: 3000, reason: Self.buffer(String(repeating: "é", count: 61)))])
    }

    @Test(arguments: [0, 1, 125, 126, 65_535, 65_536, 200_000])
    func messagesOfEverySizeAreReadByAClient(_ size: Int) {
        let text = String(repeating: "s", count: size)
        let message = ServerMessage(json: Self.buffer(text))
        #expect(Self.parse([message.frame], role: .client).events == [.text(Self.buffer(text))])
        #expect(message.json == Self.buffer(text))
    }
}
