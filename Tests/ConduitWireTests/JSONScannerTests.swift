import ConduitTesting
import ConduitWire
import Foundation
import NIOCore
import Testing

@Suite struct JSONScannerTests {
    static func accepts(_ bytes: ByteBuffer) -> Bool {
        do throws(JSONError) {
            _ = try JSONScanner.document(bytes.readableBytesUInt8Span)
            return true
        } catch {
            return false
        }
    }

    static func accepts(_ text: String) -> Bool { accepts(ByteBuffer(string: text)) }

    @Test(arguments: [
        "null", "true", "false", "0", "-0", "1", "-1", "10", "1.5", "-0.0", "1e5", "1E5", "1e+5", "1e-5", "1.25E-12",
        "123456789012345678901234567890", "\"\"", "\"a\"", "\"ä€😀\"", "\"\u{7f}\"", "\"\u{2028}\"",
        #""\"""#, #""\\""#, #""\/""#, #""\b\f\n\r\t""#, #""\u0000""#, #""\u00e4""#, #""\u00E4""#, #""\uFFFF""#,
        #""\ud83d\ude00""#, #""\uD800\uDC00""#, #""\uDBFF\uDFFF""#, "[]", "[ ]", "{}", "{ }", "[1]", "[1,2]",
        "[[]]", "[{}]", "{\"a\":1}", "{\"a\":{}}", "{\"a\":[]}", "{\"\":0}", "{\"a\":1,\"b\":2}", "{\"a\":1,\"a\":2}",
        " \t\r\n[ 1 , 2 ]\t\r\n ", "{ \"a\" : [ { \"b\" : null } ] , \"c\" : \"]}\" }",
        "[null,true,false,0,\"\",{},[]]",
        "\"0123456789abcdef0123456789abcdef\"", "\"1234567\\\"\"", "\"12345678\\\\\"", "[\"a\",\"b\",[\"c\"]]",
        #"{"\u0061":1}"#, "1.0e0", "0e0", "[0,-0,0.1]", "\"\\u0041\\u0042\"", "{\"a\":\"\\u007b\"}",
    ])
    func acceptsValidDocuments(_ text: String) {
        #expect(Self.accepts(text))
    }

    @Test(arguments: [
        "", " ", "nul", "nulll", "True", "TRUE", "NaN", "Infinity", "-Infinity", "undefined", "-", "+1", "01", "-01",
        "00", "1.", ".5", "-.5", "1.e1", "1e", "1e+", "1e-", "1e1.5", "0x10", "1_000", "1 2", "1,2", "--1", "\"",
        "\"a", "a\"", "'a'", "\"\t\"", "\"\n\"", "\"\u{0}\"", "\"\u{1f}\"", #""\""#, #""\a""#, #""\x41""#, #""\'""#,
        #""\u""#, #""\u1""#, #""\u12""#, #""\u123""#, #""\u123g""#, #""\U0041""#, #""\ud800""#, #""\ud800a""#,
        #""\ud800\n""#, #""\ud800\u0041""#, #""\udc00""#, #""\ud800\ud800""#, #""\ud800\u""#, #""\u-123""#, "[",
        "]", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "[1;2]", "[}", "[1}", "{", "}", "{]", "{\"a\"", "{\"a\":",
        "{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "{,}", "{a:1}", "{1:1}", "{'a':1}", "{\"a\" 1}", "{\"a\"::1}",
        "{\"a\":1 \"b\":2}", "{\"a\":1]", "{null:1}", "[1]]", "{}}", "{}{}", "[][]", "//c\n1", "1 /*c*/", "[1]#",
        "\u{FEFF}1", "\u{A0}1", "\u{0C}1", "1\u{0}", "[\"a\"\"b\"]", "{\"a\":1,\"b\"}", "[\"\\u00\"]", "-a", "tru",
        "fals",
    ])
    func refusesWhatIsNoDocument(_ text: String) {
        #expect(!Self.accepts(text))
    }

    @Test func depthIsBounded() {
        let deepest = JSONScanner.maximumDepth
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let good = String(repeating: open, count: deepest) + "1" + String(repeating: close, count: deepest)
            #expect(Self.accepts(good))
            #expect(!Self.accepts(open + good + close))
            #expect(!Self.accepts(String(repeating: open, count: 200_000)))
        }
        // Many containers beside each other are not deep.
        #expect(Self.accepts("[" + String(repeating: "[{}],", count: 10_000) + "1]"))
    }

