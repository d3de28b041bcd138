import ConduitCore
import ConduitTesting
import NIOCore
import Testing

@testable import ConduitWire

/// permessage-deflate (RFC 7692): what is compressed can be read, what can't be read is refused within bounds.
@Suite struct MessageCompressorTests {
    typealias Event = WebSocketFrameParser.Event

    static let limits = MessageCompressor.Limits(messageBytes: 1 << 20, ratio: 200)

    static func expand(
        _ payload: ByteBuffer, opcode: Opcode = .text, _ limits: MessageCompressor.Limits = limits,
        by compressor: MessageCompressor = MessageCompressor(level: 1, threshold: 0)
    ) -> Result<Event, WebSocketError> {
        do throws(WebSocketError) {
            return .success(try compressor.expanded(.deflated(opcode, payload), limits))
        } catch {
            return .failure(error)
        }
    }

    static func expand(_ bytes: [UInt8]) -> Result<Event, WebSocketError> { expand(ByteBuffer(bytes: bytes)) }

    static func isRefused(_ result: Result<Event, WebSocketError>, _ reason: CloseReason) -> Bool {
        guard case .failure(let error) = result else { return false }
        return error.reason == reason
    }

    static func text(_ text: String) -> Result<Event, WebSocketError> { .success(.text(ByteBuffer(string: text))) }

    /// Words and numbers, as JSON has them: they compress, but not to nothing.
    static func prose(_ count: Int, seed: UInt64 = 1) -> String {
        var generator = SeededGenerator(seed: seed)
        var text = ""
        while text.utf8.count < count { text += "{\"value\":\(Int.random(in: 0..<100_000, using: &generator))}," }
        return String(text.prefix(count))
    }

    // MARK: The examples of RFC 7692, 7.2.3

