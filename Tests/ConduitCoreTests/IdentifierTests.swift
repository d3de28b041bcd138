import ConduitCore
import ConduitTesting
import Testing

@Suite struct IdentifierTests {
    @Test(arguments: ["a", "*", "a b", "{x}", "über:räume", "chat:[1]?", String(repeating: "x", count: 255)])
    func roomNameTakesAnyPrintableText(name: String) throws {
        #expect(try #require(RoomName(name)).rawValue == name)
    }

    @Test(arguments: ["", "a\nb", "\u{0}", "\u{7F}", "\u{85}", String(repeating: "é", count: 128)])
    func roomNameRefusesControlCharactersAndLength(name: String) {
        #expect(RoomName(name) == nil)
    }

    @Test func namesAreComparedByTheirBytes() {
        let (composed, decomposed) = ("caf\u{E9}", "cafe\u{301}")
        #expect(composed == decomposed)
        #expect(RoomName(composed) != RoomName(decomposed))
        #expect(UserID(composed) != UserID(decomposed))
        #expect(RoomName(composed).hashValue != RoomName(decomposed).hashValue)
        #expect(UserID(composed).hashValue != UserID(decomposed).hashValue)
        #expect(Set([RoomName(composed), RoomName(decomposed), RoomName(composed)]).count == 2)
    }

    @Test func namespaceIsWhatStandsBeforeTheFirstColon() {
        #expect(RoomName("chat:a:b")?.namespace == "chat")
        #expect(RoomName("chat")?.namespace == nil)
        #expect(RoomName(":a")?.namespace == "")
        #expect(RoomName(":")?.namespace == "")
    }

    /// A `:` with a combining mark behind it is one character to Swift, and an ASCII colon to everybody else.
    @Test(arguments: ["\u{301}", "\u{301}a", "\u{FE0F}", "\u{200D}x", "\u{20DD}"])
    func aMarkBehindTheColonHidesNoNamespace(rest: String) throws {
        let room = try #require(RoomName("news:" + rest))
        #expect(room.namespace.map { Array($0.utf8) } == Array("news".utf8))
        #expect(RoomName("\(room)b:c")?.namespace == "news")
        var quiet = RoomPolicy()
        quiet.publish = .nobody
        #expect(RoomPolicies(namespaces: ["news": quiet])[room] == quiet)
    }

    @Test func aNamespaceThatLooksLikeAnotherIsAnotherOne() {
        var quiet = RoomPolicy()
        quiet.publish = .nobody
        let policies = RoomPolicies(namespaces: ["Key": quiet, "caf\u{E9}": quiet])
        #expect(policies[RoomName(literal: "Key:1")] == quiet)
        #expect(RoomName("caf\u{E9}:1").map { policies[$0] } == quiet)
        // The Kelvin sign, and an e with an accent behind it.
        for name in ["\u{212A}ey:1", "cafe\u{301}:1"] {
            #expect(RoomName(name).map { policies[$0] } == RoomPolicy())
        }
    }

    @Test func clientIDNamesItsNode() throws {
        var generator = SeededGenerator(seed: 1)
        let node = try #require(NodeID("node.1-a"))
        let id = ClientID(node: node, using: &generator)
        #expect(id.node == node)
        #expect(ClientID(id.rawValue) == id)
        #expect(id != ClientID(node: node, using: &generator))
    }

    @Test(arguments: ["", "abc", ".abc", "node.", "node.ABC", "no/de.abc", "node.a b"])
    func malformedClientIDIsRefused(text: String) {
        #expect(ClientID(text) == nil)
    }

    @Test(arguments: ["", "a/b", "a b", "ü", String(repeating: "x", count: 65)])
    func malformedNodeIDIsRefused(text: String) {
        #expect(NodeID(text) == nil)
    }

    @Test func everyCloseCodeIsUniqueAndAdvisesByRange() {
        #expect(Set(CloseReason.all.map(\.code)).count == CloseReason.all.count)
        for reason in CloseReason.all where reason.code >= 3000 { #expect(reason.reconnect == (reason.code < 3500)) }
    }
}
