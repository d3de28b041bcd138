/// Who is in which room: everything is dealt out in turn, so that it can be computed wherever it is needed.
package struct TrafficLayout: Sendable, Hashable {
    package let members: Int
    package let publishers: Int
    package let rooms: Int

    package init(members: Int, publishers: Int, rooms: Int) {
        self.members = members
        self.publishers = publishers
        self.rooms = max(1, rooms)
    }

    /// The room of a member.
    package func room(ofMember member: Int) -> Int { member % rooms }

    /// The room that a publisher publishes to.
    package func room(ofPublisher publisher: Int) -> Int { publisher % rooms }

    /// The place of a publisher among those of its room, from 0.
    package func place(ofPublisher publisher: Int) -> Int { publisher / rooms }

    /// How many publish to a room.
    package func publishers(inRoom room: Int) -> Int {
        publishers / rooms + (room < publishers % rooms ? 1 : 0)
    }

    /// The publisher at a place of a room.
    package func publisher(inRoom room: Int, place: Int) -> Int { place * rooms + room }
}
