import ConduitCore
import ConduitTelemetry

extension AdminOperation {
    /// Every operation of the port, in the order of the document.
    static let all: [AdminOperation] = health + figures + history + rooms + clients + commands

    private static let health: [AdminOperation] = [
        AdminOperation(
            method: .get, path: "/health/live", id: "getLiveness", tag: "health", summary: "Whether the process works",
            answers: [Answer(schema: "Health", summary: "It does")], isOpen: true,
            route: { (_) throws(AdminError) in .live }),
        AdminOperation(
            method: .get, path: "/health/ready", id: "getReadiness", tag: "health",
            summary: "Whether the node takes clients",
            answers: [
                Answer(schema: "Health", summary: "It does"),
                Answer(status: 503, schema: "Health", summary: "It does not, or Redis is away and that counts"),
            ], isOpen: true, route: { (_) throws(AdminError) in .ready }),
        AdminOperation(
            method: .get, path: "/metrics", id: "getMetrics", tag: "health", summary: "Figures of this node",
            answers: [Answer(type: PrometheusText.contentType, schema: nil, summary: "Prometheus text")],
            errors: [503], route: { (_) throws(AdminError) in .metrics }),
        AdminOperation(
            method: .get, path: "/api/v1/openapi.json", id: "getDocument", tag: "health", summary: "This document",
            answers: [Answer(schema: "Document", summary: "OpenAPI 3.1")],
            route: { (_) throws(AdminError) in .document }),
    ]

    private static let figures: [AdminOperation] = [
        AdminOperation(
            method: .get, path: "/api/v1/cluster", id: "getCluster", tag: "nodes",
            summary: "Status, number of nodes and sums of their figures",
            answers: [Answer(schema: "Cluster", summary: "The cluster as Redis shows it")],
            route: { (_) throws(AdminError) in .cluster }),
        AdminOperation(
            method: .get, path: "/api/v1/nodes", id: "listNodes", tag: "nodes",
            summary: "What each node wrote of itself at its last heartbeat",
            answers: [Answer(schema: "Nodes", summary: "All nodes")], route: { (_) throws(AdminError) in .nodes }),
        AdminOperation(
            method: .get, path: "/api/v1/nodes/{node}", id: "getNode", tag: "nodes", summary: "The same of one node",
            answers: [Answer(schema: "NodeDetail", summary: "The node")], errors: [404],
            route: { (parts) throws(AdminError) in .node(try AdminRoute.node(parts[0])) }),
    ]

