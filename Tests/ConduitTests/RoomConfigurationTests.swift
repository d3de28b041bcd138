import Conduit
import ConduitCluster
import ConduitCore
import ConduitHub
import Testing

private func problems(_ environment: [String: String] = [:], file: String? = nil) -> [String] {
    do throws(ConfigurationError) {
        _ = try NodeConfiguration.load(environment: environment, file: file)
        return []
    } catch {
        return error.problems.map(\.description)
    }
}

@Suite struct RoomConfigurationTests {
    @Test(arguments: [
        (
            "c.yaml",
            """
            redis: {url: redis://h}
            rooms:
              default: {presence-members: 50, publish: members}
              chat:
                mode: ordered
                history-size: 7
                history-age: 2h
                recover-limit: 3
              live-stream_2: {presence: off, presence-grace: 5s, slow: conflate, members: 9}
              inbox: {mode: ordered, inbox: true}
            """
        ),
        (
            "c.json",
            """
            {"redis": {"url": "redis://h"}, "rooms": {"default": {"presence-members": 50, "publish": "members"},
            "chat": {"mode": "ordered", "history-size": 7, "history-age": "2h", "recover-limit": 3},
            "live-stream_2": {"presence": "off", "presence-grace": "5s", "slow": "conflate", "members": 9},
            "inbox": {"mode": "ordered", "inbox": true}}}
            """
        ),
    ])
    func namespacesTakeFromTheDefaultWhatTheyLeaveOut(name: String, content: String) throws {
        let file = try TemporaryFile(name, content)
        let node = try NodeConfiguration.load(environment: [:], file: file.path)
        let rooms = node.hub.rooms
        #expect(node.cluster.rooms == rooms)
        #expect(rooms.namespaces.keys.sorted() == ["chat", "inbox", "live-stream_2"])
        var rest = RoomPolicy()
        rest.presenceMembers = 50
        rest.publish = .members
        #expect(rooms.rest == rest)
        var chat = rest
        chat.mode = .ordered
        chat.historySize = 7
        chat.historyMilliseconds = 7_200_000
        chat.recoverLimit = 3
        #expect(rooms.namespaces["chat"] == chat)
        var live = rest
        live.presence = .off
        live.presenceGraceMilliseconds = 5_000
        live.slow = .conflate
        live.members = 9
        #expect(rooms.namespaces["live-stream_2"] == live)
        #expect(rooms.inbox == "inbox" && rooms.hasOrderedRooms)
        #expect(rooms[RoomName(literal: "chat:1")] == chat && rooms[RoomName(literal: "chat")] == rest)
    }

    @Test func variablesNameNamespacesInLowerCase() throws {
        let file = try TemporaryFile("c.yaml", "rooms: {my_chat: {presence: count}, my-chat: {presence: count}}")
        let node = try NodeConfiguration.load(
            environment: [
                "CONDUIT_REDIS_URL": "redis://h", "CONDUIT_ROOMS_MY_CHAT_MODE": "ordered",
                "CONDUIT_ROOMS_MY_CHAT_PRESENCE_GRACE": "3s", "CONDUIT_ROOMS_A_PRESENCE": "off",
                "CONDUIT_ROOMS_DEFAULT_HISTORY_SIZE": "9",
            ], file: file.path)
        let rooms = node.hub.rooms
        #expect(rooms.namespaces.keys.sorted() == ["a", "my-chat", "my_chat"])
        #expect(rooms.namespaces["my_chat"]?.mode == .ordered)
        #expect(rooms.namespaces["my_chat"]?.presence == .count)
        #expect(rooms.namespaces["my_chat"]?.presenceGraceMilliseconds == 3_000)
        #expect(rooms.namespaces["my-chat"]?.mode == .fast)
        #expect(rooms.namespaces["a"]?.presence == .off)
        #expect(rooms.rest.historySize == 9 && rooms.namespaces["a"]?.historySize == 9)
    }

