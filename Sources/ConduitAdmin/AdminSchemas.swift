/// The JSON Schemas of the admin port's document, by name.
enum AdminSchemas {
    /// What stands in a path, by its name in braces.
    static func name(ofPart part: String) -> String {
        switch part {
        case "room": "RoomName"
        case "client": "ClientID"
        case "user": "UserID"
        default: "NodeID"
        }
    }

    /// Every schema, in the order of the document.
    static let all: [(String, String)] =
        names + health + nodes + rooms + clients + bodies + receipts
        + announced

    // The formats say what no pattern can: names are bounded by bytes.
    private static let names = [
        ("NodeID", #"{"type":"string","format":"conduit-node","pattern":"^[A-Za-z0-9._-]{1,64}$"}"#),
        (
            "ClientID",
            #"{"type":"string","format":"conduit-client","pattern":"^[A-Za-z0-9._-]{1,64}\\.[0-9a-z]{1,64}$"}"#
        ),
        (
            "UserID",
            #"{"type":"string","format":"conduit-name","minLength":1,"maxLength":255,"#
                + #""pattern":"^[^\\u0000-\\u001f\\u007f-\\u009f]+$","#
                + #""description":"1 to 255 bytes of UTF-8 without control characters"}"#
        ),
        (
            "RoomName",
            #"{"type":"string","format":"conduit-name","minLength":1,"maxLength":255,"#
                + #""pattern":"^[^\\u0000-\\u001f\\u007f-\\u009f]+$","#
                + #""description":"1 to 255 bytes of UTF-8 without control characters"}"#
        ),
        (
            "RoomCursor",
            #"{"type":"string","format":"conduit-cursor","maxLength":265,"#
                + #""pattern":"^[0-9]{1,9}:[^\\u0000-\\u001f\\u007f-\\u009f]{1,255}$"}"#
        ),
        (
            "Timestamp",
            #"{"type":"string","pattern":"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z$"}"#
        ),
        ("Count", #"{"type":"integer","minimum":0}"#),
        (
            "Unreachable",
            #"{"type":"array","items":{"type":"string"},"#
                + #""description":"What could not be asked in time: node ids, or redis"}"#
        ),
    ]

    private static let health = [
        ("Document", #"{"type":"object","required":["openapi","info","paths"]}"#),
        ("Health", closed(["status": string])),
        (
            "Error",
            closed(["error": closed(["code": string, "message": string])])
        ),
    ]

    private static let figure = #"{"type":["string","number"]}"#

    private static let nodes = [
        ("Node", open(["id": ref("NodeID")], optional: ["heartbeat_age_ms": ref("Count")])),
        (
            "NodeDetail",
            open(
                ["id": ref("NodeID"), "unreachable": ref("Unreachable")],
                optional: ["heartbeat_age_ms": ref("Count")])
        ),
        ("Nodes", closed(["nodes": list(ref("Node")), "unreachable": ref("Unreachable")])),
        (
            "Cluster",
            closed([
                "node": ref("NodeID"), "status": #"{"enum":["alone","connecting","connected","degraded"]}"#,
                "nodes": ref("Count"), "totals": #"{"type":"object","additionalProperties":{"type":"integer"}}"#,
                "unreachable": ref("Unreachable"),
            ])
        ),
    ]

    private static let mode = #"{"enum":["fast","ordered"]}"#

    private static let rooms = [
        (
            "Rooms",
            closed(
                [
                    "rooms": list(
                        closed([
                            "room": ref("RoomName"), "members": ref("Count"), "mode": mode, "nodes": ref("Count"),
                        ])), "unreachable": ref("Unreachable"),
                ], optional: ["cursor": ref("RoomCursor")])
        ),
        (
            "Room",
            closed(
                [
                    "room": ref("RoomName"), "members": ref("Count"), "users": ref("Count"), "mode": mode,
                    "nodes": list(closed(["node_id": ref("NodeID"), "members": ref("Count")])),
                    "unreachable": ref("Unreachable"),
                ], optional: ["epoch": string, "offset": ref("Count")])
        ),
        (
            "Presence",
            closed(
                [
                    "room": ref("RoomName"), "count": ref("Count"), "users": ref("Count"),
                    "members": list(ref("Member")), "unreachable": ref("Unreachable"),
                ], optional: ["cursor": ref("ClientID")])
        ),
        (
            "Member",
            closed(
                [
                    "client_id": ref("ClientID"), "user_id": string, "info": "{}",
                    "node_id": ref("NodeID"), "joined_at": ref("Timestamp"),
                ])
        ),
        (
            "History",
            closed([
                "room": ref("RoomName"), "epoch": string, "offset": ref("Count"),
                "messages": list(#"{"type":"object","required":["type","offset"]}"#), "unreachable": ref("Unreachable"),
            ])
        ),
    ]

    private static let client = [
        "client_id": ref("ClientID"), "user_id": nullable("UserID"), "node_id": ref("NodeID"),
        "connected_at": ref("Timestamp"), "remote_address": #"{"type":["string","null"]}"#,
        "rooms": #"{"type":"array","maxItems":100,"items":"# + ref("RoomName") + "}", "room_count": ref("Count"),
        "pending_bytes": ref("Count"),
    ]

    private static let clients = [
        ("Client", closed(client)),
        ("ClientDetail", closed(client.merging(["unreachable": ref("Unreachable")]) { $1 })),
        (
            "Clients",
            closed(
                ["clients": list(ref("Client")), "unreachable": ref("Unreachable")],
                optional: ["cursor": ref("ClientID")])
        ),
        (
            "User",
            closed(
                ["user_id": ref("UserID"), "clients": list(ref("Client")), "unreachable": ref("Unreachable")],
                optional: ["cursor": ref("ClientID")])
        ),
    ]

    private static let target =
        #"{"oneOf":["# + closed(["user": ref("UserID")]) + "," + closed(["client": ref("ClientID")]) + "]}"

    private static let bodies = [
        (
            "EventType",
            #"{"type":"string","format":"conduit-type","minLength":1,"maxLength":255,"not":{"enum":["#
                + reserved.map { "\"\($0)\"" }.joined(separator: ",") + "]}}"
        ),
        (
            "PublishBody",
            closed(["room": ref("RoomName"), "type": ref("EventType")], optional: ["payload": "{}"])
        ),
        ("BroadcastBody", closed(["type": ref("EventType")], optional: ["payload": "{}"])),
        (
            "SendBody",
            #"{"oneOf":["#
                + closed(["user": ref("UserID"), "type": ref("EventType")], optional: ["payload": "{}"]) + ","
                + closed(["client": ref("ClientID"), "type": ref("EventType")], optional: ["payload": "{}"]) + "]}"
        ),
        ("TargetBody", target),
        (
            "Expiry",
            #"{"description":"A time to come: seconds since 1970, or a timestamp","oneOf":["#
                + #"{"type":"integer","minimum":0,"maximum":99999999999},"# + ref("Timestamp") + "]}"
        ),
        (
            "RevokeBody",
            #"{"oneOf":["# + closed(["user": ref("UserID")], optional: ["expires_at": ref("Expiry")]) + ","
                + closed(
                    ["token_id": #"{"type":"string","format":"conduit-type","minLength":1,"maxLength":255}"#],
                    optional: ["expires_at": ref("Expiry")]) + "]}"
        ),
    ]

    /// The protocol's own types, which no event may have.
    static let reserved = [
        "ack", "broadcast", "echo", "error", "history", "join_room", "leave_room", "ping", "pong", "presence",
        "presence_diff", "reconnect", "refresh", "refreshed", "room_joined", "room_left", "room_state", "send",
        "status",
    ]

    private static let yes = #"{"const":true}"#

    private static let receipts = [
        (
            "Delivery",
            closed(["ok": yes, "unreachable": ref("Unreachable")], optional: ["delivered_to": ref("Count")])
        ),
        (
            "Disconnection",
            closed(["ok": yes, "disconnected": ref("Count"), "unreachable": ref("Unreachable")])
        ),
        ("Kick", closed(["kicked": ref("Count"), "unreachable": ref("Unreachable")])),
        (
            "Revocation",
            closed(
                ["ok": yes, "unreachable": ref("Unreachable")],
                optional: ["disconnected": ref("Count"), "expires_at": ref("Timestamp")])
        ),
    ]

    /// Of ``AdminOperation/announced``.
    private static let announced = [
        (
            "Series",
            closed([
                "nodes": list(closed(["node_id": ref("NodeID"), "samples": list(ref("Sample"))])),
                "unreachable": ref("Unreachable"),
            ])
        ),
        (
            "Sample",
            #"{"type":"object","required":["at"],"additionalProperties":{"type":["number","null"]},"#
                + #""properties":{"at":"# + ref("Count") + "}}"
        ),
        (
            "Events",
            closed(["events": list(ref("ClusterEvent")), "unreachable": ref("Unreachable")])
        ),
        (
            "ClusterEvent",
            #"{"type":"object","required":["id","at","event","node"],"additionalProperties":{"type":"string"},"#
                + #""properties":{"id":{"type":"string"},"at":"# + ref("Count")
                + #","event":{"type":"string"},"node":{"type":"string"}}}"#
        ),
        (
            "DrainBody",
            closed([:], optional: ["timeout_ms": #"{"type":"integer","minimum":1,"maximum":3600000}"#])
        ),
        ("EmptyBody", closed([:])),
        (
            "Drain",
            closed([
                "node_id": ref("NodeID"), "state": #"{"const":"draining"}"#, "unreachable": ref("Unreachable"),
            ])
        ),
        (
            "Rebalance",
            closed([
                "started": list(ref("NodeID")), "mean": #"{"type":["number","null"],"minimum":0}"#,
                "unreachable": ref("Unreachable"),
            ])
        ),
    ]

    // MARK: Building

    private static let string = #"{"type":"string"}"#

    static func ref(_ name: String) -> String { ##"{"$ref":"#/components/schemas/"## + name + "\"}" }

    private static func list(_ items: String) -> String { #"{"type":"array","items":"# + items + "}" }

    private static func nullable(_ name: String) -> String {
        #"{"oneOf":[{"type":"null"},"# + ref(name) + "]}"
    }

    /// An object with these fields and no others.
    private static func closed(_ required: [String: String], optional: [String: String] = [:]) -> String {
        object(required, optional, rest: "false")
    }

    /// An object whose other fields are figures.
    private static func open(_ required: [String: String], optional: [String: String] = [:]) -> String {
        object(required, optional, rest: figure)
    }

    private static func object(_ required: [String: String], _ optional: [String: String], rest: String) -> String {
        let fields = required.merging(optional) { one, _ in one }.sorted { $0.key < $1.key }
        let names = required.keys.sorted().map { "\"\($0)\"" }.joined(separator: ",")
        let properties = fields.map { "\"\($0.key)\":\($0.value)" }.joined(separator: ",")
        return "{\"type\":\"object\",\"required\":[\(names)],\"additionalProperties\":\(rest),"
            + "\"properties\":{\(properties)}}"
    }
}
