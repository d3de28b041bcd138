package import ConduitCore
package import ConduitHub
package import ConduitWire

/// What the bridge needs of the hub: hand a batch to a shard, and ask for figures once a heartbeat.
package protocol ShardSink: Sendable {
    /// How many shards there are.
    var shardCount: Int { get }
    /// The least bytes of messages that clients may want compressed; `Int.max` where none does.
    var compressesFrom: Int { get }
    /// The tokens that are good no more, as the whole node knows them.
    var revocations: Revocations { get }
    /// Hands a batch over; `done` is called on the shard's loop when it was carried out.
    func perform(_ commands: [ShardCommand], onShard index: Int, done: @escaping @Sendable () -> Void)
    /// Figures of all shards together.
    func statistics() async -> HubStatistics
    /// Answers what an operator asks, for this node; `totals` tells how many members some rooms have on all nodes.
    func answer(
        _ question: SurveyQuestion, maximumBytes: Int, totals: @Sendable ([RoomName]) async -> [Int]
    ) async -> SurveyFindings
}

extension ShardSink {
    package var compressesFrom: Int { .max }

    package func answer(
        _ question: SurveyQuestion, maximumBytes: Int, totals: @Sendable ([RoomName]) async -> [Int]
    ) async -> SurveyFindings { SurveyFindings() }
}

extension Hub: ShardSink {}
