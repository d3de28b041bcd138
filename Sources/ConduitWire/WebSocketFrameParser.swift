import ConduitCore
package import NIOCore

/// Turns the bytes of one connection into WebSocket messages (RFC 6455 section 5) and refuses everything else.
///
/// A value: feed it the receive buffer and take events until it returns `nil`. It copies payloads out while it
/// unmasks them, so the receive buffer can be shared by all connections of a loop. A text that is whole in the receive
/// buffer goes through memory that all of them share too (``wholeText(in:from:scratch:)``), so it allocates nothing;
/// what is unfinished is kept in a ``WebSocketFrameAssembler``, which an idle parser doesn't have.
package struct WebSocketFrameParser: Sendable {
    /// Which end of the connection parses; clients mask, servers don't.
    package enum Role: Sendable {
        case server
        case client
    }

    /// One complete message or control frame.
    package enum Event: Sendable, Equatable {
        /// Valid UTF-8.
        case text(ByteBuffer)
        case binary(ByteBuffer)
        /// A text or binary message as it was compressed, for ``MessageCompressor/expanded(_:_:)``. Comes only where
        /// that was agreed on.
        case deflated(Opcode, ByteBuffer)
        case ping(ByteBuffer)
        case pong(ByteBuffer)
        /// The last event: whatever follows is dropped. The reason is valid UTF-8.
        case close(code: UInt16?, reason: ByteBuffer)
    }

    /// What a connection's frames have to keep to.
    struct Rules: Sendable {
        /// Most bytes of a message, all fragments together.
        let bytes: Int
        /// Most frames of a message.
        let frames: Int32
        let role: Role
        /// Whether messages may be compressed.
        let deflates: Bool

        /// Compressing what can't be compressed makes it a little longer: that little is granted.
        func bytes(isDeflated: Bool) -> Int { isDeflated ? bytes + bytes >> 10 + 64 : bytes }

        func header(of bytes: Span<UInt8>) throws(WebSocketError) -> (header: FrameHeader, byteCount: Int)? {
            try FrameHeader.parse(bytes, role: role, deflates: deflates)
        }
    }

    private var rules: Rules
    /// A close frame or an error was seen.
    private var isFinished = false
    /// Empty, or the one that has something unfinished.
    private var assembler: ContiguousArray<WebSocketFrameAssembler> = []

    /// A parser that accepts messages of up to `maximumMessageBytes` in `maximumFrames`, all fragments together.
    ///
    /// - Parameter deflates: whether `permessage-deflate` was agreed on.
    package init(
        maximumMessageBytes: Int, maximumFrames: Int = .max, role: Role = .server, deflates: Bool = false
    ) {
        self.rules = Rules(
            bytes: maximumMessageBytes, frames: Int32(clamping: maximumFrames), role: role, deflates: deflates)
    }

    /// Other bounds from now on, for the message that has begun too.
    package mutating func reload(maximumMessageBytes: Int, maximumFrames: Int) {
        rules = Rules(
            bytes: maximumMessageBytes, frames: Int32(clamping: maximumFrames), role: rules.role,
            deflates: rules.deflates)
    }

    /// The connection is being closed: what still comes is of no use to anybody.
    package mutating func finish() {
        isFinished = true
        assembler = []
    }

    /// Whether a message or frame has begun and is not complete; a read deadline applies while it is so.
    package var hasUnfinishedMessage: Bool { assembler.first?.hasUnfinishedMessage ?? false }

    /// Memory that is held for what is unfinished.
    package var reservedBytes: Int { assembler.first?.reservedBytes ?? 0 }

    /// Unmasks the text message whose frame begins at `start` of `input` into `scratch`, if it is unfragmented and whole
    /// there, and checks it; `nil` for everything else, which is for ``next(from:)``.
    ///
    /// - Returns: where the frame ends, and how many bytes of `scratch` are the message.
    package func wholeText(
        in input: Span<UInt8>, from start: Int, scratch: inout [UInt8]
    ) -> (end: Int, length: Int)? {
        guard assembler.isEmpty, !isFinished, start < input.count,
            // What is illegal is refused by the assembler.
            let (header, length) = try? rules.header(of: input.extracting(start..<input.count)),
            header.isFinal, header.opcode == .text, !header.isDeflated, header.length <= rules.bytes
        else { return nil }
        let payload = start + length
        guard input.count - payload >= header.length else { return nil }
        if scratch.count < header.length {
            scratch.append(contentsOf: repeatElement(0, count: header.length - scratch.count))
        }
        let isASCII = Unmasking.copy(
            input.extracting(payload..<payload + header.length), mask: header.mask, into: &scratch)
        guard isASCII || UTF8Validator.isValid(scratch.span.extracting(0..<header.length)) else { return nil }
        return (payload + header.length, header.length)
    }

    /// Takes bytes from `input` until one event is complete; `nil` when they are used up.
    ///
    /// After an error or a close event the parser swallows what follows and returns `nil`.
    package mutating func next(from input: inout ByteBuffer) throws(WebSocketError) -> Event? {
        guard !isFinished else {
            input.moveReaderIndex(to: input.writerIndex)
            return nil
        }
        if assembler.isEmpty {
            guard input.readableBytes > 0 else { return nil }
            assembler.append(WebSocketFrameAssembler(rules))
        }
        do throws(WebSocketError) {
            let event = try assembler[0].next(from: &input)
            isFinished = assembler[0].isFinished
            if isFinished || !assembler[0].hasUnfinishedMessage { assembler = [] }
            return event
        } catch {
            isFinished = true
            assembler = []
            throw error
        }
    }

    /// RFC 6455 section 7.4 and the IANA registry: 1004, 1005, 1006 and 1015 never stand in a frame.
    package static func mayBeSent(closeCode: UInt16) -> Bool {
        switch closeCode {
        case 1000...1003, 1007...1014, 3000...4999: true
        default: false
        }
    }
}
