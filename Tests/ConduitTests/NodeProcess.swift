import ConduitTesting
import Foundation
import NIOCore
import Synchronization

/// A real `conduit serve` of one test: own ports, own log; it dies with this object.
///
/// A small shell stands between: it kills the node when our end of its standard input closes, so that not even a
/// crashed test run leaves nodes behind.
final class NodeProcess: Sendable {
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    let id: String
    let port: Int
    let adminPort: Int
    private let folder: TemporaryFolder
    private let shell: SpawnedProcess
    private let pid: Int32

    /// The built program: beside this test's own executable, unless `CONDUIT_BINARY` names another.
    static var binary: String {
        if let path = ProcessInfo.processInfo.environment["CONDUIT_BINARY"], !path.isEmpty { return path }
        let own = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        return own.deletingLastPathComponent().appendingPathComponent("conduit").path
    }

    private init(
        id: String, port: Int, adminPort: Int, environment: [String: String], arguments: [String]
    ) throws {
        self.id = id
        self.port = port
        self.adminPort = adminPort
        folder = try TemporaryFolder("node")
        let script = """
            exec 3<&0
            log=$1
            shift
            "$@" >"$log" 2>&1 3<&- </dev/null &
            child=$!
            echo $child
            (read line <&3; kill -9 $child) >/dev/null 2>&1 &
            watcher=$!
            wait $child
            code=$?
            kill $watcher
            exit $code
            """
        // What is set in this shell for other nodes doesn't reach these.
        shell = try SpawnedProcess(
            ["/bin/sh", "-c", script, "sh", folder.path("node.log"), Self.binary, "serve"] + arguments,
            environment: ProcessInfo.processInfo.environment
                .filter { !$0.key.hasPrefix("CONDUIT_") }
                .merging(environment) { $1 },
            discardingErrors: true)
        // The shell says the node's process id at once, in one write.
        let line = String(decoding: shell.output.availableData, as: UTF8.self)
        guard let pid = Int32(line.trimmingCharacters(in: .whitespacesAndNewlines)) else {
            shell.closeInput()
            throw Failure(description: "no process id from the shell: \(line)")
        }
        self.pid = pid
    }

    deinit {
        // The shell reaps the node, so its process id is good while the shell runs.
        if shell.isRunning { _ = kill(pid, SIGKILL) }
        shell.closeInput()
    }

    /// Starts a node and waits until it is alive, and, unless told otherwise, ready and not degraded.
    static func start(
        _ id: String, redis: String? = nil, waitsForRedis: Bool = true, _ settings: [String: String] = [:],
        arguments: [String] = []
    ) async throws -> NodeProcess {
        var last: any Error = Failure(description: "the node did not start")
        // Somebody may take a free port before the node does: try again with others.
        for _ in 0..<3 {
            let port = try await RedisServer.freePort()
            let adminPort = try await RedisServer.freePort()
            var environment = settings
            environment["CONDUIT_NODE_ID"] = id
            environment["CONDUIT_HTTP_PORT"] = String(port)
            environment["CONDUIT_ADMIN_PORT"] = String(adminPort)
            environment["CONDUIT_REDIS_URL"] = redis
            let node = try NodeProcess(
                id: id, port: port, adminPort: adminPort, environment: environment, arguments: arguments)
            do {
                try await eventually("\(id) is alive") { try await node.isAlive() }
            } catch {
                last = error
                continue
            }
            if waitsForRedis {
                try await eventually("\(id) is ready") {
                    let answer = try await node.get("/ready")
                    return answer.status == 200 && !answer.body.contains("degraded")
                }
            }
            return node
        }
        throw last
    }

    private func isAlive() async throws -> Bool {
        guard isRunning else { throw Failure(description: "\(id) ended: \(log.suffix(1000))") }
        return (try? await get("/health"))?.status == 200
    }

    var isRunning: Bool { shell.isRunning }

    /// Every whole line that it printed; what is being written now isn't one.
    var log: String {
        let text = (try? String(contentsOfFile: folder.path("node.log"), encoding: .utf8)) ?? ""
        return text.lastIndex(of: "\n").map { String(text[...$0]) } ?? ""
    }

    func signal(_ number: Int32) {
        if shell.isRunning { _ = kill(pid, number) }
    }

    /// Waits for the end of the process; 128 and the signal's number when a signal ended it.
    func exitCode(within limit: Duration = .seconds(60)) async throws -> Int32 {
        try await shell.wait(within: limit)
    }

    /// One request to the public port.
    func get(_ path: String) async throws -> TestHTTPResponse {
        let socket = try await TestSocket.connect(port: port)
        try await socket.send("GET \(path) HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\nConnection: close\r\n\r\n")
        let text = try await socket.waitForClose()
        guard let answer = TestHTTPResponse(text) else {
            throw Failure(description: "not an HTTP answer: \(text.prefix(200))")
        }
        return answer
    }

    /// Whether `/ready` says 200 and `degraded`.
    func isDegraded() async throws -> Bool {
        let answer = try await get("/ready")
        return answer.status == 200 && answer.body.contains("degraded")
    }
}
