import Conduit
import ConduitTesting
import Foundation
import Testing

/// `conduit bench` as a process: usage, exit codes, what it prints.
@Suite(.timeLimit(.minutes(5)))
struct BenchCommandTests {
    private func run(_ arguments: String, environment: [String: String] = [:]) async throws -> ChildProcess.Outcome {
        let words = ["bench"] + arguments.split(separator: " ").map(String.init)
        let clean = ["-u", "CONDUIT_BENCH_TOKEN", "-u", "CONDUIT_ADMIN_TOKEN"]
        let set = environment.map { "\($0.key)=\($0.value)" }
        return try await ChildProcess.run(["env"] + clean + set + [try Program.path] + words)
    }

    @Test(arguments: [
        "fanout", "nonsense --url ws://h/", "fanout --url http://h/", "fanout --url ws://h/ --rate 1 --window 1",
        "fanout --url ws://h/ --payload 10", "rooms --url ws://h/ --clients 5 --rooms 6",
        "echo --url ws://h/ --source here", "connect --url ws://h/ --header x", "echo --url ws://h/ --threads 0",
        "churn --url ws://h/ --churn-rate 0", "connect --url ws://h/ --rate 1",
    ])
    func wrongUsageExits64(_ arguments: String) async throws {
        let outcome = try await run(arguments)
        #expect(outcome.status == 64, "\(outcome.output)")
    }

    @Test func tokenThatNoHeaderCarriesIsRefused() async throws {
        let outcome = try await run("echo --url ws://h/", environment: ["CONDUIT_BENCH_TOKEN": "a b"])
        #expect(outcome.status == 64)
    }

    @Test func whereNobodyListensItExits1AndSaysWhy() async throws {
        let port = try await RedisServer.freePort()
        let outcome = try await run("echo --url ws://127.0.0.1:\(port)/ws --quiet")
        #expect(outcome.status == 1)
        #expect(outcome.output.hasSuffix("connections could be opened: connection refused\n"), "\(outcome.output)")
    }

    @Test func goodRunExits0WithATableOrJSON() async throws {
        try await TestNode.with { node in
            let common = "fanout --url \(node.node.url) --clients 3 --rate 50 --duration 0.3 --warmup 0 --quiet"
            let table = try await run(common)
            #expect(table.status == 0, "\(table.output)")
            #expect(table.output.hasPrefix("conduit bench         fanout\n"), "\(table.output)")
            let json = try await run(common + " --json")
            let object = try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any]
            #expect(object?["ok"] as? Bool == true)
            let folder = try TemporaryFolder("bench")
            let both = try await run(common + " --json \(folder.path("report.json"))")
            #expect(both.output.hasPrefix("conduit bench "), "\(both.output)")
            let file = try Data(contentsOf: URL(fileURLWithPath: folder.path("report.json")))
            #expect((try JSONSerialization.jsonObject(with: file) as? [String: Any])?["mode"] as? String == "fanout")
        }
    }

    @Test func progressIsALineASecondWhereThereIsNoTerminal() async throws {
        try await TestNode.with { node in
            let outcome = try await run("fanout --url \(node.node.url) --clients 2 --duration 1.5 --warmup 0.1")
            #expect(outcome.status == 0, "\(outcome.output)")
            #expect(outcome.output.contains(" of 3 connections"), "\(outcome.output)")
        }
    }

    @Test func signalEndsARunWithItsReport() async throws {
        try await TestNode.with { node in
            let process = try SpawnedProcess([
                try Program.path, "bench", "fanout", "--url", node.node.url, "--clients", "2", "--duration", "3600",
            ])
            // Its first line of progress: it runs.
            var output = String(decoding: process.output.availableData, as: UTF8.self)
            #expect(output.contains("connections"), "\(output)")
            kill(process.pid, SIGINT)
            output = String(decoding: try process.output.readToEnd() ?? Data(), as: UTF8.self)
            #expect(try await process.wait() == 0, "\(output)")
            #expect(output.contains("(stopped early)"), "\(output)")
        }
    }
}
