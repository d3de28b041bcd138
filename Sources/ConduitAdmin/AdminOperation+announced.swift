import ConduitCore

extension AdminOperation {
    /// Operations that are described here and not served yet: whoever serves one adds it to ``all``.
    static let announced: [AdminOperation] = [
        AdminOperation(
            method: .get, path: "/", id: "getDashboard", tag: "dashboard", summary: "The operator's page",
            answers: [Answer(type: "text/html; charset=utf-8", schema: nil, summary: "One page that loads nothing")],
            isOpen: true, route: { (_) throws(AdminError) in .page }),
        AdminOperation(
            method: .get, path: "/api/v1/series", id: "getSeries", tag: "nodes",
            summary: "Figures of the last heartbeats of every node, or of one",
            parameters: [
                Parameter(
                    "count", #"{"type":"integer","minimum":1,"maximum":600,"default":60}"#, "Most samples of a node"),
                Parameter("node", AdminSchemas.ref("NodeID"), "Only this one's"),
                Parameter(
                    "fields", #"{"type":"string","pattern":"^,*[^,]+(,+[^,]+){0,63},*$"}"#,
                    "Only these figures, with commas between"),
            ],
            answers: [Answer(schema: "Series", summary: "Samples, oldest first")],
            route: { (_) throws(AdminError) in .series }),
        AdminOperation(
            method: .get, path: "/api/v1/events", id: "listEvents", tag: "nodes",
            summary: "What happened in the cluster",
            parameters: [
                limit,
                Parameter(
                    "before", #"{"type":"string","pattern":"^[0-9]{1,18}(-[0-9]{1,19})?$"}"#,
                    "Only what came before this event"),
            ],
            answers: [Answer(schema: "Events", summary: "Newest first")],
            route: { (_) throws(AdminError) in .events }),
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
