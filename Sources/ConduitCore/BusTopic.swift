/// What a channel of the bus is about, whatever it is called there.
package enum BusTopic: Hashable, Sendable {
    /// Broadcasts and presence of one room.
    case room(RoomName)
    /// Messages for every connection of one user.
    case user(UserID)
    /// Broadcasts to everybody.
    case everyone
    /// Commands to all nodes.
    case control
    /// Commands and messages to one node.
    case node(NodeID)
}
