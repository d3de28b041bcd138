import ArgumentParser
import ConduitWire
import NIOCore

/// `conduit publish`: sends one event through the admin port of any node.
struct PublishCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "publish", abstract: "Send an event to a room, a user, a client or everybody.")

    @OptionGroup var port: AdminOptions

    @Option(help: ArgumentHelp("To the members of a room.", valueName: "name"))
    var room: String?

    @Option(help: ArgumentHelp("To the connections of a user.", valueName: "id"))
    var user: String?

    @Option(help: ArgumentHelp("To one client.", valueName: "id"))
    var client: String?

    @Flag(help: "To every client of the cluster.")
    var all = false

    @Option(help: ArgumentHelp("The event's type.", valueName: "type"))
    var type: String

    @Option(help: ArgumentHelp("The event's data as JSON.", valueName: "json"))
    var payload = "null"

    func validate() throws {
        let targets = [room != nil, user != nil, client != nil, all].filter { $0 }
        guard targets.count == 1 else { throw ValidationError("give one of --room, --user, --client and --all") }
        do throws(JSONError) {
            _ = try JSONScanner.document(ByteBuffer(string: payload).readableBytesUInt8Span)
        } catch {
            throw ValidationError("--payload is not JSON: \(error.message) at byte \(error.offset)")
        }
    }

    func run() async throws {
        let path = room != nil ? "publish" : all ? "broadcast" : "send"
        try await port.post(path, body)
    }

    private var body: ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeStaticString("{")
        for (name, value) in [("room", room), ("user", user), ("client", client)] {
            guard let value else { continue }
            buffer.writeString("\"\(name)\":")
            buffer.writeJSONString(value)
            buffer.writeStaticString(",")
        }
        buffer.writeStaticString("\"type\":")
        buffer.writeJSONString(type)
        buffer.writeString(",\"payload\":\(payload)}")
        return buffer
    }
}
