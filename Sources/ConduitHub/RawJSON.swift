public import ConduitCore
import ConduitWire
package import NIOCore

/// One JSON value as text that was checked once and is passed on byte for byte.
public struct RawJSON: Sendable, Hashable, CustomStringConvertible {
    package let buffer: ByteBuffer

    /// Wraps bytes that a decoder has validated already.
    package init(validated buffer: ByteBuffer) { self.buffer = buffer }

    /// Checks and wraps a JSON document.
    ///
    /// - Throws: ``RequestError`` with `bad_request` when it isn't one.
    public init(_ text: String) throws(RequestError) {
        let buffer = ByteBuffer(string: text)
        do throws(JSONError) {
            _ = try JSONScanner.document(buffer.readableBytesUInt8Span)
        } catch {
            throw RequestError(.badRequest, "not JSON: \(error.message) at byte \(error.offset)")
        }
        self.buffer = buffer
    }

    /// A JSON string with this content.
    public init(string: String) {
        var buffer = ByteBuffer()
        buffer.writeJSONString(string)
        self.buffer = buffer
    }

    /// `null`.
    public static let null = RawJSON(validated: ByteBuffer(string: "null"))

    /// The JSON text.
    public var description: String { String(buffer: buffer) }

    /// The JSON text's bytes.
    public var bytes: [UInt8] { Array(buffer.readableBytesView) }
}
