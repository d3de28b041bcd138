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
    private let connections: Int
    private let perAddress: Int
    private let perUser: Int
    private let counters: GatewayCounters
    private let rate: NIOLockedValueBox<TokenBucket>?
    private let addressRates: RateTable?
    let addresses = PlaceTable<IPAddress>()
    let users = PlaceTable<UserID>()

    init(_ configuration: GatewayConfiguration, counters: GatewayCounters) {
        self.counters = counters
        connections = configuration.connections
        perAddress = configuration.connectionsPerAddress
        perUser = configuration.connectionsPerUser
        let perSecond = configuration.handshakesPerSecond
        rate =
            perSecond > 0
            ? NIOLockedValueBox(TokenBucket(perSecond: perSecond, burst: perSecond, now: Self.now)) : nil
        let addressPerSecond = configuration.handshakesPerSecondPerAddress
        addressRates = addressPerSecond > 0 ? RateTable(perSecond: addressPerSecond) : nil
    }

    private static var now: Int64 { Int64(NIODeadline.now().uptimeNanoseconds / 1_000_000) }

    /// Takes the places of a connection that is to be upgraded, or says why there are none.
    ///
    /// What is counted by address comes first, so that one address can't use up what is there for all.
    func enter(_ address: IPAddress?) -> Refusal? {
        let now = Self.now
        let key = address?.subscriber
        if let key, let wait = addressRates?.take(key, now: now) {
            counters.count(.handshakesPerSecondPerAddress)
            return Refusal(.tooManyRequests, "too many handshakes from this address", Self.retryAfter(wait))
        }
        if let rate, let wait = Self.take(rate, now) {
            counters.count(.handshakesPerSecond)
            // Not all at the same time again.
            return Refusal(
                .serviceUnavailable, "too many handshakes", Self.retryAfter(wait + Int64.random(in: 0...4_000)))
        }
        guard counters.takePlace(limit: connections) else {
            counters.count(.connections)
            return Refusal(.serviceUnavailable, "no more connections", [("Retry-After", "5")])
        }
        if perAddress > 0, let key, !addresses.take(key, limit: perAddress) {
            counters.returnPlace()
            counters.count(.connectionsPerAddress)
            return Refusal(.tooManyRequests, "too many connections from this address", [("Retry-After", "5")])
        }
        return nil
    }

    private static func take(_ rate: NIOLockedValueBox<TokenBucket>, _ now: Int64) -> Int64? {
        rate.withLockedValue { bucket in bucket.take(now: now) ? nil : bucket.wait(now: now) }
    }

    private static func retryAfter(_ milliseconds: Int64) -> [(String, String)] {
        [("Retry-After", String(max(1, (milliseconds + 999) / 1_000)))]
    }

    /// The places that ``enter(_:)`` has taken are free again.
    func leave(_ address: IPAddress?) {
        counters.returnPlace()
        if perAddress > 0, let key = address?.subscriber { addresses.giveBack(key) }
    }

    /// Takes a place of its user for a client that is known now; `false` when there is none.
    func enter(_ user: UserID?) -> Bool {
        guard perUser > 0, let user else { return true }
        guard users.take(user, limit: perUser) else {
            counters.count(.connectionsPerUser)
            return false
        }
        return true
    }

    /// Who is told when the connection ends: one for all where nothing is counted by address or user.
    func observer(address: IPAddress?, user: UserID?) -> any ConnectionObserver {
        let address = perAddress > 0 ? address?.subscriber : nil
        let user = perUser > 0 ? user : nil
        return address == nil && user == nil ? counters : CountedConnection(limits: self, address: address, user: user)
    }

    fileprivate func end(address: IPAddress?, user: UserID?) {
        counters.connectionEnded()
        if let address { addresses.giveBack(address) }
        if let user { users.giveBack(user) }
    }

    /// Forgets addresses that count for nothing any more.
    func sweep() { addressRates?.sweep(now: Self.now) }

    /// Addresses whose handshakes are remembered.
    var rememberedAddresses: Int { addressRates?.count ?? 0 }
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
