import ConduitCore
import ConduitTesting
import ConduitWire
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

    /// Against the plainest search that there is, on texts that are nearly there in many places.
    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func searchesAgreeWithTheStandardLibrary(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        // Few letters, so that much repeats; combining marks, sharp s, dotted I, sigmas, a flag and a family.
        let letters: [[Character]] = [
            ["a", "b"], ["a", "A", "b", "B", "-"], ["a", "b", "é", "É"],
            ["a", "e", "\u{301}", "é", "ß", "İ", "Σ", "ς", "🇩🇪", "👨‍👩‍👧", "k", "\u{37E}", ";"],
        ]
        func text(_ letters: [Character], _ lengths: ClosedRange<Int>) -> String {
            let length = Int.random(in: lengths, using: &random)
            return String((0..<length).map { _ in letters.randomElement(using: &random) ?? "a" })
        }
        func isAscii(_ text: String) -> Bool { text.utf8.allSatisfy { $0 < 0x80 } }
        var found = 0
        for round in 0..<2_000 {
            let some = letters[round % letters.count]
            let (needle, name) = (text(some, 0...6), text(some, 0...40))
            let small = needle.lowercased()
            // Plain texts are looked for among bytes: in "é" as e and accent there is an "e".
            let isPart =
                isAscii(small)
                ? Self.isPart(Array(small.utf8), of: name.utf8.map { (0x41...0x5A).contains($0) ? $0 + 0x20 : $0 })
                : name.lowercased().contains(small)
            #expect(SearchText(needle).isPart(of: name) == isPart, "\(needle) in \(name), seed \(seed)")
            if isPart { found += 1 }
        }
        #expect((200..<1_800).contains(found), "both must be met")
    }

    private static func isPart(_ needle: [UInt8], of name: [UInt8]) -> Bool {
        guard needle.count <= name.count else { return false }
        return (0...(name.count - needle.count)).contains { Array(name[$0..<($0 + needle.count)]) == needle }
    }

    /// A search that began anew at each place would not be done in an hour.
    @Test(.timeLimit(.minutes(1)), arguments: ["ab", "äb"])
    func hostileNamesTakeNoLongerThanOthers(pair: String) {
        let name = String(repeating: pair, count: 400_000)
        let search = SearchText(String(repeating: pair, count: 200_000) + "c")
        #expect(!search.isPart(of: name))
        #expect(search.isPart(of: name + "C"))
    }

    @Test(arguments: 1...50 as ClosedRange<UInt64>)
    func theFirstPlacesAreThoseOfTheSortedList(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let places = (0..<Int.random(in: 0...300, using: &random)).compactMap { _ in
            RoomName("r\(Int.random(in: 0..<100, using: &random))").map {
                RoomPlace(key: Int.random(in: 0..<5, using: &random), room: $0)
            }
        }
        let count = Int.random(in: 1...50, using: &random)
        #expect(Hub.first(count, of: places) == Array(places.sorted().prefix(count)), "seed \(seed)")
    }

    @Test func addressesAreWrittenAsPeopleDo() {
        #expect(RemoteAddress.unknown.description == "")
        #expect(RemoteAddress(high: 0, low: 0xFFFF_C000_0201).description == "192.0.2.1")
        #expect(RemoteAddress(high: 0x2001_0DB8_0000_0000, low: 1).description == "2001:db8::1")
        #expect(MemoryLayout<RemoteAddress>.size == 16)
    }
}
