import ArgumentParser

/// The command `conduit`: one verb a file.
@main
struct ConduitCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "conduit",
        abstract: "A WebSocket server for rooms, presence and broadcasts over many nodes.",
        discussion: """
            Without a verb, `conduit` serves. Exit codes: 1 audit, bench or doctor found something wrong, 64 wrong usage, \
            65 a bad token, 69 a service can't be reached or says no, 78 wrong configuration, 128 and a signal's number \
            where that ended it.
            """,
        subcommands: [
            ServeCommand.self, CheckConfigCommand.self, ConfigCommand.self, ClusterCommand.self, TopCommand.self,
            TailCommand.self, DoctorCommand.self, AuditCommand.self, PublishCommand.self, TokenCommand.self,
            RevokeCommand.self, DrainCommand.self, RebalanceCommand.self,
            HealthCommand.self, BenchCommand.self, VersionCommand.self,
        ],
        defaultSubcommand: ServeCommand.self)
}
