import ConduitCore
import NIOCore

/// What a connection's parser keeps while a frame or message is not whole: fragments, split headers, control frames.
///
/// A value: feed it the receive buffer and take events until it returns `nil`. It never reserves what a length field
/// claims before the bytes are there.
struct WebSocketFrameAssembler: Sendable {
    typealias Role = WebSocketFrameParser.Role
    typealias Event = WebSocketFrameParser.Event

    private let rules: WebSocketFrameParser.Rules
    /// A header that arrived in part.
    private var partial = PartialHeader()
    /// The frame whose payload is awaited.
    private var frame: FrameHeader?
    /// Bytes of `frame`'s payload that were taken.
    private var taken = 0
    /// The fragments so far; opcode ``Opcode/continuation`` when there is no message.
    private var message = ByteBuffer()
    private var messageOpcode = Opcode.continuation
    private var isDeflated = false
    /// Frames of the message that have begun.
    private var frames: Int32 = 0
    private var validator = UTF8Validator()
    /// The payload of a control frame so far; it may stand between the fragments of a message.
    private var control = ByteBuffer()
    /// A close frame or an error was seen.
    private(set) var isFinished = false

    init(_ rules: WebSocketFrameParser.Rules) { self.rules = rules }

    /// Whether a message or frame has begun and is not complete; a read deadline applies while it is so.
    var hasUnfinishedMessage: Bool {
        partial.count > 0 || frame != nil || messageOpcode != .continuation
    }

    /// Memory that is held for what is unfinished.
    var reservedBytes: Int { message.storageCapacity + control.storageCapacity }

    /// Takes bytes from `input` until one event is complete; `nil` when they are used up.
    ///
    /// After an error or a close event the parser swallows what follows and returns `nil`.
    mutating func next(from input: inout ByteBuffer) throws(WebSocketError) -> Event? {
        do throws(WebSocketError) {
            while !isFinished {
                if frame == nil {
                    guard let header = try nextHeader(from: &input) else { return nil }
                    try begin(header)
                }
                guard let header = frame else { return nil }
                try takePayload(of: header, from: &input)
                guard taken == header.length else { return nil }
                frame = nil
                if let event = try finish(header) { return event }
            }
        } catch {
            finishForGood()
            input.moveReaderIndex(to: input.writerIndex)
            throw error
        }
        input.moveReaderIndex(to: input.writerIndex)
        return nil
    }

    // MARK: Headers

    private mutating func nextHeader(from input: inout ByteBuffer) throws(WebSocketError) -> FrameHeader? {
        if partial.count == 0 {
            if let (header, length) = try rules.header(of: input.readableBytesUInt8Span) {
                input.moveReaderIndex(forwardBy: length)
                return header
            }
        }
        // Rare: the header is split over two reads. It has at most 14 bytes.
        while let byte = input.readInteger(as: UInt8.self) {
            partial.append(byte)
            // A copy of 15 bytes, since a span may not be borrowed from what it decides to change.
            let known = partial
            if let (header, _) = try rules.header(of: known.storage.span.extracting(first: Int(known.count))) {
                partial = PartialHeader()
                return header
            }
        }
        return nil
    }

    private mutating func begin(_ header: FrameHeader) throws(WebSocketError) {
        if !header.opcode.isControl {
            switch (header.opcode, messageOpcode) {
            case (.continuation, .continuation):
                throw WebSocketError(.protocolError, "continuation without a message")
            case (.continuation, _):
                break
            case (_, .continuation):
                messageOpcode = header.opcode
                isDeflated = header.isDeflated
                frames = 0
                validator = UTF8Validator()
            default:
                throw WebSocketError(.protocolError, "new message inside a fragmented one")
            }
            guard frames < rules.frames else {
                throw WebSocketError(.tooLarge, "message of more than \(rules.frames) frames", limit: .framesPerMessage)
            }
            frames += 1
            guard header.length <= rules.bytes(isDeflated: isDeflated) - message.readableBytes else {
                throw WebSocketError(.tooLarge, "message over \(rules.bytes) bytes", limit: .messageBytes)
            }
        }
        frame = header
        taken = 0
    }

    // MARK: Payloads

    private mutating func takePayload(of header: FrameHeader, from input: inout ByteBuffer) throws(WebSocketError) {
        let count = min(header.length - taken, input.readableBytes)
        guard count > 0 else { return }
        if header.opcode.isControl {
            control.writeUnmasked(from: &input, count: count, mask: header.mask, position: taken)
        } else {
            let start = message.readableBytes
            message.writeUnmasked(from: &input, count: count, mask: header.mask, position: taken)
            if messageOpcode == .text, !isDeflated {
                var check = validator
                let isValid = check.consume(message.readableBytesUInt8Span.extracting(start..<start + count))
                validator = check
                guard isValid else { throw WebSocketError(.invalidText, "text is not UTF-8") }
            }
        }
        taken += count
    }

    private mutating func finish(_ header: FrameHeader) throws(WebSocketError) -> Event? {
        if header.opcode.isControl {
            let payload = control
            control = ByteBuffer()
            switch header.opcode {
            case .ping: return .ping(payload)
            case .pong: return .pong(payload)
            default: return try close(payload)
            }
        }
        guard header.isFinal else { return nil }
        guard validator.isComplete else { throw WebSocketError(.invalidText, "text ends inside a character") }
        let opcode = messageOpcode
        let payload = message
        message = ByteBuffer()
        messageOpcode = .continuation
        if isDeflated { return .deflated(opcode, payload) }
        return opcode == .text ? .text(payload) : .binary(payload)
    }

    private mutating func close(_ payload: ByteBuffer) throws(WebSocketError) -> Event {
        var reason = payload
        guard payload.readableBytes > 0 else {
            finishForGood()
            return .close(code: nil, reason: payload)
        }
        guard let code = reason.readInteger(as: UInt16.self) else {
            throw WebSocketError(.protocolError, "close frame of one byte")
        }
        guard WebSocketFrameParser.mayBeSent(closeCode: code) else {
            throw WebSocketError(.protocolError, "close code \(code) may not be sent")
        }
        guard UTF8Validator.isValid(reason.readableBytesUInt8Span) else {
            throw WebSocketError(.invalidText, "close reason is not UTF-8")
        }
        finishForGood()
        return .close(code: code, reason: reason)
    }

    private mutating func finishForGood() {
        isFinished = true
        partial = PartialHeader()
        frame = nil
        message = ByteBuffer()
        messageOpcode = .continuation
        control = ByteBuffer()
    }
}

/// The first bytes of a header that was split over two reads.
private struct PartialHeader: Sendable {
    private(set) var storage = InlineArray<14, UInt8>(repeating: 0)
    private(set) var count: UInt8 = 0

    mutating func append(_ byte: UInt8) {
        // A header is complete with its 14th byte, so there is always room; the subscript checks it again.
        storage[Int(count)] = byte
        count += 1
    }
}
