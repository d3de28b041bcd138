/// What a node is told to do by an operator, through another node.
package enum NodeOrder: Sendable, Hashable {
    /// Drain and end, in so many milliseconds; 0 for as long as it is configured.
    case drain(milliseconds: UInt32)
    /// Send clients to nodes that have fewer, until this one is near the mean.
    case rebalance
}
