/// What authentication has done since the node started.
public struct AuthStatistics: Sendable {
    /// How far the hook is asked.
    public enum Breaker: Int, Sendable, CaseIterable {
        case closed, halfOpen, open
    }

    /// Clients by what became of them: `accepted`, `anonymous`, `refreshed`, `unavailable`, or the reason of a refusal.
    public var results: [String: UInt64] = [:]
    /// Questions to the hook by what became of them: `granted`, `refused`, `failed`, `timeout`, `busy`, `open`.
    public var hookResults: [String: UInt64] = [:]
    /// How long the hook takes to answer.
    public var hookLatency = LatencyHistogram()
    /// Whether the hook is asked; `nil` without one.
    public var breaker: Breaker?
    /// Readings of the key set: `read` and `failed`.
    public var keySetReadings: [String: UInt64] = [:]
    /// Keys of the last good key set; `nil` without one.
    public var keySetKeys: Int?
    /// When the key set was last read, in milliseconds since 1970.
    public var keySetReadAt: Int64?

    /// Nothing happened.
    public init() {}
}
