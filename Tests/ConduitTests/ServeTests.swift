import ConduitTesting
import Foundation
import Testing

/// A node as a process, with its log in a file; killed when the value goes away.
private final class ServedNode {
    private let process = Process()
    private let folder: TemporaryFolder
    private let log: String

    /// `softDescriptors`: the soft limit of open files that the shell before it sets.
    init(_ arguments: [String], softDescriptors: Int? = nil) throws {
        folder = try TemporaryFolder()
        log = folder.path("log")
        try Data().write(to: URL(fileURLWithPath: log))
        let clean = ProcessInfo.processInfo.environment.keys.filter { $0.hasPrefix("CONDUIT_") }.flatMap { ["-u", $0] }
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        // Each of them becomes the next one, under the same process id.
        let shell = softDescriptors.map { ["/bin/sh", "-c", "ulimit -Sn \($0) && exec \"$0\" \"$@\""] } ?? []
        process.arguments = clean + shell + [try Program.path, "serve", "--port", "0", "--admin-port", "0"] + arguments
        process.standardError = FileHandle(forWritingAtPath: log)
        process.standardOutput = FileHandle.nullDevice
        try process.run()
    }

    deinit { if process.isRunning { kill(process.processIdentifier, SIGKILL) } }

    var text: String { (try? String(contentsOfFile: log, encoding: .utf8)) ?? "" }

    /// Soft and hard limit of open files, as the kernel has them.
    func descriptorLimits() throws -> [Substring] {
        let limits = try String(contentsOfFile: "/proc/\(process.processIdentifier)/limits", encoding: .utf8)
        let line = try #require(limits.split(separator: "\n").first { $0.hasPrefix("Max open files") })
        return Array(line.split(separator: " ")[3...4])
    }

    func signal(_ number: Int32) { kill(process.processIdentifier, number) }

    func waitForEnd() async throws -> Int32 {
        try await eventually("the node has ended") { !process.isRunning }
        return process.terminationStatus
    }

    /// The value of a field of the first JSON line with this message.
    func field(_ name: String, of message: String) async throws -> String {
        var value: String?
        try await eventually("logged \(message)") {
            try #require(process.isRunning, "ended: \(text)")
            for line in text.split(separator: "\n") {
                let object = try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
                if object?["message"] as? String == message { value = object?[name] as? String }
            }
            return value != nil
        }
        return try #require(value)
    }

    func port(of message: String) async throws -> Int {
        let address = try await field("address", of: message)
        return try #require(URL(string: address)?.port, "\(address)")
    }
}

private func get(_ path: String, port: Int) async throws -> TestHTTPResponse {
    let socket = try await TestSocket.connect(port: port)
    try await socket.send("GET \(path) HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\nConnection: close\r\n\r\n")
    let text = try await socket.waitForClose()
    return try #require(TestHTTPResponse(text), "\(text)")
}

@Suite struct ServeTests {
    @Test func nodeServesBothPortsAndStopsInOrder() async throws {
        let node = try ServedNode(["--node-id", "one"])
        let http = try await node.port(of: "serving")
        let admin = try await node.port(of: "admin port")
        #expect(try await get("/health", port: http).status == 200)
        #expect(try await get("/health/live", port: admin).status == 200)
        #expect(try await get("/health/ready", port: admin).body == "{\"status\":\"ready\"}\n")
        #expect(try await get("/metrics", port: admin).body.contains("conduit_info{node=\"one\","))
        let published = try await Program.run(
            "publish", "--admin", "http://127.0.0.1:\(admin)", "--room", "r", "--type", "t", "--payload", "[1]")
        #expect(published.status == 0)
        #expect(published.output.hasPrefix("{\"ok\":true"), "\(published.output)")
        let refused = try await Program.run(
            "publish", "--admin", "http://127.0.0.1:\(admin)", "--room", "r", "--type", "pong")
        #expect(refused.status == 69)
        #expect(refused.output.contains("reserved_type"))
        node.signal(SIGTERM)
        #expect(try await node.waitForEnd() == 0)
        for line in node.text.split(separator: "\n") {
            #expect((try? JSONSerialization.jsonObject(with: Data(line.utf8))) != nil, "\(line)")
        }
    }

    @Test func softLimitOfDescriptorsIsRaisedToTheHardOne() async throws {
        let node = try ServedNode([], softDescriptors: 128)
        _ = try await node.port(of: "serving")
        let limits = try node.descriptorLimits()
        let hard = Int(limits[1]) ?? .max
        #expect(limits[0] == "\(min(hard, 1_048_576))", "\(limits)")
        node.signal(SIGTERM)
        #expect(try await node.waitForEnd() == 0)
    }

    @Test func busyPortIsSaidAndExits69() async throws {
        let node = try ServedNode([])
        let http = try await node.port(of: "serving")
        let second = try await Program.run("--port", "\(http)", "--admin-port", "0")
        #expect(second.status == 69)
        #expect(second.output.contains("can't start"))
        node.signal(SIGINT)
        #expect(try await node.waitForEnd() == 0)
    }

    @Test func serveRefusesABrokenConfiguration() async throws {
        let both = try await Program.run("--port=-1", "--redis-url", "nowhere")
        #expect(both.status == 78)
        #expect(both.output.contains("2 problems"))
    }
}