    @Test func everyPrefixOfADocumentIsRefused() {
        let text = #"{"a":[1,-2.5e+3,"x\n\ud83d\ude00",true,false,null,{"b":{}}]}"#
        for length in 0..<text.utf8.count {
            #expect(!Self.accepts(ByteBuffer(bytes: Array(text.utf8.prefix(length)))), "prefix of \(length) bytes")
        }
        #expect(Self.accepts(text))
    }

    @Test func aSpecialByteIsFoundAtEveryPlaceInAString() {
        for length in 0..<40 {
            for place in 0...length {
                let head = String(repeating: "x", count: place)
                let tail = String(repeating: "y", count: length - place)
                #expect(Self.accepts("\"\(head)\\n\(tail)\""))
                #expect(!Self.accepts("\"\(head)\u{1}\(tail)\""))
                #expect(!Self.accepts("\"\(head)\"\(tail)\""))
                #expect(Self.accepts("\"\(head)é\(tail)\""))
            }
        }
    }

    @Test func theErrorSaysWhere() {
        let buffer = ByteBuffer(string: #"{"a": 01}"#)
        #expect(throws: JSONError(message: "number with a leading zero", offset: 6)) {
            _ = try JSONScanner.document(buffer.readableBytesUInt8Span)
        }
    }

    /// Random documents, and the same with some bytes changed: our verdict is Foundation's wherever RFC 8259 decides.
    @Test(arguments: 0..<40)
    func agreesWithFoundation(_ seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<100 {
            var bytes = Array(Self.randomValue(depth: 0, &generator).utf8)
            if Bool.random(using: &generator), !bytes.isEmpty {
                for _ in 0..<Int.random(in: 1...3, using: &generator) {
                    let place = Int.random(in: 0..<bytes.count, using: &generator)
                    bytes[place] = Array("{}[]\",:0e.-ut \\xn".utf8).randomElement(using: &generator) ?? 0x20
                }
            }
            let text = String(decoding: bytes, as: UTF8.self)
            // Foundation lets numbers pass that overflow or not, and lone surrogates differ by version: not compared.
            // It also lets a comma stand before the end of a container, which RFC 8259 doesn't.
            guard !text.contains("\\u"), !text.contains(/,\s*[}\]]/) else { continue }
            let theirs =
                (try? JSONSerialization.jsonObject(with: Data(bytes), options: [.fragmentsAllowed])) != nil
            let isText = UTF8Validator.isValid(bytes.span)
            #expect((isText && Self.accepts(ByteBuffer(bytes: bytes))) == theirs, "seed \(seed): \(text)")
        }
    }

    static func randomValue(depth: Int, _ generator: inout SeededGenerator) -> String {
        let space = ["", "", " ", "\n\t"].randomElement(using: &generator) ?? ""
        let kind = Int.random(in: 0..<(depth > 4 ? 6 : 9), using: &generator)
        switch kind {
        case 0: return space + "null"
        case 1: return space + (Bool.random(using: &generator) ? "true" : "false")
        case 2: return space + String(Int.random(in: -1000...1000, using: &generator))
        case 3:
            return space + "\(Int.random(in: 0...99, using: &generator)).5e\(Int.random(in: -9...9, using: &generator))"
        case 4, 5: return space + randomString(&generator)
        case 6, 7:
            let values = (0..<Int.random(in: 0...4, using: &generator)).map { _ in
                randomValue(depth: depth + 1, &generator)
            }
            return space + "[" + values.joined(separator: ",") + space + "]"
        default:
            // Different keys: what Foundation does with equal ones is its own affair.
            let members = (0..<Int.random(in: 0...4, using: &generator)).map { index in
                "\"k\(index)\"" + space + ":" + randomValue(depth: depth + 1, &generator)
            }
            return space + "{" + members.joined(separator: ",") + "}" + space
        }
    }

    static func randomString(_ generator: inout SeededGenerator) -> String {
        let pieces = ["a", "bcdefgh", "\\n", "\\\"", "\\\\", "é", "😀", "/", "]}", " "]
        return "\""
            + (0..<Int.random(in: 0...6, using: &generator)).map { _ in pieces.randomElement(using: &generator) ?? "" }
            .joined() + "\""
    }
}
