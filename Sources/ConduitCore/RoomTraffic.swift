/// How much is said in the rooms of one shard, by namespace and by room. A value without a clock, kept by ``RoomTable``.
///
/// A message adds to two numbers of its room and to nothing else; who reads the figures adds up the rooms in which
/// something was said since the last ``endWindow(limit:)``.
public struct RoomTraffic: Sendable {
    /// The figures of one namespace.
    public struct Namespace: Hashable, Sendable {
        /// Rooms that exist.
        public var rooms = 0
        /// Memberships.
        public var members = 0
        /// Messages that were published here.
        public var published: UInt64 = 0
        /// Messages handed to members, one a member.
        public var deliveries: UInt64 = 0

        /// Nothing.
        public init() {}
    }

    /// What a room has had in this window.
    private struct Count {
        var published: UInt32 = 0
        var deliveries: UInt32 = 0
        var namespace: UInt16 = 0
        /// Whether the room stands in `listed`.
        var isListed = false
    }

    /// Most rooms without members here whose messages are told apart at a time.
    private static let mostStrays = 1_024

    /// The namespaces, by number.
    public let namespaces: RoomNamespaces
    private var counts: ContiguousArray<Count> = []
    private var listed: ContiguousArray<Int32> = []
    private var totals: [Namespace]
    /// Rooms that have no number here and were published to.
    private var strays: [RoomName: UInt32] = [:]

    /// Nothing said.
    public init(_ namespaces: RoomNamespaces) {
        self.namespaces = namespaces
        self.totals = Array(repeating: Namespace(), count: namespaces.names.count)
    }

    // MARK: Rooms and members

    mutating func began(_ room: RoomName, at number: Int32) {
        while counts.count <= Int(number) { counts.append(Count()) }
        let namespace = namespaces.number(of: room)
        counts[Int(number)].namespace = UInt16(truncatingIfNeeded: namespace)
        totals[namespace].rooms += 1
    }

    mutating func ended(_ number: Int32) {
        settle(number)
        totals[Int(counts[Int(number)].namespace)].rooms -= 1
    }

    mutating func joined(_ number: Int32) { totals[Int(counts[Int(number)].namespace)].members += 1 }

    mutating func left(_ number: Int32) { totals[Int(counts[Int(number)].namespace)].members -= 1 }

    // MARK: Messages

    /// A message was published to a room of this table.
    @inline(__always)
    mutating func published(at number: Int32) {
        guard counts.indices.contains(Int(number)) else { return }
        counts[Int(number)].published &+= 1
        if !counts[Int(number)].isListed { list(number) }
    }

    /// A message was handed to so many members of a room.
    @inline(__always)
    mutating func delivered(_ members: Int, at number: Int32) {
        guard counts.indices.contains(Int(number)) else { return }
        counts[Int(number)].deliveries &+= UInt32(truncatingIfNeeded: members)
        if !counts[Int(number)].isListed { list(number) }
    }

    /// A message was published here to a room that has no member here.
    mutating func published(to room: RoomName) {
        totals[namespaces.number(of: room)].published &+= 1
        if let place = strays.index(forKey: room) {
            strays.values[place] &+= 1
        } else if strays.count < Self.mostStrays {
            strays[room] = 1
        } else {
            // No place: one message less of everybody's (Misra and Gries). Each was counted once before, so that costs no
            // more than counting did, and a room that much is said in stays whichever came first.
            strays = strays.compactMapValues { $0 > 1 ? $0 - 1 : nil }
        }
    }

    private mutating func list(_ number: Int32) {
        counts[Int(number)].isListed = true
        listed.append(number)
    }

    // MARK: Figures

    /// The figures by the number of the namespace, since the beginning.
    public var figures: [Namespace] {
        var sums = totals
        for number in listed {
            let count = counts[Int(number)]
            sums[Int(count.namespace)].published &+= UInt64(count.published)
            sums[Int(count.namespace)].deliveries &+= UInt64(count.deliveries)
        }
        return sums
    }

    /// Begins a new window and returns the rooms that were published to most in the last one, busiest first.
    ///
    /// - Parameter name: the name of the room with a number.
    mutating func endWindow(limit: Int, name: (Int32) -> RoomName?) -> [(room: RoomName, messages: UInt64)] {
        var top = Busiest(limit: limit)
        for number in listed {
            let published = counts[Int(number)].published
            if top.admits(published), let room = name(number) { top.insert(room, published) }
            settle(number)
            counts[Int(number)].isListed = false
        }
        listed.removeAll(keepingCapacity: listed.count <= 65_536)
        for (room, published) in strays where top.admits(published) { top.insert(room, published) }
        strays.removeAll(keepingCapacity: true)
        return top.rooms.map { ($0.room, UInt64($0.messages)) }
    }

    /// Puts what a room has had to what its namespace has had.
    private mutating func settle(_ number: Int32) {
        let count = counts[Int(number)]
        totals[Int(count.namespace)].published &+= UInt64(count.published)
        totals[Int(count.namespace)].deliveries &+= UInt64(count.deliveries)
        counts[Int(number)].published = 0
        counts[Int(number)].deliveries = 0
    }

    /// The largest of many: one comparison for most of them.
    private struct Busiest {
        let limit: Int
        var rooms: [(room: RoomName, messages: UInt32)] = []

        func admits(_ messages: UInt32) -> Bool {
            messages > 0 && (rooms.count < limit || messages > (rooms.last?.messages ?? .max))
        }

        mutating func insert(_ room: RoomName, _ messages: UInt32) {
            if rooms.count >= limit { rooms.removeLast() }
            let place = rooms.firstIndex { $0.messages < messages } ?? rooms.endIndex
            rooms.insert((room, messages), at: place)
        }

        init(limit: Int) { self.limit = limit }
    }
}
