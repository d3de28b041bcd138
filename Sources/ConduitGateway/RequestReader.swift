import NIOCore

/// Collects the bytes of a connection until the head of its first request is there: a value without I/O.
struct RequestReader {
    enum Outcome {
        /// More bytes are needed.
        case incomplete
        /// The head, and what came behind it.
        case complete(RequestHead, leftover: ByteBuffer?)
        /// This is not HTTP/1, or not as strictly as it must be.
        case malformed
        /// More bytes or fields than a head may have.
        case tooLarge
    }

    private var received: [UInt8] = []
    /// Where the end was not found yet.
    private var searched = 0

    /// Takes what was read and looks whether the head is complete.
    mutating func next(_ bytes: ByteBuffer, maxBytes: Int, maxFields: Int) -> Outcome {
        if received.isEmpty { received.reserveCapacity(512) }
        received.append(contentsOf: bytes.readableBytesView)
        skipEmptyLines()
        guard let end = endOfHead() else {
            // The end itself takes four bytes more, of which three may be here.
            if received.count > maxBytes + 3 { return .tooLarge }
            return beginsLikeARequest() ? .incomplete : .malformed
        }
        guard end <= maxBytes else { return .tooLarge }
        let leftover = end + 4 < received.count ? ByteBuffer(bytes: received[(end + 4)...]) : nil
        received.removeSubrange(end...)
        do throws(RequestHead.Fault) {
            return .complete(try RequestHead(parsing: received, maxFields: maxFields), leftover: leftover)
        } catch {
            return error == .tooManyFields ? .tooLarge : .malformed
        }
    }

    /// Empty lines before a request are ignored (RFC 9112, 2.2).
    private mutating func skipEmptyLines() {
        guard received.first == 0x0D else { return }
        var count = 0
        while count + 1 < received.count, received[count] == 0x0D, received[count + 1] == 0x0A { count += 2 }
        received.removeFirst(count)
    }

    /// Where CR LF CR LF begins.
    private mutating func endOfHead() -> Int? {
        var index = searched
        while index + 3 < received.count {
            if received[index + 3] > 0x0D {
                // No byte of the four can begin the end: it holds CR and LF only.
                index += 4
                continue
            }
            if received[index] == 0x0D, received[index + 1] == 0x0A, received[index + 2] == 0x0D,
                received[index + 3] == 0x0A
            {
                return index
            }
            index += 1
        }
        searched = max(0, received.count - 3)
        return nil
    }

    /// Whether the first word may be a method: what speaks another protocol is told so at once.
    private func beginsLikeARequest() -> Bool {
        if received == [0x0D] { return true }
        for (index, byte) in received.enumerated() {
            if byte == 0x20 { return index > 0 }
            guard index < 32, RequestHead.isToken(byte) else { return false }
        }
        return true
    }
}
