import ConduitWire
import NIOCore
import NIOHTTP1
import Testing

@testable import ConduitGateway

/// What is agreed on for which offers (RFC 7692, 7.1), and what is no offer at all (RFC 6455, 9.1).
@Suite struct ExtensionOffersTests {
    /// The header of the answer; `nil` when nothing was agreed on.
    static func answer(_ lines: [String], windowBits: UInt8 = 15) throws -> String? {
        let head = try HandshakeTests.head {
            for line in lines { $0.headers.add(name: "Sec-WebSocket-Extensions", value: line) }
        }
        let handshake = try Handshake.check(head, windowBits: windowBits)
        let text = String(buffer: handshake.answer)
        let header = "Sec-WebSocket-Extensions: "
        guard let start = text.firstRange(of: header)?.upperBound else { return nil }
        return String(text[start...].prefix { $0 != "\r\n" })
    }

    static let plain = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

    @Test(arguments: [
        "permessage-deflate",
        // As browsers offer it.
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate;client_max_window_bits",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        // Unknown extensions and offers that can't be met go by.
        "x-webkit-deflate-frame, permessage-deflate",
        "foo; bar=\"baz\"; qux, permessage-deflate",
        "permessage-deflate; server_max_window_bits=8, permessage-deflate",
        "permessage-deflate; foo, permessage-deflate; client_max_window_bits",
        // Blanks and empty elements.
        " ,, permessage-deflate\t;\tclient_max_window_bits , ",
    ])
    func isAgreedOn(_ offer: String) throws {
        #expect(try Self.answer([offer]) == Self.plain)
        #expect(try Self.answer([offer], windowBits: 0) == nil)
    }

    @Test(arguments: [
        ("permessage-deflate; server_max_window_bits=9", "; server_max_window_bits=9"),
        ("permessage-deflate; server_max_window_bits=\"10\"", "; server_max_window_bits=9"),
        // Three sizes in all.
        ("permessage-deflate; server_max_window_bits=11", "; server_max_window_bits=9"),
        ("permessage-deflate; server_max_window_bits=12", "; server_max_window_bits=12"),
        ("permessage-deflate; server_max_window_bits=14", "; server_max_window_bits=12"),
        ("permessage-deflate; server_max_window_bits=15", "; server_max_window_bits=15"),
        ("permessage-deflate; client_max_window_bits=8", "; client_max_window_bits=8"),
        (
            "permessage-deflate; client_max_window_bits=12; server_max_window_bits=11",
            "; server_max_window_bits=9; client_max_window_bits=12"
        ),
        // The first that can be met, not the best.
        (
            "permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=13, "
                + "permessage-deflate",
            "; server_max_window_bits=12"
        ),
    ])
    func windowsAreHonoured(_ offer: String, _ rest: String) throws {
        #expect(try Self.answer([offer]) == Self.plain + rest)
    }

    @Test func aSmallerWindowOfOursIsSaid() throws {
        #expect(try Self.answer(["permessage-deflate"], windowBits: 10) == Self.plain + "; server_max_window_bits=10")
        for bits in 10...15 {
            let offer = "permessage-deflate; server_max_window_bits=\(bits)"
            #expect(try Self.answer([offer], windowBits: 10) == Self.plain + "; server_max_window_bits=10")
        }
    }

    @Test(arguments: [
        "permessage-bzip2", "Permessage-Deflate-2", "deflate",
        // Unknown or doubled parameters, values where there are none, none where there must be one, wrong ones.
        "permessage-deflate; unknown", "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover=\"x\"",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
        "permessage-deflate; server_max_window_bits", "permessage-deflate; server_max_window_bits=8",
        "permessage-deflate; server_max_window_bits=7", "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=010", "permessage-deflate; server_max_window_bits=0xA",
        "permessage-deflate; client_max_window_bits=16", "permessage-deflate; client_max_window_bits=x",
        "", " , ",
    ])
    func isDeclined(_ offer: String) throws { #expect(try Self.answer([offer]) == nil) }

    @Test func linesAreOneList() throws {
        #expect(try Self.answer(["foo", "permessage-deflate; server_max_window_bits=9"])?.hasSuffix("=9") == true)
        #expect(try Self.answer(["permessage-deflate; bar", "permessage-deflate"]) == Self.plain)
    }

    @Test(arguments: [
        "permessage-deflate;", "; a", "permessage-deflate; =1", "permessage-deflate; a=", "permessage-deflate; a=\"",
        "permessage-deflate; a=\"\"", "permessage-deflate; a=\"b c\"", "permessage deflate", "a/b",
        "permessage-deflate; a=b=c", Array(repeating: "a", count: 33).joined(separator: ","),
    ])
    func malformedIsRefused(_ offer: String) throws {
        for bits in [0, 15] as [UInt8] {
            do {
                _ = try Self.answer([offer], windowBits: bits)
                Issue.record("accepted \(offer)")
            } catch let refusal as Refusal {
                #expect(refusal.status == .badRequest)
            }
        }
    }
}
