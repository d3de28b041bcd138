package import ConduitCluster
package import ConduitCore
import ConduitWire
import NIOCore

/// The figures of nodes over time, as far as they can be read from here.
package struct AdminSeries: Sendable {
    /// By name; the samples of each oldest first.
    package var nodes: [(id: NodeID, samples: [Sample])]
    /// What could not be asked: `redis`.
    package var unreachable: [String]

    package init(nodes: [(id: NodeID, samples: [Sample])] = [], unreachable: [String] = []) {
        self.nodes = nodes
        self.unreachable = unreachable
    }
}

/// A part of what happened in the cluster.
package struct AdminEvents: Sendable {
    /// The newest first.
    package var events: [ClusterEvent]
    /// What could not be asked: `redis`.
    package var unreachable: [String]

    package init(events: [ClusterEvent] = [], unreachable: [String] = []) {
        self.events = events
        self.unreachable = unreachable
    }
}

/// What `GET /api/v1/series` is asked for.
package struct AdminSeriesQuery: Hashable, Sendable {
    /// Most samples in one answer, all nodes together: about 6 MB with all figures.
    package static let mostSamples = 12_000
    /// Most names in `fields`.
    private static let mostFields = 64
    private static let mostFieldsLength = 2_048

    /// One node; `nil` for every node.
    package var node: NodeID?
    /// Most samples of a node.
    package var count: Int
    /// The figures that are wanted; `nil` for all.
    package var fields: Set<String>?

    init(_ query: AdminQuery) throws(AdminError) {
        guard let count = Int(query["count"] ?? "60"), (1...600).contains(count), query["count"]?.first != "+" else {
            throw AdminError.badRequest("count is not a whole number from 1 to 600")
        }
        self.count = count
        node = try query.value("node") { NodeID($0) }
        guard let text = try query.text("fields", atMost: Self.mostFieldsLength) else { return }
        let names = text.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        guard names.count <= Self.mostFields, names.allSatisfy(Self.isName) else {
            throw AdminError.badRequest(
                "fields is not a list of 1 to \(Self.mostFields) names (letters, digits, _) with commas between")
        }
        fields = Set(names)
    }

    private static func isName(_ text: String) -> Bool {
        (1...64).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
                    true
                default: false
                }
            }
    }

    /// How many samples of each of so many nodes keep the answer bounded.
    package func count(forNodes nodes: Int) -> Int { max(1, min(count, Self.mostSamples / max(1, nodes))) }
}

extension AdminQuery {
    /// The id of an event, as the document's pattern has it.
    func event(_ name: String) throws(AdminError) -> String? {
        try value(name) { text in
            let parts = text.utf8.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
            let isID =
                parts.count <= 2
                && parts.allSatisfy { (1...18).contains($0.count) && $0.allSatisfy { (0x30...0x39).contains($0) } }
            return isID ? text : nil
        }
    }
}

extension AdminOperation {
    /// The page, and what it draws of the past.
    static let history: [AdminOperation] = [
        AdminOperation(
            method: .get, path: "/", id: "getDashboard", tag: "nodes", summary: "A page that shows all this",
            answers: [
                Answer(type: "text/html; charset=utf-8", schema: nil, summary: "The page; it asks for the token")
            ],
            isOpen: true, route: { (_) throws(AdminError) in .page }),
        AdminOperation(
            method: .get, path: "/api/v1/series", id: "getSeries", tag: "nodes",
            summary: "Figures of nodes over time, the oldest first",
            parameters: [
                Parameter(
                    "count", #"{"type":"integer","minimum":1,"maximum":600,"default":60}"#,
                    "Most samples of a node; less when all together would be more than 12,000"),
                Parameter("node", AdminSchemas.ref("NodeID"), "Only this node, also one that is gone"),
                Parameter(
                    "fields",
                    #"{"type":"string","maxLength":2048,"pattern":"^[A-Za-z0-9_]{1,64}(,[A-Za-z0-9_]{1,64}){0,63}$"}"#,
                    "Only these figures, with commas between"),
            ],
            answers: [Answer(schema: "Series", summary: "What the nodes have written")],
            route: { (_) throws(AdminError) in .series }),
        AdminOperation(
            method: .get, path: "/api/v1/events", id: "listEvents", tag: "nodes",
            summary: "What happened in the cluster, the newest first",
            parameters: [
                Parameter(
                    "limit", #"{"type":"integer","minimum":1,"maximum":1000,"default":100}"#,
                    "Most entries of the answer"),
                Parameter("before", AdminSchemas.ref("EventID"), "Only those before this one"),
            ],
            answers: [Answer(schema: "Events", summary: "One page")],
            route: { (_) throws(AdminError) in .events }),
    ]
}

