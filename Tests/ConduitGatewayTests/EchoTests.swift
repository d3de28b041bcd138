import ConduitCore
import ConduitHub
import ConduitTesting
import ConduitWire
import NIOCore
import Testing

@testable import ConduitGateway

/// RFC 6455 and RFC 7692 over real sockets: what the Autobahn testsuite asks for, as tables, in seconds.
@Suite struct EchoTests {
    typealias Message = TestWebSocket.Message

    /// A gateway with an echo.
    static func withEcho(
        hub configureHub: (inout HubConfiguration) -> Void = { _ in },
        _ configure: (inout GatewayConfiguration) -> Void = { _ in }, authenticate: AuthenticationHandler? = nil,
        _ body: (_ port: Int, _ gateway: Gateway, _ hub: Hub) async throws -> Void
    ) async throws {
        var limits = HubConfiguration()
        limits.messageBytes = 100_000
        limits.framesPerMessage = 200
        configureHub(&limits)
        try await GatewayTests.withGateway(
            hub: limits,
            { configuration in
                configuration.echo = true
                configure(&configuration)
            }, authenticate: authenticate, body)
    }

    static let offer = [("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")]

    static func connect(
        _ port: Int, deflates: Bool = false, authority: String? = nil
    ) async throws -> TestWebSocket {
        try await TestWebSocket.connect(
            port: port, path: "/echo", headers: deflates ? offer : [], authority: authority)
    }

    // MARK: The tables

    /// What a client sends and what it must get; a close, where there is one, comes last.
    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        let bytes: [UInt8]
        let expected: [Message]
        /// Whether it is sent byte by byte too, in as many packets.
        let drips: Bool
        var testDescription: String { name }

