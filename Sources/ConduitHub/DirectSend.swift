import Glibc
import NIOCore

/// `send(2)` on the descriptor of a channel, past the channel: what a fan-out costs is then the kernel's work alone.
///
/// The channel keeps the descriptor; it is used on its loop only, while the channel holds nothing to be written itself,
/// so the order is kept.
enum DirectSend {
    enum Outcome {
        /// So many bytes were taken: all, or fewer, or none, when the socket is full.
        case sent(Int)
        /// The peer is gone; the channel will hear of it too.
        case failed
    }

    /// Never waits, and raises no signal.
    static func send(_ bytes: ByteBuffer, to descriptor: Int32) -> Outcome {
        // Unsafe for the pointer, which is good for its length and lives for the call only.
        let (count, error) = unsafe bytes.withUnsafeReadableBytes { raw -> (Int, Int32) in
            while true {
                let count = unsafe Glibc.send(
                    descriptor, raw.baseAddress, raw.count, Int32(MSG_NOSIGNAL | MSG_DONTWAIT))
                if count >= 0 { return (count, 0) }
                if errno != EINTR { return (-1, errno) }
            }
        }
        if count >= 0 { return .sent(count) }
        return error == EAGAIN || error == EWOULDBLOCK || error == ENOBUFS ? .sent(0) : .failed
    }
}
