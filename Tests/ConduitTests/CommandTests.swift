import Conduit
import ConduitCommand
import ConduitTelemetry
import ConduitTesting
import Foundation
import Testing

/// Runs the built program as a process of its own.
enum Program {
    /// Beside the test bundle, where the build puts both.
    static var path: String {
        get throws {
            // The tests' own program or bundle lies in the folder of the products.
            let arguments = CommandLine.arguments.map { URL(fileURLWithPath: $0).deletingLastPathComponent() }
            let image = URL(
                fileURLWithPath: try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"))
            let folders = [image.deletingLastPathComponent()] + arguments
            let found = folders.map { $0.appendingPathComponent("conduit").path }.first {
                FileManager.default.isExecutableFile(atPath: $0)
            }
            if let found { return found }
            let fallback = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
                .deletingLastPathComponent().appendingPathComponent(".build/debug/conduit").path
            try #require(FileManager.default.isExecutableFile(atPath: fallback), "conduit is not built")
            return fallback
        }
    }

    /// Variables of the tests' own environment that would change what is tested are taken away.
    static func run(_ arguments: String..., environment: [String: String] = [:]) async throws -> ChildProcess.Outcome {
        try await run(arguments, environment: environment)
    }

    static func run(_ arguments: [String], environment: [String: String] = [:]) async throws -> ChildProcess.Outcome {
        let clean = ProcessInfo.processInfo.environment.keys.filter { $0.hasPrefix("CONDUIT_") }.flatMap { ["-u", $0] }
        let set = environment.map { "\($0.key)=\($0.value)" }
        return try await ChildProcess.run(["env"] + clean + set + [try path] + arguments)
    }
}

@Suite struct CommandTests {
    @Test func versionIsTheOneOfTheBuild() async throws {
        let outcome = try await Program.run("version")
        #expect(outcome.status == 0)
        #expect(outcome.output == "conduit \(ConduitVersion.current)\n")
    }

    @Test func sampleConfigurationPassesItsCheck() async throws {
        let sample = try await Program.run("config")
        #expect(sample.status == 0)
        let file = try TemporaryFile("conduit.yaml", sample.output)
        let check = try await Program.run("check-config", "--config", file.path)
        #expect(check.status == 0)
        #expect(check.output.contains("The configuration is in order.\n"))
        #expect(check.output.contains("conduit: warning: this node is OPEN"))
        #expect(try await Program.run("config", "--format", "env").output == ConfigurationDocument.environment)
        #expect(try await Program.run("config", "--format", "markdown").output == ConfigurationDocument.markdown)
    }

    @Test func brokenConfigurationListsEverythingAndExits78() async throws {
        let file = try TemporaryFile(
            "conduit.yaml", "http:\n  prot: 1\n  path: ws\nredis:\n  url: \"redis://:s3cr3t@h:x\"\n")
        let outcome = try await Program.run(
            "check-config", "--config", file.path, "--port", "abc", "--set", "cluster.lease=1s",
            environment: ["CONDUIT_LOG_FORMAT": "xml"])
        #expect(outcome.status == 78)
        let lines = outcome.output.split(separator: "\n")
        #expect(lines.first == "conduit: the configuration has 6 problems:")
        for key in ["http.prot", "http.path", "redis.url", "http.port (--port)", "cluster.lease (--set)", "log.format"]
        {
            #expect(lines.filter { $0.hasPrefix("conduit:   \(key)") }.count == 1, "\(key)")
        }
        #expect(!outcome.output.contains("s3cr3t"))
    }

    @Test func wrongUsageExits64() async throws {
        for arguments in [
            ["nonsense", "x"], ["check-config", "--set"], ["check-config", "--set", "x"], ["cluster", "--x"],
        ] {
            let outcome = try await Program.run(arguments[0], arguments.dropFirst().first ?? "")
            #expect(outcome.status == 64, "\(arguments)")
        }
        #expect(try await Program.run("cluster").status == 64)
    }

