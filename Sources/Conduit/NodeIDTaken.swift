import ConduitCluster
public import ConduitCore

/// Another running node of the cluster has the same id, so this one can't take part.
///
/// A process that ended without leaving is no hindrance: its lease runs out, and the new one takes over.
public struct NodeIDTaken: Error, Hashable, CustomStringConvertible {
    /// The id that both have.
    public let node: NodeID
    /// The machine of the other one, as it calls itself.
    public let host: String
    /// Where its public port listens.
    public let address: String

    init(_ conflict: NodeIDConflict) {
        node = conflict.node
        host = conflict.host
        address = conflict.address
    }

    /// In words, with the way out.
    public var description: String {
        let place = host.isEmpty ? "" : " on \(host)" + (address.isEmpty ? "" : " (\(address))")
        return "the node id \(node) belongs to another running node\(place). "
            + "Give this one another id with node.id (CONDUIT_NODE_ID), or stop the other one"
    }
}
