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
