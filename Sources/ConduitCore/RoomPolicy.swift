/// How the rooms of one namespace behave: order, history, presence, who may publish.
public struct RoomPolicy: Hashable, Sendable {
    /// How messages are delivered.
    public enum Mode: String, Hashable, Sendable, CaseIterable {
        /// Members of the node get a message before Redis has seen it. Each sender's messages keep their order.
        case fast
        /// Redis numbers and stores each message; every member of every node gets the same total order.
        case ordered
    }

    /// What is known and told of a room's members.
    public enum Presence: String, Hashable, Sendable, CaseIterable {
        /// Every member, and who comes and goes.
        case full
        /// How many there are; nobody's name.
        case count
        /// Nothing.
        case off
    }

    /// Who may send to a room.
    public enum Publish: String, Hashable, Sendable, CaseIterable {
        /// Who is in it.
        case members
        /// Everybody, as far as their connection may publish at all.
        case anyone
        /// No client: only the application's own servers.
        case nobody
    }

    /// What becomes of a room's messages for a member that reads more slowly than it is sent to.
    public enum Slow: String, Hashable, Sendable, CaseIterable {
        /// None is left out: when too much waits, the member is closed with 3008 and comes back when it can.
        case disconnect
        /// The oldest that wait make room for new ones.
        case dropOldest = "drop-oldest"
        /// What comes while too much waits is left out.
        case dropNewest = "drop-newest"
        /// Of the messages with one key only the newest waits; those without a key as with ``dropOldest``.
        case conflate
    }

    /// How messages are delivered.
    public var mode = Mode.fast
    /// Most messages that the log of an ordered room keeps.
    public var historySize = 1_000
    /// How long the log of an ordered room keeps a message, in milliseconds.
    public var historyMilliseconds: Int64 = 3_600_000
    /// Most messages that one resume replays; a client that missed more is told `limit`.
    public var recoverLimit = 1_000
    /// What is known of the members.
    public var presence = Presence.full
    /// How long a member whose connection broke stays in the roster, in milliseconds.
    public var presenceGraceMilliseconds: Int64 = 0
    /// A room with more members than this is treated as ``Presence/count``.
    public var presenceMembers = 1_000
    /// Who may send.
    public var publish = Publish.anyone
    /// What becomes of messages for members that read too slowly. Other than ``Slow/disconnect`` for ``Mode/fast`` only.
    public var slow = Slow.disconnect
    /// Most members on one event loop of a node; 0 for as many as any room may have.
    public var members = 0
    /// Whether `send` to a user goes into the log of the user's own room of this namespace, so that it waits for users
    /// who are away. Needs ``Mode/ordered``; one namespace at most.
    public var isInbox = false

    /// The defaults: a fast room with full presence.
    public init() {}
}

/// The policies of all rooms, by namespace.
public struct RoomPolicies: Hashable, Sendable {
    /// By what stands before a room name's first `:`.
    public var namespaces: [String: RoomPolicy]
    /// For every other room.
    public var rest: RoomPolicy

    /// The defaults for every room, unless said otherwise.
    public init(namespaces: [String: RoomPolicy] = [:], rest: RoomPolicy = RoomPolicy()) {
        self.namespaces = namespaces
        self.rest = rest
    }

    /// The policy of a room.
    public subscript(_ room: RoomName) -> RoomPolicy {
        // What only looks like a namespace's name is another one: names are bytes.
        guard !namespaces.isEmpty, let namespace = room.namespace,
            let index = namespaces.index(forKey: String(namespace)),
            namespaces.keys[index].utf8.elementsEqual(namespace.utf8)
        else { return rest }
        return namespaces.values[index]
    }

    /// Whether any room is ordered; cheap to ask for each message.
    public var hasOrderedRooms: Bool {
        rest.mode == .ordered || namespaces.values.contains { $0.mode == .ordered }
    }

    /// The namespace of the users' inboxes; `nil` when there is none.
    public var inbox: String? { namespaces.first { $0.value.isInbox }?.key }
}
