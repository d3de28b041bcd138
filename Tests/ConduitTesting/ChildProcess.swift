import Dispatch
package import Foundation

/// Runs a program to its end and hands back what it said; for tests only.
package enum ChildProcess {
    /// How a program ended.
    package struct Outcome: Sendable {
        /// Standard output and standard error, as text.
        package let output: String
        package let status: Int32
    }

    /// Runs `arguments[0]` (found in `PATH`) without blocking the caller's executor.
    package static func run(_ arguments: [String], input: String? = nil) async throws -> Outcome {
        let process = try SpawnedProcess(arguments)
        if let input { try process.write(input) }
        process.closeInput()
        let data = try await withCheckedThrowingContinuation { continuation in
            DispatchQueue.global().async {
                continuation.resume(with: Result { try process.output.readToEnd() ?? Data() })
            }
        }
        return Outcome(output: String(decoding: data, as: UTF8.self), status: try await process.wait())
    }
}

/// A folder of one test; removed with everything in it when the value goes away.
package final class TemporaryFolder: Sendable {
    package let url: URL

    package init(_ name: String = "conduit") throws {
        // Short names: a unix socket's path has room for about a hundred bytes.
        url = FileManager.default.temporaryDirectory
            .appendingPathComponent("\(name)-\(String(UInt64.random(in: 0...UInt64.max), radix: 36))")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    }

    package func path(_ name: String) -> String { url.appendingPathComponent(name).path }

    deinit { try? FileManager.default.removeItem(at: url) }
}