extension AdminSchemas {
    static let history = [
        ("EventID", #"{"type":"string","pattern":"^[0-9]{1,18}(-[0-9]{1,18})?$"}"#),
        (
            "Sample",
            #"{"type":"object","required":["at"],"properties":{"at":{"type":"integer"}},"#
                + #""additionalProperties":{"type":["number","null"]}}"#
        ),
        (
            "Series",
            #"{"type":"object","required":["nodes","unreachable"],"additionalProperties":false,"properties":{"nodes":"#
                + #"{"type":"array","items":{"type":"object","required":["node_id","samples"],"#
                + #""additionalProperties":false,"properties":{"node_id":"# + ref("NodeID")
                + #","samples":{"type":"array","items":"# + ref("Sample") + #"}}}},"unreachable":"#
                + ref("Unreachable") + "}}"
        ),
        (
            "Event",
            #"{"type":"object","required":["id","at","event","node"],"properties":{"id":{"type":"string"},"#
                + #""at":{"type":"integer"}},"additionalProperties":{"type":"string"}}"#
        ),
        (
            "Events",
            #"{"type":"object","required":["events","unreachable"],"additionalProperties":false,"properties":"#
                + #"{"events":{"type":"array","items":"# + ref("Event") + #"},"unreachable":"# + ref("Unreachable")
                + "}}"
        ),
    ]
}

extension AdminJSON {
    static func series(_ series: AdminSeries) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeStaticString("{\"nodes\":[")
        // The names of figures repeat in each sample, and are escaped once.
        var names: [String: String] = [:]
        for (index, node) in series.nodes.enumerated() {
            if index > 0 { buffer.writeStaticString(",") }
            buffer.writeStaticString("{\"node_id\":")
            buffer.writeJSONString(node.id.rawValue)
            buffer.writeStaticString(",\"samples\":[")
            for (index, sample) in node.samples.enumerated() {
                buffer.writeString(index > 0 ? ",{\"at\":\(sample.at)" : "{\"at\":\(sample.at)")
                for (name, value) in sample.figures.sorted(by: { $0.key < $1.key }) where name != "at" {
                    let written = names[name] ?? key(name)
                    if names.count < 1_024 { names[name] = written }
                    buffer.writeString(written)
                    buffer.writeString(number(value))
                }
                buffer.writeStaticString("}")
            }
            buffer.writeStaticString("]}")
        }
        buffer.writeStaticString("]")
        buffer.writeUnreachable(series.unreachable)
        buffer.writeStaticString("}\n")
        return buffer
    }

    static func events(_ events: AdminEvents) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeStaticString("{\"events\":[")
        for (index, event) in events.events.enumerated() {
            if index > 0 { buffer.writeStaticString(",") }
            buffer.writeStaticString("{\"id\":")
            buffer.writeJSONString(event.id)
            buffer.writeString(",\"at\":\(event.at),\"event\":")
            buffer.writeJSONString(event.event)
            buffer.writeStaticString(",\"node\":")
            buffer.writeJSONString(event.node)
            // Anybody may have written the stream: no name stands twice in an object.
            var written: Set<String> = ["id", "at", "event", "node"]
            for (name, value) in event.fields where written.insert(name).inserted {
                buffer.writeString(key(name))
                buffer.writeJSONString(value)
            }
            buffer.writeStaticString("}")
        }
        buffer.writeStaticString("]")
        buffer.writeUnreachable(events.unreachable)
        buffer.writeStaticString("}\n")
        return buffer
    }

    /// `,"name":`
    private static func key(_ name: String) -> String {
        var buffer = ByteBuffer()
        buffer.writeStaticString(",")
        buffer.writeJSONString(name)
        buffer.writeStaticString(":")
        return String(buffer: buffer)
    }

    /// Whole numbers without a point, as far as every reader of JSON holds them exactly.
    private static func number(_ value: Double) -> String {
        guard value.isFinite else { return "null" }
        if value.magnitude < 9_007_199_254_740_992, value == value.rounded() { return "\(Int64(value))" }
        return "\(value)"
    }
}
