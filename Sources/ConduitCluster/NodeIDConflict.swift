package import ConduitCore

/// Another running node goes by this node's id.
package struct NodeIDConflict: Sendable, Hashable {
    /// The id.
    package let node: NodeID
    /// The machine of the other one, as it says itself; may be empty.
    package let host: String
    /// The address of its public port; may be empty.
    package let address: String
}

/// What stands beside a node's lease: which process holds it, how often it was renewed, and where that process is.
///
/// As text: incarnation, number of the renewal, host and address, with a space between each.
struct LeaseHolder: Equatable {
    let incarnation: UInt64
    let beats: UInt64
    let host: String
    let address: String

    var text: String { "\(incarnation) \(beats) \(Self.word(host)) \(Self.word(address))" }

    init(incarnation: UInt64, beats: UInt64, host: String, address: String) {
        self.incarnation = incarnation
        self.beats = beats
        self.host = host
        self.address = address
    }

    /// Reads what somebody has written; `nil` for anything else.
    init?(_ text: String) {
        let words = text.split(separator: " ", omittingEmptySubsequences: false)
        guard words.count == 4, let incarnation = UInt64(words[0]), let beats = UInt64(words[1]) else { return nil }
        self.init(
            incarnation: incarnation, beats: beats, host: String(words[2].prefix(255)),
            address: String(words[3].prefix(255)))
    }

    private static func word(_ text: String) -> String {
        String(text.map { $0.isWhitespace || $0.isNewline ? "-" : $0 })
    }
}

/// Whether a node may go by its id: an earlier life of it is waited for, a living one is not disturbed.
///
/// A value. Each look at the lease tells who holds it; a holder whose number rises between two looks is alive.
struct LeaseClaim {
    enum Verdict: Equatable {
        /// The lease is this process's.
        case ours
        /// Somebody holds it who may be dead: look again soon.
        case wait
        /// Somebody holds it who lives.
        case taken(LeaseHolder)
    }

    /// How often this process has renewed.
    private(set) var beats: UInt64 = 0
    /// The lease is this process's since the newest connection.
    private(set) var isHeld = false
    /// It was this process's before.
    private var wasHeld = false
    private var seen: LeaseHolder?

    /// The number of the next renewal.
    mutating func nextBeat() -> UInt64 {
        beats += 1
        return beats
    }

    /// The connection is gone: somebody may take the lease meanwhile.
    mutating func connectionLost() { isHeld = false }

    /// A look at the lease, which renewed it where that was possible. `holder`: who else holds it.
    mutating func looked(_ holder: LeaseHolder?) -> Verdict {
        guard let holder else {
            isHeld = true
            wasHeld = true
            seen = nil
            return .ours
        }
        isHeld = false
        // While this node was away, somebody else has taken its place.
        if wasHeld { return .taken(holder) }
        defer { seen = holder }
        guard let seen, seen.incarnation == holder.incarnation, seen.beats != holder.beats else { return .wait }
        return .taken(holder)
    }
}
