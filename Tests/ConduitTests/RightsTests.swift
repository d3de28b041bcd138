import Conduit
import ConduitTelemetry
import ConduitTesting
import NIOCore
import Synchronization
import Testing

/// What a token lets a client do, over real sockets.
@Suite(.timeLimit(.minutes(5))) struct RightsTests {
    // MARK: By request

    struct Case: Sendable, CustomTestStringConvertible {
        let right: RoomRights.Rights
        let type: String
        let data: String
        let answer: String
        var testDescription: String { "\(type) \(data)" }
    }

    /// Each request, the right that it needs, and its answer with it.
    static let cases = [
        Case(right: .join, type: "join_room", data: #"{"room":"a:new"}"#, answer: "room_joined"),
        Case(right: .publish, type: "broadcast", data: #"{"room":"a:in","type":"x"}"#, answer: "ack"),
        Case(right: .presence, type: "presence", data: #"{"room":"a:in"}"#, answer: "presence"),
        Case(right: .presence, type: "join_room", data: #"{"room":"a:in","presence":true}"#, answer: "room_joined"),
        Case(right: .history, type: "history", data: #"{"room":"log:in"}"#, answer: "history"),
        Case(
            right: .history, type: "join_room", data: #"{"room":"log:in","recover":{"epoch":"e","offset":1}}"#,
            answer: "room_joined"),
    ]

    @Test func eachRequestNeedsItsRight() async throws {
        let redis = try await RedisServer.start()
        var configuration = try TestNode.configuration(redis: redis.url)
        var ordered = RoomPolicy()
        ordered.mode = .ordered
        configuration.hub.rooms = RoomPolicies(namespaces: ["log": ordered])
        let tokens = Tokens()
        try await TestNode.with(configuration, authenticate: tokens.authenticate) { node in
            try await eventually("the node is ready") { node.node.readiness == "ready" }
            for (number, one) in Self.cases.enumerated() {
                // The server has put it into its room, so that only the right decides.
                let rooms = ["a:in", "log:in"]
                let least: RoomRights.Rights = one.type == "join_room" ? .join : []
                let all = ["a:*": RoomRights.Rights.all, "log:*": .all, "other:*": .all]
                var lacking = RoomRights.Rights.all
                lacking.remove(one.right)
                tokens["with\(number)"] = .token(
                    "u", ["a:*": one.right.union(least), "log:*": one.right.union(least)], rooms: rooms)
                tokens["without\(number)"] = .token(
                    "u", all.merging(["a:*": lacking, "log:*": lacking]) { $1 }, rooms: rooms)
                let with = try await node.connect(token: "with\(number)")
                let without = try await node.connect(token: "without\(number)")
                for socket in [with, without] {
                    for _ in rooms { _ = try await socket.next(type: "room_joined") }
                }
                let good = try await with.request(one.type, one.data)
                #expect(good.type == one.answer, "\(one): \(good)")
                let bad = try await without.request(one.type, one.data)
                #expect(bad.string("code") == "permission_denied", "\(one): \(bad)")
                #expect(bad.string("request_type") == one.type)
            }
            await node.node.shutdown()
        }
    }

    @Test func rightsAndMembershipAreBothNeededToPublish() async throws {
        let tokens = Tokens()
        tokens["ann"] = .token("ann", ["a": [.join, .publish], "b": .publish])
        var anywhere = Identity.token("bob", ["a": .publish])
        anywhere.mayPublishWithoutJoining = true
        tokens["bob"] = anywhere
        try await TestNode.with(authenticate: tokens.authenticate) { node in
            let (ann, bob) = (try await node.connect(token: "ann"), try await node.connect(token: "bob"))
            func publish(_ socket: TestWebSocket, _ room: String) async throws -> String? {
                try await socket.request("broadcast", #"{"room":"\#(room)","type":"x"}"#).string("code")
            }
            #expect(try await publish(ann, "a") == "not_in_room")
            #expect(try await publish(ann, "b") == "not_in_room")
            #expect(try await publish(bob, "a") == nil)
            #expect(try await publish(bob, "b") == "permission_denied")
            _ = try await ann.request("join_room", #"{"room":"a"}"#)
            #expect(try await publish(ann, "a") == nil)
            #expect(try await publish(bob, "a") == nil)
            #expect(try await ann.request("broadcast", #"{"type":"x"}"#).string("code") == "permission_denied")
            #expect(try await ann.request("send", #"{"user":"bob","type":"x"}"#).int("delivered_to") == 1)
        }
    }

    @Test func withoutTheRightANamedClientIsToldNothingOfMembers() async throws {
        let tokens = Tokens()
        tokens["blind"] = .token("blind", ["*": [.join]])
        tokens["seeing"] = .token("seeing", ["*": [.join, .presence]])
        try await TestNode.with(authenticate: tokens.authenticate) { node in
            let blind = try await node.connect(token: "blind", subprotocols: ["conduit.v1.json"])
            let seeing = try await node.connect(token: "seeing", subprotocols: ["conduit.v1.json"])
            for socket in [blind, seeing] {
                #expect(try await socket.request("join_room", #"{"room":"a"}"#).type == "room_joined")
            }
            _ = try await seeing.next(type: "presence_diff")
            _ = try await blind.request("echo", "1")
            #expect(blind.waitingMessages.isEmpty)
        }
    }

    @Test func handlersSeeWhoAsks() async throws {
        var router = MessageRouter()
        try router.handle("whoami") { request in Reply("you", RawJSON(string: request.identity.tokenID ?? "?")) }
        let tokens = Tokens()
        tokens["1"] = .token("ann", id: "first")
        tokens["2"] = .token("ann", id: "second")
        try await TestNode.with(router: router, hooks: tokens.hooks, authenticate: tokens.authenticate) { node in
            let ann = try await node.connect(token: "1")
            #expect(try await ann.request("whoami").text.contains("first"))
            #expect(try await ann.request("refresh", #"{"token":"2"}"#).type == "refreshed")
            #expect(try await ann.request("whoami").text.contains("second"))
        }
    }

    // MARK: Refresh

    @Test func aNewTokenInTimeKeepsTheConnection() async throws {
        var configuration = TestNode.configuration()
        configuration.hub.refreshGraceMilliseconds = 200
        let tokens = Tokens()
        let hour: Int64 = 3_600_000
        tokens["old"] = .token("ann", ["*": .all], expiresAt: WallClock.milliseconds + hour)
        tokens["new"] = .token("ann", ["*": .all], expiresAt: WallClock.milliseconds + 2 * hour)
        tokens["endless"] = .token("ann", ["*": .all])
        try await TestNode.with(configuration, hooks: tokens.hooks, authenticate: tokens.authenticate) { node in
            let ann = try await node.connect(token: "old")
            let end = WallClock.milliseconds + 3_000
            tokens["short"] = .token("ann", ["*": .all], expiresAt: end)
            let late = try await node.connect(token: "short")
            let answer = try await ann.request("refresh", #"{"token":"new"}"#)
            #expect(answer.type == "refreshed")
            #expect(answer.string("expires_at")?.hasSuffix("Z") == true, "\(answer)")
            // The one that brought none is closed, and only that.
            #expect(try await late.waitForCloseCode() == 3005)
            #expect(WallClock.milliseconds >= end + 200)
            #expect(try await ann.request("join_room", #"{"room":"a"}"#).type == "room_joined")
            let endless = try await ann.request("refresh", #"{"token":"endless"}"#)
            #expect(endless.text.contains(#""expires_at":null"#))
        }
    }

    @Test func afterItsEndATokenIsRefusedAndANewOneStillHelps() async throws {
        let tokens = Tokens()
        tokens["old"] = .token("ann", ["*": .all], expiresAt: WallClock.milliseconds + 2_000)
        tokens["new"] = .token("ann", ["*": .all], expiresAt: WallClock.milliseconds + 3_600_000)
        try await TestNode.with(hooks: tokens.hooks, authenticate: tokens.authenticate) { node in
            let (ann, other) = (try await node.connect(token: "old"), try await node.connect(token: "old"))
            try await eventually("the token has run out") {
                try await ann.request("join_room", #"{"room":"a"}"#).string("code") == "token_expired"
            }
            #expect(try await ann.request("ping").type == "pong")
            #expect(try await ann.request("refresh", #"{"token":"new"}"#).type == "refreshed")
            #expect(try await ann.request("join_room", #"{"room":"a"}"#).type == "room_joined")
            // Who brings a bad one then has no second try.
            #expect(try await other.request("refresh", #"{"token":"old"}"#).string("code") == "token_expired")
            #expect(try await other.waitForCloseCode() == 3500)
        }
    }

    @Test func tokensOfOthersAndBadOnesAreRefusedThriceThenThatIsTheEnd() async throws {
        let tokens = Tokens()
        tokens["ann"] = .token("ann")
        tokens["bob"] = .token("bob")
        try await TestNode.with(hooks: tokens.hooks, authenticate: tokens.authenticate) { node in
            let ann = try await node.connect(token: "ann")
            for data in ["{}", #"{"token":7}"#, #"{"token":""}"#, #"{"token":"a","token":"b"}"#, "null"] {
                #expect(try await ann.request("refresh", data).string("code") == "bad_request", "\(data)")
            }
            let long = String(repeating: "x", count: 20_000)
            #expect(try await ann.request("refresh", #"{"token":"\#(long)"}"#).string("code") == "too_large")
            #expect(try await ann.request("refresh", #"{"token":"bob"}"#).string("code") == "permission_denied")
            let refused = try await ann.request("refresh", #"{"token":"none"}"#)
            #expect(refused.string("message") == "no such token" && refused.string("code") == "permission_denied")
            // A good one in between, and the count begins anew.
            #expect(try await ann.request("refresh", #"{"token":"ann"}"#).type == "refreshed")
            for _ in 0..<3 { _ = try await ann.request("refresh", #"{"token":"bob"}"#) }
            #expect(try await ann.waitForCloseCode() == 3500)
        }
        try await TestNode.with { node in
            let nobody = try await node.connect()
            #expect(try await nobody.request("refresh", #"{"token":"x"}"#).string("code") == "bad_request")
        }
    }

    @Test func oneRefreshAtATimeAndWhoCantTellRefusesNobody() async throws {
        struct Away: Error {}
        let gate = Mutex<[CheckedContinuation<Void, Never>]>([])
        var hooks = HubHooks()
        hooks.refresh = { token, current in
            if token == "away" { throw Away() }
            await withCheckedContinuation { continuation in gate.withLock { $0.append(continuation) } }
            return current
        }
        try await TestNode.with(hooks: hooks, authenticate: { _ in .token("ann") }) { node in
            let ann = try await node.connect()
            for _ in 0..<5 {
                #expect(try await ann.request("refresh", #"{"token":"away"}"#).string("code") == "unavailable")
            }
            try await ann.send(#"{"type":"refresh","id":"slow","data":{"token":"a"}}"#)
            #expect(try await ann.request("refresh", #"{"token":"b"}"#).string("code") == "rate_limited")
            // Nothing else waits for it.
            #expect(try await ann.request("join_room", #"{"room":"a"}"#).type == "room_joined")
            try await eventually("the hook was asked") { gate.withLock { !$0.isEmpty } }
            gate.withLock { $0.removeFirst() }.resume()
            #expect(try await ann.next(id: "slow").type == "refreshed")
        }
    }

    @Test func narrowerRightsTakeOutOfRooms() async throws {
        let tokens = Tokens()
        tokens["wide"] = .token("ann", ["*": .all], rooms: ["own"])
        tokens["narrow"] = .token("ann", ["keep": [.join]])
        let handles = Mutex<[ClientHandle]>([])
        var hooks = tokens.hooks
        hooks.onConnect = { client in handles.withLock { $0.append(client) } }
        try await TestNode.with(hooks: hooks, authenticate: tokens.authenticate) { node in
            let ann = try await node.connect(token: "wide", subprotocols: ["conduit.v1.json"])
            _ = try await ann.next(type: "room_joined")
            for room in ["keep", "lose"] { _ = try await ann.request("join_room", #"{"room":"\#(room)"}"#) }
            let handle = try #require(handles.withLock { $0.first })
            try await handle.join(RoomName(literal: "given"))
            _ = try await ann.next(type: "room_joined")
            _ = try await ann.request("broadcast", #"{"room":"keep","type":"x"}"#)
            #expect(try await ann.request("refresh", #"{"token":"narrow"}"#).type == "refreshed")
            let left = [try await ann.next(type: "room_left"), try await ann.next(type: "room_left")]
            #expect(Set(left.compactMap { $0.string("room") }) == ["lose", "own"])
            // What the application gave it keeps.
            #expect(await handle.rooms().map(\.rawValue) == ["given", "keep"])
            #expect(
                try await ann.request("broadcast", #"{"room":"keep","type":"x"}"#).string("code")
                    == "permission_denied")
            #expect(await handle.identity()?.rights == RoomRights([.init("keep", .join)]))
        }
    }

    // MARK: Somebody else is asked

    private struct Asked {
        enum Answer { case no, silence }
        var questions: [String] = []
        var answers: [String: Answer] = [:]
        var waiting: [CheckedContinuation<Void, Never>] = []
        var holds = false
    }

    @Test func somebodyElseIsAskedOnceUntilTheClientLeaves() async throws {
        struct Away: Error {}
        let asked = Mutex(Asked())
        var hooks = HubHooks()
        hooks.authorize = { question in
            let name = "\(question.action.rawValue) \(question.room)"
            let (holds, answer) = asked.withLock { state in
                state.questions.append(name)
                return (state.holds, state.answers[name])
            }
            if holds { await withCheckedContinuation { next in asked.withLock { $0.waiting.append(next) } } }
            if answer == .silence { throw Away() }
            return answer == nil
        }
        let handler: AuthenticationHandler = { _ in .token("ann", ["room": .all, "no:*": .all], rooms: ["own"]) }
        try await TestNode.with(hooks: hooks, authenticate: handler) { node in
            let ann = try await node.connect()
            // Where the server puts it, nobody is asked; what is not granted isn't asked for.
            _ = try await ann.next(type: "room_joined")
            #expect(try await ann.request("join_room", #"{"room":"own"}"#).type == "room_joined")
            #expect(try await ann.request("join_room", #"{"room":"else"}"#).string("code") == "permission_denied")
            #expect(
                try await ann.request("broadcast", #"{"room":"room","type":"x"}"#).string("code") == "not_in_room")
            #expect(asked.withLock { $0.questions }.isEmpty)

            // What is sent meanwhile waits, in order.
            asked.withLock { $0.holds = true }
            try await ann.send(#"{"type":"join_room","id":"1","data":{"room":"room"}}"#)
            for number in 2...4 {
                try await ann.send(#"{"type":"broadcast","id":"\#(number)","data":{"room":"room","type":"x"}}"#)
            }
            try await ann.send(#"{"type":"ping","id":"5"}"#)
            try await eventually("asked about joining") { asked.withLock { $0.waiting.count == 1 } }
            asked.withLock { $0.waiting.removeFirst() }.resume()
            try await eventually("asked about publishing") { asked.withLock { $0.waiting.count == 1 } }
            #expect(!ann.waitingMessages.contains { "\($0)".contains("pong") })
            asked.withLock { state in
                state.holds = false
                return state.waiting.removeFirst()
            }.resume()
            var order: [String] = []
            while order.last != "5" {
                let event = try await ann.nextEvent("an answer") { $0.id != nil }
                order.append(event.id ?? "")
                #expect(event.type != "error", "\(event)")
            }
            #expect(order == ["1", "2", "3", "4", "5"])
            #expect(asked.withLock { $0.questions } == ["join room", "publish room"])
            // Being in already, and having published, isn't asked again; after leaving it is.
            _ = try await ann.request("join_room", #"{"room":"room"}"#)
            #expect(asked.withLock { $0.questions }.count == 2)
            _ = try await ann.request("leave_room", #"{"room":"room"}"#)
            _ = try await ann.request("join_room", #"{"room":"room"}"#)
            _ = try await ann.request("broadcast", #"{"room":"room","type":"x"}"#)
            #expect(asked.withLock { $0.questions }.count == 4)

            asked.withLock { $0.answers = ["join no:a": .no, "join no:b": .silence] }
            #expect(try await ann.request("join_room", #"{"room":"no:a"}"#).string("code") == "permission_denied")
            #expect(try await ann.request("join_room", #"{"room":"no:b"}"#).string("code") == "unavailable")
            asked.withLock { $0.answers = ["publish no:c": .no, "publish no:d": .silence] }
            for room in ["no:c", "no:d"] { _ = try await ann.request("join_room", #"{"room":"\#(room)"}"#) }
            let count = asked.withLock { $0.questions.count }
            for _ in 0..<3 {
                let answer = try await ann.request("broadcast", #"{"room":"no:c","type":"x"}"#)
                #expect(answer.string("code") == "permission_denied" && answer.string("request_type") == "broadcast")
            }
            #expect(asked.withLock { $0.questions.count } == count + 1)
            let nobody = try await ann.request("broadcast", #"{"room":"no:d","type":"x"}"#)
            #expect(nobody.string("code") == "unavailable" && nobody.string("request_type") == "broadcast")
            #expect(try await ann.request("ping").type == "pong")
        }
    }

    @Test func onlyWhatIsToBeAskedIsAsked() async throws {
        let asked = Mutex<[String]>([])
        var hooks = HubHooks()
        hooks.authorizes = [.publish]
        hooks.authorize = { question in
            asked.withLock { $0.append(question.action.rawValue) }
            return true
        }
        try await TestNode.with(hooks: hooks) { node in
            let client = try await node.connect()
            _ = try await client.request("join_room", #"{"room":"a"}"#)
            #expect(try await client.request("broadcast", #"{"room":"a","type":"x"}"#).type == "ack")
            #expect(try await client.request("broadcast", #"{"room":"b","type":"x"}"#).type == "ack")
            #expect(asked.withLock { $0 } == ["publish", "publish"])
        }
    }

    // MARK: Rooms of the server

    @Test func theServerJoinsOrderedRoomsToo() async throws {
        let redis = try await RedisServer.start()
        var configuration = try TestNode.configuration(redis: redis.url)
        var ordered = RoomPolicy()
        ordered.mode = .ordered
        configuration.hub.rooms = RoomPolicies(namespaces: ["log": ordered])
        let tokens = Tokens()
        tokens["ann"] = .token("ann", ["log:*": .all], rooms: ["log:a", "fast", "log:b"])
        try await TestNode.with(configuration, authenticate: tokens.authenticate) { node in
            try await eventually("the node is ready") { node.node.readiness == "ready" }
            for _ in 0..<2 {
                let request = #"{"type":"broadcast","id":"1","data":{"room":"log:b","type":"x"}}"#
                // Right behind the handshake: it waits for the rooms.
                let ann = try await TestWebSocket.connect(
                    port: node.node.httpPort, path: "/ws?token=ann",
                    sendingBehindRequest: MaskedFrame.text(request))
                #expect(try await ann.next(id: "1").type == "ack")
                let rooms = try await ann.request("status").data["rooms"] as? [String]
                #expect(rooms == ["fast", "log:a", "log:b"])
                var places: [Int?] = []
                for _ in 0..<3 { places.append(try await ann.next(type: "room_joined").int("offset")) }
                #expect(places.compactMap(\.self).count == 2)
                await ann.drop()
            }
        }
    }
}
