import ConduitCore
package import NIOCore

/// What one node has to say to a question.
///
/// As an entry of `ControlMessage`: 8 bytes number of the request, 1 byte whether there was more than fitted, then what
/// was found: of a list its rows, of a room a ``RoomCount``, of a command 4 bytes how many connections it concerned.
package struct SurveyAnswer: Sendable, Hashable {
    package let number: UInt64
    package let findings: SurveyFindings

    package init(number: UInt64, findings: SurveyFindings) {
        self.number = number
        self.findings = findings
    }

    init?(_ buffer: inout ByteBuffer) {
        guard let number = buffer.readInteger(as: UInt64.self), let flag = buffer.readInteger(as: UInt8.self), flag < 2,
            let body = buffer.readSlice(length: buffer.readableBytes)
        else { return nil }
        self.init(number: number, findings: SurveyFindings(body: body, hasMore: flag == 1))
    }

    func write(to buffer: inout ByteBuffer) {
        buffer.writeInteger(number)
        buffer.writeInteger(findings.hasMore ? 1 : 0 as UInt8)
        buffer.writeImmutableBuffer(findings.body)
    }
}

/// What one node has found.
package struct SurveyFindings: Sendable, Hashable {
    /// Rows, one behind the other.
    package var body: ByteBuffer
    /// Whether rows that come behind these didn't fit.
    package var hasMore: Bool

    package init(body: ByteBuffer = ByteBuffer(), hasMore: Bool = false) {
        self.body = body
        self.hasMore = hasMore
    }

    /// The same for a command: how many connections it concerned.
    package init(count: Int) {
        var body = ByteBuffer()
        body.writeInteger(UInt32(clamping: count))
        self.init(body: body)
    }

    /// The rows that fit into so many bytes.
    package init<Row: SurveyRow>(_ rows: some Sequence<Row>, maximumBytes: Int, hasMore: Bool) {
        self.init(hasMore: hasMore)
        for row in rows {
            let end = body.writerIndex
            row.write(to: &body)
            guard body.readableBytes <= maximumBytes else {
                body.moveWriterIndex(to: end)
                self.hasMore = true
                return
            }
        }
    }

    /// The rows; those before the first that is malformed.
    package func rows<Row: SurveyRow>(_: Row.Type) -> [Row] {
        var rest = body
        var rows: [Row] = []
        while rest.readableBytes > 0, let row = Row(&rest) { rows.append(row) }
        return rows
    }

    /// Whether all of it is an answer to this question: a later version's rows, or what is cut, are not.
    package func isReadable(as question: SurveyQuestion) -> Bool {
        switch question {
        case .rooms: isReadable(RoomRow.self)
        case .clients, .client: isReadable(ClientRow.self)
        case .room: body.readableBytes > 0 && isReadable(RoomCount.self)
        case .disconnect, .kick: body.readableBytes >= 4
        }
    }

    private func isReadable<Row: SurveyRow>(_: Row.Type) -> Bool {
        var rest = body
        while rest.readableBytes > 0 { guard Row(&rest) != nil else { return false } }
        return true
    }

    /// What a command has counted.
    package var count: Int { body.getInteger(at: body.readerIndex, as: UInt32.self).map { Int($0) } ?? 0 }
}
