import ConduitCore
import ConduitWire
import NIOCore
import Testing

@Suite struct NodeEnvelopeTests {
    private struct Mixer: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return state
        }
    }

    private func payload(_ entries: [String], kind: NodeEnvelope.Kind = .broadcast) throws -> ByteBuffer {
        var writer = NodeEnvelopeWriter()
        for entry in entries { writer.append(ByteBuffer(string: entry)) }
        return writer.finish(
            kind: kind, origin: try #require(NodeID("node-1")), incarnation: 77, sequence: 5, startsRun: true,
            sentAt: 1_234_567)
    }

    private func failure(_ payload: ByteBuffer) -> NodeEnvelope.Failure? {
        do throws(NodeEnvelope.Failure) {
            _ = try NodeEnvelope.decode(payload)
            return nil
        } catch {
            return error
        }
    }

    @Test func aTraceFollowsTheHeader() throws {
        let trace = try #require(TraceContext(traceHigh: 1, traceLow: 2, span: 3, flags: 1))
        var writer = NodeEnvelopeWriter(isTraced: true)
        writer.append(ByteBuffer(string: "{}"))
        let node = try #require(NodeID("node-1"))
        let payload = writer.finish(
            kind: .broadcast, origin: node, incarnation: 77, sequence: 5, startsRun: true, sentAt: 1_234_567,
            trace: trace)
        let block: [UInt8] = [
            0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 1, 0,
        ]
        let expected: [UInt8] =
            [1, 1, 3, 6] + Array("node-1".utf8) + [0, 0, 0, 0, 0, 0, 0, 77] + [0, 0, 0, 0, 0, 0, 0, 5]
            + [0, 0, 0, 0, 0, 0x12, 0xD6, 0x87] + block + [0, 0, 0, 2, 0x7B, 0x7D]
        #expect(Array(buffer: payload) == expected)
        let read = try NodeEnvelope.decode(payload)
        #expect(read.trace == trace && read.startsRun)
        #expect(read.entries.map { String(buffer: $0) } == ["{}"])
        let mark = NodeEnvelopeMark(origin: node, incarnation: 77)
        #expect(mark.isBroadcast(payload) && mark.count(of: payload) == 1)
        // Every cut is seen, in the trace too.
        for length in 0..<payload.readableBytes {
            #expect(failure(try #require(payload.getSlice(at: payload.readerIndex, length: length))) != nil)
        }
        // Ids that name nothing are no trace, and no reason to lose a message.
        var empty = payload
        empty.setRepeatingByte(0, count: 26, at: payload.readerIndex + 34)
        #expect(try NodeEnvelope.decode(empty).trace == nil)
        // Without room for a trace there is none, and flags of later versions are refused.
        #expect(try NodeEnvelope.decode(self.payload(["{}"])).trace == nil)
        var unknown = payload
        unknown.setInteger(7 as UInt8, at: payload.readerIndex + 2)
        #expect(failure(unknown) == .unknownVersion)
    }

    @Test func layoutIsAsDocumented() throws {
        let bytes = Array(buffer: try payload(["{}"]))
        let expected: [UInt8] =
            [1, 1, 1, 6] + Array("node-1".utf8) + [0, 0, 0, 0, 0, 0, 0, 77] + [0, 0, 0, 0, 0, 0, 0, 5]
            + [0, 0, 0, 0, 0, 0x12, 0xD6, 0x87] + [0, 0, 0, 2, 0x7B, 0x7D]
        #expect(bytes == expected)
    }

    @Test(arguments: NodeEnvelope.Kind.allCases)
    func whatIsWrittenIsRead(kind: NodeEnvelope.Kind) throws {
        let envelope = try NodeEnvelope.decode(try payload(["{}", "", "{\"a\":1}"], kind: kind))
        #expect(envelope.kind == kind)
        #expect(envelope.origin == NodeID("node-1"))
        #expect(envelope.incarnation == 77)
        #expect(envelope.sequence == 5)
        #expect(envelope.startsRun)
        #expect(envelope.sentAt == 1_234_567)
        #expect(envelope.entries.map { String(buffer: $0) } == ["{}", "", "{\"a\":1}"])
    }

    @Test func aWriterIsEmptyAfterwardsAndTakesTheLongestId() throws {
        let origin = try #require(NodeID(String(repeating: "n", count: 64)))
        var writer = NodeEnvelopeWriter()
        for round in 0..<3 {
            writer.append { $0.writeString("{\"n\":\(round)}") }
            #expect(writer.count == 1 && writer.byteCount == 11)
            let payload = writer.finish(
                kind: .send, origin: origin, incarnation: .max, sequence: .max, startsRun: false, sentAt: .min)
            #expect(writer.count == 0 && writer.byteCount == 0)
            let envelope = try NodeEnvelope.decode(payload)
            #expect(envelope.origin == origin && envelope.sequence == .max && envelope.sentAt == .min)
            #expect(envelope.entries.count == 1)
            #expect(envelope.entries.map { String(buffer: $0) } == ["{\"n\":\(round)}"])
        }
    }

    @Test func theMarkKnowsTheBroadcastsOfOneProcessOnly() throws {
        let own = try #require(NodeID("node-1"))
        let mark = NodeEnvelopeMark(origin: own, incarnation: 77)
        for kind in NodeEnvelope.Kind.allCases {
            #expect(mark.isBroadcast(try payload(["{}"], kind: kind)) == (kind == .broadcast))
        }
        // In the middle of a larger buffer, too.
        var larger = ByteBuffer(string: "abc")
        larger.writeImmutableBuffer(try payload(["{}"]))
        larger.moveReaderIndex(forwardBy: 3)
        #expect(mark.isBroadcast(larger))
        #expect(!NodeEnvelopeMark(origin: own, incarnation: 78).isBroadcast(try payload(["{}"])))
        for name in ["node-2", "node-", "node-11"] {
            let other = NodeEnvelopeMark(origin: try #require(NodeID(name)), incarnation: 77)
            #expect(!other.isBroadcast(try payload(["{}"])))
        }
        let whole = try payload(["{}"])
        for length in 0..<18 {
            #expect(!mark.isBroadcast(try #require(whole.getSlice(at: whole.readerIndex, length: length))))
        }
    }

    @Test func everyTruncationIsRefused() throws {
        let whole = try payload(["{\"type\":\"x\"}", "{}"])
        // After the first entry the payload is whole again, with one entry.
        let boundary = whole.readableBytes - 6
        for length in 0..<whole.readableBytes where length != boundary {
            let part = try #require(whole.getSlice(at: whole.readerIndex, length: length))
            #expect(failure(part) == (length == boundary - 16 ? .empty : .truncated), "length \(length)")
        }
    }

    @Test func otherVersionsKindsFlagsAndOriginsAreRefused() throws {
        var wrong = try payload(["{}"])
        wrong.setInteger(2 as UInt8, at: wrong.readerIndex)
        #expect(failure(wrong) == .unknownVersion)
        wrong = try payload(["{}"])
        wrong.setInteger(99 as UInt8, at: wrong.readerIndex + 1)
        #expect(failure(wrong) == .unknownKind)
        wrong = try payload(["{}"])
        wrong.setInteger(4 as UInt8, at: wrong.readerIndex + 2)
        #expect(failure(wrong) == .unknownVersion)
        wrong = try payload(["{}"])
        wrong.setString("no/e-1", at: wrong.readerIndex + 4)
        #expect(failure(wrong) == .badOrigin)
    }

    @Test func oversizedIsRefused() throws {
        var writer = NodeEnvelopeWriter()
        writer.append(ByteBuffer(repeating: 0x20, count: NodeEnvelope.maximumBytes))
        let node = try #require(NodeID("n"))
        let big = writer.finish(
            kind: .broadcast, origin: node, incarnation: 1, sequence: 1, startsRun: false, sentAt: 0)
        #expect(failure(big) == .oversized)
        writer = NodeEnvelopeWriter()
        for _ in 0...NodeEnvelope.maximumEntries { writer.append(ByteBuffer()) }
        let many = writer.finish(
            kind: .broadcast, origin: node, incarnation: 1, sequence: 1, startsRun: false, sentAt: 0)
        #expect(failure(many) == .oversized)
    }

    @Test(arguments: [1, 2, 3, 4] as [UInt64])
    func noMutationTraps(seed: UInt64) throws {
        var random = Mixer(state: seed)
        var read = 0
        for _ in 0..<5_000 {
            let kind = try #require(NodeEnvelope.Kind.allCases.randomElement(using: &random))
            var bytes = Array(buffer: try payload(["{\"type\":\"x\",\"data\":1}", "{}"], kind: kind))
            for _ in 0..<Int.random(in: 0...4, using: &random) {
                switch Int.random(in: 0..<3, using: &random) {
                case 0:
                    bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.removeLast(Int.random(in: 0..<min(9, bytes.count), using: &random))
                default: bytes.append(UInt8.random(in: 0...255, using: &random))
                }
            }
            guard let envelope = try? NodeEnvelope.decode(ByteBuffer(bytes: bytes)) else { continue }
            read += 1
            for entry in envelope.entries {
                _ = NodeSend(entry)
                _ = PresenceNews(entry)
                _ = ControlMessage(entry)
            }
        }
        #expect(read > 100, "some mutations are still envelopes")
    }

    @Test(arguments: [5, 6] as [UInt64])
    func randomEntriesNeverTrap(seed: UInt64) {
        var random = Mixer(state: seed)
        for _ in 0..<20_000 {
            var bytes = (0..<Int.random(in: 0...40, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            if !bytes.isEmpty, Bool.random(using: &random) { bytes[0] = UInt8.random(in: 0...6, using: &random) }
            let entry = ByteBuffer(bytes: bytes)
            _ = NodeSend(entry)
            _ = PresenceNews(entry)
            if let control = ControlMessage(entry) {
                var again = ByteBuffer()
                control.write(to: &again)
                #expect(again == entry, "there is one way to write a command")
            }
        }
    }

    @Test func entriesRoundTrip() throws {
        let client = try #require(ClientID("node-1.abc")), node = try #require(NodeID("node-2"))
        let user = try #require(UserID("Ünïcode user"))
        let member = Member(
            client: client, user: user, node: try #require(NodeID("node-1")), joinedAt: 1_700_000_000_123,
            info: Array("{\"a\":[1,2]}".utf8))
        for news in [PresenceNews.joined(member), .left(client, .disconnected), .left(client, .nodeLost)] {
            var buffer = ByteBuffer()
            news.write(to: &buffer)
            #expect(PresenceNews(buffer) == news)
        }
        let commands: [ControlMessage] = [
            .hello, .helloAnswer, .nodeDown(node, .lost), .nodeDown(node, .shutdown),
            .delivered(request: 9, count: .max), .disconnect(.user(user), code: 3503),
            .disconnect(.client(client), code: 3000),
            .revoke(Revocation(.user(user), revokedAt: 1_700_000_000_000, expiresAt: .max)),
            .revoke(Revocation(.token(String(repeating: "t", count: 255)), revokedAt: 0, expiresAt: 1)),
            .drain(milliseconds: 0), .drain(milliseconds: .max), .rebalance,
        ]
        for command in commands {
            var buffer = ByteBuffer()
            command.write(to: &buffer)
            #expect(ControlMessage(buffer) == command)
            buffer.writeInteger(0 as UInt8)
            #expect(ControlMessage(buffer) == nil, "nothing may follow")
        }
        for (request, target) in [(0, nil), (7, client)] as [(UInt64, ClientID?)] {
            var buffer = ByteBuffer()
            NodeSend(request: request, client: target, json: ByteBuffer(string: "{}")).write(to: &buffer)
            let read = try #require(NodeSend(buffer))
            #expect(read.request == request)
            #expect(read.client == target)
            #expect(String(buffer: read.json) == "{}")
        }
    }
}
