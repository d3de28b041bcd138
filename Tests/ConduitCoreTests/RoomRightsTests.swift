import ConduitCore
import Testing

struct RoomRightsTests {
    @Test(arguments: [
        ("*", "anything", true), ("chat:*", "chat:1", true), ("chat:*", "chat:", true), ("chat:*", "news:1", false),
        ("*:public", "a:b:public", true), ("a*b*c", "axxbyyc", true), ("a*b*c", "axxbyy", false), ("", "x", false),
        (#"a\*"#, "a*", true), (#"a\*"#, "ab", false), ("abc", "abc", true), ("abc", "abcd", false),
        ("**", "x", true), ("a*", "a", true), ("*a", "ba", true), ("*ab", "aab", true), (#"x\"#, #"x\"#, true),
    ]) func patternsMatchWholeNames(_ pattern: String, _ name: String, _ expected: Bool) throws {
        let room = try #require(RoomName(name))
        #expect(RoomRights([.init(pattern, .join)]).allows(.join, in: room) == expected)
    }

    @Test func grantsAddUp() throws {
        let rights = RoomRights([.init("a*", .join), .init("*b", [.publish, .presence])])
        let both = try #require(RoomName("ab"))
        #expect(rights.allows([.join, .publish], in: both))
        #expect(!rights.allows(.history, in: both))
        let other = try #require(RoomName("ac"))
        #expect(!rights.allows(.publish, in: other))
        #expect(rights.granted(in: other) == .join)
    }

    @Test func aLongPatternEndsSoon() throws {
        let pattern = String(repeating: "a*", count: 100) + "b"
        let room = try #require(RoomName(String(repeating: "a", count: 255)))
        #expect(!RoomRights([.init(pattern, .join)]).allows(.join, in: room))
    }
}