    @Test func clusterWithoutRedisExits69AndHidesThePassword() async throws {
        let port = try await RedisServer.freePort()
        let outcome = try await Program.run("cluster", "--redis-url", "redis://:s3cr3t@127.0.0.1:\(port)")
        #expect(outcome.status == 69)
        #expect(outcome.output.contains("127.0.0.1:\(port)"))
        #expect(!outcome.output.contains("s3cr3t"))
        let bad = try await Program.run("cluster", environment: ["CONDUIT_REDIS_URL": "redis+sentinel://s3cr3t@a"])
        #expect(bad.status == 78)
        #expect(!bad.output.contains("s3cr3t"))
    }

    @Test func clusterReadsTheTableFromRedis() async throws {
        let redis = try await RedisServer.start()
        let url = "redis://127.0.0.1:\(redis.port)"
        let empty = try await Program.run("cluster", "--redis-url", url)
        #expect(empty.status == 0)
        #expect(empty.output == "No node of the cluster \"conduit\" is known to this Redis.\n")
        // A heartbeat that is of now however long the machine takes.
        let now = "\(Int64(Date().timeIntervalSince1970 * 1000) + 600_000)"
        _ = try await redis.redisCLI("ZADD", "shop:nodes", now, "node-b", now, "node-a")
        _ = try await redis.redisCLI(
            "HSET", "shop:node:node-a", "state", "ready", "version", "0.1.0", "clients", "3", "rooms", "2",
            "messages_in", "40", "deliveries", "120", "relay_p99_us", "1500", "redis_rtt_us", "250")
        _ = try await redis.redisCLI("XADD", "shop:series:node-a", "1000-0", "messages_in", "10")
        _ = try await redis.redisCLI("XADD", "shop:series:node-a", "3000-0", "messages_in", "40")
        let table = try await Program.run(
            "cluster", "--prefix", "shop", environment: ["CONDUIT_REDIS_URL": url])
        #expect(table.status == 0)
        let rows = table.output.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
        #expect(rows.count == 4)
        #expect(rows[1].prefix(9) == ["node-a", "ready", "0.1.0", "3", "2", "15.0", "120", "1.5ms", "250us"])
        #expect(rows[2].prefix(9) == ["node-b", "lost", "-", "-", "-", "-", "-", "-", "-"])
        #expect(rows[3].prefix(3) == ["2", "nodes", "3"])
        let json = try await Program.run("cluster", "--prefix", "shop", "--redis-url", url, "--json")
        let object = try #require(
            try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any])
        let nodes = try #require(object["nodes"] as? [[String: Any]])
        #expect(nodes.map { $0["id"] as? String } == ["node-a", "node-b"])
        #expect(nodes[0]["clients"] as? Int == 3)
        #expect(nodes[0]["messages_in_per_second"] as? Double == 15)
        #expect((object["totals"] as? [String: Any])?["deliveries"] as? Int == 120)
        // Whatever others write, columns stand below each other and nothing commands the terminal.
        _ = try await redis.redisCLI("HSET", "shop:node:node-a", "version", "日本語", "state", "\u{1B}[2Jx")
        let hostile = try await Program.run("cluster", "--prefix", "shop", "--redis-url", url)
        let lines = hostile.output.split(separator: "\n").map(String.init)
        let places = try lines.prefix(2).map { line in
            Columns.width(
                String(line[..<(try #require(line.range(of: line == lines[0] ? "CLIENTS" : " 3 ")).upperBound)]))
        }
        #expect(places[0] + 1 == places[1] && !hostile.output.contains("\u{1B}"), "\(hostile.output)")
    }

    @Test func publishSaysWhenTheNodeIsNotThere() async throws {
        let port = try await RedisServer.freePort()
        let outcome = try await Program.run(
            "publish", "--admin", "http://127.0.0.1:\(port)", "--all", "--type", "t", "--payload", "{}")
        #expect(outcome.status == 69)
        #expect(outcome.output == "conduit: http://127.0.0.1:\(port) can't be reached: connection refused\n")
        let withPassword = try await Program.run("rebalance", "--admin", "http://a:s3cr3t@127.0.0.1:\(port)")
        #expect(withPassword.status == 64 && !withPassword.output.contains("s3cr3t"), "\(withPassword.output)")
        for arguments in ["--all --room r --type t", "--type t", "--all --type t --payload {"] {
            let words = arguments.split(separator: " ").map(String.init)
            let wrong = try await ChildProcess.run([try Program.path, "publish"] + words)
            #expect(wrong.status == 64, "\(arguments)")
        }
    }
}
