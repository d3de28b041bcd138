import NIOCore
import Testing

@testable import ConduitHub

@Suite struct SearchTests {
    @Test(arguments: [
        ("", "anything", true), ("", "", true), ("a", "", false), ("lob", "The LOBBY", true), ("BB", "lobby", true),
        ("lobbyx", "lobby", false), ("ö", "GRÖSSE", true), ("Ö", "größe", true), ("@", "`", false), ("[", "{", false),
        ("k", "\u{212A}", false), ("aab", "aaab", true), ("y", "lobby", true), ("é", "e\u{301}", true),
    ])
    func textIsFoundInSmallAndCapitalLetters(text: String, name: String, isFound: Bool) {
        #expect(SearchText(text).isPart(of: name) == isFound)
    }

    @Test func addressesAreWrittenAsPeopleDo() {
        #expect(RemoteAddress.unknown.description == "")
        #expect(RemoteAddress(high: 0, low: 0xFFFF_C000_0201).description == "192.0.2.1")
        #expect(RemoteAddress(high: 0x2001_0DB8_0000_0000, low: 1).description == "2001:db8::1")
        #expect(MemoryLayout<RemoteAddress>.size == 16)
    }
}
