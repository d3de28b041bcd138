import Foundation

/// A real HAProxy of one test; it dies with this object.
package final class HAProxy: Sendable {
    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    private let process: SpawnedProcess
    private let folder: TemporaryFolder

    private init(process: SpawnedProcess, folder: TemporaryFolder) {
        self.process = process
        self.folder = folder
    }

    deinit { process.signal(SIGKILL) }

    /// The program; Debian has it where only root's `PATH` leads.
    private static var program: String {
        ["/usr/sbin/haproxy", "/usr/local/sbin/haproxy"]
            .first { FileManager.default.isExecutableFile(atPath: $0) } ?? "haproxy"
    }

    /// Starts one that has these sections behind its `global`, and waits until it listens on `ports`.
    package static func start(_ sections: String, ports: [Int]) async throws -> HAProxy {
        let folder = try TemporaryFolder("haproxy")
        let file = folder.path("haproxy.cfg")
        let times = "timeout connect 5s\n timeout client 60s\n timeout server 60s\n timeout tunnel 60s"
        try "global\n fd-hard-limit 1024\ndefaults\n mode http\n \(times)\n\(sections)\n"
            .write(toFile: file, atomically: true, encoding: .utf8)
        let proxy = HAProxy(process: try SpawnedProcess([program, "-db", "-f", file]), folder: folder)
        for port in ports {
            try await eventually("HAProxy listens on \(port)") {
                guard proxy.process.isRunning else {
                    let output = String(decoding: proxy.process.output.availableData, as: UTF8.self)
                    throw Failure(description: "HAProxy ended: \(output)")
                }
                guard let socket = try? await TestSocket.connect(port: port) else { return false }
                await socket.close()
                return true
            }
        }
        return proxy
    }
}
