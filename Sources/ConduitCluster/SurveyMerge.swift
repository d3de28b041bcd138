package import ConduitCore
package import ConduitWire

/// One page of a list that several nodes have told their parts of.
package struct SurveyPage<Row: Sendable, Place: Sendable>: Sendable {
    package var rows: [Row] = []
    /// Where the next page begins; `nil` behind the last.
    package var next: Place?
}

/// A room over all nodes that have answered.
package struct FoundRoom: Sendable, Hashable {
    package let place: RoomPlace
    package let members: Int
    package let nodes: Int
}

/// A client and the node that has it.
package struct FoundClient: Sendable, Hashable {
    package let node: NodeID
    package let row: ClientRow

    package init(node: NodeID, row: ClientRow) {
        self.node = node
        self.row = row
    }
}

/// Who is in a room, over all nodes that have answered.
package struct FoundMembers: Sendable, Hashable {
    /// The members on one node.
    package struct Node: Sendable, Hashable {
        package let node: NodeID
        package let members: Int

        package init(node: NodeID, members: Int) {
            self.node = node
            self.members = members
        }
    }

    package var members = 0
    /// Different ones; those of a node with more than 30,000 count as if they were nowhere else.
    package var users = 0
    /// Nodes with a member, by name.
    package var nodes: [Node] = []

    /// Nobody.
    package init() {}
}

/// Makes one answer of what the nodes have said.
///
/// Every part of a list is in order. One that doesn't reach the end of its node's list says nothing of what comes behind
/// its last row; so a page ends there, whatever others have told beyond.
extension SurveyOutcome {
    /// One page of rooms.
    package func rooms(_ search: RoomSearch) -> SurveyPage<FoundRoom, RoomPlace> {
        struct Sum {
            var key = 0
            var members = 0
            var nodes = 0
        }
        var sums: [RoomName: Sum] = [:]
        var horizon: RoomPlace?
        for findings in answers.values {
            let rows = findings.rows(RoomRow.self)
            for row in rows {
                sums[row.room, default: Sum()].key = max(sums[row.room]?.key ?? 0, row.total)
                sums[row.room]?.members += row.members
                sums[row.room]?.nodes += 1
            }
            guard findings.hasMore, let last = rows.last else { continue }
            let place = RoomPlace(key: search.byMembers ? last.total : 0, room: last.room)
            horizon = horizon.map { min($0, place) } ?? place
        }
        let all = sums.map { room, sum in
            // Where no roster is kept nobody knows more than its own members. The nodes page by what they know, so the
            // merged list does too: by the sum, rooms would come before a cursor that the nodes have yet to pass.
            let key = search.byMembers ? sum.key : 0
            return FoundRoom(place: RoomPlace(key: key, room: room), members: sum.members, nodes: sum.nodes)
        }
        let (rows, isCut) = Self.page(all, limit: search.limit, horizon: horizon, after: search.after) { $0.place }
        return SurveyPage(rows: rows, next: isCut ? rows.last?.place ?? horizon : nil)
    }

    /// One page of clients.
    package func clients(_ search: ClientSearch) -> SurveyPage<FoundClient, ClientID> {
        var all: [FoundClient] = []
        var horizon: String?
        for (node, findings) in answers {
            // Nobody tells of clients of other nodes.
            let rows = findings.rows(ClientRow.self).filter { $0.client.node == node }
            all += rows.map { FoundClient(node: node, row: $0) }
            guard findings.hasMore, let last = rows.last?.client.rawValue else { continue }
            horizon = horizon.map { min($0, last) } ?? last
        }
        let (rows, isCut) = Self.page(all, limit: search.limit, horizon: horizon, after: search.after?.rawValue) {
            $0.row.client.rawValue
        }
        return SurveyPage(rows: rows, next: isCut ? rows.last?.row.client ?? horizon.flatMap { ClientID($0) } : nil)
    }

    private static func page<Row, Place: Comparable>(
        _ all: [Row], limit: Int, horizon: Place?, after: Place?, _ place: (Row) -> Place
    ) -> (rows: [Row], isCut: Bool) {
        var rows = all.filter { row in after.map { $0 < place(row) } ?? true }
        rows.sort { place($0) < place($1) }
        if let horizon { rows = Array(rows.prefix { place($0) <= horizon }) }
        return (Array(rows.prefix(limit)), horizon != nil || rows.count > limit)
    }

    /// The same without the answers that can't be read; who gave them is named instead.
    func readable(as question: SurveyQuestion) -> SurveyOutcome {
        let strange = answers.filter { !$0.value.isReadable(as: question) }.keys
        guard !strange.isEmpty else { return self }
        var outcome = self
        for node in strange { outcome.answers[node] = nil }
        outcome.unreachable = (unreachable + strange.map(\.rawValue)).sorted()
        return outcome
    }

    /// Who is in a room.
    package func members() -> FoundMembers {
        var found = FoundMembers()
        var users: Set<UInt64> = []
        for (node, findings) in answers {
            guard let count = findings.rows(RoomCount.self).first else { continue }
            found.members += count.members
            if count.members > 0 { found.nodes.append(.init(node: node, members: count.members)) }
            if count.hashes.count == count.users { users.formUnion(count.hashes) } else { found.users += count.users }
        }
        found.users += users.count
        found.nodes.sort { $0.node.rawValue < $1.node.rawValue }
        return found
    }

    /// The client that was asked for.
    package func client() -> FoundClient? {
        for (node, findings) in answers {
            if let row = findings.rows(ClientRow.self).first, row.client.node == node {
                return FoundClient(node: node, row: row)
            }
        }
        return nil
    }

    /// What a command has counted, over all nodes.
    package var count: Int { answers.values.reduce(0) { $0 + min($1.count, 10_000_000) } }
}
