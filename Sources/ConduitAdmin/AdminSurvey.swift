package import ConduitCluster
package import ConduitCore

/// One page of rooms.
package struct AdminRooms: Sendable {
    /// One room, over all nodes that answered.
    package struct Row: Hashable, Sendable {
        package var room: RoomName
        package var members: Int
        package var mode: RoomPolicy.Mode
        /// Nodes with a member.
        package var nodes: Int

        package init(room: RoomName, members: Int, mode: RoomPolicy.Mode, nodes: Int) {
            self.room = room
            self.members = members
            self.mode = mode
            self.nodes = nodes
        }
    }

    package var rows: [Row]
    /// Where the next page begins; `nil` behind the last.
    package var cursor: String?
    package var unreachable: [String]

    package init(rows: [Row], cursor: String? = nil, unreachable: [String] = []) {
        self.rows = rows
        self.cursor = cursor
        self.unreachable = unreachable
    }
}

/// One room.
package struct AdminRoom: Sendable {
    package var room: RoomName
    package var found: FoundMembers
    package var mode: RoomPolicy.Mode
    /// Where the log of an ordered room ends; `nil` where there is none, or it can't be read.
    package var epoch: String?
    package var offset: UInt64?
    package var unreachable: [String]

    package init(
        room: RoomName, found: FoundMembers, mode: RoomPolicy.Mode, epoch: String? = nil, offset: UInt64? = nil,
        unreachable: [String] = []
    ) {
        self.room = room
        self.found = found
        self.mode = mode
        self.epoch = epoch
        self.offset = offset
        self.unreachable = unreachable
    }
}

/// Messages of an ordered room.
package struct AdminHistory: Sendable {
    package var room: RoomName
    package var log: RoomLog
    package var unreachable: [String]

    package init(room: RoomName, log: RoomLog, unreachable: [String] = []) {
        self.room = room
        self.log = log
        self.unreachable = unreachable
    }
}

/// One page of clients.
package struct AdminClients: Sendable {
    package var rows: [FoundClient]
    /// Where the next page begins; `nil` behind the last.
    package var cursor: String?
    package var unreachable: [String]

    package init(rows: [FoundClient], cursor: String? = nil, unreachable: [String] = []) {
        self.rows = rows
        self.cursor = cursor
        self.unreachable = unreachable
    }
}
