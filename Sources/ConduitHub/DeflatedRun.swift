import ConduitWire
import NIOCore

/// A message of a run that may be compressed.
struct CompressibleFrame {
    /// Where its frame stands in the run.
    let start: Int
    let count: Int
    let forms: DeflatedForms
}

/// The bytes of a run with compressed frames in the place of those that compress, and where its messages stand now.
struct DeflatedRun {
    let windowBits: UInt8
    let bytes: ByteBuffer
    /// Ends of compressed messages in the plain run, and how much shorter everything up to there has become.
    private let savings: ContiguousArray<(end: Int, saved: Int)>

    init(
        of plain: ByteBuffer, _ frames: ContiguousArray<CompressibleFrame>, windowBits: UInt8,
        by compressor: MessageCompressor
    ) {
        self.windowBits = windowBits
        var savings: ContiguousArray<(end: Int, saved: Int)> = []
        var parts: [ByteBuffer] = []
        var (position, saved) = (0, 0)
        func slice(_ start: Int, _ count: Int) -> ByteBuffer {
            plain.getSlice(at: plain.readerIndex + start, length: count) ?? ByteBuffer()
        }
        for frame in frames {
            let own = slice(frame.start, frame.count)
            guard let shorter = frame.forms.frame(of: own, windowBits: windowBits, by: compressor) else { continue }
            if frame.start > position { parts.append(slice(position, frame.start - position)) }
            parts.append(shorter)
            position = frame.start + frame.count
            saved += frame.count - shorter.readableBytes
            savings.append((position, saved))
        }
        if position < plain.readableBytes { parts.append(slice(position, plain.readableBytes - position)) }
        self.savings = savings
        if parts.count == 1 {
            self.bytes = parts[0]
        } else {
            var whole = ByteBufferAllocator().buffer(capacity: plain.readableBytes - saved)
            for part in parts { whole.writeImmutableBuffer(part) }
            self.bytes = whole
        }
    }

    /// Whole messages, by where they stand in the plain run.
    func piece(from start: Int, count: Int) -> ByteBuffer {
        let (from, to) = (place(start), place(start + count))
        return bytes.getSlice(at: bytes.readerIndex + from, length: to - from) ?? ByteBuffer()
    }

    /// Where a message begins or ends.
    private func place(_ position: Int) -> Int {
        // The last message that ends there or before.
        var (low, high) = (0, savings.count)
        while low < high {
            let middle = (low + high) / 2
            if savings[middle].end <= position { low = middle + 1 } else { high = middle }
        }
        return low == 0 ? position : position - savings[low - 1].saved
    }
}