        init(_ name: String, _ frames: [[UInt8]], _ expected: [Message]) {
            self.name = name
            self.bytes = frames.flatMap(\.self)
            self.expected = expected
            self.drips = bytes.count < 600
        }
    }

    /// One frame by its first byte, masked.
    static func frame(_ first: UInt8, _ payload: [UInt8] = [], mask: [UInt8]? = [0x37, 0xFA, 0x21, 0x3D]) -> [UInt8] {
        var bytes = [first]
        let bit: UInt8 = mask == nil ? 0 : 0x80
        switch payload.count {
        case ..<126: bytes.append(bit | UInt8(payload.count))
        case ...0xFFFF: bytes += [bit | 126, UInt8(payload.count >> 8), UInt8(payload.count & 0xFF)]
        default:
            bytes.append(bit | 127)
            for shift in stride(from: 56, through: 0, by: -8) { bytes.append(UInt8(payload.count >> shift & 0xFF)) }
        }
        guard let mask else { return bytes + payload }
        return bytes + mask + payload.enumerated().map { $1 ^ mask[$0 & 3] }
    }

    static func frame(_ first: UInt8, _ text: String) -> [UInt8] { frame(first, Array(text.utf8)) }

    static func close(_ code: UInt16, _ reason: [UInt8] = []) -> [UInt8] {
        frame(0x88, [UInt8(code >> 8), UInt8(code & 0xFF)] + reason)
    }

    static func text(_ text: String) -> Message { .text(text) }
    static func binary(_ bytes: [UInt8]) -> Message { .binary(ByteBuffer(bytes: bytes)) }
    static func pong(_ text: String) -> Message { .pong(ByteBuffer(string: text)) }
    static func closed(_ code: UInt16) -> Message { .close(code: code, reason: "") }
    static let wrong = closed(1002)

    private static let framing: [Case] =
        [0, 1, 125, 126, 127, 128, 65_535, 65_536, 100_000].flatMap { count in
            let letters = String(repeating: "*", count: count)
            let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7) }
            return [
                Case("text of \(count)", [frame(0x81, letters)], [text(letters)]),
                Case("binary of \(count)", [frame(0x82, bytes)], [binary(bytes)]),
            ]
        } + [
            Case("a message of two languages", [frame(0x81, "κόσμε 😀")], [text("κόσμε 😀")]),
            Case("ping", [frame(0x89)], [pong("")]),
            Case("ping with payload", [frame(0x89, "hello")], [pong("hello")]),
            Case(
                "ping of 125", [frame(0x89, String(repeating: "p", count: 125))],
                [
                    pong(String(repeating: "p", count: 125))
                ]),
            Case("ping of 126", [frame(0x89, String(repeating: "p", count: 126))], [wrong]),
            Case("pong that nobody asked for", [frame(0x8A, "x"), frame(0x89, "y")], [pong("y")]),
            Case("ten pings", (0..<10).map { frame(0x89, "\($0)") }, (0..<10).map { pong("\($0)") }),
            Case("unmasked", [frame(0x81, Array("x".utf8), mask: nil)], [wrong]),
            Case("length of 125 in two bytes", [[0x81, 0xFE, 0, 125]], [wrong]),
            Case("length of 65,535 in eight bytes", [[0x81, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]], [wrong]),
            Case("length above 2^63", [[0x81, 0xFF, 0x80]], [wrong]),
        ]

    private static let reserved: [Case] =
        [0x90, 0xA0, 0xB0, 0xC0, 0xD0, 0xE0, 0xF0].flatMap { bits -> [Case] in
            [0x1, 0x2, 0x8, 0x9, 0xA].map { opcode in
                Case(
                    "bits \(bits), opcode \(opcode)", [frame(0x81, "first"), frame(UInt8(bits | opcode), "x")],
                    [text("first"), wrong])
            }
        }
        + [3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF].map { opcode in
            Case(
                "opcode \(opcode)", [frame(0x81, "first"), frame(0x80 | opcode, opcode < 8 ? "x" : ""), frame(0x89)],
                [text("first"), wrong])
        }

    private static let fragments: [Case] = [
        Case("two", [frame(0x01, "fr"), frame(0x80, "ag")], [text("frag")]),
        Case("binary", [frame(0x02, [1]), frame(0x00, [2]), frame(0x80, [3])], [binary([1, 2, 3])]),
        Case("empty ones", [frame(0x01), frame(0x00), frame(0x80)], [text("")]),
        Case("empty around some", [frame(0x01), frame(0x00, "x"), frame(0x80)], [text("x")]),
        Case(
            "ping between", [frame(0x01, "fr"), frame(0x89, "p"), frame(0x00, "a"), frame(0x8A), frame(0x80, "g")],
            [pong("p"), text("frag")]),
        Case(
            "a hundred", [frame(0x01, "a")] + (0..<98).map { _ in frame(0x00, "b") } + [frame(0x80, "c")],
            [
                text("a" + String(repeating: "b", count: 98) + "c")
            ]),
        Case(
            "two messages", [frame(0x01, "a"), frame(0x80, "b"), frame(0x01, "c"), frame(0x80, "d")],
            [
                text("ab"), text("cd"),
            ]),
        Case("continuation of nothing", [frame(0x80, "x")], [wrong]),
        Case("continuation behind a whole message", [frame(0x81, "x"), frame(0x80, "y")], [text("x"), wrong]),
        Case("unfinished continuation of nothing", [frame(0x00, "x"), frame(0x80, "y")], [wrong]),
        Case("a message inside of another", [frame(0x01, "x"), frame(0x81, "y")], [wrong]),
        Case("a fragment that begins another", [frame(0x01, "x"), frame(0x02, "y")], [wrong]),
        Case("fragmented ping", [frame(0x09, "x"), frame(0x80, "y")], [wrong]),
        Case("fragmented close", [frame(0x08, [0x03, 0xE8])], [wrong]),
        Case("close between", [frame(0x01, "x"), close(1000), frame(0x80, "y")], [closed(1000)]),
    ]

    private static let utf8: [Case] = {
        let sample = Array("κόσμε".utf8)
        let good: [String] = [
            "\u{0}", "\u{7F}", "\u{80}", "\u{7FF}", "\u{800}", "\u{D7FF}", "\u{E000}", "\u{FFFD}", "\u{FFFF}",
            "\u{10000}", "\u{10FFFF}",
        ]
        let bad: [[UInt8]] = [
            [0x80], [0xBF], [0xC0, 0x80], [0xC1, 0xBF], [0xE0, 0x9F, 0xBF], [0xED, 0xA0, 0x80], [0xED, 0xBF, 0xBF],
            [0xF0, 0x8F, 0xBF, 0xBF], [0xF4, 0x90, 0x80, 0x80], [0xF5, 0x80], [0xFE], [0xFF], [0xC3, 0x28],
            [0xE2, 0x82, 0x28], [0xF0, 0x9F, 0x98, 0x28],
        ]
        var cases = good.map {
            Case("U+\(String($0.unicodeScalars.first?.value ?? 0, radix: 16))", [frame(0x81, $0)], [text($0)])
        }
        for bytes in bad {
            let name = bytes.map { String($0, radix: 16) }.joined(separator: " ")
            cases.append(Case("\(name), whole", [frame(0x81, sample + bytes + sample)], [closed(1007)]))
            // The message isn't over, nor even the frame: the byte alone decides.
            cases.append(Case("\(name), in a fragment", [frame(0x01, sample + bytes)], [closed(1007)]))
            let begun = frame(0x81, sample + bytes + Array(repeating: 0x61, count: 100))
            cases.append(
                Case("\(name), in a part of a frame", [Array(begun.prefix(begun.count - 100))], [closed(1007)]))
            for split in 1..<max(2, bytes.count) where split < bytes.count {
                cases.append(
                    Case(
                        "\(name), split at \(split)",
                        [frame(0x01, sample + bytes[..<split]), frame(0x00, Array(bytes[split...]))], [closed(1007)]))
            }
        }
        cases.append(Case("ends inside", [frame(0x81, [0xF0, 0x9F, 0x98])], [closed(1007)]))
        cases.append(Case("ends inside of its last fragment", [frame(0x01, "a"), frame(0x80, [0xE2])], [closed(1007)]))
        cases.append(
            Case("split everywhere", [frame(0x01)] + sample.map { frame(0x00, [$0]) } + [frame(0x80)], [text("κόσμε")]))
        cases.append(
            Case(
                "a ping inside of a character",
                [frame(0x01, [0xF0, 0x9F]), frame(0x89, "p"), frame(0x80, [0x98, 0x80])],
                [pong("p"), text("😀")]))
        cases.append(Case("binary may hold anything", [frame(0x82, [0xC0, 0xFF])], [binary([0xC0, 0xFF])]))
        return cases
    }()

    private static let closing: [Case] =
        [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999].map {
            Case("code \($0)", [close($0)], [closed($0)])
        }
        + [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535].map {
            Case("code \($0)", [close($0)], [wrong])
        }
        + [
            Case("no code", [frame(0x88)], [.close(code: nil, reason: "")]),
            Case("half a code", [frame(0x88, [0x03])], [wrong]),
            Case("a reason", [close(1000, Array("bye 👋".utf8))], [closed(1000)]),
            Case("a reason of 123", [close(1000, Array(repeating: 0x61, count: 123))], [closed(1000)]),
            Case("a reason of 124", [close(1000, Array(repeating: 0x61, count: 124))], [wrong]),
            Case("a reason that is no UTF-8", [close(1000, [0xCE, 0xBA, 0xFF])], [closed(1007)]),
            Case("a message before", [frame(0x81, "x"), close(1000)], [text("x"), closed(1000)]),
            Case("nothing after it counts", [close(1000), frame(0x81, "x"), frame(0x89), frame(0xFF)], [closed(1000)]),
        ]

    private static let limits: [Case] = [
        Case("one byte too many", [frame(0x82, Array(repeating: 0, count: 100_001))], [closed(1009)]),
        // The length alone decides: nothing of it was sent.
        Case("a length of 2^62", [[0x82, 0xFF, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]], [closed(1009)]),
        Case(
            "too many in two",
            [frame(0x02, Array(repeating: 0, count: 60_000)), [0x80, 0xFE, 0xEA, 0x60, 1, 2, 3, 4]],
            [closed(1009)]),
        Case(
            "as many frames as may be", [frame(0x01)] + (0..<198).map { _ in frame(0x00, "b") } + [frame(0x80)],
            [text(String(repeating: "b", count: 198))]),
        Case("a frame too many", [frame(0x01)] + (0..<200).map { _ in frame(0x00, "b") }, [closed(1009)]),
    ]

    private static let hello: [UInt8] = [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00]
    private static let prose = String(repeating: "All work and no play makes Jack a dull boy. ", count: 100)

    static func deflated(_ text: String) -> [UInt8] {
        Array(buffer: MaskedFrame.deflated(ByteBuffer(string: text), level: 9))
    }

    private static let compressed: [Case] = [
        Case("text", [frame(0xC1, hello)], [text("Hello")]),
        Case("binary", [frame(0xC2, hello)], [binary(Array("Hello".utf8))]),
        Case("not compressed, though it may be", [frame(0x81, "Hello")], [text("Hello")]),
        Case("a long text", [frame(0xC1, deflated(prose))], [text(prose)]),
        Case("fragments", [frame(0x41, Array(hello[..<3])), frame(0x80, Array(hello[3...]))], [text("Hello")]),
        Case(
            "a ping between", [frame(0x41, Array(hello[..<3])), frame(0x89, "p"), frame(0x80, Array(hello[3...]))],
            [pong("p"), text("Hello")]),
        Case("an empty last fragment", [frame(0x41, hello), frame(0x80)], [text("Hello")]),
        Case("a last block", [frame(0xC1, [0xF3] + hello[1...] + [0x00])], [text("Hello")]),
        Case("nothing", [frame(0xC1, [0x00]), frame(0xC1)], [text(""), text("")]),
        // No context is kept, so each stands alone.
        Case("one after the other", (0..<5).map { _ in frame(0xC1, hello) }, (0..<5).map { _ in text("Hello") }),
        Case("the bit on a continuation", [frame(0x41, hello), frame(0xC0)], [wrong]),
        Case("the bit on a continuation of a plain message", [frame(0x01, "x"), frame(0xC0)], [wrong]),
        Case("the bit on a ping", [frame(0xC9)], [wrong]),
        Case("the bit on a close", [frame(0xC8, [0x03, 0xE8])], [wrong]),
        Case("the other bits", [frame(0xE1, hello)], [wrong]),
        Case("broken data", [frame(0xC1, [0x07])], [closed(1007)]),
        Case("cut data", [frame(0xC1, Array(hello[..<4]))], [closed(1007)]),
        Case(
            "a reference to the message before", [frame(0xC1, hello), frame(0xC1, [0x02, 0x13, 0x00, 0x00])],
            [
                text("Hello"), closed(1007),
            ]),
        Case("no UTF-8", [frame(0xC1, [0x00, 0x01, 0x00, 0xFE, 0xFF, 0xFF, 0x00])], [closed(1007)]),
        Case(
            "dense, but short", [frame(0xC1, deflated(String(repeating: "a", count: 64 << 10)))],
            [
                text(String(repeating: "a", count: 64 << 10))
            ]),
        Case("too long", [frame(0xC1, deflated(String(repeating: "a", count: 100_001)))], [closed(1009)]),
        Case("a bomb", [frame(0xC1, deflated(String(repeating: "a", count: 2 << 20)))], [closed(1009)]),
    ]

    @Test(arguments: [false, true])
    func framesAsTheStandardHasThem(_ drips: Bool) async throws {
        let cases = Self.framing + Self.reserved + Self.fragments + Self.utf8 + Self.closing + Self.limits
        try await Self.withEcho { port, gateway, _ in
            try await Self.run(cases.filter { $0.drips || !drips }, port, drips: drips, deflates: false)
            // The client sees the end a moment before the server does.
            try await eventually("the places are given back") { gateway.statistics.upgraded == 0 }
        }
    }

    @Test(arguments: [false, true])
    func compressedMessagesAsTheStandardHasThem(_ drips: Bool) async throws {
        try await Self.withEcho(hub: {
            $0.compression = CompressionConfiguration()
            $0.compression?.threshold = 20
            $0.compression?.maxRatio = 200
        }) { port, _, _ in
            try await Self.run(
                Self.compressed.filter { $0.drips || !drips }, port, drips: drips, deflates: true)
            // Who agrees on compression is bound to everything else too.
            let others = Self.framing + Self.fragments + Self.utf8 + Self.closing + Self.limits
            if !drips { try await Self.run(others, port, drips: false, deflates: true) }
        }
    }

    private static func run(_ cases: [Case], _ port: Int, drips: Bool, deflates: Bool) async throws {
        // Some at a time: each is a connection.
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (index, one) in cases.enumerated() {
                if index >= 16 { try await group.next() }
                group.addTask { try await judge(one, port, drips: drips, deflates: deflates) }
            }
            try await group.waitForAll()
        }
    }

    private static func judge(_ one: Case, _ port: Int, drips: Bool, deflates: Bool) async throws {
        let socket = try await connect(port, deflates: deflates)
        if drips {
            // What the server has closed takes no more.
            for byte in one.bytes { try? await socket.sendBytes(ByteBuffer(bytes: [byte])) }
        } else {
            try? await socket.sendBytes(ByteBuffer(bytes: one.bytes))
        }
        var expected = one.expected
        var closes = false
        if case .close = expected.last { closes = true }
        if !closes {
            // Nothing else came.
            expected.append(closed(1000))
            try await socket.close()
        }
        for message in expected {
            let got = try await socket.next()
            #expect(Self.isAlike(got, message), "\(one.name): \("\(got)".prefix(200))")
        }
        try await socket.waitUntilGone()
        let rest = socket.waitingMessages
        #expect(rest == [], "\(one.name)")
        await socket.drop()
    }

    private static func isAlike(_ got: Message, _ expected: Message) -> Bool {
        if case .close(let code, _) = got, case .close(let wanted, _) = expected { return code == wanted }
        return got == expected
    }

    // MARK: The endpoint

    @Test func thereIsNoneUnlessAskedFor() async throws {
        try await Self.withEcho({ $0.echo = false }) { port, _, _ in
            let refusal = await GatewayTests.refusal { try await Self.connect(port) }
            #expect(refusal?.status == 404)
        }
    }

    @Test func originsAreJudgedAndTokensAreNot() async throws {
        try await Self.withEcho(authenticate: { _ in nil }) { port, gateway, hub in
            let foreign = await GatewayTests.refusal {
                try await TestWebSocket.connect(
                    port: port, path: "/echo", headers: [("Origin", "https://elsewhere.example")])
            }
            #expect(foreign?.status == 403)
            #expect(await GatewayTests.refusal { try await TestWebSocket.connect(port: port) }?.status == 401)
            let socket = try await Self.connect(port)
            try await socket.send("x")
            #expect(try await socket.nextText() == "x")
            #expect(gateway.statistics.upgraded == 1)
            #expect(await hub.clientCount() == 0)
            await socket.drop()
            try await eventually("the place is given back") { gateway.statistics.upgraded == 0 }
        }
    }

    @Test func itTakesAPlaceAmongTheConnections() async throws {
        try await Self.withEcho({ $0.connections = 1 }) { port, _, _ in
            let socket = try await Self.connect(port)
            #expect(await GatewayTests.refusal { try await TestWebSocket.connect(port: port) }?.status == 503)
            #expect(await GatewayTests.refusal { try await Self.connect(port) }?.status == 503)
            await socket.drop()
        }
    }

    @Test func whatComesWithTheHandshakeIsEchoed() async throws {
        try await Self.withEcho { port, _, _ in
            let socket = try await TestWebSocket.connect(
                port: port, path: "/echo", sendingBehindRequest: MaskedFrame.text("early"))
            #expect(try await socket.nextText() == "early")
            await socket.drop()
        }
    }

    @Test(arguments: [false, true])
    func compressionIsAgreedOnWhereBothWant(_ isOn: Bool) async throws {
        try await Self.withEcho(hub: { if isOn { $0.compression = CompressionConfiguration() } }) { port, _, _ in
            let socket = try await Self.connect(port, deflates: true)
            #expect((socket.extensions == nil) == !isOn)
            let (short, long) = ("short", Self.prose)
            for message in [short, long] {
                try await socket.send(message)
                #expect(try await socket.nextText() == message)
            }
            // From the threshold on, and only then.
            #expect(socket.deflatedMessages == (isOn ? 1 : 0))
            let plain = try await Self.connect(port)
            #expect(plain.extensions == nil)
            try await plain.send(long)
            #expect(try await plain.nextText() == long)
            #expect(plain.deflatedMessages == 0)
            try await plain.sendBytes(ByteBuffer(bytes: Self.frame(0xC1, Self.hello)))
            #expect(try await plain.waitForCloseCode() == 1002)
            await socket.drop()
            await plain.drop()
        }
    }

    /// A client that reads nothing is read from no more; when it reads again, nothing is missing.
    @Test func aFullSocketIsWaitedFor() async throws {
        try await Self.withEcho { port, _, _ in
            let socket = try await TestWebSocket.connect(port: port, path: "/echo", receiveBufferBytes: 65_536)
            try await socket.stopReading()
            // More than the kernel holds for a connection.
            let (count, size) = (200, 50_000)
            let body = String(repeating: "b", count: size)
            let frame = MaskedFrame.text(body)
            async let sent: Void = {
                for index in 0..<count {
                    try await socket.sendBytes(frame)
                    if index % 10 == 0 { try await socket.send("\(index)") }
                }
            }()
            try await socket.resumeReading()
            for index in 0..<count {
                #expect(try await socket.nextText() == body)
                if index % 10 == 0 { #expect(try await socket.nextText() == "\(index)") }
            }
            try await sent
            await socket.drop()
        }
    }

    @Test func overTLSItIsTheSame() async throws {
        let certificates = try await TestCertificates.make()
        let tls = ServerTLS(certificateFile: certificates.certificateFile, keyFile: certificates.keyFile)
        try await Self.withEcho(hub: { $0.compression = CompressionConfiguration() }, { $0.tls = tls }) {
            port, gateway, _ in
            for deflates in [false, true] {
                let socket = try await Self.connect(port, deflates: deflates, authority: certificates.caFile)
                for message in ["short", Self.prose, String(repeating: "x", count: 100_000)] {
                    try await socket.send(message)
                    #expect(try await socket.nextText() == message)
                }
                try await socket.close(code: 4321)
                #expect(try await socket.waitForCloseCode() == 4321)
                try await socket.waitUntilGone()
                let wrong = try await Self.connect(port, deflates: deflates, authority: certificates.caFile)
                try await wrong.sendBytes(ByteBuffer(bytes: Self.frame(0x83)))
                #expect(try await wrong.waitForCloseCode() == 1002)
                try await wrong.waitUntilGone()
            }
            try await eventually("the places are given back") { gateway.statistics.upgraded == 0 }
        }
    }

    @Test func whoSaysNothingIsClosed() async throws {
        try await Self.withEcho(hub: {
            $0.idleTimeoutMilliseconds = 100
            $0.readTimeoutMilliseconds = 10_000
        }) { port, _, _ in
            let socket = try await Self.connect(port)
            #expect(try await socket.waitForCloseCode() == 3012)
            try await socket.waitUntilGone()
        }
    }

    /// Each kind of message counts, in messages and in bytes; the limits are those of `/ws`.
    @Test func whoIsTooFastIsClosed() async throws {
        let kinds = [
            Self.frame(0x81, "x"), Self.frame(0x82, [1]), Self.frame(0x89, "p"), Self.frame(0x8A),
            Self.frame(0xC1, Self.hello),
        ]
        for frame in kinds {
            try await Self.withEcho(hub: {
                $0.compression = CompressionConfiguration()
                $0.messagesPerSecond = 1
                $0.messagesBurst = 3
            }) { port, _, _ in
                let socket = try await Self.connect(port, deflates: true)
                for _ in 0..<3 {
                    try await socket.send("within")
                    #expect(try await socket.nextText() == "within")
                }
                // A second forgives one.
                try await socket.sendBytes(ByteBuffer(bytes: Array(repeatElement(frame, count: 100).joined())))
                #expect(try await socket.waitForCloseCode() == 3013)
                try await socket.waitUntilGone()
            }
        }
        try await Self.withEcho(hub: {
            $0.bytesPerSecond = 10
            $0.bytesBurst = 100
        }) { port, _, _ in
            let socket = try await Self.connect(port)
            let full = String(repeating: "x", count: 100)
            try await socket.send(full)
            #expect(try await socket.nextText() == full)
            // Ten seconds would forgive it.
            try await socket.send(full)
            #expect(try await socket.waitForCloseCode() == 3013)
            try await socket.waitUntilGone()
        }
    }

    @Test func aNodeThatStopsClosesThem() async throws {
        try await Self.withEcho { port, gateway, _ in
            await gateway.closeEchoes(within: .seconds(30))
            // More than one a loop; one of them never answers the close.
            var sockets: [TestWebSocket] = []
            for _ in 0..<6 { sockets.append(try await Self.connect(port)) }
            let deaf = try await TestSocket.connect(port: port)
            try await deaf.send("GET /echo HTTP/1.1\r\n\(GatewayTests.upgrade)\r\n")
            try await deaf.wait { $0.hasPrefix("HTTP/1.1 101 ") && $0.hasSuffix("\r\n\r\n") }
            for socket in sockets {
                try await socket.send("x")
                #expect(try await socket.nextText() == "x")
            }
            async let closed: Void = gateway.closeEchoes(within: .milliseconds(500))
            for socket in sockets { #expect(try await socket.waitForCloseCode() == 3001) }
            await closed
            // The deaf one was cut at the deadline.
            try await eventually("the places are given back") { gateway.statistics.upgraded == 0 }
            for socket in sockets { await socket.drop() }
            await deaf.close()
        }
    }

    @Test func whoNeverFinishesIsClosed() async throws {
        try await Self.withEcho(hub: { $0.readTimeoutMilliseconds = 100 }) { port, _, _ in
            let socket = try await Self.connect(port)
            try await socket.sendBytes(ByteBuffer(bytes: Self.frame(0x01, "begun")))
            #expect(try await socket.waitForCloseCode() == 3501)
            try await socket.waitUntilGone()
        }
    }
}