    @Test func readsTheExamplesOfTheStandard() {
        #expect(Self.expand([0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00]) == Self.text("Hello"))
        // Without compression.
        #expect(
            Self.expand([0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00]) == Self.text("Hello"))
        // With a last block, as the standard has it and without the byte behind it.
        #expect(Self.expand([0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00]) == Self.text("Hello"))
        #expect(Self.expand([0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00]) == Self.text("Hello"))
        // Two blocks.
        #expect(
            Self.expand([0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00])
                == Self.text("Hello"))
        // Nothing, as the standard writes it and as some do.
        #expect(Self.expand([0x00]) == Self.text(""))
        #expect(Self.expand([]) == Self.text(""))
    }

    @Test(
        arguments: [
            // No such type of block; a stored block whose lengths differ; a reference before the beginning.
            [0x07], [0xFF, 0xFF, 0xFF], [0x00, 0x05, 0x00, 0x00, 0x00], [0x4B, 0x04, 0x13],
            // Cut off inside of a block, at several places.
            [0xF2, 0x48, 0xCD], [0xF2, 0x48, 0xCD, 0xC9, 0xC9], [0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65],
            // Bytes behind the last block.
            [0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x01], [0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00, 0x00],
        ] as [[UInt8]])
    func brokenDataIsRefused(_ bytes: [UInt8]) {
        #expect(Self.isRefused(Self.expand(bytes), .invalidData), "\(Self.expand(bytes))")
    }

    @Test func whatFollowsIsNotHarmed() {
        let compressor = MessageCompressor(level: 1, threshold: 0)
        let good = ByteBuffer(bytes: [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00])
        for bad in [[0x07], [0xF2, 0x48, 0xCD], [0x00, 0x05, 0x00]] as [[UInt8]] {
            #expect(Self.isRefused(Self.expand(ByteBuffer(bytes: bad), by: compressor), .invalidData))
            #expect(Self.expand(good, by: compressor) == Self.text("Hello"))
        }
        #expect(compressor.statistics.refused["data"] == 3)
        #expect(compressor.statistics.inflated == 3)
        #expect(compressor.statistics.inflatedTo == 15)
    }

    @Test func textMustBeUTF8WhenItIsExpanded() {
        let bytes = ByteBuffer(repeating: 0xC0, count: 300)
        #expect(Self.isRefused(Self.expand(MaskedFrame.deflated(bytes)), .invalidText))
        #expect(Self.expand(MaskedFrame.deflated(bytes), opcode: .binary) == .success(.binary(bytes)))
    }

    // MARK: There and back

    @Test(arguments: 9...15 as ClosedRange<UInt8>)
    func everyWindowCanBeRead(_ bits: UInt8) throws {
        let compressor = MessageCompressor(level: 6, threshold: 0)
        for count in [40, 125, 126, 1_000, 65_535, 65_536, 300_000] {
            let message = ByteBuffer(string: Self.prose(count, seed: UInt64(count)))
            let frame = try #require(compressor.deflated(message, opcode: .text, windowBits: bits))
            #expect(frame.readableBytes < message.readableBytes)
            var parser = WebSocketFrameParser(maximumMessageBytes: 1 << 20, role: .client, deflates: true)
            var input = frame
            let event = try #require(try parser.next(from: &input))
            #expect(try compressor.expanded(event, Self.limits) == .text(message))
            // The same of a frame that is there already.
            #expect(compressor.deflated(ServerMessage(json: message).frame, windowBits: bits) == frame)
        }
    }

    @Test func whatCannotBeCompressedIsNot() {
        let compressor = MessageCompressor(level: 1, threshold: 0)
        var generator = SeededGenerator(seed: 7)
        let noise = ByteBuffer(bytes: (0..<5_000).map { _ in UInt8.random(in: 0...255, using: &generator) })
        #expect(compressor.deflated(noise, opcode: .binary, windowBits: 15) == nil)
        #expect(compressor.deflated(ByteBuffer(string: "ab"), opcode: .text, windowBits: 15) == nil)
        #expect(compressor.deflated(ByteBuffer(), opcode: .text, windowBits: 15) == nil)
        #expect(compressor.deflated(noise, opcode: .binary, windowBits: 8) == nil)
    }

    @Test func oneMessageIsCompressedOnceForAWindow() throws {
        let (one, other) = (MessageCompressor(level: 1, threshold: 0), MessageCompressor(level: 1, threshold: 0))
        let message = ServerMessage(json: ByteBuffer(string: Self.prose(2_000))).compressible
        let forms = try #require(message.deflated)
        let copy = message.compressible
        #expect(copy.deflated === forms)
        let first = forms.frame(of: message.frame, windowBits: 15, by: one)
        #expect(first != nil)
        #expect(forms.frame(of: message.frame, windowBits: 15, by: other) == first)
        #expect(other.statistics.deflated == 0)
        #expect(forms.frame(of: message.frame, windowBits: 10, by: other) != nil)
        #expect(one.statistics.deflated == 1)
        #expect(other.statistics.deflated == 1)
    }

    // MARK: Bombs

    @Test func aMessageIsExpandedToItsLimitOnly() throws {
        let limits = MessageCompressor.Limits(messageBytes: 100_000, ratio: 2_000)
        let fits = ByteBuffer(repeating: 0x61, count: 100_000)
        #expect(Self.expand(MaskedFrame.deflated(fits), limits) == .success(.text(fits)))
        let over = MaskedFrame.deflated(ByteBuffer(repeating: 0x61, count: 100_001))
        #expect(Self.isRefused(Self.expand(over, limits), .tooLarge))
    }

    @Test func aBombIsRefusedByItsRatio() throws {
        let compressor = MessageCompressor(level: 1, threshold: 0)
        let bomb = MaskedFrame.deflated(ByteBuffer(repeating: 0x61, count: 16 << 20), level: 9)
        #expect((16 << 20) / bomb.readableBytes > 900)
        let limits = MessageCompressor.Limits(messageBytes: 64 << 20, ratio: 200)
        #expect(Self.isRefused(Self.expand(bomb, limits, by: compressor), .tooLarge))
        #expect(compressor.statistics.refused == ["bytes": 0, "ratio": 1, "data": 0, "text": 0])
        // Short messages may be as dense as they like.
        let short = ByteBuffer(repeating: 0x61, count: MessageCompressor.Limits.freeBytes)
        #expect(Self.expand(MaskedFrame.deflated(short), limits, by: compressor) == .success(.text(short)))
    }

    /// What is reserved for a message is never more than it may have, whatever it would become.
    @Test func memoryIsBoundedByTheLimit() throws {
        let bomb = MaskedFrame.deflated(ByteBuffer(repeating: 0, count: 32 << 20), level: 9)
        let inflater = try #require(Inflater())
        for limit in [0, 1, 1_000, 16 << 10, 100_000, 1 << 20] {
            var output: [UInt8] = []
            guard case .tooLong = inflater.inflate(bomb, atMost: limit, into: &output) else {
                Issue.record("not refused at \(limit)")
                continue
            }
            #expect(output.count <= limit + 1)
        }
    }

    // MARK: The reserved bit

    private static func parse(
        _ frames: [ByteBuffer], deflates: Bool = true
    ) -> (events: [Event], error: WebSocketError?) {
        var parser = WebSocketFrameParser(maximumMessageBytes: 1 << 20, deflates: deflates)
        var events: [Event] = []
        for frame in frames {
            var input = frame
            do throws(WebSocketError) {
                while let event = try parser.next(from: &input) { events.append(event) }
            } catch {
                return (events, error)
            }
        }
        return (events, nil)
    }

    @Test func theReservedBitStandsOnFirstFramesOfMessagesOnly() {
        let payload = ByteBuffer(bytes: [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00])
        func frame(_ opcode: Opcode, isFinal: Bool = true, isDeflated: Bool) -> ByteBuffer {
            MaskedFrame.encode(opcode, payload, isFinal: isFinal, isDeflated: isDeflated)
        }
        for opcode in [Opcode.text, .binary] {
            let whole = Self.parse([frame(opcode, isDeflated: true)])
            #expect(whole.events == [.deflated(opcode, payload)])
            #expect(Self.parse([frame(opcode, isDeflated: true)], deflates: false).error?.reason == .protocolError)
        }
        for opcode in [Opcode.ping, .pong, .close] {
            #expect(Self.parse([frame(opcode, isDeflated: true)]).error?.reason == .protocolError)
        }
        let parts = [
            frame(.text, isFinal: false, isDeflated: true), MaskedFrame.encode(.ping, ByteBuffer()),
            frame(.continuation, isDeflated: false),
        ]
        var both = payload
        both.writeImmutableBuffer(payload)
        #expect(Self.parse(parts).events == [.ping(ByteBuffer()), .deflated(.text, both)])
        let wrong = [frame(.text, isFinal: false, isDeflated: true), frame(.continuation, isDeflated: true)]
        #expect(Self.parse(wrong).error?.reason == .protocolError)
        // The one message is compressed, the next one isn't.
        let next = Self.parse([frame(.binary, isDeflated: true), MaskedFrame.text("x")])
        #expect(next.events == [.deflated(.binary, payload), .text(ByteBuffer(string: "x"))])
        for bits in [0x20, 0x10, 0x30, 0x60, 0x70] as [UInt8] {
            var bytes = MaskedFrame.text("x")
            bytes.setInteger(0x81 | bits, at: 0)
            #expect(Self.parse([bytes]).error?.reason == .protocolError)
        }
    }

    @Test func aMessageHasNoMoreFramesThanItMay() {
        for (count, isFine) in [(3, true), (4, false)] {
            var parser = WebSocketFrameParser(maximumMessageBytes: 100, maximumFrames: 3)
            var input = MaskedFrame.encode(.text, ByteBuffer(), isFinal: false)
            for index in 1..<count {
                input.writeImmutableBuffer(MaskedFrame.encode(.ping, ByteBuffer()))
                input.writeImmutableBuffer(
                    MaskedFrame.encode(.continuation, ByteBuffer(), isFinal: index == count - 1))
            }
            // Each message counts anew.
            input.writeImmutableBuffer(MaskedFrame.text("a"))
            var (texts, error) = (0, nil as WebSocketError?)
            do throws(WebSocketError) {
                while let event = try parser.next(from: &input) { if case .text = event { texts += 1 } }
            } catch let thrown {
                error = thrown
            }
            #expect(error?.reason == (isFine ? nil : .tooLarge))
            #expect(texts == (isFine ? 2 : 0))
        }
    }
}
