import ConduitCore
import ConduitWire
package import NIOCore

/// One connection: its parser, its identity and its times. Loop-bound: owned by its ``Shard``, which holds its rooms too.
///
/// It is the last handler of its channel. Reading and writing don't wait for each other: what is read is handled at
/// once, what is to be written waits in the shard's ``Outbox`` and then in the socket's bounded buffer.
package final class Client {
    /// Where the connection stands in its life.
    enum State {
        case open
        /// A close frame was queued; the channel is closed when the peer answers or at this time (monotonic, ms).
        case closing(deadline: Int64)
        case closed
    }

    let id: ClientID
    /// Who it is; replaced by `refresh`, which keeps the user.
    var identity: Identity {
        _read { yield unsafe storedIdentity }
        _modify { yield unsafe &storedIdentity }
    }
    /// Unsafe: not checked at run time, as the parser below. Nobody is called back while it is read or replaced.
    @exclusivity(unchecked) private var storedIdentity: Identity
    /// What its requests are checked against beyond its rooms' policies; `nil` for nothing.
    var grants: ClientGrants? {
        _read { yield unsafe storedGrants }
        _modify { yield unsafe &storedGrants }
    }
    /// Unsafe: as above; every message looks here.
    @exclusivity(unchecked) private var storedGrants: ClientGrants?
    /// The shard's name for the connection; used again after it is gone.
    let slot: Int32
    /// The window of messages that are compressed for it, as a power of two; 0 when none are.
    let windowBits: UInt8
    /// The socket, for ``DirectSend``; ``ClientTable/noDescriptor`` when all bytes go through the channel.
    var descriptor = ClientTable.noDescriptor
    /// Wall clock, ms since 1970.
    let connectedAt: Int64
    /// Monotonic, ms.
    let connectedMonotonic: Int64
    /// Where it comes from, as far as the proxies can be believed.
    let address: RemoteAddress
    let shard: Shard

    var state = State.open
    /// Set while the handler is in a pipeline.
    var context: ChannelHandlerContext?
    var parser: WebSocketFrameParser {
        _read { yield unsafe storedParser }
        _modify { yield unsafe &storedParser }
    }
    /// Unsafe: not checked at run time that accesses don't overlap. They don't: the parser calls nobody back.
    @exclusivity(unchecked) private var storedParser: WebSocketFrameParser
    /// When anything was last read (monotonic, ms).
    var lastSeen: Int64
    /// When the next ping is due (monotonic, ms).
    var nextPing: Int64
    /// Since when a message has been unfinished (monotonic, ms).
    var unfinishedSince: Int64?
    /// Bytes that were ever written to the channel.
    var writtenBytes: UInt64 = 0
    /// Since when the socket has taken nothing though bytes wait (monotonic, ms), and how many it had taken by then.
    var blockedSince: Int64?
    var takenBytes: UInt64 = 0
    /// How many joins it waits for; while there are any, it is not read from.
    var holds = 0
    /// Requests of it whose answers come from the bridge.
    var owedAnswers = 0
    /// It was told to go elsewhere, and is closed so when it has its answers.
    var leavesWith: CloseReason?
    /// Since when its turn to leave waits for answers that it is owed (monotonic, ms).
    var turnWaitsSince: Int64?
    /// The rooms that it was in when it was told to go elsewhere and its close frame was queued, as long as it hasn't answered
    /// that: what it has sent by then is still published. `nil` when nothing is.
    var lateRooms: Set<RoomName>?
    /// What was read when the first of them began.
    var heldBytes: ByteBuffer?
    /// Bytes of answers that were queued for it, and in which turn of the shard.
    var queuedBytes = 0
    var queuedTurn: UInt64 = 0
    /// The room that it last sent to, by its number; -1 for none.
    var lastRoom: Int32 = -1
    /// Whether it is not read from because its answers pile up.
    var isPaused = false
    /// Whether the shard reads from its socket itself, not NIO.
    var isPolled = false
    /// Whether a `presence` request of it is under way.
    var asksPresence = false
    /// Whether a `history` request of it is under way.
    var asksHistory = false
    /// What was asked of the application on its behalf and is not answered: a right, a new token; 0 for nothing.
    var question: UInt64 = 0
    var refreshing: UInt64 = 0
    /// New tokens that were refused, one after the other.
    var refusals: UInt8 = 0
    /// Rooms that the application put it into, which rights don't concern. Kept where tokens can be refreshed.
    var serverRooms: Set<RoomName>?
    /// Made when the first entry is set.
    var metadata: [String: String]?
    /// Made when the first message for a custom handler comes.
    var handlerQueue: HandlerQueue?
    /// Whether it was pinged and has not answered.
    var owesPong: Bool { pingedAt != 0 }
    /// When the ping was queued that it has not answered (monotonic, µs); 0 for none.
    var pingedAt: Int64 = 0
    /// What its pings carry until one is answered.
    var pingNumber: UInt32 { UInt32(truncatingIfNeeded: pingedAt) }
    /// Made where there is a limit to what a client may say.
    var meter: Meter?
    /// Made when the socket takes nothing, where rooms have rules for that.
    var backlog: Backlog?
    /// Whether the backlog is being handed to the channel.
    var isFed = false
    /// Bytes that wait because the socket takes nothing, as last noted.
    var pendingBytes = 0
    /// Why the connection ended, once that is decided.
    var closeReason: CloseReason?
    /// Is told when the connection ends.
    var observer: (any ConnectionObserver)?

    init(
        id: ClientID, identity: Identity, slot: Int32, windowBits: UInt8, shard: Shard, now: Int64, wallClock: Int64,
        firstPing: Int64, address: RemoteAddress = .unknown
    ) {
        self.id = id
        unsafe self.storedIdentity = identity
        self.slot = slot
        self.windowBits = windowBits
        self.shard = shard
        self.connectedAt = wallClock
        self.connectedMonotonic = now
        self.address = address
        self.lastSeen = now
        self.nextPing = firstPing
        unsafe self.storedParser = WebSocketFrameParser(
            maximumMessageBytes: shard.configuration.messageBytes,
            maximumFrames: shard.configuration.framesPerMessage, deflates: windowBits != 0)
        self.meter = Meter(shard.configuration, now: now)
        if !identity.metadata.isEmpty { self.metadata = identity.metadata }
    }

    /// When the client's times are to be looked at next, whatever it does until then (monotonic, ms).
    func nextDue(_ configuration: HubConfiguration) -> Int64 {
        var due = min(nextPing, lastSeen + Int64(configuration.idleTimeoutMilliseconds))
        if let unfinishedSince { due = min(due, unfinishedSince + Int64(configuration.readTimeoutMilliseconds)) }
        if let end = end(configuration) { due = min(due, end) }
        return due
    }

    /// When it is closed because its token has run out (monotonic, ms); `nil` when it can't.
    func end(_ configuration: HubConfiguration) -> Int64? {
        guard let grants, grants.canExpire else { return nil }
        return grants.expires + Int64(configuration.refreshGraceMilliseconds)
    }

    var isOpen: Bool {
        if case .open = state { true } else { false }
    }
}

@available(*, unavailable)
extension Client: Sendable {}

extension Client: ChannelInboundHandler {
    package typealias InboundIn = ByteBuffer
    package typealias OutboundOut = ByteBuffer

    package func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    package func handlerRemoved(context: ChannelHandlerContext) {
        shard.connectionEnded(self)
        self.context = nil
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        shard.receivePool.giveBack(bytes)
        shard.read(&bytes, from: self)
    }

    package func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable {
            blockedSince = nil
            shard.feed(self)
            shard.resume(self)
        } else {
            shard.watchBlocked(self)
        }
        context.fireChannelWritabilityChanged()
    }

    package func channelInactive(context: ChannelHandlerContext) {
        shard.connectionEnded(self)
        context.fireChannelInactive()
    }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // A reset or a broken pipe: the peer is gone, and that is all there is to know.
        context.close(promise: nil)
    }
}
