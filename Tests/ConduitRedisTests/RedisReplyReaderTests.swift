import ConduitRedis
import ConduitTesting
import NIOCore
import Testing

@Suite struct RedisReplyReaderTests {
    /// Every type, its edges and its nesting, with the values that they mean.
    static let answers: [(String, RedisValue)] = [
        ("+OK\r\n", .simple("OK")),
        ("+\r\n", .simple("")),
        ("-ERR wrong\r\n", .error("ERR wrong")),
        (":0\r\n", .integer(0)),
        (":-1\r\n", .integer(-1)),
        (":9223372036854775807\r\n", .integer(.max)),
        (":-9223372036854775808\r\n", .integer(.min)),
        ("$-1\r\n", .null),
        ("*-1\r\n", .null),
        ("$0\r\n\r\n", .bulk(ByteBuffer())),
        ("$5\r\na\r\n\0b\r\n", .bulk(ByteBuffer(string: "a\r\n\0b"))),
        ("*0\r\n", .array([])),
        ("*1\r\n*0\r\n", .array([.array([])])),
        (
            "*3\r\n$7\r\nmessage\r\n:1\r\n*2\r\n-E\r\n$-1\r\n",
            .array([.bulk(ByteBuffer(string: "message")), .integer(1), .array([.error("E"), .null])])
        ),
        (
            "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:7\r\n",
            (0..<7).reduce(RedisValue.integer(7)) { inner, _ in .array([inner]) }
        ),
        (
            "$20000\r\n" + String(repeating: "x", count: 20_000) + "\r\n",
            .bulk(ByteBuffer(repeating: UInt8(ascii: "x"), count: 20_000))
        ),
        (
            "*1000\r\n" + String(repeating: "$1\r\na\r\n", count: 1000),
            .array(Array(repeating: .bulk(ByteBuffer(string: "a")), count: 1000))
        ),
    ]

    static let pushes: [(String, RedisReply)] = [
        ("*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n", .subscribed(channel: ByteBuffer(string: "a"))),
        (
            "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$3\r\n\r\n\0\r\n",
            .message(channel: ByteBuffer(string: "a"), payload: ByteBuffer(string: "\r\n\0"))
        ),
        (
            "*3\r\n$7\r\nmessage\r\n$0\r\n\r\n$0\r\n\r\n",
            .message(channel: ByteBuffer(), payload: ByteBuffer())
        ),
        ("*2\r\n$4\r\npong\r\n$0\r\n\r\n", .value(.array([.bulk(ByteBuffer(string: "pong")), .bulk(ByteBuffer())]))),
        ("+PONG\r\n", .value(.simple("PONG"))),
        ("-NOPERM no\r\n", .value(.error("NOPERM no"))),
        ("*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n", .unsubscribed(channel: ByteBuffer(string: "a"))),
        ("*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n", .unsubscribed(channel: ByteBuffer())),
        (
            "*3\r\n$7\r\nmessage\r\n$1\r\nb\r\n$40000\r\n" + String(repeating: "y", count: 40_000) + "\r\n",
            .message(
                channel: ByteBuffer(string: "b"), payload: ByteBuffer(repeating: UInt8(ascii: "y"), count: 40_000))
        ),
    ]

    private func read(
        _ bytes: ByteBuffer, mode: RedisReplyReader.Mode, limits: RedisReplyReader.Limits = .init(),
        slice: () -> Int
    ) throws -> [RedisReply] {
        let reader = try RedisReplyReader(mode: mode, limits: limits)
        var rest = bytes
        var replies: [RedisReply] = []
        while rest.readableBytes > 0, let part = rest.readSlice(length: min(slice(), rest.readableBytes)) {
            try reader.read(part) {
                replies.append($0)
                return true
            }
        }
        return replies
    }

    private func all(_ mode: RedisReplyReader.Mode) -> (ByteBuffer, [RedisReply]) {
        switch mode {
        case .answers:
            (ByteBuffer(string: Self.answers.map(\.0).joined()), Self.answers.map { .value($0.1) })
        case .pushes:
            (ByteBuffer(string: Self.pushes.map(\.0).joined()), Self.pushes.map(\.1))
        }
    }

    @Test(arguments: [1, 3, 7, 4096, 16_384, .max], [RedisReplyReader.Mode.answers, .pushes])
    func everyTypeSurvivesEverySlicing(slice: Int, mode: RedisReplyReader.Mode) throws {
        let (bytes, expected) = all(mode)
        #expect(try read(bytes, mode: mode) { slice } == expected)
    }

    @Test(arguments: 0..<40 as Range<UInt64>)
    func randomOrderAndSlicesChangeNothing(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let pushing = seed.isMultiple(of: 2)
        let pool: [(String, RedisReply)] = pushing ? Self.pushes : Self.answers.map { ($0.0, .value($0.1)) }
        let chosen = (0..<60).compactMap { _ in pool.randomElement(using: &random) }
        let longest = [5, 100, 5000, 60_000].randomElement(using: &random) ?? 1
        let replies = try read(ByteBuffer(string: chosen.map(\.0).joined()), mode: pushing ? .pushes : .answers) {
            Int.random(in: 1...longest, using: &random)
        }
        #expect(replies == chosen.map(\.1), "seed \(seed)")
    }

