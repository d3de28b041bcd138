package import NIOCore

/// The commands that wait for their answers, oldest first, and since when. A value, owned by one link.
package struct RedisPendingReplies<Context> {
    private struct Entry {
        let context: Context
        let sent: NIODeadline
    }

    private var entries = CircularBuffer<Entry>()

    package init() {}

    package var count: Int { entries.count }
    package var isEmpty: Bool { entries.isEmpty }
    package var first: Context? { entries.first?.context }

    package mutating func append(_ context: Context, sent: NIODeadline) {
        entries.append(Entry(context: context, sent: sent))
    }

    package mutating func popFirst() -> Context? { entries.popFirst()?.context }

    /// Replaces the oldest, which waits for more than one answer.
    package mutating func replaceFirst(with context: Context) {
        guard let first = entries.popFirst() else { return }
        entries.prepend(Entry(context: context, sent: first.sent))
    }

    /// Empties the queue; oldest first.
    package mutating func removeAll() -> [Context] {
        defer { entries.removeAll(keepingCapacity: false) }
        return entries.map(\.context)
    }

    /// Whether the oldest has waited for `timeout` and nothing at all has been heard for as long: a peer
    /// that works through a long pipeline is slow, not dead.
    package func isOverdue(now: NIODeadline, lastHeard: NIODeadline, timeout: TimeAmount) -> Bool {
        guard let first = entries.first else { return false }
        return now - max(first.sent, lastHeard) >= timeout
    }
}
