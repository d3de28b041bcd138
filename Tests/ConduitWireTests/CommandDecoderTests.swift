import ConduitCore
import ConduitTesting
import ConduitWire
import NIOCore
import Testing

@Suite struct CommandDecoderTests {
    static func decode(_ text: String) throws -> Command {
        try CommandDecoder.decode(ByteBuffer(string: text))
    }

    static func failure(_ text: String) -> CommandError? {
        do throws(CommandError) {
            _ = try CommandDecoder.decode(ByteBuffer(string: text))
            return nil
        } catch {
            return error
        }
    }

    static func failure(_ body: () throws(RequestError) -> Void) -> RequestError? {
        do throws(RequestError) {
            try body()
            return nil
        } catch {
            return error
        }
    }

    static func text(_ buffer: ByteBuffer?) -> String? { buffer.map { String(buffer: $0) } }

    // MARK: The envelope

    @Test(arguments: CommandKind.allCases.filter { $0 != .custom })
    func knowsEveryBuiltInType(_ kind: CommandKind) throws {
        #expect(try Self.decode("{\"type\":\"\(kind.rawValue)\"}").kind == kind)
        #expect(ReservedTypes.contains(kind.rawValue))
    }

    @Test func findsTheParts() throws {
        let command = try Self.decode(
            #" { "x": [1], "data" : {"a" : [1, 2]} , "id":"q-1", "type": "custom.thing", "room": "r" } "#)
        #expect(command.kind == .custom)
        #expect(command.type == "custom.thing")
        #expect(Self.text(command.id?.json) == #""q-1""#)
        #expect(Self.text(command.data) == #"{"a" : [1, 2]}"#)
        #expect(command.room == "r")
    }

    @Test func dataMayBeMissing() throws {
        let command = try Self.decode(#"{"type":"ping"}"#)
        #expect(command.data == nil)
        #expect(Self.text(command.dataJSON) == "null")
        #expect(command.id == nil)
    }

    @Test(arguments: ["7", "-1.5e3", "\"a\"", "\"\"", #""\u00e4\n""#])
    func anIDIsKeptVerbatim(_ id: String) throws {
        #expect(Self.text(try Self.decode("{\"type\":\"x\",\"id\":\(id)}").id?.json) == id)
    }

    @Test func keysAndTypesMayBeEscaped() throws {
        let command = try Self.decode(#"{"\u0074ype":"p\u0069ng","dat\u0061":1}"#)
        #expect(command.kind == .ping)
        #expect(Self.text(command.data) == "1")
        #expect(try Self.decode(#"{"type":"\ud83d\ude00\n"}"#).type == "😀\n")
    }

    @Test func anIDOfNullIsNone() throws {
        #expect(try Self.decode(#"{"type":"x","id":null,"room":null}"#).id == nil)
    }

    @Test(arguments: [
        ("", "not JSON"), ("{", "not JSON"), ("{\"type\":\"ping\"}x", "not JSON"),
        ("{\"type\":\"ping\"}\n{}", "not JSON"),
        ("[]", "not a JSON object"), ("\"ping\"", "not a JSON object"), ("null", "not a JSON object"),
        ("{}", "type is missing"), ("{\"type\":1}", "not a string"), ("{\"type\":null}", "not a string"),
        ("{\"type\":\"\"}", "type is empty"), ("{\"type\":\"x\",\"id\":{}}", "id is neither"),
        ("{\"type\":\"x\",\"id\":true}", "id is neither"), ("{\"type\":\"x\",\"room\":1}", "room is not a string"),
        ("{\"type\":\"x\",\"type\":\"y\"}", "type stands twice"),
        ("{\"type\":\"x\",\"data\":1,\"data\":2}", "data stands twice"),
        ("{\"type\":\"x\",\"d\\u0061ta\":1,\"data\":2}", "data stands twice"),
    ])
    func saysWhatIsWrong(_ text: String, _ message: String) {
        let failure = Self.failure(text)
        #expect(failure?.error.code == .badRequest)
        #expect(failure?.error.message.contains(message) == true, "\(String(describing: failure))")
    }

    @Test func anErrorCarriesTheIDAndTypeThatCouldBeRead() {
        let noType = Self.failure(#"{"id":7,"type":5}"#)
        #expect(Self.text(noType?.id?.json) == "7")
        let badRoom = Self.failure(#"{"room":5,"id":"a","type":"x"}"#)
        #expect(Self.text(badRoom?.id?.json) == "\"a\"")
        #expect(badRoom?.type == "x")
    }

    @Test func typeAndIDAreBounded() throws {
        let name = String(repeating: "t", count: 255)
        #expect(try Self.decode("{\"type\":\"\(name)\"}").type == name)
        #expect(Self.failure("{\"type\":\"\(name)x\"}")?.error.code == .badRequest)
        #expect(Self.failure("{\"type\":\"\(String(repeating: "t", count: 100_000))\"}")?.error.code == .badRequest)
        let id = "\"" + String(repeating: "i", count: 253) + "\""
        #expect(try Self.decode("{\"type\":\"x\",\"id\":\(id)}").id != nil)
        #expect(
            Self.failure("{\"type\":\"x\",\"id\":\(String(repeating: "1", count: 256))}")?.error.code == .badRequest)
    }

    @Test func deepDataIsRefused() {
        let deep = String(repeating: "[", count: 64) + String(repeating: "]", count: 64)
        #expect(Self.failure("{\"type\":\"x\",\"data\":\(deep)}")?.error.message.contains("nested too deeply") == true)
        let fine = String(repeating: "[", count: 63) + String(repeating: "]", count: 63)
        #expect(Self.failure("{\"type\":\"x\",\"data\":\(fine)}") == nil)
    }

    // MARK: The built-in requests

    @Test func joinRoom() throws {
        let plain = try Self.decode(#"{"type":"join_room","data":{"room":"a:b {*}"}}"#).joinRoom()
        #expect(plain.room.rawValue == "a:b {*}")
        #expect(plain.recover == nil && !plain.presence && plain.info.isEmpty)
        let full = try Self.decode(
            #"{"type":"join_room","data":{"room":"r\u0061","presence":true,"info":{"n": 1},"recover":{"epoch":"e","offset":9}}}"#
        ).joinRoom()
        #expect(full.room.rawValue == "ra")
        #expect(full.presence)
        #expect(String(decoding: full.info, as: UTF8.self) == #"{"n": 1}"#)
        #expect(full.recover == RecoveryPoint(epoch: "e", offset: 9))
        #expect(try Self.decode(#"{"type":"join_room","room":"top"}"#).joinRoom().room.rawValue == "top")
        #expect(try Self.decode(#"{"type":"join_room","room":"top","data":{}}"#).joinRoom().room.rawValue == "top")
        #expect(
            try Self.decode(#"{"type":"join_room","room":"t","data":{"room":"d"}}"#).joinRoom().room.rawValue == "d")
    }

    @Test(arguments: [
        (#"{"type":"x"}"#, ErrorCode.badRequest), (#"{"type":"x","data":1}"#, .badRequest),
        (#"{"type":"x","data":null}"#, .badRequest), (#"{"type":"x","data":{}}"#, .badRequest),
        (#"{"type":"x","data":{"room":""}}"#, .badRequest), (#"{"type":"x","data":{"room":1}}"#, .badRequest),
        (#"{"type":"x","data":{"room":"a\u0000"}}"#, .badRequest),
        (#"{"type":"x","data":{"room":"a\u0085"}}"#, .badRequest),
        (#"{"type":"x","data":{"room":"a","room":"b"}}"#, .badRequest),
        (#"{"type":"x","data":{"room":"a","presence":1}}"#, .badRequest),
        (#"{"type":"x","data":{"room":"a","recover":1}}"#, .badRequest),
        (#"{"type":"x","data":{"room":"a","recover":{"epoch":"e"}}}"#, .badRequest),
        (#"{"type":"x","data":{"room":"a","recover":{"epoch":"e","offset":-1}}}"#, .badRequest),
        (#"{"type":"x","data":{"room":"a","recover":{"epoch":"e","offset":1e3}}}"#, .badRequest),
        ("{\"type\":\"x\",\"data\":{\"room\":\"\(String(repeating: "r", count: 256))\"}}", .limitExceeded),
        ("{\"type\":\"x\",\"data\":{\"room\":\"r\",\"info\":\"\(String(repeating: "i", count: 5000))\"}}", .tooLarge),
    ])
    func joinRoomRefuses(_ text: String, _ code: ErrorCode) throws {
        let command = try Self.decode(text)
        #expect(Self.failure { () throws(RequestError) in _ = try command.joinRoom() }?.code == code)
    }

    @Test func leaveRoom() throws {
        #expect(try Self.decode(#"{"type":"leave_room","data":{"room":"a"}}"#).leaveRoom().rawValue == "a")
        #expect(try Self.decode(#"{"type":"leave_room","data":null,"room":"a"}"#).leaveRoom().rawValue == "a")
        let bad = try Self.decode(#"{"type":"leave_room","data":"a","room":"a"}"#)
        #expect(Self.failure { () throws(RequestError) in _ = try bad.leaveRoom() }?.code == .badRequest)
    }

    @Test func broadcast() throws {
        let request = try Self.decode(
            #"{"type":"broadcast","data":{"room":"r","type":"chat \"x\"","payload": {"a" : "\u00e4"} ,"key":"k","exclude_self":true}}"#
        ).broadcast()
        #expect(request.room?.rawValue == "r")
        #expect(request.type == "chat \"x\"")
        #expect(Self.text(request.payload) == #"{"a" : "\u00e4"}"#)
        #expect(request.key == "k")
        #expect(request.excludeSelf)
        let all = try Self.decode(#"{"type":"broadcast","data":{"type":"t"}}"#).broadcast()
        #expect(all.room == nil && all.key == nil && !all.excludeSelf)
        #expect(Self.text(all.payload) == "null")
        #expect(
            try Self.decode(#"{"type":"broadcast","room":"r","data":{"type":"t"}}"#).broadcast().room?.rawValue == "r")
    }

    @Test(arguments: [
        "ping", "pong", "echo", "status", "join_room", "room_joined", "leave_room", "room_left", "broadcast", "ack",
        "send",
        "presence", "presence_diff", "history", "refresh", "refreshed", "room_state", "reconnect", "error",
    ])
    func nobodyForgesTheServersEvents(_ type: String) throws {
        let escaped = type.unicodeScalars.map { "\\u00" + String($0.value, radix: 16) }.joined()
        for spelling in [type, escaped] {
            let broadcast = try Self.decode("{\"type\":\"broadcast\",\"data\":{\"type\":\"\(spelling)\"}}")
            #expect(Self.failure { () throws(RequestError) in _ = try broadcast.broadcast() }?.code == .reservedType)
            let send = try Self.decode("{\"type\":\"send\",\"data\":{\"user\":\"u\",\"type\":\"\(spelling)\"}}")
            #expect(Self.failure { () throws(RequestError) in _ = try send.send() }?.code == .reservedType)
        }
    }

    @Test(arguments: [
        #"{"type":"x"}"#, #"{"type":"x","room":"r"}"#, #"{"type":"x","data":[]}"#, #"{"type":"x","data":{}}"#,
        #"{"type":"x","data":{"type":1}}"#, #"{"type":"x","data":{"type":""}}"#,
        #"{"type":"x","data":{"type":"t","room":""}}"#, #"{"type":"x","data":{"type":"t","key":""}}"#,
        #"{"type":"x","data":{"type":"t","exclude_self":"yes"}}"#,
        #"{"type":"x","data":{"type":"t","payload":1,"payload":2}}"#,
    ])
    func broadcastRefuses(_ text: String) throws {
        let command = try Self.decode(text)
        #expect(Self.failure { () throws(RequestError) in _ = try command.broadcast() }?.code == .badRequest)
    }

    @Test func send() throws {
        let user = try Self.decode(#"{"type":"send","data":{"user":"u1","type":"t","payload":[1]}}"#).send()
        #expect(user.target == .user(try #require(UserID("u1"))))
        #expect(Self.text(user.payload) == "[1]")
        let client = try Self.decode(#"{"type":"send","data":{"client":"n1.abc","type":"t"}}"#).send()
        #expect(client.target == .client(try #require(ClientID("n1.abc"))))
        for bad in [#"{"type":"t"}"#, #"{"user":"u","client":"n1.a","type":"t"}"#, #"{"client":"?","type":"t"}"#] {
            let command = try Self.decode("{\"type\":\"send\",\"data\":\(bad)}")
            #expect(Self.failure { () throws(RequestError) in _ = try command.send() }?.code == .badRequest)
        }
    }

    @Test func presence() throws {
        let plain = try Self.decode(#"{"type":"presence","data":{"room":"r"}}"#).presence()
        #expect(plain.limit == 100 && plain.cursor == nil)
        let full = try Self.decode(#"{"type":"presence","data":{"room":"r","limit":1000,"cursor":"c"}}"#).presence()
        #expect(full.limit == 1000 && full.cursor == "c")
        for limit in ["0", "1001", "-1", "1.5", "\"5\"", "99999999999999999999999"] {
            let command = try Self.decode("{\"type\":\"presence\",\"data\":{\"room\":\"r\",\"limit\":\(limit)}}")
            #expect(
                Self.failure { () throws(RequestError) in _ = try command.presence() }?.code == .badRequest, "\(limit)")
        }
    }

    // MARK: Bytes at random

    @Test(arguments: 0..<30)
    func noBytesCanTrapIt(_ seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let base = Array(
            #"{"type":"join_room","id":"1\u00e4","room":"r","data":{"room":"r","recover":{"epoch":"e","offset":12},"limit":5,"cursor":"x","info":[1,{"b":null}],"type":"t","payload":"\ud83d\ude00","user":"u","key":"k"}}"#
                .utf8)
        for _ in 0..<300 {
            var bytes = base
            for _ in 0..<Int.random(in: 1...5, using: &generator) {
                let place = Int.random(in: 0..<bytes.count, using: &generator)
                switch Int.random(in: 0..<3, using: &generator) {
                case 0: bytes[place] = UInt8.random(in: 0...255, using: &generator)
                case 1: bytes.remove(at: place)
                default: bytes.insert(Array("{}[]\",:\\u0".utf8).randomElement(using: &generator) ?? 0, at: place)
                }
            }
            guard let command = try? CommandDecoder.decode(ByteBuffer(bytes: bytes)) else { continue }
            _ = try? command.joinRoom()
            _ = try? command.leaveRoom()
            _ = try? command.broadcast()
            _ = try? command.send()
            _ = try? command.presence()
        }
    }
}
