import ConduitTesting
import ConduitWire
import NIOCore
import Testing

@Suite struct UTF8ValidatorTests {
    static func isValid(_ bytes: [UInt8]) -> Bool { UTF8Validator.isValid(bytes.span) }

    static func consume(_ bytes: [UInt8], _ validator: inout UTF8Validator) -> Bool {
        validator.consume(bytes.span)
    }

    @Test(
        arguments: [
            [], [0x00], [0x7F], [0xC2, 0x80], [0xDF, 0xBF], [0xE0, 0xA0, 0x80], [0xE1, 0x80, 0x80], [0xEC, 0xBF, 0xBF],
            [0xED, 0x80, 0x80], [0xED, 0x9F, 0xBF], [0xEE, 0x80, 0x80], [0xEF, 0xBF, 0xBF], [0xF0, 0x90, 0x80, 0x80],
            [0xF1, 0x80, 0x80, 0x80], [0xF3, 0xBF, 0xBF, 0xBF], [0xF4, 0x80, 0x80, 0x80], [0xF4, 0x8F, 0xBF, 0xBF],
        ] as [[UInt8]])
    func acceptsEdgesOfEveryRow(_ bytes: [UInt8]) {
        #expect(Self.isValid(bytes))
    }

    @Test(
        arguments: [
            [0x80], [0xBF], [0xC0, 0x80], [0xC1, 0xBF], [0xC2], [0xC2, 0x7F], [0xC2, 0xC0], [0xE0, 0x80, 0x80],
            [0xE0, 0x9F, 0xBF], [0xE0, 0xA0], [0xED, 0xA0, 0x80], [0xED, 0xBF, 0xBF], [0xF0, 0x80, 0x80, 0x80],
            [0xF0, 0x8F, 0xBF, 0xBF], [0xF0, 0x90, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xF5, 0x80, 0x80, 0x80],
            [0xF8, 0x88, 0x80, 0x80, 0x80], [0xFE], [0xFF], [0xE1, 0x80, 0x41], [0x41, 0x80], [0xEF, 0xBF],
        ] as [[UInt8]])
    func refusesWhatIsNotUTF8(_ bytes: [UInt8]) {
        #expect(!Self.isValid(bytes))
        // At any place among ASCII too, where eight bytes are looked at together.
        for place in 0..<9 {
            let head = [UInt8](repeating: 0x61, count: place)
            #expect(!Self.isValid(head + bytes + [0x61]))
        }
    }

    @Test func everySplitGivesTheSameAnswer() {
        let text = Array("aé€😀 and eight plain ones, then ü".utf8)
        for split in 0...text.count {
            var validator = UTF8Validator()
            #expect(Self.consume(Array(text[..<split]), &validator))
            #expect(Self.consume(Array(text[split...]), &validator))
            #expect(validator.isComplete)
        }
    }

    @Test func failsWithTheFirstImpossibleByte() {
        var validator = UTF8Validator()
        #expect(Self.consume([0xF4], &validator))
        #expect(!Self.consume([0x90], &validator))
    }

    @Test(arguments: 0..<20)
    func agreesWithTheStandardLibrary(_ seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let alphabet: [UInt8] = [0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC2, 0xE0, 0xED, 0xEF, 0xF0, 0xF4]
        for _ in 0..<2000 {
            let bytes = (0..<Int.random(in: 0...6, using: &generator)).map { _ in
                alphabet.randomElement(using: &generator) ?? 0
            }
            #expect(Self.isValid(bytes) == (String(validating: bytes, as: UTF8.self) != nil), "\(bytes)")
        }
    }
}
