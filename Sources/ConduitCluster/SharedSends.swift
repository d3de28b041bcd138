/// The counted deliveries of one node, shared by its bridges: a shard that reports a count need not know over which
/// server the delivery went. Loop-bound, as the bridges are, which all live on one loop.
final class SharedSends {
    var value = PendingSends()
}

@available(*, unavailable)
extension SharedSends: Sendable {}
