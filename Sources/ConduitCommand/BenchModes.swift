import ArgumentParser
import ConduitBench

/// A kind of load: what it adds to the plan. The rest is the same for all.
protocol BenchMode: AsyncParsableCommand {
    var connection: BenchConnectionOptions { get }
    func makePlan() throws -> BenchPlan
}

extension BenchMode {
    func validate() throws {
        if let problem = try makePlan().problem { throw ValidationError(problem) }
    }

    func run() async throws {
        try await BenchOutput(options: connection).run(try makePlan())
    }
}

/// `conduit bench connect`
struct BenchConnectCommand: BenchMode {
    static let configuration = CommandConfiguration(
        commandName: "connect", abstract: "Open connections, hold them, count those that stay.")

    @OptionGroup var connection: BenchConnectionOptions

    @Option(help: ArgumentHelp("How long they are held.", valueName: "seconds"))
    var hold = 5.0

    @Option(help: ArgumentHelp("Each joins one of so many rooms; none unless given.", valueName: "number"))
    var rooms: Int?

    func makePlan() throws -> BenchPlan {
        var plan = try connection.plan(.connect, clients: 1000)
        plan.hold = hold
        plan.joins = rooms != nil
        plan.rooms = rooms ?? 1
        return plan
    }
}

/// `conduit bench fanout`
struct BenchFanoutCommand: BenchMode {
    static let configuration = CommandConfiguration(
        commandName: "fanout", abstract: "All clients in one room; others publish to it.")

    @OptionGroup var connection: BenchConnectionOptions
    @OptionGroup var publishing: BenchPublisherOptions
    @OptionGroup var traffic: BenchTrafficOptions

    func makePlan() throws -> BenchPlan {
        var plan = try connection.plan(.fanout, clients: 1000)
        plan.publishers = publishing.publishers
        try traffic.apply(to: &plan, standard: .rate(50))
        return plan
    }
}

/// `conduit bench echo`
struct BenchEchoCommand: BenchMode {
    static let configuration = CommandConfiguration(
        commandName: "echo", abstract: "Every client asks for echoes; nobody is in a room.")

    @OptionGroup var connection: BenchConnectionOptions
    @OptionGroup var traffic: BenchTrafficOptions

    func makePlan() throws -> BenchPlan {
        var plan = try connection.plan(.echo, clients: 100)
        try traffic.apply(to: &plan, standard: .window(1))
        return plan
    }
}

/// `conduit bench rooms`
struct BenchRoomsCommand: BenchMode {
    static let configuration = CommandConfiguration(
        commandName: "rooms", abstract: "Clients in many rooms; each publishes to its own.")

    @OptionGroup var connection: BenchConnectionOptions

    @Option(help: ArgumentHelp("Rooms that the clients are spread over.", valueName: "number"))
    var rooms = 100

    @OptionGroup var traffic: BenchTrafficOptions

    func makePlan() throws -> BenchPlan {
        var plan = try connection.plan(.rooms, clients: 1000)
        plan.rooms = rooms
        try traffic.apply(to: &plan, standard: .rate(1000))
        return plan
    }
}

/// `conduit bench cross`
struct BenchCrossCommand: BenchMode {
    static let configuration = CommandConfiguration(
        commandName: "cross",
        abstract: "Fan-out over nodes: latency on the same node and to the others apart.",
        discussion: """
            Clients are spread over all --url, publishers are on the first. With one --url that is a balancer, nodes \
            are told apart by what they say of themselves.
            """)

    @OptionGroup var connection: BenchConnectionOptions
    @OptionGroup var publishing: BenchPublisherOptions
    @OptionGroup var traffic: BenchTrafficOptions

    func makePlan() throws -> BenchPlan {
        var plan = try connection.plan(.cross, clients: 100)
        plan.publishers = publishing.publishers
        try traffic.apply(to: &plan, standard: .rate(200))
        return plan
    }
}

/// `conduit bench churn`
struct BenchChurnCommand: BenchMode {
    static let configuration = CommandConfiguration(
        commandName: "churn", abstract: "Fan-out while others connect, join, leave and disconnect.")

    @OptionGroup var connection: BenchConnectionOptions
    @OptionGroup var publishing: BenchPublisherOptions
    @OptionGroup var traffic: BenchTrafficOptions

    @Option(help: ArgumentHelp("How many come and go a second.", valueName: "number"))
    var churnRate = 50.0

    @Option(help: ArgumentHelp("How long each stays in the room.", valueName: "seconds"))
    var churnHold = 0.2

    func makePlan() throws -> BenchPlan {
        var plan = try connection.plan(.churn, clients: 500)
        plan.publishers = publishing.publishers
        plan.churnRate = churnRate
        plan.churnHold = churnHold
        try traffic.apply(to: &plan, standard: .rate(50))
        return plan
    }
}

/// `conduit bench presence`
struct BenchPresenceCommand: BenchMode {
    static let configuration = CommandConfiguration(
        commandName: "presence",
        abstract: "All clients join one room with presence: how long it takes, what each is told.",
        discussion: """
            Connections are opened first. Then all ask to join; it ends when each has its room_joined and a \
            presence_diff with the right count, or after --settle.
            """)

    @OptionGroup var connection: BenchConnectionOptions

    @Option(help: ArgumentHelp("Comings into the room a second; all at once unless given.", valueName: "number"))
    var joinRate: Double?

    @Option(help: ArgumentHelp("Longest wait until all know of all.", valueName: "seconds"))
    var settle = 30.0

    func makePlan() throws -> BenchPlan {
        var plan = try connection.plan(.presence, clients: 1000)
        plan.joinRate = joinRate
        plan.settle = settle
        return plan
    }
}
