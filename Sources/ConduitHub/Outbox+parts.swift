import NIOCore

/// What an ``Outbox`` is made of. Only it has any of these.
extension Outbox {
    /// What one client is owed: the whole of a run, or a chain, or nothing.
    struct Pending {
        var run: Int32 = -1
        var first: Int32 = -1
        var last: Int32 = -1
        var isUrgent = false
        var isBulk = false
        /// The window of what the client takes compressed; 0 when it takes nothing so.
        var windowBits: UInt8 = 0

        var isEmpty: Bool { run < 0 && first < 0 }
    }

    /// A piece of a run, or of the answers.
    struct Link {
        /// The run; -1 for the answers.
        let run: Int32
        let start: Int32
        var length: Int32
        var messages: Int32
        var next: Int32
    }

    struct Run {
        var bytes: ByteBuffer
        var messages: Int32
        /// Whether `bytes` is the run's own to append to. The first message's buffer is shared and taken as it is.
        var isJoined = false
        /// Members that hold a chain: later messages are appended to each.
        var chained: ContiguousArray<Int32> = []
        /// Those of its messages that may be compressed, in order; none while nobody takes them so.
        var compressible: ContiguousArray<CompressibleFrame> = []
        /// What clients with a window of their own size are sent, once one of them was.
        var twins: ContiguousArray<DeflatedRun> = []
    }

    /// Clients in the order in which they came.
    struct Queue {
        private var clients: ContiguousArray<Int32> = []
        private var cursor = 0

        var isEmpty: Bool { cursor == clients.count }

        mutating func append(_ client: Int32) { clients.append(client) }

        mutating func next() -> Int32? {
            guard cursor < clients.count else { return nil }
            defer {
                cursor += 1
                if cursor == clients.count {
                    clients.removeAll(keepingCapacity: true)
                    cursor = 0
                }
            }
            return clients[cursor]
        }
    }
}
