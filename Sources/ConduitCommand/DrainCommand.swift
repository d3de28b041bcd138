import ArgumentParser
import ConduitCore
import NIOCore

/// `conduit drain`: makes a node send its clients to the others and end, through the admin port of any node.
struct DrainCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drain", abstract: "Make a node send its clients to the others and end.",
        discussion: """
            The same as SIGTERM to that node: it isn't ready any more, refuses clients a little later, and sends those \
            that it has away at a pace. Returns when it has begun.
            """)

    @Argument(help: ArgumentHelp("The node's name.", valueName: "node"))
    var node: String

    @OptionGroup var port: AdminOptions

    @Option(help: ArgumentHelp("How long it may take, in seconds; else its shutdown.timeout.", valueName: "seconds"))
    var timeout: Double?

    func validate() throws {
        guard NodeID(node) != nil else { throw ValidationError("\(node) is no node's name") }
        if let timeout, !(0.001...3_600).contains(timeout) {
            throw ValidationError("--timeout is from 0.001 to 3600 seconds")
        }
    }

    func run() async throws {
        let body = ByteBuffer(string: timeout.map { "{\"timeout_ms\":\(Int64(($0 * 1_000).rounded()))}" } ?? "{}")
        try await port.post("nodes/\(node)/drain", body)
    }
}

/// `conduit rebalance`: makes the nodes that have too many clients send some to the others.
struct RebalanceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rebalance", abstract: "Share the clients of the cluster out again.",
        discussion: """
            Nodes that have more clients than the mean (and rebalance.tolerance) send rebalance.share percent of them \
            away a minute until they are near it. Prints who does, and the mean.
            """)

    @OptionGroup var port: AdminOptions

    func run() async throws {
        try await port.post("rebalance", ByteBuffer(string: "{}"))
    }
}
