import ArgumentParser
import ConduitWire
import Foundation
import NIOCore
import NIOPosix

/// `conduit publish`: sends one event through the admin port of any node.
struct PublishCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "publish", abstract: "Send an event to a room, a user, a client or everybody.")

    @Option(help: ArgumentHelp("Admin port of a node.", valueName: "url"))
    var admin = "http://127.0.0.1:8181"

    @Option(help: ArgumentHelp("Its token; else CONDUIT_ADMIN_TOKEN.", valueName: "token"))
    var token: String?

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
        guard let url = URL(string: admin), url.scheme == "http", let host = url.host, !host.isEmpty else {
            throw ValidationError("--admin is not a URL such as http://127.0.0.1:8181")
        }
        let secret = token ?? ProcessInfo.processInfo.environment["CONDUIT_ADMIN_TOKEN"] ?? ""
        guard secret.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw ValidationError("the token has characters that no header can carry")
        }
        let port = url.port ?? 80
        let body = self.body
        let name = host.contains(":") ? "[\(host)]" : host
        var request = ByteBuffer(string: "POST /api/v1/\(path) HTTP/1.1\r\nHost: \(name):\(port)\r\n")
        request.writeString("Connection: close\r\nContent-Type: application/json\r\n")
        if !secret.isEmpty { request.writeString("Authorization: Bearer \(secret)\r\n") }
        request.writeString("Content-Length: \(body.readableBytes)\r\n\r\n")
        request.writeImmutableBuffer(body)
        let answer: String
        do {
            answer = try await Self.exchange(request, host: host, port: port)
        } catch {
            throw CommandExit.failure(CommandExit.unavailable, ["\(admin) can't be reached: \(error)"])
        }
        let parts = answer.split(separator: "\r\n\r\n", maxSplits: 1)
        let status = answer.split(separator: " ", maxSplits: 2).dropFirst().first ?? "nothing"
        let text = parts.count > 1 ? String(parts[1]) : ""
        guard status == "200" else {
            throw CommandExit.failure(CommandExit.unavailable, ["\(admin) answered \(status): \(text)"])
        }
        print(text, terminator: "")
    }

    /// One request on a connection of its own; all that comes until the server closes, at most 1 MB and 20 s of it.
    private static func exchange(_ request: ByteBuffer, host: String, port: Int) async throws -> String {
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connectTimeout(.seconds(5))
            .connect(host: host, port: port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
                }
            }
        let timer = channel.channel.eventLoop.scheduleTask(in: .seconds(20)) { channel.channel.close(promise: nil) }
        defer { timer.cancel() }
        return try await channel.executeThenClose { inbound, outbound in
            try await outbound.write(request)
            var answer = ByteBuffer()
            for try await part in inbound {
                answer.writeImmutableBuffer(part)
                guard answer.readableBytes <= 1_048_576 else { break }
            }
            return String(buffer: answer)
        }
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
