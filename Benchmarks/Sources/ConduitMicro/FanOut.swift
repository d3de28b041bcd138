import CThreadAccount
import Conduit
import ConduitCore
import ConduitHub
import Glibc
import Logging
import NIOCore

/// A whole node in this process, with one event loop and members on real sockets, which this thread reads.
///
/// What its loop spends on a broadcast is its own CPU and its own allocations; reading is on this thread's account.
func measureFanOut(_ harness: inout Harness) async throws {
    let sizes = [1, 100, 10_000]
    guard sizes.contains(where: { harness.wants(name($0)) }) else { return }
    guard let id = NodeID("fan-out"), let room = RoomName("room-1") else { return }
    // Both ends of every connection are descriptors of this process.
    var files = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &files)
    files.rlim_cur = files.rlim_max
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &files)
    let most = Int(min(files.rlim_max, 1 << 20) - 200) / 2

    var configuration = NodeConfiguration(nodeID: id)
    configuration.eventLoops = 1
    configuration.gateway.port = 0
    configuration.admin.isEnabled = false
    let node = try await ConduitNode.start(
        configuration: configuration, logger: Logger(label: "benchmark") { _ in SwiftLogNoOpLogHandler() })
    let payload = try RawJSON(Sample.payload(100))
    var members: [Member] = []
    var costs: [Int: Cost] = [:]
    for size in sizes.map({ min($0, most) }) {
        while members.count < size {
            let member = try Member(port: node.httpPort)
            try member.join(room)
            members.append(member)
        }
        let cost = try await costOfBroadcast(node.hub, payload, room, members, rounds: max(5, 500 / size))
        costs[size] = cost
        harness.add(
            Measurement(name: name(size), nanoseconds: cost.nanoseconds, allocations: cost.allocations))
        harness.add(
            Measurement(
                name: name(size) + ", each", nanoseconds: cost.nanoseconds / Double(size),
                allocations: cost.allocations / Double(size)))
    }
    members.forEach { $0.close() }
    await node.shutdown()
    try check(costs, sizes.map { min($0, most) })
}

private func name(_ members: Int) -> String { "deliver to \(members) member\(members == 1 ? "" : "s")" }

/// More allocations for many members than for one and these, and somebody has put one on the path of each recipient.
private let allowance = 64.0

struct AllocationsPerRecipient: Error, CustomStringConvertible {
    let members: Int
    let extra: Double
    var description: String {
        "A broadcast to \(members) members allocates \(extra.rounded(1)) times more than one to a single member; "
            + "\(allowance) are allowed (buffers that grow), none per recipient."
    }
}

private func check(_ costs: [Int: Cost], _ sizes: [Int]) throws {
    guard let one = costs[1], let many = sizes.last, let cost = costs[many] else { return }
    let extra = cost.allocations - one.allocations
    if extra > allowance { throw AllocationsPerRecipient(members: many, extra: extra) }
}

private struct Cost {
    var nanoseconds: Double
    var allocations: Double
}

/// Of one broadcast: the cheapest of five batches, each from a broadcast to the last frame read, round by round.
private func costOfBroadcast(
    _ hub: Hub, _ payload: RawJSON, _ room: RoomName, _ members: [Member], rounds: Int
) async throws -> Cost {
    var length: Int?
    func batch(_ rounds: Int) throws {
        for _ in 0..<rounds {
            try hub.broadcast("m", payload, to: room)
            for member in members { length = try member.readFrame(length: length) }
        }
    }
    // The first rounds grow buffers.
    try batch(3)
    var best = Cost(nanoseconds: .infinity, allocations: .infinity)
    for _ in 0..<5 {
        let before = await loopAccount(hub)
        try batch(rounds)
        let after = await loopAccount(hub)
        best.nanoseconds = min(best.nanoseconds, Double(after.nanoseconds - before.nanoseconds) / Double(rounds))
        best.allocations = min(best.allocations, Double(after.allocations - before.allocations) / Double(rounds))
    }
    return best
}

private struct Account: Sendable {
    var nanoseconds: UInt64
    var allocations: UInt64
}

/// CPU and allocations of the node's loop so far, asked for on the loop itself.
private func loopAccount(_ hub: Hub) async -> Account {
    await withCheckedContinuation { continuation in
        hub.perform([], onShard: 0) {
            continuation.resume(
                returning: Account(
                    nanoseconds: thread_nanoseconds(), allocations: thread_allocations()))
        }
    }
}

/// One client's end: a blocking socket.
private struct Member {
    struct Failed: Error { let step: String }

    private let socket: Int32

    init(port: Int) throws {
        socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else { throw Failed(step: "connect: \(errno)") }
        try send(
            ByteBuffer(
                string: "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"))
        var head: [UInt8] = []
        while !head.suffix(4).elementsEqual("\r\n\r\n".utf8) { head += try read(1) }
    }

    func join(_ room: RoomName) throws {
        try send(Sample.frame(ByteBuffer(string: #"{"type":"join_room","data":{"room":"\#(room)"}}"#)))
        _ = try readFrame(length: nil)
    }

    func close() { _ = Glibc.close(socket) }

    /// Reads one frame of at most 64 KB; its length, which the next call may be told when it is the same.
    func readFrame(length: Int?) throws -> Int {
        if let length {
            try skip(length)
            return length
        }
        let head = try read(2)
        guard head[1] == 126 else {
            try skip(Int(head[1]))
            return 2 + Int(head[1])
        }
        let extended = try read(2)
        let payload = Int(extended[0]) << 8 | Int(extended[1])
        try skip(payload)
        return 4 + payload
    }

    private func send(_ bytes: ByteBuffer) throws {
        let sent = bytes.withUnsafeReadableBytes { Glibc.send(socket, $0.baseAddress, $0.count, 0) }
        guard sent == bytes.readableBytes else { throw Failed(step: "send: \(errno)") }
    }

    private func read(_ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        guard recv(socket, &bytes, count, Int32(MSG_WAITALL)) == count else { throw Failed(step: "receive") }
        return bytes
    }

    private func skip(_ count: Int) throws {
        try withUnsafeTemporaryAllocation(byteCount: count, alignment: 1) { buffer in
            guard recv(socket, buffer.baseAddress, count, Int32(MSG_WAITALL)) == count else {
                throw Failed(step: "receive")
            }
        }
    }
}
