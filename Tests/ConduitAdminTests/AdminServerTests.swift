import ConduitAdmin
import ConduitCluster
import ConduitCore
import ConduitHub
import ConduitTelemetry
import ConduitTesting
import ConduitWire
import Logging
import NIOCore
import NIOPosix
import Synchronization
import Testing

/// A node that says what the test tells it to, and remembers what it was asked for.
final class FakeNode: AdminNode {
    struct State {
        var readiness = AdminReadiness(status: "ready", httpStatus: 200)
        var statistics = AdminStatistics(hub: HubStatistics(), process: ProcessFigures.now())
        var cluster = AdminCluster(status: "connected", nodes: [])
        var presence = AdminPresence(count: 0, users: 0, members: [])
        var receipt = AdminReceipt()
        var drain = AdminDrain.draining
        var series = AdminSeries()
        var events = AdminEvents()
        var seriesQuery: AdminSeriesQuery?
        var rooms = AdminRooms(rows: [])
        var clients = AdminClients(rows: [])
        var log = RoomLog(epoch: "", offset: 0)
        var error: RequestError?
        var isStuck = false
        var isDeaf = false
        var calls: [String] = []
    }

    let nodeID: NodeID
    let state = Mutex(State())

    init() throws { nodeID = try #require(NodeID("node-a")) }

    func set(_ change: (inout State) -> Void) { state.withLock { change(&$0) } }
    var calls: [String] { state.withLock { $0.calls } }
    var seriesQuery: AdminSeriesQuery? { state.withLock { $0.seriesQuery } }

    func readiness() async -> AdminReadiness { state.withLock { $0.readiness } }
    func statistics() async -> AdminStatistics { state.withLock { $0.statistics } }
    func cluster() async -> AdminCluster {
        // Cancelled when the server gives up.
        if state.withLock({ $0.isStuck }) { try? await Task.sleep(for: .seconds(3600)) }
        // And one that doesn't heed it.
        while state.withLock({ $0.isDeaf }) { await Task { try? await Task.sleep(for: .milliseconds(20)) }.value }
        return state.withLock { $0.cluster }
    }

    func presence(of room: RoomName, limit: Int, after cursor: String?) async throws(RequestError) -> AdminPresence {
        try note("presence \(room) \(limit) \(cursor ?? "-")")
        return state.withLock { $0.presence }
    }

    func series(_ query: AdminSeriesQuery) async -> AdminSeries {
        let fields = query.fields.map { $0.sorted().joined(separator: ",") }
        set { $0.calls.append("series \(query.node.map { "\($0)" } ?? "-") \(query.count) \(fields ?? "-")") }
        set { $0.seriesQuery = query }
        return state.withLock { $0.series }
    }

    func events(before: String?, limit: Int) async -> AdminEvents {
        set { $0.calls.append("events \(before ?? "-") \(limit)") }
        return state.withLock { $0.events }
    }

    func publish(
        _ type: String, _ payload: RawJSON, to target: AdminTarget
    ) async throws(RequestError) -> AdminReceipt {
        try note("publish \(type) \(payload) \(target)")
        return state.withLock { $0.receipt }
    }

    func rooms(_ search: RoomSearch) async throws(RequestError) -> AdminRooms {
        let order = search.byMembers ? "members" : "name"
        try note(
            "rooms '\(search.text)' \(search.namespace ?? "-") \(order) \(search.limit) \(search.after?.cursor ?? "-")")
        return state.withLock { $0.rooms }
    }

    func room(_ room: RoomName) async throws(RequestError) -> AdminRoom {
        try note("room \(room)")
        var found = FoundMembers()
        found.members = 3
        found.users = 2
        found.nodes = [.init(node: nodeID, members: 3)]
        return AdminRoom(room: room, found: found, mode: .ordered, epoch: "e", offset: 7, unreachable: ["node-b"])
    }

    func history(
        of room: RoomName, since: RecoveryPoint?, limit: Int
    ) async throws(RequestError) -> AdminHistory {
        try note("history \(room) \(since.map { "\($0.epoch)/\($0.offset)" } ?? "-") \(limit)")
        return AdminHistory(room: room, log: state.withLock { $0.log })
    }

    func clients(_ search: ClientSearch, on node: NodeID?) async throws(RequestError) -> AdminClients {
        let parts = [search.user?.rawValue, search.room?.rawValue, node?.rawValue, search.after?.rawValue]
        try note("clients '\(search.text)' \(parts.map { $0 ?? "-" }.joined(separator: " ")) \(search.limit)")
        return state.withLock { $0.clients }
    }

    func client(_ id: ClientID) async throws(RequestError) -> AdminClients {
        try note("client \(id)")
        return state.withLock { $0.clients }
    }

    func kick(_ target: AdminTarget, from room: RoomName) async throws(RequestError) -> AdminReceipt {
        try note("kick \(target) from \(room)")
        return state.withLock { $0.receipt }
    }

    func disconnect(_ target: AdminTarget) async throws(RequestError) -> AdminReceipt {
        try note("disconnect \(target)")
        return state.withLock { $0.receipt }
    }

    func revoke(_ revocation: AdminRevocation) async throws(RequestError) -> AdminReceipt {
        try note("revoke \(revocation.target) \(revocation.expiresAt.map { "\($0)" } ?? "-")")
        return state.withLock { $0.receipt }
    }

    func drain(_ node: NodeID, within timeout: Duration?) async -> AdminDrain {
        state.withLock { state in
            state.calls.append("drain \(node) \(timeout.map { "\($0)" } ?? "-")")
            return state.drain
        }
    }

    func rebalance() async throws(RequestError) -> AdminRebalance {
        let wasDeaf = state.withLock { $0.isDeaf }
        while state.withLock({ $0.isDeaf }) { await Task { try? await Task.sleep(for: .milliseconds(20)) }.value }
        if !wasDeaf { try note("rebalance") }
        return AdminRebalance(started: [nodeID], mean: 7.5, unreachable: ["b"])
    }

    private func note(_ call: String) throws(RequestError) {
        let error = state.withLock { state in
            state.calls.append(call)
            return state.error
        }
        if let error { throw error }
    }
}

/// Runs a server for the time of `body`.
func withAdmin(
    token: String = "", timeLimit: Duration = .seconds(15),
    _ body: (FakeNode, Int) async throws -> Void
) async throws {
    let node = try FakeNode()
    var configuration = AdminConfiguration()
    configuration.port = 0
    configuration.token = token
    configuration.timeLimit = timeLimit
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    let server = try AdminServer(
        configuration: configuration, node: node, eventLoopGroup: MultiThreadedEventLoopGroup.singleton,
        logger: logger)
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await server.run() }
        try await eventually("listening") { server.localAddress != nil }
        let port = try #require(server.localAddress?.port)
        try await body(node, port)
        group.cancelAll()
    }
}

