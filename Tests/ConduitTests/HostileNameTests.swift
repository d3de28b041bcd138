import Conduit
import ConduitCluster
import ConduitCore
import ConduitTesting
import ConduitWire
import Foundation
import NIOCore
import Testing

@testable import ConduitCommand

/// Names that try to be something else are only names: in Redis, in JSON, in tables, metrics and logs.
@Suite(.timeLimit(.minutes(5))) struct HostileNameTests {
    /// Patterns and keys of Redis, JSON, HTML, formats, paths, templates, and what a terminal or reader sees otherwise.
    static let names = [
        "*", "?", "[a-z]*", "\\*", "conduit:*", "{lobby}", "{", "}", "a}{b", "lobby}", "%7Blobby%7D", "%", "%25",
        "conduit:room:{lobby}", ":", "::", "lobby:", " lobby", "lobby ", "LOBBY", #""},{"#, #"\"}],"x":["#,
        "'; FLUSHALL; --",
        "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "&lt;", "javascript:alert(1)", "%s%n%@%d",
        "${7*7}",
        "{{7*7}}", "$(id)", "`id`", "../../etc/passwd", "/", "\\", "null", "true", "0", "-1", "1e999", "__proto__",
        "\u{202E}ybbol", "lob\u{200B}by", "lobby\u{FEFF}", "\u{2066}lobby\u{2069}", "e\u{301}", "é", "😀", "\u{E0041}",
        String(repeating: "x", count: 255), String(repeating: "é", count: 127), "lobby",
    ]
    /// Control characters: no name.
    static let refused = ["", "a\u{0}b", "a\nb", "a\r\nb", "\u{1B}[31mred", "a\u{7F}", "a\u{9B}31m", "\t"]

    private static func json(_ text: String) -> String {
        var buffer = ByteBuffer()
        buffer.writeJSONString(text)
        return String(buffer: buffer)
    }

    @Test func everyNameIsARoomOfItsOwnAndNothingElse() async throws {
        let redis = try await RedisServer.start()
        let a = try await NodeProcess.start("a", redis: redis.url),
            b = try await NodeProcess.start("b", redis: redis.url)
        let sender = try await TestWebSocket.connect(port: a.port)
        let members = try await Self.join(b)
        for (name, _) in members {
            let text = Self.json(name)
            #expect(try await sender.request("join_room", "{\"room\":\(text)}").type == "room_joined", "\(text)")
        }
        for name in Self.refused {
            #expect(try await sender.request("join_room", "{\"room\":\(Self.json(name))}").type == "error", "\(name)")
        }
        try await eventually("all subscriptions are there") {
            let channels = try await redis.redisCLI("PUBSUB", "NUMSUB", "conduit:room:{😀}", "conduit:room:{lobby}")
            return channels.split(whereSeparator: \.isWhitespace).filter { $0 == "2" }.count == 2
        }
        // To each room once, from the other node: each member hears of its own room only.
        for (name, _) in members {
            let text = Self.json(name)
            try await sender.send(
                "{\"type\":\"broadcast\",\"data\":{\"room\":\(text),\"type\":\"told\",\"payload\":{\"n\":\(text)}}}")
        }
        for (name, socket) in members {
            let told = try await socket.next(type: "told")
            #expect(told.room.map { Array($0.utf8) } == Array(name.utf8))
            #expect(told.string("n").map { Array($0.utf8) } == Array(name.utf8))
        }
        for (name, socket) in members {
            // An answer behind whatever else might have come.
            _ = try await socket.request("ping")
            let more = try? await socket.next(type: "told", timeout: .milliseconds(1))
            #expect(more == nil, "\(name) heard of another room")
        }
        try await Self.checkRedis(redis)
        try await Self.checkAdministration(a, members.map(\.0))
        try await Self.checkTables(redis)
        for node in [a, b] { #expect(node.log.unicodeScalars.allSatisfy { $0 == "\n" || !Self.isCommand($0) }) }
    }

    private static func join(_ node: NodeProcess) async throws -> [(String, TestWebSocket)] {
        var members: [(String, TestWebSocket)] = []
        for name in names {
            let socket = try await TestWebSocket.connect(port: node.port)
            let joined = try await socket.request("join_room", "{\"room\":\(json(name))}")
            #expect(joined.type == "room_joined", "\(joined)")
            members.append((name, socket))
        }
        return members
    }

    /// No pattern is ever subscribed to, and every key is one that ``ClusterKeys`` makes.
    private static func checkRedis(_ redis: RedisServer) async throws {
        #expect(try await redis.redisCLI("PUBSUB", "NUMPAT") == "0")
        let commands = try await redis.redisCLI("INFO", "commandstats").lowercased()
        for word in ["psubscribe", "keys", "flushall", "flushdb", "eval_ro"] {
            #expect(!commands.contains("cmdstat_\(word):"), "\(word) was used")
        }
        let keys = ClusterKeys(prefix: "conduit")
        // Not a set of strings, which would take what looks alike for the same.
        let known = names.compactMap { RoomName($0) }.map { Array(keys.members(of: $0).utf8) }
        let script = "local all = redis.call('KEYS', '*members*') return cjson.encode(all)"
        let all = try await redis.redisCLI("EVAL", script, "0")
        let found = try #require(JSONSerialization.jsonObject(with: Data(all.utf8)) as? [String])
        #expect(found.count == names.count)
        for key in found { #expect(known.contains(Array(key.utf8)), "\(key)") }
    }

    /// Room names are only in answers that ask for them, as JSON; metrics have none.
    private static func checkAdministration(_ node: NodeProcess, _ names: [String]) async throws {
        let metrics = try await node.administration("/metrics").body
        for name in names where name.utf8.count > 4 && name != "false" { #expect(!metrics.contains(name), "\(name)") }
        for name in names {
            let path = name.utf8.map { "%" + ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
            let answer = try await node.administration("/api/v1/rooms/\(path)/presence")
            #expect(answer.status == 200, "\(name): \(answer.body)")
            let object = try JSONSerialization.jsonObject(with: Data(answer.body.utf8)) as? [String: Any]
            #expect((object?["room"] as? String).map { Array($0.utf8) } == Array(name.utf8), "\(answer.body)")
        }
    }

    /// What a terminal shows of a cluster with such rooms.
    private static func checkTables(_ redis: RedisServer) async throws {
        // Somebody else writes into Redis, too.
        try await redis.redisCLI("HSET", "conduit:node:a", "version", "1\u{1B}[31m\u{202E}red")
        var outputs: [String] = []
        for arguments in [["cluster"], ["cluster", "--json"], ["audit"], ["audit", "--format", "json"]] {
            outputs.append(try await Program.run(arguments, environment: ["CONDUIT_REDIS_URL": redis.url]).output)
        }
        for name in names {
            outputs.append(
                try await Program.run(["audit", "--", name], environment: ["CONDUIT_REDIS_URL": redis.url]).output)
            if outputs.count > 12 { break }
        }
        for output in outputs {
            #expect(output.unicodeScalars.allSatisfy { $0 == "\n" || !isCommand($0) }, "\(output.debugDescription)")
        }
    }

    /// Control and format characters.
    static func isCommand(_ scalar: Unicode.Scalar) -> Bool {
        [.control, .format, .lineSeparator, .paragraphSeparator].contains(scalar.properties.generalCategory)
    }

    @Test func anAuditOfForgedAnswersPrintsNoCommands() throws {
        let channel = #""conduit:room:{\u001b[31m\u202e}""#
        let parts = [
            #"{"node":"a","kind":"sent","incarnation":1,"rows":[[\#(channel),5]]}"#,
            #"{"node":"a","kind":"end","incarnation":1}"#,
            #"{"node":"b","kind":"seen","incarnation":1,"rows":[[\#(channel),"a",1,3]]}"#,
            #"{"node":"b","kind":"ordered","incarnation":1,"rows":[["\u009b31m","\u001b]0;x\u0007",3]]}"#,
            #"{"node":"b","kind":"end","incarnation":1}"#,
        ]
        let answers = AuditAnswer.read(parts.map { Array($0.utf8) })
        let report = AuditReport(
            nodes: ["a", "b"], first: answers, before: answers, last: answers,
            tops: ["\u{9B}31m": LogPosition(epoch: "other\u{1B}", offset: 9)])
        #expect(report.differences.count == 2)
        for text in [report.text, report.text(room: "\u{9B}31m", channel: "x"), report.json] {
            #expect(text.unicodeScalars.allSatisfy { $0 == "\n" || !Self.isCommand($0) }, "\(text.debugDescription)")
        }
        #expect(try JSONSerialization.jsonObject(with: Data(report.json.utf8)) is [String: Any])
    }
}
