import ConduitHub
import Synchronization

/// What has happened at the public port since it was opened.
public struct GatewayStatistics: Sendable, Hashable {
    /// TCP connections that are open now, upgraded or not.
    public var open = 0
    /// WebSocket connections that are open now.
    public var upgraded = 0
    /// TCP connections ever accepted.
    public var accepted: UInt64 = 0
    /// Requests by how they ended: `upgraded`, `page`, `timeout`, `aborted`, or the status of a refusal (`403`).
    public var results: [String: UInt64] = [:]
    /// Connections that a limit kept out, by the limit.
    public var refused: [String: UInt64] = [:]
    /// When the first certificate of the chain ends, in seconds since 1970; `nil` without TLS.
    public var certificateNotAfter: Int64?
    /// How often a new certificate was taken.
    public var certificateReloads: UInt64 = 0
    /// How often a new certificate was no good.
    public var certificateFailures: UInt64 = 0
    /// Resident memory above which no clients are taken, in bytes; 0 for no limit.
    public var memoryLimit: UInt64 = 0
    /// Whether the process has that much.
    public var isMemoryOver = false

    /// Nothing happened.
    public init() {}
}

/// How the first request of a connection ended.
enum HandshakeResult: Int, Sendable, CaseIterable {
    case upgraded, page, timeout, aborted, overflow
    /// Upgraded and closed at once, since the user has as many connections as one may have.
    case turnedAway
    /// Cut, since others came and nothing had been asked.
    case gaveWay
    case badProxyHeader
    case badRequest, unauthorized, forbidden, notFound, methodNotAllowed, upgradeRequired, tooManyRequests
    case headersTooLarge, unavailable
    case other

    init(refusal status: Int) {
        self =
            switch status {
            case 400: .badRequest
            case 401: .unauthorized
            case 403: .forbidden
            case 404: .notFound
            case 405: .methodNotAllowed
            case 426: .upgradeRequired
            case 429: .tooManyRequests
            case 431: .headersTooLarge
            case 503: .unavailable
            default: .other
            }
    }

    var label: String {
        switch self {
        case .upgraded: "upgraded"
        case .page: "page"
        case .timeout: "timeout"
        case .aborted: "aborted"
        case .overflow: "overflow"
        case .turnedAway: "3504"
        case .gaveWay: "gave_way"
        case .badProxyHeader: "bad_proxy_header"
        case .badRequest: "400"
        case .unauthorized: "401"
        case .forbidden: "403"
        case .notFound: "404"
        case .methodNotAllowed: "405"
        case .upgradeRequired: "426"
        case .tooManyRequests: "429"
        case .headersTooLarge: "431"
        case .unavailable: "503"
        case .other: "other"
        }
    }
}

/// Counts for all loops: touched a few times a connection, never by a message.
final class GatewayCounters: ConnectionObserver {
    private final class Counter: Sendable {
        let value = Atomic<UInt64>(0)
    }

    private let openCount = Atomic<Int>(0)
    private let upgradedCount = Atomic<Int>(0)
    private let acceptedCount = Atomic<UInt64>(0)
    /// In the order of the cases.
    private let results: [Counter]
    /// In the order of the cases.
    private let refused: [Counter]

    init() {
        refused = DoorLimit.allCases.map { _ in Counter() }
        results = HandshakeResult.allCases.map { _ in Counter() }
    }

    /// Counts a new connection and returns how many are open with it.
    func accept() -> Int {
        acceptedCount.wrappingAdd(1, ordering: .relaxed)
        return openCount.wrappingAdd(1, ordering: .relaxed).newValue
    }

    /// A client that was admitted is gone.
    func connectionEnded() {
        close()
        returnPlace()
    }

    func close() { openCount.wrappingSubtract(1, ordering: .relaxed) }

    /// Takes one of `limit` places (0 for no limit); `false` when there is none.
    func takePlace(limit: Int) -> Bool {
        let taken = upgradedCount.wrappingAdd(1, ordering: .relaxed).newValue
        guard limit == 0 || taken <= limit else {
            returnPlace()
            return false
        }
        return true
    }

    var upgraded: Int { upgradedCount.load(ordering: .relaxed) }

    func returnPlace() { upgradedCount.wrappingSubtract(1, ordering: .relaxed) }

    func count(_ limit: DoorLimit) { refused[limit.rawValue].value.wrappingAdd(1, ordering: .relaxed) }

    func count(_ result: HandshakeResult) { results[result.rawValue].value.wrappingAdd(1, ordering: .relaxed) }

    var snapshot: GatewayStatistics {
        var snapshot = GatewayStatistics()
        snapshot.open = openCount.load(ordering: .relaxed)
        snapshot.upgraded = upgradedCount.load(ordering: .relaxed)
        snapshot.accepted = acceptedCount.load(ordering: .relaxed)
        for limit in DoorLimit.allCases {
            let value = refused[limit.rawValue].value.load(ordering: .relaxed)
            if value > 0 { snapshot.refused[limit.label] = value }
        }
        for result in HandshakeResult.allCases {
            let value = results[result.rawValue].value.load(ordering: .relaxed)
            if value > 0 { snapshot.results[result.label] = value }
        }
        return snapshot
    }
}