func request(
    _ port: Int, _ method: String, _ path: String, _ headers: [String: String] = [:], body: String? = nil
) async throws -> TestHTTPResponse {
    var all = ["Host": "127.0.0.1:\(port)", "Connection": "close"]
    if let body {
        all["Content-Type"] = "application/json"
        all["Content-Length"] = "\(body.utf8.count)"
    }
    all.merge(headers) { _, new in new }
    let head = all.map { "\($0.key): \($0.value)\r\n" }.joined()
    let socket = try await TestSocket.connect(port: port)
    try await socket.send("\(method) \(path) HTTP/1.1\r\n\(head)\r\n\(body ?? "")")
    let text = try await socket.waitForClose()
    return try #require(TestHTTPResponse(text), "\(text)")
}

@Suite struct AdminServerTests {
    @Test func healthAnswersWithJSON() async throws {
        try await withAdmin { node, port in
            let live = try await request(port, "GET", "/health/live")
            #expect(live.status == 200)
            #expect(live["content-type"] == "application/json")
            #expect(live.body == "{\"status\":\"alive\"}\n")
            for (status, code) in [("ready", 200), ("degraded", 200), ("draining", 503)] {
                node.set { $0.readiness = AdminReadiness(status: status, httpStatus: code) }
                let ready = try await request(port, "GET", "/health/ready")
                #expect(ready.status == code)
                #expect(ready.body == "{\"status\":\"\(status)\"}\n")
            }
        }
    }

