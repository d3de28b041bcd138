import ConduitCore
public import ConduitHub
import Foundation
import NIOCore

/// JSON of messages to and from Swift types, for handlers that want that. The message path itself never decodes it.
extension RawJSON {
    /// Encodes a value.
    ///
    /// - Throws: `EncodingError`.
    public init(encoding value: some Encodable) throws {
        self.init(validated: ByteBuffer(bytes: try JSONEncoder().encode(value)))
    }

    /// Decodes a value.
    ///
    /// - Throws: ``RequestError`` with `bad_request` when the JSON is not of that shape, which a handler may pass on.
    public func decode<T: Decodable>(_ type: T.Type = T.self) throws -> T {
        do {
            return try JSONDecoder().decode(type, from: Data(bytes))
        } catch let error as DecodingError {
            throw RequestError(.badRequest, "data is not of the right shape: \(Self.describe(error))")
        }
    }

    private static func describe(_ error: DecodingError) -> String {
        let context: DecodingError.Context? =
            switch error {
            case .typeMismatch(_, let context), .valueNotFound(_, let context), .keyNotFound(_, let context),
                .dataCorrupted(let context):
                context
            @unknown default: nil
            }
        let path = (context?.codingPath ?? []).map(\.stringValue).joined(separator: ".")
        return path.isEmpty ? "the value itself" : path
    }
}
