import Foundation
import NIOCore
import NIOPosix
import Synchronization

/// A real `redis-server` of one test: own port, own folder, no persistence; it dies with this object.
///
/// A small shell stands between: it kills the server when our end of its standard input closes, so that
/// not even a crashed test run leaves servers behind.
package final class RedisServer: Sendable {
    /// What differs from a plain server on a free TCP port.
    package struct Options: Sendable {
        /// Password of the default user.
        package var password: String?
        /// Lines for `user`, such as `alice on >secret ~* &* +@all`.
        package var users: [String] = []
        /// TLS only, with certificates of ``RedisServer/certificates``.
        package var tls = false
        /// What the certificate stands for, in openssl's notation.
        package var certificateNames = "DNS:localhost,IP:127.0.0.1"
        /// With TLS: asks every client for a certificate.
        package var asksForCertificates = false
        /// Lines of a configuration file of its own, which a Sentinel rewrites.
        package var configuration: [String] = []
        /// Runs as a Sentinel.
        package var isSentinel = false
        /// Listens on a unix socket too.
        package var unixSocket = false
        /// More arguments for `redis-server`, such as `["--maxclients", "10"]`.
        package var arguments: [String] = []

        package init(
            password: String? = nil, users: [String] = [], tls: Bool = false, unixSocket: Bool = false,
            arguments: [String] = []
        ) {
            self.password = password
            self.users = users
            self.tls = tls
            self.unixSocket = unixSocket
            self.arguments = arguments
        }
    }

    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    private struct Running {
        let shell: SpawnedProcess
        let pid: Int32
    }

    package let port: Int
    package let options: Options
    /// Certificates of a TLS server; `nil` without TLS.
    package let certificates: TestCertificates?
    private let folder: TemporaryFolder
    private let running = Mutex<Running?>(nil)

    /// The URL of this server, with its password.
    package var url: String {
        let user = options.password.map { ":\($0)@" } ?? ""
        return "\(options.tls ? "rediss" : "redis")://\(user)127.0.0.1:\(port)"
    }

    /// The path of the unix socket, when one was asked for.
    package var socketPath: String { folder.path("redis.sock") }

    /// The server's process, `nil` while it is stopped.
    package var pid: Int32? { running.withLock { $0?.pid } }

    private init(port: Int, options: Options, certificates: TestCertificates?, folder: TemporaryFolder) {
        self.port = port
        self.options = options
        self.certificates = certificates
        self.folder = folder
    }

    deinit { end() }

    /// Starts a server on a free port and waits until it answers.
    package static func start(_ options: Options = Options()) async throws -> RedisServer {
        let certificates = options.tls ? try await TestCertificates.make(names: options.certificateNames) : nil
        var last: any Error = Failure(description: "redis-server did not start")
        // Somebody may take the free port before the server does: try again with another.
        for _ in 0..<5 {
            let server = RedisServer(
                port: try await freePort(), options: options, certificates: certificates,
                folder: try TemporaryFolder("redis"))
            do {
                try await server.launch()
                return server
            } catch {
                last = error
                server.end()
            }
        }
        throw last
    }

    /// A port of the loopback interface that was free a moment ago.
    ///
    /// Below those that the kernel takes for outgoing connections, of which tests have hundreds: a server that stops can
    /// have it again, and where nobody listens nobody answers.
    package static func freePort() async throws -> Int {
        for _ in 0..<200 {
            let port = Int.random(in: 10_000..<20_000)
            let listener = ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            guard let channel = try? await listener.bind(host: "127.0.0.1", port: port).get() else { continue }
            try await channel.close().get()
            return port
        }
        throw Failure(description: "no free port")
    }

    /// SIGTERM; returns when the process is gone.
    package func stop() async throws {
        signal(SIGCONT)
        signal(SIGTERM)
        try await waitForEnd()
    }

    /// SIGKILL; returns when the process is gone.
    package func kill() async throws {
        signal(SIGKILL)
        try await waitForEnd()
    }

    /// SIGSTOP: sockets stay open, nothing is answered.
    package func pause() { signal(SIGSTOP) }

    /// SIGCONT.
    package func resume() { signal(SIGCONT) }

    /// Starts again on the same port after ``stop()`` or ``kill()``.
    package func restart() async throws {
        guard pid == nil else { throw Failure(description: "redis-server is running still") }
        try await launch()
    }

    /// Runs `redis-cli` against this server, with its password, and hands back what it printed.
    @discardableResult
    package func redisCLI(_ arguments: String...) async throws -> String {
        try await redisCLI(arguments)
    }

    /// As ``redisCLI(_:)-(String...)``.
    @discardableResult
    package func redisCLI(_ arguments: [String]) async throws -> String {
        var command = ["redis-cli", "-h", "127.0.0.1", "-p", String(port)]
        if let password = options.password { command += ["--no-auth-warning", "-a", password] }
        if let certificates {
            command += ["--tls", "--cacert", certificates.caFile]
            command += ["--cert", certificates.certificateFile, "--key", certificates.keyFile]
        }
        return try await ChildProcess.run(command + arguments).output
            .trimmingCharacters(in: .whitespacesAndNewlines)
    }

    private func signal(_ number: Int32) {
        running.withLock { state in
            guard let state, state.shell.isRunning else { return }
            _ = Foundation.kill(state.pid, number)
        }
    }

    private func waitForEnd() async throws {
        let shell = running.withLock { $0?.shell }
        try await eventually("redis-server on port \(port) ends") { shell?.isRunning != true }
        end()
    }

    private func end() {
        let last = running.withLock { state in
            defer { state = nil }
            return state
        }
        guard let last else { return }
        // The shell reaps the server, so its process id is good while the shell runs.
        if last.shell.isRunning { _ = Foundation.kill(last.pid, SIGKILL) }
        last.shell.closeInput()
    }

    private func launch() async throws {
        let script = """
            exec 3<&0
            redis-server "$@" >/dev/null 2>&1 3<&- </dev/null &
            child=$!
            echo $child
            (read line <&3; kill -9 $child) >/dev/null 2>&1 &
            watcher=$!
            wait $child
            kill $watcher
            """
        let shell = try SpawnedProcess(["/bin/sh", "-c", script, "sh"] + serverArguments(), discardingErrors: true)
        // The shell says the server's process id at once, in one write.
        let line = String(decoding: shell.output.availableData, as: UTF8.self)
        guard let pid = Int32(line.trimmingCharacters(in: .whitespacesAndNewlines)) else {
            shell.closeInput()
            throw Failure(description: "no process id from the shell: \(line)")
        }
        running.withLock { $0 = Running(shell: shell, pid: pid) }
        try await eventually("redis-server answers on port \(port)") {
            guard shell.isRunning else {
                let log = (try? String(contentsOfFile: self.folder.path("redis.log"), encoding: .utf8)) ?? ""
                throw Failure(description: "redis-server ended: \(log.suffix(500))")
            }
            // Another server on this port would answer too: the process id tells.
            return try await self.redisCLI("INFO", "server").contains("process_id:\(pid)\r")
        }
    }

    /// A configuration file comes first, and only once: a Sentinel keeps in it what it has learnt.
    private func fileArguments() -> [String] {
        guard !options.configuration.isEmpty else { return [] }
        let path = folder.path("redis.conf")
        if !FileManager.default.fileExists(atPath: path) {
            try? options.configuration.joined(separator: "\n").write(toFile: path, atomically: true, encoding: .utf8)
        }
        return [path]
    }

    private func serverArguments() -> [String] {
        if options.isSentinel {
            return fileArguments() + [
                "--sentinel", "--bind", "127.0.0.1", "--port", String(port), "--dir", folder.url.path,
                "--logfile", folder.path("redis.log"),
            ]
        }
        var arguments = [
            "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder.url.path,
            "--logfile", folder.path("redis.log"), "--daemonize", "no",
        ]
        if let certificates {
            arguments += [
                "--port", "0", "--tls-port", String(port),
                "--tls-auth-clients", options.asksForCertificates ? "yes" : "no",
                "--tls-cert-file", certificates.certificateFile, "--tls-key-file", certificates.keyFile,
                "--tls-ca-cert-file", certificates.caFile,
            ]
        } else {
            arguments += ["--port", String(port)]
        }
        if options.unixSocket { arguments += ["--unixsocket", socketPath] }
        if let password = options.password { arguments += ["--requirepass", password] }
        for user in options.users { arguments += ["--user"] + user.split(separator: " ").map(String.init) }
        return arguments + options.arguments
    }
}