    @Test func metricsShowWhatTheNodeCounts() async throws {
        try await withAdmin { node, port in
            var hub = HubStatistics()
            hub.clients = 3
            hub.closed = [3008: 2, 1000: 1]
            hub.dropped = ["slow": 4]
            hub.localDelivery.record(microseconds: 90)
            var cluster = ClusterStatistics()
            cluster.relayGaps = 7
            cluster.relayDropped = ["outbox_age": 1]
            cluster.redisRoundTripMicroseconds = 250
            cluster.redisRoundTrip.record(microseconds: 250)
            cluster.eventsDropped = ["client_connected": 6]
            cluster.surveys.partial = 4
            cluster.surveys.late = 5
            cluster.surveys.unanswered = 6
            cluster.surveys.duration.record(microseconds: 800)
            hub.handshake.record(microseconds: 1_200)
            hub.pingRoundTrip.record(microseconds: 300)
            var chat = RoomTraffic.Namespace()
            (chat.rooms, chat.members, chat.published, chat.deliveries) = (2, 5, 7, 21)
            hub.namespaces = ["": RoomTraffic.Namespace(), "chat": chat]
            var door = AdminDoor()
            door.handshakes = ["upgraded": 5]
            door.refused = ["connections_per_address": 3]
            door.certificateNotAfter = 1_900_000_000
            door.certificateReloads = ["taken": 2, "failed": 1]
            door.memoryLimit = 4_096
            let statistics = AdminStatistics(
                hub: hub, cluster: cluster,
                process: ProcessFigures(
                    residentBytes: 1024, cpuSeconds: 1.5, openDescriptors: 9, maxDescriptors: 1000, takenAt: 0),
                door: door)
            node.set { $0.statistics = statistics }
            let page = try await request(port, "GET", "/metrics")
            #expect(page["content-type"] == PrometheusText.contentType)
            let lines = Set(page.body.split(separator: "\n").map(String.init))
            let expected: Set<String> = [
                "conduit_info{node=\"node-a\",version=\"\(ConduitVersion.current)\"} 1", "conduit_ready 1",
                "conduit_degraded 0", "conduit_clients 3", "conduit_connections_closed_total{code=\"1000\"} 1",
                "conduit_connections_closed_total{code=\"3008\"} 2", "conduit_dropped_total{reason=\"slow\"} 4",
                "conduit_local_delivery_seconds_count 1", "conduit_handshakes_total{outcome=\"upgraded\"} 5",
                "conduit_connections_refused_total{limit=\"connections_per_address\"} 3",
                "conduit_tls_certificate_expiry_timestamp_seconds 1900000000",
                "conduit_tls_certificate_reloads_total{result=\"failed\"} 1", "conduit_memory_limit_bytes 4096",
                "conduit_memory_over_limit 0",
                "process_cpu_seconds_total 1.5", "process_resident_memory_bytes 1024", "process_open_fds 9",
                "conduit_relay_gaps_total 7", "conduit_relay_dropped_total{reason=\"outbox_age\"} 1",
                "conduit_redis_last_round_trip_seconds 0.00025", "process_max_fds 1000",
                "conduit_redis_round_trip_seconds_count 1", "conduit_handshake_seconds_bucket{le=\"0.0025\"} 1",
                "conduit_ping_round_trip_seconds_sum 0.0003", "conduit_namespace_rooms{namespace=\"chat\"} 2",
                "conduit_namespace_rooms{namespace=\"\"} 0", "conduit_namespace_members{namespace=\"chat\"} 5",
                "conduit_namespace_messages_total{namespace=\"chat\"} 7",
                "conduit_namespace_deliveries_total{namespace=\"chat\"} 21",
                "conduit_events_dropped_total{event=\"client_connected\"} 6",
                "conduit_survey_questions_total{outcome=\"partial\"} 4",
                "conduit_survey_questions_total{outcome=\"refused\"} 0",
                "conduit_survey_answers_received_total{result=\"late\"} 5",
                "conduit_survey_questions_received_total{result=\"refused\"} 6",
                "conduit_survey_seconds_bucket{le=\"0.001\"} 1",
                "# TYPE conduit_local_delivery_seconds histogram",
            ]
            #expect(expected.subtracting(lines) == [])
        }
    }

