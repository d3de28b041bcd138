import CZlib
import ConduitCore
package import NIOCore

/// Compresses and expands whole messages for all connections of an event loop (RFC 7692 without context takeover).
/// Loop-bound.
///
/// No context lives longer than a message, so all connections share one expander and one compressor for each size of
/// window: about 40 KiB and, for the usual window, 256 KiB a loop, made when they are first needed. A connection that
/// has agreed on compression costs no memory beyond that.
package final class MessageCompressor {
    /// What a message may become when it is expanded.
    package struct Limits: Hashable, Sendable {
        /// Largest message in bytes.
        package var messageBytes: Int
        /// How many times as long as its compressed bytes a message of more than ``freeBytes`` may be.
        package var ratio: Int

        /// A message of so many bytes may come of anything: short texts that repeat themselves compress very well.
        package static let freeBytes = 64 << 10

        package init(messageBytes: Int, ratio: Int) {
            self.messageBytes = messageBytes
            self.ratio = ratio
        }
    }

    /// What was done so far.
    package struct Statistics: Hashable, Sendable {
        /// Messages compressed, each once for all who take it so, and their bytes before and after.
        package var deflated: UInt64 = 0
        package var deflatedFrom: UInt64 = 0
        package var deflatedTo: UInt64 = 0
        /// Messages expanded, and their bytes before and after.
        package var inflated: UInt64 = 0
        package var inflatedFrom: UInt64 = 0
        package var inflatedTo: UInt64 = 0
        /// Compressed messages that were refused: too long, too dense, broken, or no text after all.
        package var refused: [String: UInt64] = ["bytes": 0, "ratio": 0, "data": 0, "text": 0]

        package init() {}
    }

    /// Shorter messages are sent as they are.
    package let threshold: Int
    package private(set) var statistics = Statistics()
    private let level: Int
    private var inflater: Inflater?
    /// By window bits.
    private var deflaters: [UInt8: Deflater] = [:]
    /// Where messages are expanded and compressed; kept while it is small.
    private var scratch: [UInt8] = []
    private static let keptScratch = 256 << 10

    /// - Parameters:
    ///   - level: zlib's, 1…9.
    ///   - threshold: bytes of the least message that is compressed.
    package init(level: Int, threshold: Int) {
        self.level = level
        self.threshold = threshold
    }

    // MARK: Compressing

    /// Compresses a server's unmasked frame of one text or binary message; `nil` where that doesn't make it shorter.
    package func deflated(_ frame: ByteBuffer, windowBits: UInt8) -> ByteBuffer? {
        guard let first = frame.getInteger(at: frame.readerIndex, as: UInt8.self),
            let second = frame.getInteger(at: frame.readerIndex + 1, as: UInt8.self)
        else { return nil }
        let header = second == 127 ? 10 : second == 126 ? 4 : 2
        guard let payload = frame.getSlice(at: frame.readerIndex + header, length: frame.readableBytes - header) else {
            return nil
        }
        return deflated(payload, first: first, windowBits: windowBits)
    }

    /// Compresses a message into a frame; `nil` where that doesn't make it shorter.
    package func deflated(_ payload: ByteBuffer, opcode: Opcode, windowBits: UInt8) -> ByteBuffer? {
        deflated(payload, first: 0x80 | opcode.rawValue, windowBits: windowBits)
    }

    private func deflated(_ payload: ByteBuffer, first: UInt8, windowBits: UInt8) -> ByteBuffer? {
        guard let deflater = deflater(windowBits) else { return nil }
        let count = deflater.deflate(payload, into: &scratch)
        defer { trimScratch() }
        statistics.deflated += 1
        statistics.deflatedFrom += UInt64(payload.readableBytes)
        guard let count, count < payload.readableBytes else {
            statistics.deflatedTo += UInt64(payload.readableBytes)
            return nil
        }
        statistics.deflatedTo += UInt64(count)
        var frame = ByteBufferAllocator().buffer(capacity: count + 10)
        frame.writeFrameHeader(first: first | 0x40, length: count)
        frame.writeBytes(scratch[..<count])
        return frame
    }

    private func deflater(_ windowBits: UInt8) -> Deflater? {
        if let known = deflaters[windowBits] { return known }
        guard DeflateParameters.windowBits.contains(windowBits),
            let made = Deflater(level: level, windowBits: Int(windowBits))
        else { return nil }
        deflaters[windowBits] = made
        return made
    }

    // MARK: Expanding

    /// Expands a compressed message and checks that a text is UTF-8; other events come back as they are.
    package func expanded(
        _ event: WebSocketFrameParser.Event, _ limits: Limits
    ) throws(WebSocketError) -> WebSocketFrameParser.Event {
        guard case .deflated(let opcode, let payload) = event else { return event }
        let message = try inflated(payload, limits)
        guard opcode == .text else { return .binary(message) }
        guard UTF8Validator.isValid(message.readableBytesUInt8Span) else {
            throw refused("text", .invalidText, "expanded text is not UTF-8")
        }
        return .text(message)
    }

    private func inflated(_ payload: ByteBuffer, _ limits: Limits) throws(WebSocketError) -> ByteBuffer {
        // RFC 7692 makes an empty message one byte long; some make it none.
        guard payload.readableBytes > 0 else { return ByteBuffer() }
        guard let inflater = inflater ?? Inflater() else {
            throw WebSocketError(.internalError, "no memory to expand a message")
        }
        self.inflater = inflater
        let (dense, overflow) = payload.readableBytes.multipliedReportingOverflow(by: limits.ratio)
        let allowed = min(limits.messageBytes, overflow ? Int.max : max(dense, Limits.freeBytes))
        defer { trimScratch() }
        switch inflater.inflate(payload, atMost: allowed, into: &scratch) {
        case .message(let count):
            statistics.inflated += 1
            statistics.inflatedFrom += UInt64(payload.readableBytes)
            statistics.inflatedTo += UInt64(count)
            return ByteBuffer(bytes: scratch[..<count])
        case .tooLong where allowed < limits.messageBytes:
            throw refused(
                "ratio", .tooLarge, "message over \(limits.ratio) times its compressed bytes", .compressionRatio)
        case .tooLong:
            throw refused("bytes", .tooLarge, "expanded message over \(limits.messageBytes) bytes", .messageBytes)
        case .broken:
            throw refused("data", .invalidData, "compressed data is broken")
        }
    }

    private func refused(
        _ why: String, _ reason: CloseReason, _ detail: String, _ limit: ClientLimit? = nil
    ) -> WebSocketError {
        statistics.refused[why, default: 0] += 1
        return WebSocketError(reason, detail, limit: limit)
    }

    private func trimScratch() { if scratch.count > Self.keptScratch { scratch = [] } }
}

@available(*, unavailable)
extension MessageCompressor: Sendable {}
