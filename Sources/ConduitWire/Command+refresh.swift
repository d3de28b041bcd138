package import ConduitCore
import NIOCore

private enum RefreshKey: UInt8, JSONKey {
    case token

    var name: StaticString { "token" }

    static func named(_ bytes: Span<UInt8>) -> RefreshKey? { RefreshKey.token.ifNamed(bytes) }
}

extension Command {
    /// Longest token in bytes: as much as the head of a handshake holds by default.
    package static let maximumTokenBytes = 16_384

    /// Reads the `data` of `refresh`: the new token.
    package func refreshToken() throws(RequestError) -> String {
        let bytes = message.readableBytesUInt8Span
        var fields = JSONFields<RefreshKey>()
        if let data = tokens.data {
            do throws(JSONError) {
                try fields.readObject(data, in: bytes)
            } catch {
                throw RequestError(.badRequest, "data is not JSON: \(error.message) at byte \(error.offset)")
            }
        }
        guard fields.duplicate == nil else { throw RequestError(.badRequest, "data.token stands twice") }
        guard let token = try fields.optionalStringToken(.token), !token.inner.isEmpty else {
            throw RequestError(.badRequest, "data.token is missing")
        }
        guard token.byteCount <= Self.maximumTokenBytes else {
            throw RequestError(.tooLarge, "data.token is over \(Self.maximumTokenBytes) bytes", limit: .tokenBytes)
        }
        return token.text(in: bytes)
    }
}

extension EventEncoder {
    /// Answers `refresh`; `null` for a token that never runs out.
    package static func refreshed(expiresAt: Int64?, id: RequestID?) -> ServerMessage {
        envelope("refreshed", id, size: 64) {
            $0.writeStaticString("{\"expires_at\":")
            if let expiresAt {
                $0.writeStaticString("\"")
                $0.writeTimestamp(expiresAt)
                $0.writeStaticString("\"}")
            } else {
                $0.writeStaticString("null}")
            }
        }
    }
}
