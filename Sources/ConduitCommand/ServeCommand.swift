import ArgumentParser
import Conduit
import ConduitCluster
import ConduitRedis
import ConduitTelemetry
import Foundation
import Logging
import ServiceLifecycle
import UnixSignals

/// `conduit serve`: runs a node until it is told to stop.
struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Run a node (what happens without a verb, too).",
        discussion: """
            SIGTERM or SIGINT sends the clients to the other nodes and then ends; a second one ends at once. SIGHUP reads \
            the configuration and the certificate again. Without a Redis URL the node runs alone.
            """)

    @OptionGroup var options: NodeOptions

    func run() async throws {
        let configuration = try options.load()
        DescriptorLimit.raise()
        LoggingSystem.bootstrap { label in
            ConduitLogHandler(label: label, level: configuration.logLevel, format: configuration.logFormat)
        }
        var logger = Logger(label: "conduit")
        logger[metadataKey: LogKey.node] = "\(configuration.nodeID)"
        // Before the ports open: a signal must never find the default action again.
        let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint, .sighup)
        let node: ConduitNode
        do {
            node = try await ConduitNode.start(configuration: configuration, logger: logger)
        } catch {
            throw CommandExit.failure(CommandExit.unavailable, ["the node can't start: \(error)"])
        }
        announce(node, logger)
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [
                    .init(
                        service: node, successTerminationBehavior: .gracefullyShutdownGroup,
                        failureTerminationBehavior: .gracefullyShutdownGroup)
                ], logger: logger))
        let stopper = Task { [logger] in
            var isStopping = false
            for await signal in signals {
                if signal == .sighup {
                    // What has changed and what is wrong is logged there.
                    // Files and servers that hang must not keep the next signal from being heard; reloads wait for each other.
                    Task { [options] in _ = try? await node.reload { try options.read() } }
                    continue
                }
                guard !isStopping else {
                    logger.warning("stopped at once by a second signal", metadata: [LogKey.reason: "\(signal)"])
                    CommandExit.stopNow(by: signal)
                }
                isStopping = true
                logger.info("stopping: a signal came", metadata: [LogKey.reason: "\(signal)"])
                // Whoever presses Ctrl-C waits for no balancer.
                if signal == .sigint { node.skipWait() }
                await group.triggerGracefulShutdown()
            }
        }
        defer { stopper.cancel() }
        do {
            try await group.run()
        } catch let error as NodeIDTaken {
            throw CommandExit.failure(CommandExit.configuration, ["\(error)"])
        }
    }

    /// What an operator wants to know first: where to connect, who may, and which cluster this is.
    private func announce(_ node: ConduitNode, _ logger: Logger) {
        logger.info(
            "serving", metadata: [LogKey.address: "\(node.url)", LogKey.version: "\(ConduitVersion.current)"])
        if let port = node.adminPort {
            let host = node.configuration.admin.host
            logger.info(
                "admin port",
                metadata: [LogKey.address: "http://\(host.contains(":") ? "[\(host)]" : host):\(port)"])
        }
        let auth = node.configuration.auth
        if auth.isConfigured {
            logger.info(
                "authentication",
                metadata: [
                    LogKey.tokens: "\(auth.jwt.isConfigured)", LogKey.anonymous: "\(auth.allowsAnonymous)",
                    LogKey.hook:
                        "\(auth.hook.map { $0.asks.map(\.rawValue).sorted().joined(separator: ",") } ?? "none")",
                ])
        }
        if let redis = node.configuration.cluster.redis {
            logger.info(
                "cluster",
                metadata: [
                    LogKey.redis: "\(redis)", LogKey.prefix: "\(node.configuration.cluster.prefix)",
                    LogKey.readiness: "\(node.readiness)",
                ])
        } else {
            logger.info("running alone: redis.url is not set")
        }
    }
}