    @Test func overridesWin() throws {
        let node = try NodeConfiguration.load(
            overrides: [ConfigurationOverride(key: "rooms.a.publish", value: "nobody", source: "--set")],
            environment: ["CONDUIT_ROOMS_A_PUBLISH": "members"])
        #expect(node.hub.rooms.namespaces["a"]?.publish == .nobody)
    }

    @Test(arguments: [
        ("rooms: {chat: {mode: strict}}", "rooms.chat.mode (FILE): \"strict\" is not allowed; allowed: fast, ordered"),
        (
            "rooms: {chat: {history-sise: 1}}",
            "rooms.chat.history-sise (FILE): no such setting; did you mean rooms.chat.history-size?"
        ),
        ("rooms: {chat: fast}", "rooms.chat (FILE): this is a group of settings, not a setting"),
        ("rooms: 5", "rooms (FILE): this is a group of settings, not a setting"),
        (
            "rooms: {a.b: {mode: fast}}",
            "rooms.a.b.mode (FILE): a namespace's name is 1 to 64 of A-Z a-z 0-9 _ -"
        ),
        (
            "rooms: {chat: {mode: ordered}}",
            "rooms.chat.mode (FILE): rooms.chat.mode is ordered, which needs redis.url: the order is made in Redis"
        ),
        (
            "rooms: {default: {mode: ordered}, chat: {presence: count}}",
            "rooms.default.mode (FILE): rooms.default.mode is ordered, which needs redis.url: "
                + "the order is made in Redis"
        ),
        (
            "{redis: {url: 'redis://h'}, rooms: {log: {mode: ordered, slow: drop-oldest}}}",
            "rooms.log.slow (FILE): rooms.log.slow must be disconnect where rooms.log.mode is ordered: a message that is "
                + "left out would be a hole in the order; a member that comes back is given what it missed"
        ),
        (
            "rooms: {mail: {inbox: true}}",
            "rooms.mail.inbox (FILE): rooms.mail.inbox needs rooms.mail.mode to be ordered"
        ),
        (
            "{redis: {url: 'redis://h'}, rooms: {a: {mode: ordered, inbox: true}, b: {mode: ordered, inbox: true}}}",
            "rooms.b.inbox (FILE): rooms.a is the inbox already; there can be one"
        ),
        (
            "{redis: {url: 'redis://h'}, rooms: {default: {mode: ordered, inbox: true}, b: {publish: anyone}}}",
            "rooms.default.inbox (FILE): an inbox needs a namespace of its own: rooms.inbox.inbox"
        ),
    ])
    func whatIsWrongIsSaid(content: String, expected: String) throws {
        let file = try TemporaryFile("c.yaml", content)
        #expect(problems(file: file.path) == [expected.replacing("FILE", with: "file \(file.path)")])
    }

    @Test func variablesThatAreNearlySettingsAreCorrected() {
        #expect(
            problems(["CONDUIT_ROOMS_MY_CHAT_HISTORI_SIZE": "1"]) == [
                "CONDUIT_ROOMS_MY_CHAT_HISTORI_SIZE (environment): no such setting; "
                    + "did you mean CONDUIT_ROOMS_MY_CHAT_HISTORY_SIZE?"
            ])
        #expect(problems(["CONDUIT_ROOMS_MODE": "fast"]).count == 1)
        #expect(problems(["CONDUIT_ROOMS_É_MODE": "fast"]).count == 1)
    }

    @Test func documentsListThemOnce() {
        #expect(
            ConfigurationDocument.markdown.contains("| `rooms.<namespace>.mode` | `CONDUIT_ROOMS_<NAMESPACE>_MODE` "))
        #expect(!ConfigurationDocument.markdown.contains("rooms.default."))
        #expect(ConfigurationDocument.yaml.contains("\nrooms:\n  default:\n"))
        #expect(ConfigurationDocument.environment.contains("\nCONDUIT_ROOMS_DEFAULT_MODE=fast\n"))
    }
}
