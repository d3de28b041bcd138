/// How somebody wants to see it.
package struct TopChoice: Sendable, Hashable {
    package enum Column: String, Sendable, CaseIterable {
        case node, state, clients, messages, deliveries, local, relay, rtt, cpu, memory, rooms, lag, age, version, trend

        var title: String {
            switch self {
            case .node: "NODE"
            case .state: "STATE"
            case .clients: "CLIENTS"
            case .messages: "MSG/S"
            case .deliveries: "DLV/S"
            case .local: "LOCAL"
            case .relay: "RELAY"
            case .rtt: "REDIS"
            case .cpu: "CPU"
            case .memory: "MEM"
            case .rooms: "ROOMS"
            case .lag: "LAG"
            case .age: "BEAT"
            case .version: "VERSION"
            case .trend: "MESSAGES"
            }
        }

        var width: Int {
            switch self {
            case .node: 13
            case .state, .memory, .rooms, .age: 5
            case .clients: 7
            case .messages, .deliveries, .local, .relay, .rtt, .lag: 6
            case .cpu: 5
            case .version: 9
            case .trend: 12
            }
        }

        var isText: Bool { self == .node || self == .state || self == .version || self == .trend }
        /// In this order they give way where there is no room for all.
        static let byImportance: [Column] = [
            .node, .state, .clients, .messages, .deliveries, .local, .relay, .rtt, .cpu, .memory, .rooms, .trend, .age,
            .lag, .version,
        ]
        /// In this order they stand.
        static let byPlace: [Column] = [
            .node, .state, .clients, .rooms, .messages, .deliveries, .local, .relay, .rtt, .lag, .cpu, .memory, .age,
            .version, .trend,
        ]
    }

    package var sort = Column.node
    package var isReversed = false
    /// The first node that is shown, from 0.
    package var first = 0
    package var isPaused = false
    package var showsRooms = true
    package var showsHelp = false

    package init() {}
}
