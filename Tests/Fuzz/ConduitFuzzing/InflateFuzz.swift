import ConduitCore
import ConduitWire
import NIOCore

/// A compressed message gives what is within the limits, whatever was read before it; and what is compressed can be read.
enum InflateFuzz {
    private static let limits = [
        MessageCompressor.Limits(messageBytes: 100, ratio: 200), .init(messageBytes: 70_000, ratio: 2),
        .init(messageBytes: 1 << 20, ratio: 20), .init(messageBytes: 1 << 20, ratio: .max),
    ]

    static func run(_ input: FuzzInput) -> String? {
        let limits = limits[Int(input.options & 3)]
        let opcode: Opcode = input.options & 4 == 0 ? .text : .binary
        let used = MessageCompressor(level: 1, threshold: 0)
        // Cut off in the middle: whatever stays of it in zlib must not show.
        _ = expand(input.whole.getSlice(at: 3, length: input.bytes.count / 2) ?? ByteBuffer(), .binary, limits, used)
        let first = expand(input.whole, opcode, limits, used)
        let second = expand(input.whole, opcode, limits, MessageCompressor(level: 9, threshold: 0))
        guard first == second else { return "used: \(first), fresh: \(second)" }
        switch first {
        case .success(let event):
            if let problem = judge(event, opcode, input, limits) { return problem }
        case .failure(let error):
            guard [CloseReason.invalidText, .invalidData, .tooLarge].contains(error.reason) else { return "\(error)" }
        }
        return roundTrip(input.whole, used, windowBits: 9 + UInt8(input.options) % 7)
    }

    private static func judge(
        _ event: WebSocketFrameParser.Event, _ opcode: Opcode, _ input: FuzzInput, _ limits: MessageCompressor.Limits
    ) -> String? {
        let message: ByteBuffer
        switch event {
        case .text(let payload) where opcode == .text:
            guard String(validating: payload.readableBytesView, as: UTF8.self) != nil else {
                return "no text: \(event)"
            }
            message = payload
        case .binary(let payload) where opcode == .binary: message = payload
        default: return "became \(event)"
        }
        guard message.readableBytes <= limits.messageBytes else { return "\(message.readableBytes) bytes" }
        let (dense, overflow) = input.bytes.count.multipliedReportingOverflow(by: limits.ratio)
        guard message.readableBytes <= MessageCompressor.Limits.freeBytes || overflow || message.readableBytes <= dense
        else { return "\(message.readableBytes) bytes of \(input.bytes.count)" }
        return nil
    }

    private static func expand(
        _ payload: ByteBuffer, _ opcode: Opcode, _ limits: MessageCompressor.Limits, _ compressor: MessageCompressor
    ) -> Result<WebSocketFrameParser.Event, WebSocketError> {
        do throws(WebSocketError) {
            return .success(try compressor.expanded(.deflated(opcode, payload), limits))
        } catch {
            return .failure(error)
        }
    }

    private static func roundTrip(
        _ message: ByteBuffer, _ compressor: MessageCompressor, windowBits: UInt8
    ) -> String? {
        guard let frame = compressor.deflated(message, opcode: .binary, windowBits: windowBits) else { return nil }
        guard frame.readableBytes < message.readableBytes + 10 else { return "longer than before" }
        var parser = WebSocketFrameParser(maximumMessageBytes: 1 << 20, role: .client, deflates: true)
        var bytes = frame
        let limits = MessageCompressor.Limits(messageBytes: 1 << 20, ratio: .max)
        guard let event = try? parser.next(from: &bytes), bytes.readableBytes == 0,
            let expanded = try? compressor.expanded(event, limits), expanded == .binary(message)
        else { return "not read as it was written" }
        return nil
    }
}
