import ArgumentParser
import ConduitCluster
import ConduitCore
import ConduitRedis

/// `conduit audit`: asks every node what it has sent and seen, and says whether the numbers add up.
struct AuditCommand: AsyncParsableCommand {
    enum Format: String, ExpressibleByArgument, CaseIterable {
        case table, json
    }

    static let configuration = CommandConfiguration(
        commandName: "audit", abstract: "Ask all nodes what they have sent and seen, and say whether it adds up.",
        discussion: "Exit code 1: something differs, and it is named. The nodes are asked over Redis.")

    @Argument(help: ArgumentHelp("Only this room; else everything.", valueName: "room"))
    var room: String?

    @OptionGroup var options: ClusterOptions

    @Option(help: "table or json.")
    var format = Format.table

    func run() async throws {
        let cluster = try options.load()
        guard let room = try room.map(Self.read) else {
            return try await audit(Array(cluster.servers.indices), of: cluster, nil)
        }
        try await audit([cluster.choice.index(of: room)], of: cluster, room)
    }

    private static func read(_ name: String) throws -> RoomName {
        guard let room = RoomName(name) else { throw ValidationError("\(name) is not a room's name") }
        return room
    }

    /// Each server is a bus of its own, with counts of its own.
    private func audit(_ servers: [Int], of cluster: ClusterConfiguration, _ room: RoomName?) async throws {
        var addsUp = true
        for index in servers {
            let redis = cluster.servers[index]
            let report: AuditReport
            do {
                report = try await RedisClient.withConnection(redis) { client in
                    try await Audit(reader: ClusterReader(client: client, prefix: cluster.prefix), room: room).run()
                }
            } catch {
                throw CommandExit.unreadable(redis, error)
            }
            addsUp = addsUp && report.addsUp
            if servers.count > 1, format == .table { print("server \(index): \(redis)") }
            switch format {
            case .json: print(report.json, terminator: "")
            case .table:
                guard let room else {
                    print(report.text, terminator: "")
                    continue
                }
                let channel = ClusterKeys(prefix: cluster.prefix).channel(.room(room))
                print(report.text(room: room.rawValue, channel: channel), terminator: "")
            }
        }
        if !addsUp { throw ExitCode(1) }
    }
}

/// Asks the nodes of one server until their answers agree, for a few seconds at most.
struct Audit {
    /// Channels that one node is asked for; with more of them, every n-th.
    private static let channels: Int64 = 10_000
    /// Ordered rooms whose logs are looked at.
    private static let logs = 1_000
    private static let rounds = 10
    private static let between: Duration = .milliseconds(300)
    /// How long the slowest node may take.
    private static let patience: Duration = .seconds(2)

    private let reader: ClusterReader
    private let room: RoomName?

    init(reader: ClusterReader, room: RoomName?) {
        self.reader = reader
        self.room = room
    }

    func run() async throws -> AuditReport {
        let rows = try await reader.nodes().filter { !$0.fields.isEmpty }
        let nodes = rows.map(\.node.rawValue)
        let most = rows.compactMap { $0.number("subscriptions") }.max() ?? 0
        let every = UInt32(clamping: max(1, most / Self.channels))
        let first = try await ask(nodes, every: every)
        let rooms = Set(first.flatMap(\.ordered.keys)).sorted().prefix(Self.logs).compactMap { RoomName($0) }
        let tops = try await reader.logTops(of: rooms)
        var (before, last) = (first, first)
        var report = AuditReport(nodes: nodes, first: first, before: first, last: first, tops: tops)
        for _ in 0..<Self.rounds {
            try await Task.sleep(for: Self.between)
            (before, last) = (last, try await ask(nodes, every: every))
            report = AuditReport(nodes: nodes, first: first, before: before, last: last, tops: tops)
            if report.addsUp { break }
        }
        return report
    }

    private func ask(_ nodes: [String], every: UInt32) async throws -> [AuditAnswer] {
        let request = try await reader.askAudit(every: every, room: room)
        let clock = ContinuousClock()
        let deadline = clock.now + Self.patience
        var answers: [AuditAnswer] = []
        while clock.now < deadline {
            answers = AuditAnswer.read(try await reader.auditParts(of: request))
            let complete = Set(answers.filter(\.isComplete).map(\.node))
            if complete.isSuperset(of: nodes) { break }
            try await Task.sleep(for: .milliseconds(20))
        }
        try await reader.forgetAudit(request)
        return answers
    }
}
