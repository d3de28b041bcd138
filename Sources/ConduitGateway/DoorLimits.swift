import ConduitCore
import ConduitHub
import NIOConcurrencyHelpers
import NIOCore

/// Which limit kept a connection out: the label of its metric, named like the setting.
enum DoorLimit: Int, Sendable, CaseIterable {
    case connections, connectionsPerAddress, connectionsPerUser
    case handshakesPerSecond, handshakesPerSecondPerAddress, handshaking
    case memory

    var label: String {
        switch self {
        case .connections: "connections"
        case .connectionsPerAddress: "connections_per_address"
        case .connectionsPerUser: "connections_per_user"
        case .handshakesPerSecond: "handshakes_per_second"
        case .handshakesPerSecondPerAddress: "handshakes_per_second_per_address"
        case .handshaking: "handshaking"
        case .memory: "memory_bytes"
        }
    }
}

/// The limits that all loops keep together. Asked once a handshake, told once at a connection's end.
final class DoorLimits: Sendable {
    /// What may change while the node runs.
    private struct Settings {
        var connections = 0
        var perAddress = 0
        var perUser = 0
        var perSecond = 0
        var addressPerSecond = 0
        var rate: TokenBucket?
        var addressRates: RateTable?

        mutating func take(_ new: GatewayConfiguration) {
            connections = new.connections
            perAddress = new.connectionsPerAddress
            perUser = new.connectionsPerUser
            if perSecond != new.handshakesPerSecond {
                perSecond = new.handshakesPerSecond
                rate = perSecond > 0 ? TokenBucket(perSecond: perSecond, burst: perSecond, now: DoorLimits.now) : nil
            }
            if addressPerSecond != new.handshakesPerSecondPerAddress {
                addressPerSecond = new.handshakesPerSecondPerAddress
                addressRates = addressPerSecond > 0 ? RateTable(perSecond: addressPerSecond) : nil
            }
        }
    }

    private let counters: GatewayCounters
    /// Taken once a handshake.
    private let settings: NIOLockedValueBox<Settings>
    let addresses = PlaceTable<IPAddress>()
    let users = PlaceTable<UserID>()

    /// Whether anything is counted by address: without, nobody needs to know it.
    var needsAddress: Bool { settings.withLockedValue { $0.perAddress > 0 || $0.addressRates != nil } }

    init(_ configuration: GatewayConfiguration, counters: GatewayCounters) {
        self.counters = counters
        var settings = Settings()
        settings.take(configuration)
        self.settings = NIOLockedValueBox(settings)
    }

    /// Other limits for who comes from now on. Nobody who is here has to go, and where a limit by address or user begins to
    /// hold, those who are here are not counted.
    func reload(_ configuration: GatewayConfiguration) { settings.withLockedValue { $0.take(configuration) } }

    /// Most upgraded connections; 0 for no limit.
    var connections: Int { settings.withLockedValue { $0.connections } }

    /// What a connection that is to be upgraded has got. Only what is said here is given back, whatever holds by then.
    enum Entry {
        /// It has its places; with the address that was counted, where addresses are.
        case entered(IPAddress?)
        case refused(Refusal)
    }

    /// What a client that is known now has got.
    enum UserEntry {
        /// It may come in; with the user who was counted, where users are.
        case entered(UserID?)
        case full
    }

    fileprivate static var now: Int64 { Int64(NIODeadline.now().uptimeNanoseconds / 1_000_000) }

    /// Takes the places of a connection that is to be upgraded, or says why there are none.
    ///
    /// What is counted by address comes first, so that one address can't use up what is there for all.
    func enter(_ address: IPAddress?) -> Entry {
        let now = Self.now
        let key = address?.subscriber
        let (connections, perAddress, addressRates) = settings.withLockedValue {
            ($0.connections, $0.perAddress, $0.addressRates)
        }
        if let key, let wait = addressRates?.take(key, now: now) {
            counters.count(.handshakesPerSecondPerAddress)
            return .refused(
                Refusal(.tooManyRequests, "too many handshakes from this address", Self.retryAfter(wait)))
        }
        if let wait = takeRate(now) {
            counters.count(.handshakesPerSecond)
            // Not all at the same time again.
            return .refused(
                Refusal(
                    .serviceUnavailable, "too many handshakes", Self.retryAfter(wait + Int64.random(in: 0...4_000))))
        }
        guard counters.takePlace(limit: connections) else {
            counters.count(.connections)
            return .refused(Refusal(.serviceUnavailable, "no more connections", [("Retry-After", "5")]))
        }
        guard perAddress > 0, let key else { return .entered(nil) }
        guard addresses.take(key, limit: perAddress) else {
            counters.returnPlace()
            counters.count(.connectionsPerAddress)
            return .refused(
                Refusal(.tooManyRequests, "too many connections from this address", [("Retry-After", "5")]))
        }
        return .entered(address)
    }

    private func takeRate(_ now: Int64) -> Int64? {
        settings.withLockedValue { settings in
            guard settings.rate?.take(now: now) == false else { return nil }
            return settings.rate?.wait(now: now)
        }
    }

    private static func retryAfter(_ milliseconds: Int64) -> [(String, String)] {
        [("Retry-After", String(max(1, (milliseconds + 999) / 1_000)))]
    }

    /// The places of a connection that isn't upgraded are free again; `address`: the one that was counted.
    func leave(_ address: IPAddress?) {
        counters.returnPlace()
        if let key = address?.subscriber { addresses.giveBack(key) }
    }

    /// Takes a place of its user for a client that is known now, where there is one.
    func enter(_ user: UserID?) -> UserEntry {
        let perUser = settings.withLockedValue { $0.perUser }
        guard perUser > 0, let user else { return .entered(nil) }
        guard users.take(user, limit: perUser) else {
            counters.count(.connectionsPerUser)
            return .full
        }
        return .entered(user)
    }

    /// Who is told when the connection ends: one for all where nothing was counted by address or user.
    func observer(address: IPAddress?, user: UserID?) -> any ConnectionObserver {
        let address = address?.subscriber
        return address == nil && user == nil ? counters : CountedConnection(limits: self, address: address, user: user)
    }

    fileprivate func end(address: IPAddress?, user: UserID?) {
        counters.connectionEnded()
        if let address { addresses.giveBack(address) }
        if let user { users.giveBack(user) }
    }

    /// Forgets addresses that count for nothing any more.
    func sweep() { settings.withLockedValue { $0.addressRates }?.sweep(now: Self.now) }

    /// Addresses whose handshakes are remembered.
    var rememberedAddresses: Int { settings.withLockedValue { $0.addressRates }?.count ?? 0 }
}

/// A connection that has places by address or user.
private final class CountedConnection: ConnectionObserver {
    private let limits: DoorLimits
    private let address: IPAddress?
    private let user: UserID?

    init(limits: DoorLimits, address: IPAddress?, user: UserID?) {
        self.limits = limits
        self.address = address
        self.user = user
    }

    func connectionEnded() { limits.end(address: address, user: user) }
}
