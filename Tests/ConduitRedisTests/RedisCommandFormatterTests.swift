import ConduitRedis
import ConduitTesting
import NIOCore
import Testing

@Suite struct RedisCommandFormatterTests {
    /// What a command must look like, spelt out naively.
    private func naive(_ words: [[UInt8]]) -> [UInt8] {
        Array("*\(words.count)\r\n".utf8) + words.flatMap { Array("$\($0.count)\r\n".utf8) + $0 + Array("\r\n".utf8) }
    }

    @Test func everyKindOfArgumentIsBytes() {
        var buffer = ByteBuffer(string: "before")
        let binary: [UInt8] = [0, 13, 10, 255]
        let done = RedisCommandFormatter.append(
            ["SET", .bytes(binary), .buffer(ByteBuffer(string: "ä")), .integer(.min), "\(1)x", 42], to: &buffer)
        #expect(done)
        let expected = naive([
            Array("SET".utf8), binary, Array("ä".utf8), Array("-9223372036854775808".utf8), Array("1x".utf8),
            Array("42".utf8),
        ])
        #expect(Array(buffer.readableBytesView) == Array("before".utf8) + expected)
    }

    @Test func emptyWordsStayWords() {
        var buffer = ByteBuffer()
        #expect(RedisCommandFormatter.append([.bytes([])], to: &buffer))
        #expect(RedisCommandFormatter.append(["ECHO", "", ""], to: &buffer))
        #expect(Array(buffer.readableBytesView) == naive([[]]) + naive([Array("ECHO".utf8), [], []]))
    }

    @Test(arguments: 0..<20 as Range<UInt64>)
    func publishIsTheSameInBothWays(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let channel = (0..<Int.random(in: 0...40, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random)
        }
        let payload = (0..<Int.random(in: 0...5000, using: &random)).map { _ in
            UInt8.random(in: 0...255, using: &random)
        }
        var lean = ByteBuffer()
        var general = ByteBuffer()
        RedisCommandFormatter.appendPublish(
            channel: ByteBuffer(bytes: channel), payload: ByteBuffer(bytes: payload), to: &lean)
        #expect(RedisCommandFormatter.append(["PUBLISH", .bytes(channel), .bytes(payload)], to: &general))
        #expect(lean == general)
        #expect(Array(lean.readableBytesView) == naive([Array("PUBLISH".utf8), channel, payload]))
    }
}
