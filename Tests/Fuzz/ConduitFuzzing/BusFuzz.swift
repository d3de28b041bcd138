import ConduitCore
import ConduitWire
import NIOCore

/// A payload that is accepted must be written with the same bytes again, and so must each of its entries.
enum BusFuzz {
    static func run(_ input: FuzzInput) -> String? {
        if let problem = entries(input.whole) { return problem }
        let envelope: NodeEnvelope
        do throws(NodeEnvelope.Failure) {
            envelope = try NodeEnvelope.decode(input.whole)
        } catch {
            return nil
        }
        // A trace without ids is none, and its last byte is kept for later: both are written back otherwise.
        let isTraced = envelope.trace != nil
        var writer = NodeEnvelopeWriter(isTraced: isTraced)
        var count = 0
        for entry in envelope.entries {
            count += 1
            writer.append(entry)
        }
        guard count == envelope.entries.count, count > 0, count <= NodeEnvelope.maximumEntries else {
            return "\(count) entries where \(envelope.entries.count) were counted"
        }
        let again = writer.finish(
            kind: envelope.kind, origin: envelope.origin, incarnation: envelope.incarnation,
            sequence: envelope.sequence, startsRun: envelope.startsRun, sentAt: envelope.sentAt,
            trace: envelope.trace)
        guard again == Self.canonical(input.whole, isTraced: isTraced) else { return "written differently" }
        let mark = NodeEnvelopeMark(origin: envelope.origin, incarnation: envelope.incarnation)
        guard mark.isBroadcast(input.whole) == (envelope.kind == .broadcast) else { return "the mark is not known" }
        if envelope.kind == .broadcast, mark.count(of: input.whole) != count { return "the mark counts differently" }
        if let batch = OrderedBatch(envelope) {
            guard batch.messages.count == count - 1, let last = batch.messages.last,
                last.offset <= OrderedMessage.highestOffset + UInt64(count)
            else { return "an ordered batch of \(batch.messages.count) messages from \(count) entries" }
        }
        for entry in envelope.entries {
            if let problem = entries(entry) { return problem }
        }
        return nil
    }

    /// The same payload as a writer has it.
    private static func canonical(_ payload: ByteBuffer, isTraced: Bool) -> ByteBuffer {
        var bytes = Array(payload.readableBytesView)
        guard bytes.count > 3, bytes[2] & 2 != 0 else { return payload }
        let trace = 28 + Int(bytes[3])
        guard bytes.count >= trace + 26 else { return payload }
        if isTraced {
            bytes[trace + 25] = 0
        } else {
            bytes[2] &= ~2
            bytes.removeSubrange(trace..<trace + 26)
        }
        return ByteBuffer(bytes: bytes)
    }

    /// Every kind of entry, whatever the bytes are meant to be.
    private static func entries(_ entry: ByteBuffer) -> String? {
        if let send = NodeSend(entry) {
            var buffer = ByteBuffer()
            send.write(to: &buffer)
            guard buffer == entry else { return "a send is written differently" }
        }
        if let news = PresenceNews(entry) {
            var buffer = ByteBuffer()
            news.write(to: &buffer)
            guard PresenceNews(buffer) == news else { return "news are not read as they were: \(news)" }
        }
        if let message = ControlMessage(entry) {
            var buffer = ByteBuffer()
            message.write(to: &buffer)
            guard ControlMessage(buffer) == message else { return "a command is not read as it was: \(message)" }
            if case .answer(let answer) = message { return check(answer.findings) }
        }
        if let (member, reason) = MemberCodec.decodeLeaving(entry) {
            var buffer = ByteBuffer()
            buffer.writeMember(member, reason: reason)
            guard let (again, why) = MemberCodec.decodeLeaving(buffer), again == member, why == reason else {
                return "a member is not read as it was: \(member)"
            }
            guard (try? JSONScanner.document(buffer.readableBytesUInt8Span)) != nil else {
                return "a member's JSON is none: \(String(buffer: buffer))"
            }
        }
        return nil
    }

    /// Rows of an answer are read as they were written.
    private static func check(_ findings: SurveyFindings) -> String? {
        func isStable<Row: SurveyRow & Equatable>(_: Row.Type) -> Bool {
            let rows = findings.rows(Row.self)
            return SurveyFindings(rows, maximumBytes: .max, hasMore: false).rows(Row.self) == rows
        }
        guard isStable(RoomRow.self), isStable(ClientRow.self), isStable(RoomCount.self) else {
            return "rows are not read as they were"
        }
        return nil
    }
}
