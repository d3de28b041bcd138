import ArgumentParser

/// `conduit bench`: load from outside against any deployment, and what it made of it.
struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Put load on a deployment and check every delivery.",
        discussion: """
            Each kind of load opens its own connections, sends what it is told to, checks every delivery for losses, \
            duplicates and order, and prints a table. Nothing but the public protocol is used. Exit codes: 0 all came, \
            1 messages or connections failed, 64 wrong usage. Ctrl-C ends a run early; it prints what it has. \
            Docs/bench.md says what the figures mean.
            """,
        subcommands: [
            BenchConnectCommand.self, BenchFanoutCommand.self, BenchEchoCommand.self, BenchRoomsCommand.self,
            BenchCrossCommand.self, BenchChurnCommand.self, BenchPresenceCommand.self,
        ])
}