    @Test func clusterAndNodesAreJSON() async throws {
        try await withAdmin { node, port in
            let cluster = AdminCluster(
                status: "degraded",
                nodes: [
                    .init(
                        id: try #require(NodeID("node-a")), heartbeatAgeMilliseconds: 20,
                        fields: ["state": "ready", "clients": "3", "cpu_percent": "1.5", "host": "a\"b", "x": "007"]),
                    .init(
                        id: try #require(NodeID("node-b")), heartbeatAgeMilliseconds: 900,
                        fields: ["state": "draining", "clients": "4", "deliveries": "nonsense"]),
                ], unreachable: ["redis"])
            node.set { $0.cluster = cluster }
            let first =
                #"{"id":"node-a","heartbeat_age_ms":20,"clients":3,"cpu_percent":1.5,"host":"a\"b","#
                + #""state":"ready","x":"007"}"#
            let second =
                #"{"id":"node-b","heartbeat_age_ms":900,"clients":4,"deliveries":"nonsense","state":"draining"}"#
            let nodes = try await request(port, "GET", "/api/v1/nodes")
            #expect(nodes.body == "{\"nodes\":[\(first),\(second)],\"unreachable\":[\"redis\"]}\n")
            #expect(
                try await request(port, "GET", "/api/v1/nodes/node-a").body
                    == first.dropLast() + ",\"unreachable\":[\"redis\"]}\n")
            let unknown = try await request(port, "GET", "/api/v1/nodes/node-c")
            #expect(unknown.status == 503)
            node.set { $0.cluster.unreachable = [] }
            #expect(try await request(port, "GET", "/api/v1/nodes/node-c").status == 404)
            #expect(try await request(port, "GET", "/api/v1/nodes/a%20b").status == 400)
            let sum = try await request(port, "GET", "/api/v1/cluster")
            #expect(
                sum.body.hasPrefix(
                    #"{"node":"node-a","status":"degraded","nodes":2,"totals":{"clients":7,"messages_in":0,"#
                        + #""deliveries":0,"#), "\(sum.body)")
        }
    }

