package import ConduitCore
import ConduitWire
import NIOCore

/// What became of an operator's wish that a node drains.
package enum AdminDrain: Hashable, Sendable {
    /// It does.
    case draining
    /// There is no such node.
    case unknown
    /// It can't be told; what is out of reach.
    case unreachable(String)

    /// The body of a request: `{"timeout_ms"?}`.
    static func timeout(_ body: ByteBuffer) throws(AdminError) -> Duration? {
        let fields = try AdminCommand.fields(body)
        for name in fields.keys where name != "timeout_ms" {
            throw AdminError.badRequest("\(name) is not known here; allowed: timeout_ms")
        }
        guard let token = fields["timeout_ms"] else { return nil }
        guard token.kind == .number, let milliseconds = Int64(String(buffer: body.slice(token.range))),
            (1...3_600_000).contains(milliseconds)
        else { throw AdminError.badRequest("timeout_ms is not a whole number from 1 to 3600000") }
        return .milliseconds(milliseconds)
    }

    /// The answer, or why there is none.
    func json(of node: NodeID) throws(AdminError) -> ByteBuffer {
        switch self {
        case .unknown: throw AdminError(status: 404, code: "not_found", message: "there is no node of this name")
        case .unreachable(let name):
            throw AdminError(
                status: 503, code: ErrorCode.unavailable.rawValue, message: "\(name) can't be reached")
        case .draining:
            var buffer = ByteBuffer()
            buffer.writeStaticString("{\"node_id\":")
            buffer.writeJSONString(node.rawValue)
            buffer.writeStaticString(",\"state\":\"draining\"")
            buffer.writeUnreachable([])
            buffer.writeStaticString("}\n")
            return buffer
        }
    }
}

/// What became of an operator's wish that clients are shared out again.
package struct AdminRebalance: Hashable, Sendable {
    /// The nodes that send clients away.
    package var started: [NodeID]
    /// Clients of a node, if all had the same; `nil` when that isn't known.
    package var mean: Double?
    /// Nodes that are out of reach: nothing is done until they are back or gone.
    package var unreachable: [String]

    package init(started: [NodeID], mean: Double?, unreachable: [String] = []) {
        self.started = started
        self.mean = mean
        self.unreachable = unreachable
    }

    var json: ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeStaticString("{\"started\":[")
        for (index, node) in started.enumerated() {
            if index > 0 { buffer.writeStaticString(",") }
            buffer.writeJSONString(node.rawValue)
        }
        buffer.writeStaticString("],\"mean\":")
        buffer.writeString(mean.map { "\(($0 * 10).rounded() / 10)" } ?? "null")
        buffer.writeUnreachable(unreachable)
        buffer.writeStaticString("}\n")
        return buffer
    }
}

extension AdminCommand {
    /// For routes whose body says nothing: `{}`.
    static func checkEmpty(_ body: ByteBuffer) throws(AdminError) {
        if let name = try fields(body).keys.sorted().first {
            throw AdminError.badRequest("\(name) is not known here; the body is {}")
        }
    }
}
