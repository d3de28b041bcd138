public import ConduitCore

/// The Sendable door to all shards of a node.
public final class Hub: Sendable {
    /// This node's name.
    public let node: NodeID
    package let shardCount: Int

    package init(node: NodeID, shardCount: Int) {
        self.node = node
        self.shardCount = shardCount
    }

    /// Hands a batch to one shard: one `execute`.
    package func perform(_ commands: [ShardCommand], onShard index: Int) {}

    /// Hands the same batch to every shard.
    package func performOnAllShards(_ commands: [ShardCommand]) {}

    /// Figures of all shards together.
    public func statistics() async -> HubStatistics { HubStatistics() }
}
