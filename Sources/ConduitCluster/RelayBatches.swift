import ConduitCore
import ConduitHub
import ConduitWire
import NIOCore

/// Messages for other nodes before they are numbered: neighbours for one channel share a PUBLISH.
///
/// Only neighbours share: a message that joined an earlier PUBLISH of its room would overtake what its sender has sent
/// to another room in between.
struct RelayBatches {
    /// What becomes one PUBLISH.
    struct Batch {
        let topic: BusTopic
        let kind: NodeEnvelope.Kind
        /// When its first message came, in microseconds since 1970.
        let sentAt: Int64
        var writer: NodeEnvelopeWriter
        /// The span of its one message, where somebody traces that.
        let span: RelaySpan?
        var requests: [UInt64] = []
    }

    /// A PUBLISH that is over this size takes no further message.
    private static let batchBytes = 256 * 1024
    /// Room for so many batches is kept from one flush to the next.
    private static let keptCapacity = 1_024

    private var batches: [Batch] = []
    /// Bytes of all entries.
    private(set) var bytes = 0

    /// Whether nothing is collected.
    var isEmpty: Bool { batches.isEmpty }

    /// Adds a message to the last PUBLISH, or begins one.
    mutating func add(
        _ topic: BusTopic, _ kind: NodeEnvelope.Kind, request: UInt64, span: RelaySpan? = nil,
        sentAt: @autoclosure () -> Int64, _ write: (inout NodeEnvelopeWriter) -> Void
    ) {
        let last = batches.count - 1
        if last < 0 || batches[last].kind != kind || batches[last].writer.byteCount >= Self.batchBytes
            || batches[last].topic != topic || span != nil || batches[last].span != nil
        {
            let writer = NodeEnvelopeWriter(isTraced: span?.trace != nil)
            batches.append(Batch(topic: topic, kind: kind, sentAt: sentAt(), writer: writer, span: span))
        }
        let index = batches.count - 1
        let before = batches[index].writer.byteCount
        write(&batches[index].writer)
        bytes += batches[index].writer.byteCount - before
        if request != 0 { batches[index].requests.append(request) }
    }

    /// Gives out all batches, oldest first, and is empty then.
    mutating func removeAll(_ body: (inout Batch) -> Void) {
        for index in batches.indices { body(&batches[index]) }
        batches.removeAll(keepingCapacity: batches.count <= Self.keptCapacity)
        bytes = 0
    }
}
