package import NIOCore

/// What the public port makes of the first bytes of a connection, for those who try it with any bytes: fuzzing.
package enum RequestProbe {
    /// The outcome, as far as it can be compared.
    package enum Outcome: Sendable, Equatable {
        case incomplete
        case complete(Head)
        case malformed
        case tooLarge
    }

    /// A field of a head.
    package struct Field: Sendable, Equatable {
        package let name: String
        package let value: String
    }

    /// A head that was accepted.
    package struct Head: Sendable, Equatable {
        package let isGet: Bool
        package let target: String
        package let fields: [Field]
        /// Bytes behind the head.
        package let leftoverBytes: Int
        /// The answer that upgrades; `nil` where the request is no handshake.
        package let answer: String?
        /// What would stand in a log.
        package let description: String
        /// Whether rules for origins let it in: the same host, and a list.
        package let origins: [Bool]
    }

    /// Feeds a reader with slices; what is left of them when the head is complete counts as leftover.
    package static func read(_ slices: [ByteBuffer], maxBytes: Int, maxFields: Int) -> Outcome {
        var reader = RequestReader()
        for (index, slice) in slices.enumerated() {
            switch reader.next(slice, maxBytes: maxBytes, maxFields: maxFields) {
            case .incomplete: continue
            case .malformed: return .malformed
            case .tooLarge: return .tooLarge
            case .complete(let head, let leftover):
                let behind = slices[(index + 1)...].reduce(leftover?.readableBytes ?? 0) { $0 + $1.readableBytes }
                return .complete(Self.head(head, behind))
            }
        }
        return .incomplete
    }

    private static func head(_ head: RequestHead, _ leftoverBytes: Int) -> Head {
        let request = HandshakeRequest(head: head, remoteAddress: nil, tokenCookie: "session")
        let policies = [OriginPolicy.sameHost, OriginPolicy.list(["https://*.example.com", "http://localhost:3000"])]
        var answer: String?
        if Handshake.isUpgrade(head), let handshake = try? Handshake.check(head) {
            answer = String(buffer: handshake.answer)
        }
        return Head(
            isGet: head.method == .get, target: head.target,
            fields: head.headers.map { Field(name: $0.name, value: $0.value) }, leftoverBytes: leftoverBytes,
            answer: answer, description: "\(request)", origins: policies.map { $0?.allows(request) ?? false })
    }
}
