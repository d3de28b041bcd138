import ArgumentParser
import ConduitCluster
import ConduitRedis
import Foundation

/// `conduit top`: a live view of a cluster, read from Redis alone.
struct TopCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "top", abstract: "Watch a cluster live, as Redis has it.",
        discussion: """
            Nodes with clients, rooms, rates, percentiles and their course, the busiest rooms and the last events. Press ? \
            for the keys. Where the output is no terminal, or with --once, it is printed once. No node is asked.
            """)

    @OptionGroup var options: ClusterOptions

    @Option(help: ArgumentHelp("How often to look, in seconds, 0.2 to 60.", valueName: "number"))
    var interval = 1.0

    @Flag(help: "Print everything once and end.")
    var once = false

    @Option(help: ArgumentHelp("Columns, with --once; else the terminal's, else 80.", valueName: "number"))
    var width: Int?

    mutating func validate() throws {
        guard interval >= 0.2, interval <= 60 else { throw ValidationError("--interval takes 0.2 to 60 seconds") }
        if let width, !(20...1_000).contains(width) { throw ValidationError("--width takes 20 to 1000") }
    }

    func run() async throws {
        let cluster = try options.load()
        let terminal = once ? nil : Terminal()
        do {
            try await ClusterReader.withServer(in: cluster) { reader in
                guard let terminal else {
                    let reading = try await TopReading.read(
                        reader, prefix: cluster.prefix, TopHistory(), samples: TopSession.once)
                    let lines = TopFrame(reading, width: width ?? Self.outputWidth).whole()
                    return print(lines.map(\.plain).joined(separator: "\n"))
                }
                try await TopSession(
                    reader: reader, prefix: cluster.prefix, interval: .milliseconds(Int64(interval * 1_000)), terminal
                ).run()
            }
        } catch let error as ExitCode {
            throw error
        } catch {
            throw CommandExit.unreadable(cluster.redis, error)
        }
    }

    private static var outputWidth: Int {
        if let terminal = Terminal() { return terminal.size.columns }
        return ProcessInfo.processInfo.environment["COLUMNS"].flatMap { Int($0) } ?? 80
    }
}