    @Test func presenceDecodesTheRoomAndPages() async throws {
        try await withAdmin { node, port in
            let id = try #require(NodeID("node-a"))
            let client = try #require(ClientID("node-a.abc"))
            let member = Member(
                client: client, user: UserID("u"), node: id, joinedAt: 0, info: Array(#"{"a":1}"#.utf8))
            node.set { $0.presence = AdminPresence(count: 9, users: 8, members: [member], cursor: "node-a.abc") }
            let page = try await request(
                port, "GET", "/api/v1/rooms/a%2Fb%20%7Bc%7D%3A%C3%A9/presence?limit=1&cursor=x.y")
            #expect(node.calls == ["presence a/b {c}:é 1 x.y"])
            #expect(
                page.body
                    == #"{"room":"a/b {c}:é","count":9,"users":8,"members":[{"client_id":"node-a.abc","user_id":"u","#
                    + #""info":{"a":1},"node_id":"node-a","joined_at":"1970-01-01T00:00:00.000Z"}],"#
                    + "\"cursor\":\"node-a.abc\",\"unreachable\":[]}\n")
            for path in [
                "/api/v1/rooms/%0A/presence", "/api/v1/rooms/%FF/presence", "/api/v1/rooms/%zz/presence",
                "/api/v1/rooms//presence", "/api/v1/rooms/\(String(repeating: "a", count: 256))/presence",
                "/api/v1/rooms/a/presence?limit=0", "/api/v1/rooms/a/presence?limit=x",
            ] {
                let refused = try await request(port, "GET", path)
                #expect(refused.status == 400, "\(path)")
                #expect(refused.body.hasPrefix(#"{"error":{"code":"bad_request","message":""#))
            }
            #expect(node.calls.count == 1)
        }
    }

    @Test(arguments: [
        ("publish", #"{"room":"r\u00e9","type":"t","payload":{"a": [1.50]}}"#, "publish t {\"a\": [1.50]} room(ré)"),
        ("broadcast", #"{"type":"t"}"#, "publish t null everybody"),
        ("send", #"{"user":"u 1","type":"t","payload":"x"}"#, "publish t \"x\" user(u 1)"),
        ("send", #"{"client":"n.abc","type":"t","payload":null}"#, "publish t null client(n.abc)"),
        ("disconnect", #"{"user":"u"}"#, "disconnect user(u)"),
        ("disconnect", #"{"client":"n.abc"}"#, "disconnect client(n.abc)"),
        ("revoke", #"{"user":"u"}"#, "revoke user(u) -"),
        ("revoke", #"{"token_id":"t","expires_at":9999999999}"#, #"revoke token("t") 9999999999000"#),
        (
            "revoke", #"{"token_id":"t","expires_at":"2999-01-02T03:04:05.678Z"}"#,
            #"revoke token("t") 32472241445678"#
        ),
    ])
    func commandsReachTheNode(path: String, body: String, call: String) async throws {
        try await withAdmin { node, port in
            node.set { $0.receipt = AdminReceipt(count: 2, unreachable: ["redis"]) }
            let answer = try await request(port, "POST", "/api/v1/\(path)", body: body)
            #expect(answer.status == 200)
            let name = path == "disconnect" || path == "revoke" ? "disconnected" : "delivered_to"
            #expect(answer.body == "{\"ok\":true,\"\(name)\":2,\"unreachable\":[\"redis\"]}\n")
            #expect(node.calls == [call])
        }
    }

    @Test(arguments: [
        (AdminDrain.draining, 200, #"{"node_id":"n1","state":"draining","unreachable":[]}"# + "\n"),
        (.unknown, 404, #"{"error":{"code":"not_found","message":"there is no node of this name"}}"# + "\n"),
        (.unreachable("n1"), 503, #"{"error":{"code":"unavailable","message":"n1 can't be reached"}}"# + "\n"),
    ])
    func aNodeIsDrained(outcome: AdminDrain, status: Int, body: String) async throws {
        try await withAdmin { node, port in
            node.set { $0.drain = outcome }
            for (asked, timeout) in [("{}", "-"), (#"{"timeout_ms":1500}"#, "1.5 seconds")] {
                let answer = try await request(port, "POST", "/api/v1/nodes/n1/drain", body: asked)
                #expect(answer.status == status)
                #expect(answer.body == body)
                #expect(node.calls.last == "drain n1 \(timeout)")
            }
        }
    }

    @Test func clientsAreSharedOutAgain() async throws {
        try await withAdmin { node, port in
            let answer = try await request(port, "POST", "/api/v1/rebalance", body: "{}")
            #expect(answer.status == 200)
            #expect(answer.body == #"{"started":["node-a"],"mean":7.5,"unreachable":["b"]}"# + "\n")
            node.set { $0.error = RequestError(.unavailable, "b is draining") }
            #expect(try await request(port, "POST", "/api/v1/rebalance", body: "{}").status == 503)
            #expect(node.calls == ["rebalance", "rebalance"])
            #expect(try await request(port, "GET", "/api/v1/rebalance").status == 405)
            #expect(try await request(port, "GET", "/api/v1/nodes/n1/drain").status == 405)
        }
    }

    @Test(arguments: [
        ("nodes/n1/drain", #"{"timeout_ms":0}"#, "bad_request"),
        ("nodes/n1/drain", #"{"timeout_ms":"1"}"#, "bad_request"),
        ("nodes/n1/drain", #"{"timeout_ms":1.5}"#, "bad_request"), ("nodes/n1/drain", #"{"x":1}"#, "bad_request"),
        ("nodes/n%201/drain", "{}", "bad_request"), ("rebalance", #"{"now":true}"#, "bad_request"),
        ("rebalance", "", "bad_request"),
        ("publish", "", "bad_request"), ("publish", "[]", "bad_request"),
        ("publish", "{\"room\":\"r\"}", "bad_request"),
        ("publish", "{\"type\":\"t\"}", "bad_request"), ("publish", "{\"room\":\"\",\"type\":\"t\"}", "bad_request"),
        ("publish", "{\"room\":\"r\",\"type\":\"room_joined\"}", "reserved_type"),
        ("publish", "{\"room\":\"r\",\"type\":\"\"}", "bad_request"),
        ("publish", "{\"room\":\"r\",\"type\":\"t\",\"payload\":}", "bad_request"),
        ("publish", "{\"room\":\"r\",\"room\":\"s\",\"type\":\"t\"}", "bad_request"),
        ("broadcast", "{\"room\":\"r\",\"type\":\"t\"}", "bad_request"),
        ("broadcast", "{\"type\":7}", "bad_request"), ("send", "{\"type\":\"t\"}", "bad_request"),
        ("send", "{\"user\":\"u\",\"client\":\"n.a\",\"type\":\"t\"}", "bad_request"),
        ("send", "{\"client\":\"x\",\"type\":\"t\"}", "bad_request"), ("disconnect", "{}", "bad_request"),
        ("revoke", "{}", "bad_request"),
        ("revoke", "{\"user\":\"u\",\"token_id\":\"t\"}", "bad_request"),
        ("revoke", "{\"user\":\"u\",\"expires_at\":1}", "bad_request"),
        ("revoke", "{\"user\":\"u\",\"expires_at\":32472241445678}", "bad_request"),
        ("revoke", "{\"token_id\":\"\"}", "bad_request"), ("revoke", "{\"usr\":\"u\"}", "bad_request"),
        ("disconnect", "{\"user\":\"u\\u0000\"}", "bad_request"), ("disconnect", "{\"user\":\"u\"} x", "bad_request"),
    ])
    func badCommandsAreRefusedBeforeTheNode(path: String, body: String, code: String) async throws {
        try await withAdmin { node, port in
            let answer = try await request(port, "POST", "/api/v1/\(path)", body: body)
            #expect(answer.status == 400)
            #expect(answer.body.hasPrefix("{\"error\":{\"code\":\"\(code)\",\"message\":\""), "\(answer.body)")
            #expect(node.calls == [])
        }
    }

    @Test func errorsOfTheNodeKeepTheirCode() async throws {
        try await withAdmin { node, port in
            for (code, status) in [(ErrorCode.unavailable, 503), (.permissionDenied, 403), (.internal, 500)] {
                node.set { $0.error = RequestError(code, "because \"x\"") }
                let answer = try await request(port, "POST", "/api/v1/broadcast", body: "{\"type\":\"t\"}")
                #expect(answer.status == status)
                #expect(
                    answer.body == "{\"error\":{\"code\":\"\(code.rawValue)\",\"message\":\"because \\\"x\\\"\"}}\n")
            }
        }
    }

    @Test func unknownPathsAndMethodsAreJSONErrors() async throws {
        try await withAdmin { _, port in
            for path in [
                "/nothing", "/dashboard.html", "/api", "/api/v1", "/api/v1/rooms/a/b",
                "/api/v1/rooms/a/history/b", "/api/v1/users", "/api/v2/nodes", "/metrics/", "/health",
                "/api/v1/nodes/a/b", "/api/v1/nodes/a/drain/b", "/api/v1/clients/a/b", "//metrics",
            ] {
                let answer = try await request(port, "GET", path)
                #expect(answer.status == 404, "\(path)")
                #expect(answer.body.hasPrefix("{\"error\":{\"code\":\"not_found\""))
            }
            let post = try await request(port, "POST", "/metrics", body: "{}")
            #expect(post.status == 405)
            #expect(post["allow"] == "GET, HEAD")
            let get = try await request(port, "GET", "/api/v1/publish")
            #expect(get.status == 405)
            #expect(get["allow"] == "POST")
        }
    }

    @Test func bodiesAreBounded() async throws {
        try await withAdmin { node, port in
            let limit = AdminServer.maximumBodyBytes
            let fits = "{\"type\":\"t\",\"payload\":\"" + String(repeating: "x", count: limit - 25) + "\"}"
            #expect(fits.utf8.count == limit)
            #expect(try await request(port, "POST", "/api/v1/broadcast", body: fits).status == 200)
            let over = try await request(port, "POST", "/api/v1/broadcast", body: fits + " ")
            #expect(over.status == 413)
            #expect(over.body.hasPrefix("{\"error\":{\"code\":\"too_large\""))
            #expect(node.calls.count == 1)
            let text = try await request(
                port, "POST", "/api/v1/broadcast", ["Content-Type": "text/plain"], body: "{\"type\":\"t\"}")
            #expect(text.status == 415)
        }
    }

    @Test func slowRequestsEnd() async throws {
        try await withAdmin(timeLimit: .milliseconds(200)) { node, port in
            node.set {
                $0.isStuck = true
                $0.cluster.unreachable = ["redis"]
            }
            // What the node knows when its time is over is the answer.
            let partial = try await request(port, "GET", "/api/v1/nodes")
            #expect(partial.status == 200)
            #expect(partial.body == "{\"nodes\":[],\"unreachable\":[\"redis\"]}\n")
            node.set { $0.isDeaf = true }
            let late = try await request(port, "GET", "/api/v1/nodes")
            #expect(late.status == 503)
            #expect(late.body.hasPrefix(#"{"error":{"code":"unavailable","message":""#))
            #expect(!late.body.contains("may still take effect"))
            let command = try await request(port, "POST", "/api/v1/rebalance", body: "{}")
            #expect(command.status == 503)
            #expect(command.body.contains("may still take effect"), "\(command.body)")
            node.set { $0.isDeaf = false }
            // The body never comes.
            let socket = try await TestSocket.connect(port: port)
            try await socket.send(
                "POST /api/v1/broadcast HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                    + "Content-Length: 100\r\n\r\n{")
            let text = try await socket.wait { $0.contains("\r\n\r\n") }
            #expect(text.hasPrefix("HTTP/1.1 408 "))
            await socket.close()
            #expect(node.calls == [])
        }
    }

    @Test func requestsThatHeedNoCancellationAreBounded() async throws {
        try await withAdmin(timeLimit: .seconds(2)) { node, port in
            node.set { $0.isDeaf = true }
            // As many as are left to themselves before others are refused.
            let limit = 64
            let bodies = try await withThrowingTaskGroup(of: String.self) { group in
                for _ in 0..<limit {
                    group.addTask { try await request(port, "GET", "/api/v1/nodes").body }
                }
                return try await group.reduce(into: [String]()) { $0.append($1) }
            }
            #expect(bodies.count { $0.contains("in time") } == limit)
            let refused = try await request(port, "GET", "/api/v1/rooms")
            #expect(refused.status == 503)
            #expect(refused.body.contains("have not come to an end"), "\(refused.body)")
            #expect(node.calls == [])
            for path in ["/health/live", "/health/ready", "/metrics", "/api/v1/openapi.json"] {
                #expect(try await request(port, "GET", path).status == 200, "\(path)")
            }
            node.set { $0.isDeaf = false }
            try await eventually("it takes requests again") {
                try await request(port, "GET", "/api/v1/rooms").status == 200
            }
        }
    }

    /// Not by Hummingbird alone, whose answer to them is empty.
    @Test(arguments: [
        (
            "GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: \(String(repeating: "x", count: 9_000))\r\n\r\n", 431,
            "too_large"
        ),
        (
            "GET /metrics HTTP/1.1\r\nHost: localhost\r\n"
                + (0..<120).map { "X-\($0): 1\r\n" }.joined() + "\r\n", 431, "too_large"
        ),
        (
            "GET /metrics HTTP/1.1\r\nHost: localhost\r\n"
                + (0..<4).map { "X-\($0): \(String(repeating: "x", count: 5_000))\r\n" }.joined() + "\r\n", 431,
            "too_large"
        ),
        ("GET /metrics?\(String(repeating: "x", count: 9_000)) HTTP/1.1\r\nHost: localhost\r\n\r\n", 431, "too_large"),
        ("nonsense\r\n\r\n", 400, "bad_request"),
        ("GET /metrics HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n", 400, "bad_request"),
        (
            "POST /api/v1/broadcast HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "bad_request"
        ),
    ])
    func whatCannotBeReadIsAnsweredWithJSON(request: String, status: Int, code: String) async throws {
        try await withAdmin { node, port in
            let socket = try await TestSocket.connect(port: port)
            try await socket.send(request)
            let text = try await socket.wait { $0.contains("}}\n") }
            let answer = try #require(TestHTTPResponse(text), "\(text)")
            #expect(answer.status == status)
            #expect(answer["content-type"] == "application/json")
            #expect(answer["cache-control"] == "no-store")
            #expect(answer.body.hasPrefix("{\"error\":{\"code\":\"\(code)\",\"message\":\""), "\(answer.body)")
            #expect(node.calls == [])
            await socket.close()
        }
    }

    /// The request before it has its own answer first.
    @Test func whatFollowsAGoodRequestIsAnsweredBehindIt() async throws {
        try await withAdmin { _, port in
            let socket = try await TestSocket.connect(port: port)
            try await socket.send("GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\nnonsense\r\n\r\n")
            let text = try await socket.waitForClose()
            #expect(text.hasPrefix("HTTP/1.1 200 OK\r\n"))
            #expect(text.contains("HTTP/1.1 400 Bad Request\r\n") && text.contains("\"bad_request\""), "\(text)")
        }
    }

    @Test func tokenIsAskedForOnceThereIsOne() async throws {
        try await withAdmin(token: "s3cret-token") { node, port in
            for header in [
                "", "Bearer", "Bearer s3cret-toke", "Bearer s3cret-tokem", "Basic s3cret-token", "s3cret-token",
            ] {
                let answer = try await request(
                    port, "GET", "/api/v1/nodes", header.isEmpty ? [:] : ["Authorization": header])
                #expect(answer.status == 401, "\(header)")
                #expect(answer["www-authenticate"] == "Bearer")
            }
            #expect(try await request(port, "GET", "/metrics").status == 401)
            #expect(try await request(port, "GET", "/nothing").status == 401)
            #expect(try await request(port, "POST", "/api/v1/broadcast", body: "{\"type\":\"t\"}").status == 401)
            #expect(node.calls == [])
            for scheme in ["Bearer", "bearer"] {
                let answer = try await request(
                    port, "GET", "/metrics", ["Authorization": "\(scheme) s3cret-token", "Host": "admin.example"])
                #expect(answer.status == 200)
            }
            #expect(try await request(port, "GET", "/health/live").status == 200)
            #expect(try await request(port, "GET", "/health/ready").status == 200)
        }
    }

    @Test func withoutATokenOnlyLoopbackNamesAreAnswered() async throws {
        try await withAdmin { _, port in
            for (host, status) in [
                ("evil.example", 403), ("127.0.0.1.evil.example", 403), ("localhost:1", 200), ("[::1]:80", 200),
                ("127.1.2.3", 200), ("10.0.0.1", 403),
            ] {
                let answer = try await request(port, "GET", "/metrics", ["Host": host])
                #expect(answer.status == status, "\(host)")
            }
        }
    }

    @Test func openAddressWithoutATokenIsRefused() throws {
        var configuration = AdminConfiguration()
        for host in ["0.0.0.0", "::", "10.0.0.1", "admin.example"] {
            configuration.host = host
            #expect(throws: AdminConfigurationError.openToOthers(host: host)) {
                _ = try AdminServer(
                    configuration: configuration, node: try FakeNode(),
                    eventLoopGroup: MultiThreadedEventLoopGroup.singleton, logger: Logger(label: "test"))
            }
        }
    }
}
