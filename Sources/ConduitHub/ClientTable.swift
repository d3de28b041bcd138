import ConduitCore

/// The clients of one shard by slot: small integers that are used again when a client is gone.
///
/// What a fan-out or a sweep looks at stands in dense arrays of its own, so that neither touches an object per client.
struct ClientTable {
    /// A descriptor that stands for "through the channel".
    static let noDescriptor: Int32 = -1
    /// When a slot without a client is to be looked at.
    private static let never = Int64.max

    private(set) var clients: ContiguousArray<Client?> = []
    /// Where to `send(2)` for each slot; ``noDescriptor`` when its bytes go through the channel.
    var descriptors: ContiguousArray<Int32> = []
    /// When each client's times are to be looked at (monotonic, ms).
    private var dueTimes: ContiguousArray<Int64> = []
    /// Hashes of the ids of their tokens; 0 for none.
    private var tokens: ContiguousArray<Int> = []
    private var free: ContiguousArray<Int32> = []
    private var slots: [ClientID: Int32] = [:]

    /// Clients that are here.
    var count: Int { slots.count }
    /// Slots, used or not.
    var slotCount: Int { clients.count }
    /// The ids of all clients, in no order.
    var ids: some Collection<ClientID> { slots.keys }
    /// The slots of all clients to whom messages may be sent.
    var openSlots: ContiguousArray<Int32> {
        var open: ContiguousArray<Int32> = []
        open.reserveCapacity(count)
        for case let client? in clients where client.isOpen { open.append(client.slot) }
        return open
    }

    subscript(slot: Int32) -> Client? {
        clients.indices.contains(Int(slot)) ? clients[Int(slot)] : nil
    }

    subscript(id: ClientID) -> Client? { slots[id].flatMap { clients[Int($0)] } }

    /// The slot that the next client gets.
    mutating func reserve() -> Int32 {
        if let slot = free.popLast() { return slot }
        clients.append(nil)
        descriptors.append(Self.noDescriptor)
        dueTimes.append(Self.never)
        tokens.append(0)
        return Int32(clients.count - 1)
    }

    /// Puts a client into its slot, which was reserved for it.
    mutating func insert(_ client: Client, due: Int64) {
        clients[Int(client.slot)] = client
        dueTimes[Int(client.slot)] = due
        slots[client.id] = client.slot
        noteToken(of: client)
    }

    mutating func remove(_ client: Client) {
        guard slots.removeValue(forKey: client.id) != nil else { return }
        clients[Int(client.slot)] = nil
        descriptors[Int(client.slot)] = Self.noDescriptor
        dueTimes[Int(client.slot)] = Self.never
        tokens[Int(client.slot)] = 0
        free.append(client.slot)
    }

    // MARK: Tokens

    /// A client has come, or has another token.
    mutating func noteToken(of client: Client) {
        tokens[Int(client.slot)] = client.identity.tokenID.map(Self.mark) ?? 0
    }

    /// The clients whose token has an id.
    func clients(withToken id: String) -> [Client] {
        let mark = Self.mark(id)
        return tokens.indices.compactMap { tokens[$0] == mark ? clients[$0] : nil }
            .filter { $0.identity.tokenID == id }
    }

    private static func mark(_ id: String) -> Int {
        let hash = id.hashValue
        return hash == 0 ? 1 : hash
    }

    // MARK: Times

    /// The client at a place if its time has come.
    func due(at place: Int, _ now: Int64) -> Client? {
        dueTimes[place] <= now ? clients[place] : nil
    }

    /// A client is to be looked at at this time at the latest.
    mutating func look(at client: Client, by time: Int64) {
        if case .closed = client.state { return }
        if time < dueTimes[Int(client.slot)] { dueTimes[Int(client.slot)] = time }
    }

    /// A client was looked at and is to be looked at again at this time.
    mutating func looked(at client: Client, next time: Int64) {
        if case .closed = client.state { return }
        dueTimes[Int(client.slot)] = time
    }
}
