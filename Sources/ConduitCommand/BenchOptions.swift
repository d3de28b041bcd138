import ArgumentParser
import ConduitBench
import Foundation

/// Where to, as whom, how many at a time, and what to print: the same for every kind of load.
struct BenchConnectionOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Where to connect; several are used in turn.", valueName: "url"))
    var url: [String] = []

    @Option(help: ArgumentHelp("Connections that last: members of rooms, mostly.", valueName: "number"))
    var clients: Int?

    @Option(help: ArgumentHelp("Connections a second; as fast as they come unless given.", valueName: "number"))
    var connectRate: Double?

    @Option(help: ArgumentHelp("Handshakes under way at a time.", valueName: "number"))
    var concurrency = 100

    @Option(help: ArgumentHelp("How long one connection may take until it is ready.", valueName: "seconds"))
    var connectTimeout = 10.0

    @Option(
        help: ArgumentHelp(
            "Local address to connect from, or a range such as 127.0.0.2-127.0.0.9; may be repeated.",
            valueName: "address"))
    var source: [String] = []

    @Option(help: ArgumentHelp("Event loops, a core each.", valueName: "number"))
    var threads = 1

    @Option(help: ArgumentHelp("Token for the handshake; else CONDUIT_BENCH_TOKEN.", valueName: "token"))
    var token: String?

    @Option(help: ArgumentHelp("Header for the handshake, \"Name: value\"; may be repeated.", valueName: "header"))
    var header: [String] = []

    @Option(help: ArgumentHelp("Subprotocol to ask for, such as conduit.v1.json.", valueName: "name"))
    var subprotocol: String?

    @Option(help: ArgumentHelp("What rooms' names begin with: the namespace whose policy they get.", valueName: "name"))
    var roomNamespace = "bench"

    @Option(
        help: ArgumentHelp(
            "Second part of rooms' names, so that others can be in them; random unless given.", valueName: "name"))
    var runID: String?

    @Flag(help: "Take any certificate (wss://).")
    var insecure = false

    @Option(
        help: ArgumentHelp(
            "Admin port of a node, for the servers' CPU a delivery; may be repeated.", valueName: "url"))
    var adminURL: [String] = []

    @Option(help: ArgumentHelp("Its token; else CONDUIT_ADMIN_TOKEN.", valueName: "token"))
    var adminToken: String?

    @Option(
        defaultAsFlag: "-",
        help: ArgumentHelp("Print JSON instead of the table; with a file, write it there beside the table."))
    var json: String?

    @Flag(help: "No progress.")
    var quiet = false

    /// A plan with all of this.
    func plan(_ mode: BenchPlan.Mode, clients standard: Int) throws -> BenchPlan {
        let targets = try url.map { text in
            guard let target = BenchTarget(text) else {
                throw ValidationError("--url \(text) is not a URL such as ws://127.0.0.1:8000/ws or wss://host/ws")
            }
            return target
        }
        var plan = BenchPlan(mode: mode, targets: targets, clients: clients ?? standard)
        plan.connectRate = connectRate
        plan.concurrency = concurrency
        plan.connectTimeout = connectTimeout
        plan.threads = threads
        plan.insecure = insecure
        plan.roomNamespace = roomNamespace
        if let runID { plan.runID = runID }
        plan.adminURLs = adminURL
        let environment = ProcessInfo.processInfo.environment
        plan.adminToken = try Self.visible(adminToken ?? environment["CONDUIT_ADMIN_TOKEN"], "--admin-token")
        do throws(BenchError) {
            plan.sources = source.isEmpty ? nil : try SourceAddresses.parse(source)
        } catch {
            throw ValidationError(error.description)
        }
        plan.request.token = try Self.visible(token ?? environment["CONDUIT_BENCH_TOKEN"], "--token")
        plan.request.subprotocol = try Self.visible(subprotocol, "--subprotocol")
        plan.request.headers = try header.map { text in
            guard let header = HandshakeRequest.Header(text) else {
                throw ValidationError("--header takes \"Name: value\" and none of the handshake's own")
            }
            return header
        }
        return plan
    }

    /// What a header can carry; nothing for an empty text.
    private static func visible(_ text: String?, _ flag: String) throws -> String? {
        guard let text, !text.isEmpty else { return nil }
        guard text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw ValidationError("\(flag) has characters that no header can carry")
        }
        return text
    }
}

/// What is sent, how fast and how long.
struct BenchTrafficOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Open loop: messages a second of all publishers together. Latency counts from when a message was due.",
            valueName: "number"))
    var rate: Double?

    @Option(
        help: ArgumentHelp(
            "Closed loop: messages of each publisher under way. For throughput; latency counts from the sending.",
            valueName: "number"))
    var window: Int?

    @Option(help: ArgumentHelp("Bytes of payload of a message, at least 40.", valueName: "number"))
    var payload = 100

    @Option(help: ArgumentHelp("Seconds that are measured.", valueName: "seconds"))
    var duration = 10.0

    @Option(help: ArgumentHelp("Seconds before them.", valueName: "seconds"))
    var warmup = 1.0

    @Option(help: ArgumentHelp("Longest wait for the last deliveries.", valueName: "seconds"))
    var drain = 5.0

    @Option(
        help: ArgumentHelp("Closed loop: when a message that does not arrive is given up.", valueName: "seconds"))
    var lossTimeout = 2.0

    @Flag(help: "Publishers ask for an ack of every message; without one it counts as failed.")
    var acks = false

    func apply(to plan: inout BenchPlan, standard: BenchPlan.Load) throws {
        guard rate == nil || window == nil else { throw ValidationError("give one of --rate and --window") }
        plan.load = rate.map { .rate($0) } ?? window.map { .window($0) } ?? standard
        plan.payloadBytes = payload
        plan.duration = duration
        plan.warmup = warmup
        plan.drain = drain
        plan.lossTimeout = lossTimeout
        plan.acks = acks
    }
}

/// Who publishes, where that is not everybody.
struct BenchPublisherOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Connections that publish; they are no members.", valueName: "number"))
    var publishers = 1
}