    static let limit = Parameter(
        "limit", #"{"type":"integer","minimum":1,"maximum":1000,"default":100}"#, "Most entries of the answer")
    private static let search = Parameter(
        "search", #"{"type":"string","maxLength":255}"#, "Is part of it, in small or capital letters")

    private static let rooms: [AdminOperation] = [
        AdminOperation(
            method: .get, path: "/api/v1/rooms", id: "listRooms", tag: "rooms",
            summary: "Rooms that exist on any node",
            parameters: [
                search,
                Parameter(
                    "namespace", #"{"type":"string","maxLength":255}"#,
                    "Only rooms of this namespace; empty for those without one"),
                Parameter(
                    "sort", #"{"type":"string","enum":["name","members"],"default":"name"}"#,
                    "By the bytes of their names, or those with many members first"),
                limit, Parameter("cursor", AdminSchemas.ref("RoomCursor"), "Of the page before"),
            ],
            answers: [Answer(schema: "Rooms", summary: "One page")], route: { (_) throws(AdminError) in .rooms }),
        AdminOperation(
            method: .get, path: "/api/v1/rooms/{room}", id: "getRoom", tag: "rooms",
            summary: "How many are in a room, and on which nodes; a room that nobody is in has no members",
            answers: [Answer(schema: "Room", summary: "The room")],
            route: { (parts) throws(AdminError) in .room(try AdminRoute.room(parts[0])) }),
        AdminOperation(
            method: .get, path: "/api/v1/rooms/{room}/presence", id: "getPresence", tag: "rooms",
            summary: "Who is in a room, over all nodes",
            parameters: [
                limit,
                Parameter("cursor", #"{"type":"string","maxLength":255}"#, "Of the page before"),
            ],
            answers: [Answer(schema: "Presence", summary: "One page")],
            route: { (parts) throws(AdminError) in .presence(try AdminRoute.room(parts[0])) }),
        AdminOperation(
            method: .get, path: "/api/v1/rooms/{room}/history", id: "getHistory", tag: "rooms",
            summary: "What the log of an ordered room holds: behind a place, or the newest messages",
            parameters: [
                limit,
                Parameter(
                    "epoch", #"{"type":"string","minLength":1,"maxLength":64}"#, "Of the place; else the log's own"),
                Parameter(
                    "offset", #"{"type":"integer","minimum":0,"maximum":9007199254740991}"#,
                    "Of the place; 0 where only the epoch is named"),
            ],
            answers: [Answer(schema: "History", summary: "Messages, oldest first")],
            route: { (parts) throws(AdminError) in .history(try AdminRoute.room(parts[0])) }),
    ]

    private static let clients: [AdminOperation] = [
        AdminOperation(
            method: .get, path: "/api/v1/clients", id: "listClients", tag: "clients",
            summary: "Connections of any node",
            parameters: [
                search,
                Parameter("user", AdminSchemas.ref("UserID"), "Only this user's"),
                Parameter("node", AdminSchemas.ref("NodeID"), "Only those of this node"),
                Parameter("room", AdminSchemas.ref("RoomName"), "Only members of this room"),
                limit, Parameter("cursor", AdminSchemas.ref("ClientID"), "Of the page before"),
            ],
            answers: [Answer(schema: "Clients", summary: "One page, by id")],
            route: { (_) throws(AdminError) in .clients }),
        AdminOperation(
            method: .get, path: "/api/v1/clients/{client}", id: "getClient", tag: "clients", summary: "One connection",
            answers: [Answer(schema: "ClientDetail", summary: "The connection")], errors: [404],
            route: { (parts) throws(AdminError) in .client(try AdminRoute.client(parts[0])) }),
        AdminOperation(
            method: .get, path: "/api/v1/users/{user}", id: "getUser", tag: "clients",
            summary: "The connections of a user, the first 1,000",
            answers: [Answer(schema: "User", summary: "The user; one who isn't connected has none")],
            route: { (parts) throws(AdminError) in .user(try AdminRoute.user(parts[0])) }),
    ]

    private static let commands: [AdminOperation] = [
        AdminOperation(
            method: .post, path: "/api/v1/publish", id: "publish", tag: "commands", summary: "An event to a room",
            body: "PublishBody", answers: [Answer(schema: "Delivery", summary: "It is on its way")],
            route: { (_) throws(AdminError) in .publish }),
        AdminOperation(
            method: .post, path: "/api/v1/broadcast", id: "broadcast", tag: "commands",
            summary: "An event to every client",
            body: "BroadcastBody", answers: [Answer(schema: "Delivery", summary: "It is on its way")],
            route: { (_) throws(AdminError) in .broadcast }),
        AdminOperation(
            method: .post, path: "/api/v1/send", id: "send", tag: "commands", summary: "An event to a user or a client",
            body: "SendBody", answers: [Answer(schema: "Delivery", summary: "It is on its way")],
            route: { (_) throws(AdminError) in .send }),
        AdminOperation(
            method: .post, path: "/api/v1/disconnect", id: "disconnect", tag: "commands",
            summary: "Ends the connections of a user, or one, with close code 3503",
            body: "TargetBody", answers: [Answer(schema: "Disconnection", summary: "How many were ended")],
            route: { (_) throws(AdminError) in .disconnect }),
        AdminOperation(
            method: .post, path: "/api/v1/rooms/{room}/kick", id: "kick", tag: "commands",
            summary: "Takes a user or a client out of a room; connections stay",
            body: "TargetBody", answers: [Answer(schema: "Kick", summary: "How many were taken out")],
            route: { (parts) throws(AdminError) in .kick(try AdminRoute.room(parts[0])) }),
        AdminOperation(
            method: .post, path: "/api/v1/revoke", id: "revoke", tag: "commands",
            summary: "Makes tokens good no more, and ends the connections that came with them with close code 3500",
            body: "RevokeBody", answers: [Answer(schema: "Revocation", summary: "Until when it is remembered")],
            route: { (_) throws(AdminError) in .revoke }),
        AdminOperation(
            method: .post, path: "/api/v1/nodes/{node}/drain", id: "drainNode", tag: "commands",
            summary: "Makes a node send its clients away at a pace and end",
            body: "DrainBody", answers: [Answer(schema: "Drain", summary: "It has begun")], errors: [404],
            route: { (parts) throws(AdminError) in .drain(try AdminRoute.node(parts[0])) }),
        AdminOperation(
            method: .post, path: "/api/v1/rebalance", id: "rebalance", tag: "commands",
            summary: "Makes nodes with too many clients send some to the others",
            body: "EmptyBody", answers: [Answer(schema: "Rebalance", summary: "It has begun")],
            route: { (_) throws(AdminError) in .rebalance }),
    ]
}
