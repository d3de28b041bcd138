import ConduitCore
import ConduitTesting
import ConduitWire
import NIOCore
import Testing

/// Where a socket's reads cut a conversation makes no difference: every pair of cuts, tried.
@Suite struct FrameSplitTests {
    private static let euro = Array("€".utf8)

    private static let conversations: [[ByteBuffer]] = [
        [MaskedFrame.text("hé€😀"), MaskedFrame.text(""), MaskedFrame.encode(.ping, ByteBuffer(string: "p"))],
        [
            MaskedFrame.encode(.text, ByteBuffer(bytes: euro.prefix(1)), isFinal: false),
            MaskedFrame.encode(.pong, ByteBuffer(string: "")),
            MaskedFrame.encode(.continuation, ByteBuffer(bytes: euro.dropFirst())),
            MaskedFrame.encode(.close, ByteBuffer(bytes: [0x03, 0xE8, 0x62])), MaskedFrame.text("behind"),
        ],
        [MaskedFrame.text("a"), MaskedFrame.encode(.text, ByteBuffer(bytes: [0x61, 0xC3, 0x28, 0x62]))],
        [MaskedFrame.text(String(repeating: "m", count: 126)), MaskedFrame.encode(.continuation, ByteBuffer())],
        [MaskedFrame.encode(.binary, ByteBuffer(bytes: [0xFF, 0])), ByteBuffer(bytes: [0x83, 0x80])],
    ]

    @Test(arguments: conversations.indices) func everyPairOfCutsReadsTheSame(_ index: Int) {
        let bytes = WebSocketFrameParserTests.join(Self.conversations[index])
        let whole = WebSocketFrameParserTests.parse([bytes])
        let count = bytes.readableBytes
        for first in 0...count {
            for second in first...count {
                let cuts = [0, first, second, count]
                let slices = zip(cuts, cuts.dropFirst()).compactMap { start, end in
                    bytes.getSlice(at: bytes.readerIndex + start, length: end - start)
                }
                let parts = WebSocketFrameParserTests.parse(slices)
                #expect(parts.events == whole.events && parts.error == whole.error, "cut at \(first) and \(second)")
            }
        }
    }
}
