import ArgumentParser
import Conduit
import ConduitBench
import NIOCore

/// `conduit health`: asks a running node how it is, for images and scripts that have no HTTP client.
struct HealthCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "health",
        abstract: "Ask a running node whether it is alive; exit code 0 when it is, 69 when not.",
        discussion: """
            Without --url the node of the same flags, environment and file is asked: GET /health on its public port, \
            or, where that speaks TLS, GET /health/live on its admin port. \
            With --url any http address will do, such as http://127.0.0.1:8080/ready.
            """)

    @OptionGroup var options: NodeOptions

    @Option(help: ArgumentHelp("Ask this address instead.", valueName: "url"))
    var url: String?

    @Option(help: ArgumentHelp("How long an answer may take, in seconds.", valueName: "number"))
    var timeout = 2.0

    mutating func validate() throws {
        guard timeout > 0, timeout <= 60 else { throw ValidationError("--timeout takes up to 60 seconds") }
        if let url, HealthProbe(url: url) == nil {
            throw ValidationError("--url takes an address such as http://127.0.0.1:8080/ready")
        }
    }

    func run() async throws {
        let probe = try url.flatMap { HealthProbe(url: $0) } ?? ownProbe()
        do {
            let status = try await probe.status(within: .milliseconds(Int64(timeout * 1000)))
            guard status == 200 else {
                throw CommandExit.failure(CommandExit.unavailable, ["\(probe) answered \(status)"])
            }
            print("\(probe) answered 200")
        } catch let error as ExitCode {
            throw error
        } catch {
            throw CommandExit.failure(CommandExit.unavailable, ["\(probe): \(FailureText.describe(error))"])
        }
    }

    /// The node that `conduit serve` with the same settings runs on this machine.
    private func ownProbe() throws -> HealthProbe {
        let configuration = try options.load()
        let gateway = configuration.gateway
        if gateway.tls != nil {
            guard configuration.admin.isEnabled, configuration.admin.port != 0 else {
                throw ValidationError("the public port speaks TLS and there is no admin port to ask: use --url")
            }
            return HealthProbe(
                host: configuration.admin.host, port: configuration.admin.port, path: "/health/live")
        }
        guard gateway.port != 0 else {
            throw ValidationError("http.port is 0, so the node has a port that nobody knows beforehand: use --url")
        }
        let host = configuration.listeningHost(isAuthenticated: configuration.auth.isConfigured)
        return HealthProbe(host: host, port: gateway.port, path: "/health")
    }
}
