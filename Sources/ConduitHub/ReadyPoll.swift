import CLinux
import Glibc
import NIOCore

/// An `epoll` of the shard's own, with the sockets of all plain clients: what a flooded shard asks for what can be read.
///
/// NIO's selector watches the same sockets, for their ends and errors all the time, for reading except while the shard
/// does that itself (`Shard+polling.swift`).
///
/// Loop-bound: owned by its ``Shard``.
@safe final class ReadyPoll {
    /// Most sockets that are read in one round.
    static let roundSize = 1024

    private let descriptor: Int32
    private var events: [epoll_event]

    /// `nil` when the kernel gives no descriptor for it: then NIO reads everything.
    init?() {
        descriptor = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard descriptor >= 0 else { return nil }
        unsafe events = Array(repeating: epoll_event(), count: Self.roundSize)
    }

    deinit { close(descriptor) }

    /// Watches a client's socket until it is closed.
    func watch(_ socket: Int32, slot: Int32) {
        // Unsafe: its data could be a pointer as well; here it is a number.
        var event = unsafe epoll_event()
        // Edges only: what isn't read here is NIO's to read, which watches levels.
        unsafe event.events = EPOLLIN.rawValue | EPOLLET.rawValue
        unsafe event.data.u64 = UInt64(UInt32(bitPattern: slot)) << 32 | UInt64(UInt32(bitPattern: socket))
        // Unsafe for the pointer, which lives for the call only. Without a place it is NIO that reads, as before.
        _ = unsafe epoll_ctl(descriptor, EPOLL_CTL_ADD, socket, &event)
    }

    /// Calls `body` with the slot and socket of each that became ready since the last call. Never waits.
    func forEachReady(_ body: (_ slot: Int32, _ socket: Int32) -> Void) {
        // Unsafe for the pointer to as many events as are said.
        let count = unsafe Int(epoll_wait(descriptor, &events, Int32(Self.roundSize), 0))
        guard count > 0 else { return }
        for index in 0..<count {
            let data = unsafe events[index].data.u64
            body(
                Int32(bitPattern: UInt32(truncatingIfNeeded: data >> 32)),
                Int32(bitPattern: UInt32(truncatingIfNeeded: data)))
        }
    }

    /// Reads what a socket has, as far as `memory` takes it. Returns 0 when there is nothing, or nothing any more.
    static func receive(from socket: Int32, into memory: inout [UInt8]) -> Int {
        // Unsafe for the pointer, which is good for its length and lives for the call only.
        unsafe memory.withUnsafeMutableBytes { raw in
            max(0, unsafe recv(socket, raw.baseAddress, raw.count, Int32(MSG_DONTWAIT)))
        }
    }
}

@available(*, unavailable)
extension ReadyPoll: Sendable {}
