/// Everything that decides what a run does.
package struct BenchPlan: Sendable {
    package enum Mode: String, Sendable, CaseIterable {
        case connect, fanout, echo, rooms, cross, churn, presence
    }

    /// How messages are paced.
    package enum Load: Sendable, Hashable {
        /// Open loop: so many messages a second of all publishers together, whatever the server does.
        case rate(Double)
        /// Closed loop: each publisher has so many messages under way.
        case window(Int)
    }

    package var mode: Mode
    package var targets: [BenchTarget]
    /// Members, or connections of `connect` and `echo`.
    package var clients: Int
    package var publishers = 1
    package var rooms = 1
    package var load = Load.rate(100)
    package var payloadBytes = 100
    package var duration = 10.0
    package var warmup = 1.0
    /// Longest wait for what is still to come, after the last message was sent.
    package var drain = 5.0
    /// Closed loop: a message that has not reached everybody after this is given up.
    package var lossTimeout = 2.0
    /// Connections a second; `nil` is as fast as `concurrency` allows.
    package var connectRate: Double?
    /// Handshakes under way.
    package var concurrency = 100
    package var connectTimeout = 10.0
    package var sources: SourceAddresses?
    package var threads = 1
    package var request = HandshakeRequest()
    /// Takes any certificate.
    package var insecure = false
    /// `connect`: how long the connections stay.
    package var hold = 5.0
    /// `connect`: joins a room each.
    package var joins = false
    /// `churn`: connections a second that come and go.
    package var churnRate = 50.0
    /// `churn`: how long each stays.
    package var churnHold = 0.2
    /// What the names of rooms begin with, up to the colon: rooms of a namespace have its policy.
    package var roomNamespace = "bench"
    /// Publishers ask for an `ack` of every message and count them.
    package var acks = false
    /// `presence`: comings into the room a second; `nil` is all at once.
    package var joinRate: Double?
    /// `presence`: how long at most until the last member is in and has been told of all the others.
    package var settle = 30.0
    /// Part of the names of rooms, so that runs don't meet.
    package var runID: String
    /// Admin ports whose figures are read before and after.
    package var adminURLs: [String] = []
    package var adminToken: String?

    package init(mode: Mode, targets: [BenchTarget], clients: Int, runID: String? = nil) {
        self.mode = mode
        self.targets = targets
        self.clients = clients
        self.runID = runID ?? String(UInt32.random(in: 0...UInt32.max), radix: 36)
    }

    package var layout: TrafficLayout {
        switch mode {
        case .connect: TrafficLayout(members: clients, publishers: 0, rooms: rooms)
        case .presence: TrafficLayout(members: clients, publishers: 0, rooms: 1)
        case .echo: TrafficLayout(members: clients, publishers: clients, rooms: clients)
        case .rooms: TrafficLayout(members: clients, publishers: clients, rooms: rooms)
        case .fanout, .cross, .churn: TrafficLayout(members: clients, publishers: publishers, rooms: 1)
        }
    }

    /// Connections that last for the whole run.
    package var connections: Int {
        switch mode {
        case .connect, .echo, .rooms, .presence: clients
        case .fanout, .cross, .churn: clients + publishers
        }
    }

    /// The most that may come and go at a time.
    package var churners: Int {
        mode == .churn ? min(10_000, Int(churnRate * (churnHold + 3)) + 64) : 0
    }

    package func room(_ index: Int) -> String { "\(roomNamespace):\(runID):\(index)" }

    /// What would end the JSON string that a room's name stands in, or the namespace itself.
    private static let special: [UInt8] = [UInt8(ascii: ":"), UInt8(ascii: "\""), UInt8(ascii: "\\")]

    /// The first thing that makes no sense, in words.
    package var problem: String? {
        if targets.isEmpty { return "give at least one --url, such as ws://127.0.0.1:8000/ws" }
        if !(1...1_000_000).contains(clients) { return "--clients is from 1 to 1,000,000" }
        if !(1...10_000).contains(publishers) { return "--publishers is from 1 to 10,000" }
        if rooms < 1 || rooms > clients { return "--rooms is from 1 to the number of clients" }
        for (name, option) in [(roomNamespace, "--room-namespace"), (runID, "--run-id")]
        where !(1...64).contains(name.utf8.count)
            || !name.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && !Self.special.contains($0) })
        {
            return "\(option) is 1 to 64 visible characters without colon, quotes and backslash"
        }
        if acks, mode == .echo { return "--acks needs messages to a room" }
        if layout.publishers > DeliveryMark.maximumPublishers {
            return "more than \(DeliveryMark.maximumPublishers) clients can't publish"
        }
        if !(MessageTemplate.minimumPayload...1_048_576).contains(payloadBytes) {
            return "--payload is from \(MessageTemplate.minimumPayload) to 1048576 bytes"
        }
        switch load {
        case .rate(let rate):
            if !(rate > 0 && rate <= 10_000_000) { return "--rate is above 0 and up to 10,000,000" }
        case .window(let window):
            if !(1...4096).contains(window) { return "--window is from 1 to 4096" }
        }
        let times: [(String, Double, Double, Double)] = [
            ("--duration", duration, 0.1, 86_400), ("--warmup", warmup, 0, 3600), ("--drain", drain, 0, 600),
            ("--connect-timeout", connectTimeout, 0.1, 600), ("--hold", hold, 0, 86_400),
            ("--churn-hold", churnHold, 0, 600), ("--loss-timeout", lossTimeout, 0.1, 600),
            ("--settle", settle, 0.1, 3600),
        ]
        for (name, value, least, most) in times where !(value >= least && value <= most) {
            return "\(name) is from \(least) to \(most) seconds"
        }
        if let connectRate, !(connectRate > 0 && connectRate <= 1_000_000) {
            return "--connect-rate is above 0 and up to 1,000,000"
        }
        if let joinRate, !(joinRate > 0 && joinRate <= 1_000_000) {
            return "--join-rate is above 0 and up to 1,000,000"
        }
        if !(1...10_000).contains(concurrency) { return "--concurrency is from 1 to 10,000" }
        if !(1...64).contains(threads) { return "--threads is from 1 to 64" }
        if !(churnRate > 0 && churnRate <= 10_000) { return "--churn-rate is above 0 and up to 10,000" }
        return nil
    }
}
