import ConduitRedis
import ConduitTesting
import NIOCore
import Testing

@Suite struct RedisClusterValueTests {
    @Test(
        arguments: [
            ("123456789", 12_739), ("foo", 12_182), ("bar", 5_061), ("", 0), ("{foo}x", 12_182),
            ("a{foo}{bar}", 12_182),
            ("foo{}", 5_542), ("{foo", 13_308), ("conduit:claim:{foo}:x", 12_182),
        ])
    func aSlotIsThatOfTheHashTag(key: String, slot: Int) {
        #expect(RedisSlot.of(key) == slot)
        #expect(RedisSlot.of(ByteBuffer(string: key)) == slot)
    }

    private func range(_ first: Int64, _ last: Int64, _ hosts: (String, Int64)...) -> RedisValue {
        let hosts = hosts.map { host, port in
            RedisValue.array([
                .bulk(ByteBuffer(string: host)), .integer(port), .bulk(ByteBuffer(string: "id")), .array([]),
            ])
        }
        return .array([.integer(first), .integer(last)] + hosts)
    }

    @Test func readsTheAnswerToClusterSlots() throws {
        let whole = RedisValue.array([
            range(0, 99, ("a", 1), ("ra", 4)), range(100, 16_382, ("b", 2)), range(16_383, 16_383, ("", 3)),
        ])
        var map = try #require(RedisSlotMap(whole, host: "asked"))
        #expect(map.isComplete)
        #expect(map.masters == [.host("a", port: 1), .host("b", port: 2), .host("asked", port: 3)])
        #expect(map.replicas == [.host("ra", port: 4)])
        #expect(map.owner(of: 99) == .host("a", port: 1) && map.owner(of: 100) == .host("b", port: 2))
        #expect(map.owner(of: -1) == nil && map.owner(of: 16_384) == nil)
        map.move(99, to: .host("new", port: 9))
        #expect(map.owner(of: 99) == .host("new", port: 9) && map.owner(of: 98) == .host("a", port: 1))
        let partial = try #require(RedisSlotMap(.array([range(0, 5, ("a", 1))]), host: "h"))
        #expect(!partial.isComplete && partial.owner(of: 6) == nil)
    }

    @Test func whatIsNoMapIsNotTaken() {
        let odd: [RedisValue] = [
            .null, .integer(1), .array([]), .array([.null]), .array([range(5, 4, ("a", 1))]),
            .array([range(0, 16_384, ("a", 1))]), .array([range(-1, 5, ("a", 1))]), .array([range(0, 5)]),
            .array([range(0, 5, ("a", 0))]), .array([range(0, 5, ("?", 1))]),
            .array([range(.min, .max, ("a", 1))]),
        ]
        for value in odd { #expect(RedisSlotMap(value, host: "h") == nil, "\(value)") }
    }

    @Test(
        arguments: [
            ("MOVED 3999 127.0.0.1:6381", .moved(slot: 3_999, .host("127.0.0.1", port: 6_381))),
            ("MOVED 3999 :6381", .moved(slot: 3_999, .host("here", port: 6_381))),
            ("ASK 1 ::1:7", .ask(.host("::1", port: 7))), ("TRYAGAIN Multiple keys", .tryAgain),
            ("CLUSTERDOWN Hash slot not served", .tryAgain), ("MOVED 16384 h:1", nil), ("MOVED x h:1", nil),
            ("MOVED 1 h", nil), ("MOVED 1 h:0", nil), ("MOVED 1 ?:1", nil), ("MOVED", nil), ("ERR MOVED 1 h:1", nil),
            ("", nil),
        ] as [(String, RedisRedirection?)])
    func readsRedirections(text: String, redirection: RedisRedirection?) {
        #expect(RedisRedirection(RedisError(.server, text), host: "here") == redirection)
        #expect(RedisRedirection(RedisError(.connectionLost, text), host: "here") == nil)
    }

    @Test(
        arguments: [
            (["HSET", "foo", "f", "v"], .slot(12_182)), (["EVALSHA", "sha", 1, "foo", "bar"], .slot(12_182)),
            (["EVAL", "return 1", "0"], .anywhere), (["eval", "return 1", 0, "foo"], .anywhere), (["TIME"], .anywhere),
            (["CLIENT", "SETNAME", "foo"], .anywhere), (["SCRIPT", "LOAD", "x"], .everywhere), (["GET"], .anywhere),
            (["XREAD", "COUNT", "1", "STREAMS", "foo", "0"], .slot(12_182)),
            (["XINFO", "STREAM", "foo"], .slot(12_182)),
            ([], .anywhere),
        ] as [([RedisArgument], RedisCommandPlace)])
    func theKeyIsFoundFromTheCommand(words: [RedisArgument], place: RedisCommandPlace) {
        #expect(RedisCommandPlace(of: words) == place)
    }

    @Test func answersComeInTheOrderOfTheQuestions() {
        var generator = SeededGenerator(seed: 7)
        var order = RedisAnswerOrder<UInt64>()
        var open: [UInt64] = []
        var asked: UInt64 = 0
        var given: [UInt64] = []
        for step in 0..<5_000 {
            if Bool.random(using: &generator) || open.isEmpty {
                let number = order.ask()
                #expect(number == asked)
                asked += 1
                open.append(number)
            } else {
                let number = open.remove(at: Int.random(in: 0..<open.count, using: &generator))
                order.answer(number, number)
            }
            while let next = order.next() { given.append(next) }
            if step == 2_500 {
                order.removeAll()
                // Answers to what was given up mean nothing.
                for number in open { order.answer(number, number) }
                open = []
                given = Array(0..<asked)
            }
        }
        for number in open { order.answer(number, number) }
        while let next = order.next() { given.append(next) }
        #expect(given == Array(0..<asked))
        #expect(order.count == 0)
    }
}
