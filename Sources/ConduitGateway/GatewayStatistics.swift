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

    /// Nothing happened.
    public init() {}
}

/// How the first request of a connection ended.
enum HandshakeResult: Int, Sendable, CaseIterable {
    case upgraded, page, timeout, aborted, overflow
    case badRequest, unauthorized, forbidden, notFound, methodNotAllowed, upgradeRequired, headersTooLarge, unavailable
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
        case .badRequest: "400"
        case .unauthorized: "401"
        case .forbidden: "403"
        case .notFound: "404"
        case .methodNotAllowed: "405"
        case .upgradeRequired: "426"
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

    init() {
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

    func count(_ result: HandshakeResult) { results[result.rawValue].value.wrappingAdd(1, ordering: .relaxed) }

    var snapshot: GatewayStatistics {
        var snapshot = GatewayStatistics()
        snapshot.open = openCount.load(ordering: .relaxed)
        snapshot.upgraded = upgradedCount.load(ordering: .relaxed)
        snapshot.accepted = acceptedCount.load(ordering: .relaxed)
        for result in HandshakeResult.allCases {
            let value = results[result.rawValue].value.load(ordering: .relaxed)
            if value > 0 { snapshot.results[result.label] = value }
        }
        return snapshot
    }
}
