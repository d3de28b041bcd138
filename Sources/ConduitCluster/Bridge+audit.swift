import ConduitCore
import ConduitHub
import ConduitRedis
import ConduitTelemetry
import ConduitWire
import NIOCore

/// What one node tells of its counts, in parts that fit into a turn of its loop.
struct AuditWork {
    let request: AuditRequest
    /// Channels whose own numbers are still to be told.
    var sent: ArraySlice<BusTopic>
    /// Channels whose numbers of other nodes are.
    var seen: ArraySlice<BusTopic>
    /// Ordered rooms whose positions are.
    var ordered: ArraySlice<RoomName>
    var rows = 0
    var isTruncated = false
}

// `conduit audit` asks every node what it has sent and seen.
extension Bridge {
    /// Channels that are looked at in one turn.
    private static let auditSlice = 1_000
    /// Most rows that one node tells.
    private static let auditRows = 50_000
    /// How long an answer can be read, in seconds.
    private static let auditSeconds: RedisArgument = 60
    private static let maximumAudits = 8

    func answer(_ request: AuditRequest) {
        guard phase != .closed, audits < Self.maximumAudits else { return drop(RelayDrop.badEntry) }
        audits += 1
        pushAudit(request) { item in
            item.writeStaticString(",\"kind\":\"figures\",\"figures\":{")
            for (index, (name, value)) in auditFigures().enumerated() {
                item.writeString("\(index > 0 ? "," : "")\"\(name)\":\(value)")
            }
            item.writeStaticString("}")
        }
        let work: AuditWork
        if let room = request.room {
            work = AuditWork(request: request, sent: [.room(room)], seen: [.room(room)], ordered: [room])
        } else {
            work = AuditWork(
                request: request, sent: Array(source.all.keys)[...], seen: Array(tracker.topics)[...],
                ordered: Array(ordered.rooms)[...])
        }
        goOn(work)
    }

    /// The counts that must add up over the cluster.
    func auditFigures() -> [(String, UInt64)] {
        let own = statistics()
        return [
            ("published", own.relayPublished), ("expected", own.relayExpected), ("arrived", own.relayArrived),
            ("echoed", own.relayEchoed), ("received", own.relayReceived), ("duplicates", own.relayDuplicates),
            ("dropped", own.relayDropped.values.reduce(0, &+)), ("deliveries", figures.hub.deliveries),
            ("gaps", own.relayGaps), ("healed", own.healed), ("unrecoverable", own.unrecoverable),
            ("waiting", UInt64(clamping: outbox.messages)), ("reconnects", own.reconnects), ("nodes_gone", nodesGone),
        ]
    }

    private func goOn(_ current: AuditWork) {
        var work = current
        let request = work.request
        if !work.sent.isEmpty {
            let topics = work.sent.prefix(Self.auditSlice).filter(request.covers)
            work.sent = work.sent.dropFirst(Self.auditSlice)
            let rows = topics.compactMap { topic in source.newest(topic).map { (topic, $0) } }
            pushRows(rows, of: &work, kind: "sent") { item, row in
                item.writeJSONString(keys.channel(row.0))
                item.writeString(",\(row.1)")
            }
        } else if !work.seen.isEmpty {
            let topics = work.seen.prefix(Self.auditSlice).filter { request.covers($0) && isHeard($0) }
            work.seen = work.seen.dropFirst(Self.auditSlice)
            let rows = topics.flatMap { topic in
                tracker.origins(of: topic).filter { !$0.value.isUnsure }.map { (topic, $0.key, $0.value) }
            }
            pushRows(rows, of: &work, kind: "seen") { item, row in
                item.writeJSONString(keys.channel(row.0))
                item.writeStaticString(",")
                item.writeJSONString(row.1.rawValue)
                item.writeString(",\(row.2.incarnation),\(row.2.last)")
            }
        } else if !work.ordered.isEmpty {
            let rooms = work.ordered.prefix(Self.auditSlice).filter { request.covers(.room($0)) }
            work.ordered = work.ordered.dropFirst(Self.auditSlice)
            let rows = rooms.compactMap { room -> (RoomName, String, UInt64)? in
                guard let state = ordered[room], let epoch = state.epoch else { return nil }
                return (room, epoch, state.last)
            }
            pushRows(rows, of: &work, kind: "ordered") { item, row in
                item.writeJSONString(row.0.rawValue)
                item.writeStaticString(",")
                item.writeJSONString(row.1)
                item.writeString(",\(row.2)")
            }
        } else {
            audits -= 1
            return pushAudit(request) { item in
                item.writeString(",\"kind\":\"end\",\"truncated\":\(work.isTruncated)")
            }
        }
        eventLoop.assumeIsolated().execute {
            guard self.phase != .closed else { return }
            self.goOn(work)
        }
    }

    /// Whether what is published there arrives.
    private func isHeard(_ topic: BusTopic) -> Bool {
        switch topic {
        case .room, .user: interest.isConfirmed(topic)
        case .everyone, .node(node): serviceChannels >= 3
        case .control, .node: false
        }
    }

    private func pushRows<Row>(
        _ rows: [Row], of work: inout AuditWork, kind: String, _ write: (inout ByteBuffer, Row) -> Void
    ) {
        let room = max(0, Self.auditRows - work.rows)
        if rows.count > room { work.isTruncated = true }
        let some = rows.prefix(room)
        guard !some.isEmpty else { return }
        work.rows += some.count
        pushAudit(work.request) { item in
            item.writeString(",\"kind\":\"\(kind)\",\"rows\":[")
            for (index, row) in some.enumerated() {
                item.writeStaticString(index > 0 ? ",[" : "[")
                write(&item, row)
                item.writeStaticString("]")
            }
            item.writeStaticString("]")
        }
    }

    /// One part of the answer.
    private func pushAudit(_ request: AuditRequest, _ write: (inout ByteBuffer) -> Void) {
        var item = ByteBuffer()
        item.writeStaticString("{\"node\":")
        item.writeJSONString(node.rawValue)
        item.writeString(",\"incarnation\":\(incarnation)")
        write(&item)
        item.writeStaticString("}")
        let key = RedisArgument.string(keys.audit(request.request))
        commands?.send(["RPUSH", key, .buffer(item)])
        commands?.send(["EXPIRE", key, Self.auditSeconds])
    }
}