    @Test(arguments: [
        "HTTP/1.1 400 Bad Request\r\n", "$x\r\n", "$-2\r\n", ":1x\r\n", ":\r\n", "*-2\r\n", "*99999999999\r\n",
        ":92233720368547758070\r\n", "$9223372036854775807\r\n", "$1000001\r\n", "*2000\r\n",
        "*600\r\n" + String(repeating: ":1\r\n", count: 599) + "*600\r\n",
        "$111111111111111111111111111111", "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
        "+" + String(repeating: "x", count: 70_000),
        "*3\r\n$400000\r\n" + String(repeating: "x", count: 400_000) + "\r\n$400000\r\n"
            + String(repeating: "x", count: 400_000) + "\r\n$400000\r\n" + String(repeating: "x", count: 400_000)
            + "\r\n",
    ])
    func whatIsNotRESPOrTooMuchIsAnError(text: String) {
        for slice in [1, 4096, 16_384] where slice > 1 || text.utf8.count < 100_000 {
            let error = #expect(throws: RedisError.self) {
                _ = try read(
                    ByteBuffer(string: text), mode: .answers, limits: .init(bytes: 1_000_000, elements: 1000)
                ) { slice }
            }
            #expect(error?.code == .protocolViolation)
        }
    }

    /// hiredis reads RESP3 too, but calls nobody for some of it: each later answer would be taken for an earlier one.
    @Test(
        arguments: [
            ",1.5\r\n", "#t\r\n", "(12345678901234567890\r\n", "*2\r\n:1\r\n,1.5\r\n",
            "*3\r\n$7\r\nmessage\r\n#t\r\n$1\r\nb\r\n",
        ], [RedisReplyReader.Mode.answers, .pushes])
    func aValueOfRESP3IsAnError(text: String, mode: RedisReplyReader.Mode) {
        let error = #expect(throws: RedisError.self) {
            _ = try read(ByteBuffer(string: text + "+OK\r\n"), mode: mode) { .max }
        }
        #expect(error?.code == .protocolViolation)
    }

    @Test(arguments: [
        "*3\r\n$8\r\npmessage\r\n$1\r\na\r\n$1\r\nb\r\n",
        "*3\r\n:1\r\n$1\r\na\r\n$1\r\nb\r\n",
        "*3\r\n*0\r\n$1\r\na\r\n$1\r\nb\r\n",
        "*3\r\n$7\r\nmessage\r\n:1\r\n$1\r\nb\r\n",
        "*3\r\n$7\r\nmessage\r\n$-1\r\n$1\r\nb\r\n",
        "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n:1\r\n",
        "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n$1\r\nb\r\n",
        "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n*1\r\n:1\r\n",
    ])
    func aPushOfAnUnknownShapeIsAnError(text: String) {
        let error = #expect(throws: RedisError.self) {
            _ = try read(ByteBuffer(string: text), mode: .pushes) { .max }
        }
        #expect(error?.code == .protocolViolation)
    }

    @Test func aHugeBulkIsRefusedByItsLengthAlone() throws {
        let reader = try RedisReplyReader(mode: .answers, limits: .init(bytes: 100_000))
        #expect(throws: RedisError.self) {
            try reader.read(ByteBuffer(string: "$100001\r\n")) { _ in true }
        }
    }

    @Test func aBulkOfExactlyTheLimitPasses() throws {
        let text = "$100000\r\n" + String(repeating: "x", count: 100_000) + "\r\n"
        let replies = try read(ByteBuffer(string: text), mode: .answers, limits: .init(bytes: 100_000)) { 7000 }
        #expect(replies == [.value(.bulk(ByteBuffer(repeating: UInt8(ascii: "x"), count: 100_000)))])
    }

    @Test func readingStopsWhenTheTakerHasEnough() throws {
        let reader = try RedisReplyReader(mode: .answers)
        var taken = 0
        try reader.read(ByteBuffer(string: ":1\r\n:2\r\n:3\r\n")) { _ in
            taken += 1
            return taken < 2
        }
        #expect(taken == 2)
    }

    /// Whatever arrives, the reader answers with replies or an error; the test fails by crashing.
    @Test(arguments: 0..<200 as Range<UInt64>)
    func spoiltBytesNeverCrash(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let mode: RedisReplyReader.Mode = seed.isMultiple(of: 2) ? .answers : .pushes
        var (bytes, _) = all(mode)
        for _ in 0..<Int.random(in: 1...20, using: &random) {
            let index = Int.random(in: 0..<min(bytes.readableBytes, 600), using: &random)
            let spoilt = Array("*$:+-\r\n0123456789\0ÿ".utf8).randomElement(using: &random) ?? 0
            bytes.setInteger(spoilt, at: bytes.readerIndex + index)
        }
        let limits = RedisReplyReader.Limits(bytes: 1 << 20, elements: 10_000)
        do {
            let replies = try read(bytes, mode: mode, limits: limits) { Int.random(in: 1...200, using: &random) }
            #expect(replies.count <= 60_000)
        } catch let error as RedisError {
            #expect(error.code == .protocolViolation)
        }
    }
}
