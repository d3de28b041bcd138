import ArgumentParser
import ConduitBench
import ConduitTelemetry
import Foundation
import NIOCore
import NIOPosix

/// Whom a command asks that works through the admin port of a node.
struct AdminOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Admin port of a node.", valueName: "url"))
    var admin = "http://127.0.0.1:8181"

    @Option(help: ArgumentHelp("Its token; else CONDUIT_ADMIN_TOKEN.", valueName: "token"))
    var token: String?

    /// Sends a JSON object to a path of the API and prints the answer. Ends the command when that says no.
    func post(_ path: String, _ body: ByteBuffer) async throws {
        let answer = try await AdminRequest(admin: admin, token: token).post(path, body)
        // It is JSON in one line; names of others stand in it, and the escapes are JSON's own.
        print(PrintableText.escaped(answer))
    }
}

/// One request to the admin port of a node.
struct AdminRequest {
    /// Such as `http://127.0.0.1:8181`.
    let admin: String
    /// Its token; that of `CONDUIT_ADMIN_TOKEN` when `nil`.
    let token: String?

    /// Sends a JSON object to a path of the API and returns the body of the answer. Ends the command when that says no.
    func post(_ path: String, _ body: ByteBuffer) async throws -> String {
        guard let url = URL(string: admin), url.scheme == "http", let host = url.host, !host.isEmpty else {
            throw ValidationError("--admin is not a URL such as http://127.0.0.1:8181")
        }
        guard url.user == nil, url.password == nil else {
            throw ValidationError("--admin takes no user and password; the port's token is --token")
        }
        let secret = token ?? ProcessInfo.processInfo.environment["CONDUIT_ADMIN_TOKEN"] ?? ""
        guard secret.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw ValidationError("the token has characters that no header can carry")
        }
        let port = url.port ?? 80
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
            throw CommandExit.failure(
                CommandExit.unavailable, ["\(admin) can't be reached: \(FailureText.describe(error))"])
        }
        let parts = answer.split(separator: "\r\n\r\n", maxSplits: 1)
        let status = answer.split(separator: " ", maxSplits: 2).dropFirst().first ?? "nothing"
        let text = parts.count > 1 ? parts[1].trimmingCharacters(in: .newlines) : ""
        guard status == "200" else {
            throw CommandExit.failure(CommandExit.unavailable, ["\(admin) answered \(status): \(text)"])
        }
        return text
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
}
