import ConduitWire
import NIOCore

/// Server messages for tests.
enum ServerText {
    static func message(_ type: String) -> ServerMessage {
        ServerMessage(json: ByteBuffer(string: #"{"type":"\#(type)","data":null}"#))
    }
}
