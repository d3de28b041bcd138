package import ConduitCluster
import ConduitCore
import ConduitTelemetry
import Foundation

/// What one node said about its counts.
package struct AuditAnswer: Sendable, Equatable {
    /// A number that a node has seen of another one.
    package struct Seen: Sendable, Equatable {
        package let channel: String
        package let origin: String
        package let incarnation: UInt64
        package let last: UInt64
    }

    package let node: String
    package var incarnation: UInt64 = 0
    package var figures: [String: UInt64] = [:]
    package var sent: [String: UInt64] = [:]
    package var seen: [Seen] = []
    /// Ordered rooms by name: up to where they are delivered.
    package var ordered: [String: LogPosition] = [:]
    package var isTruncated = false
    /// All parts have come.
    package var isComplete = false

    /// Puts the parts of all nodes together. What can't be read is left out.
    package static func read(_ parts: [[UInt8]]) -> [AuditAnswer] {
        var answers: [String: AuditAnswer] = [:]
        for part in parts {
            guard let object = try? JSONSerialization.jsonObject(with: Data(part)) as? [String: Any],
                let node = object["node"] as? String, NodeID(node) != nil, let kind = object["kind"] as? String
            else { continue }
            var answer = answers[node] ?? AuditAnswer(node: node)
            answer.incarnation = number(object["incarnation"]) ?? 0
            let rows = (object["rows"] as? [[Any]]) ?? []
            switch kind {
            case "figures":
                for (name, value) in (object["figures"] as? [String: Any]) ?? [:] {
                    answer.figures[name] = number(value)
                }
            case "sent":
                for row in rows where row.count == 2 {
                    if let channel = row[0] as? String { answer.sent[channel] = number(row[1]) }
                }
            case "seen":
                answer.seen += rows.compactMap { row in
                    guard row.count == 4, let channel = row[0] as? String, let origin = row[1] as? String,
                        let incarnation = number(row[2]), let last = number(row[3])
                    else { return nil }
                    return Seen(channel: channel, origin: origin, incarnation: incarnation, last: last)
                }
            case "ordered":
                for row in rows where row.count == 3 {
                    guard let room = row[0] as? String, let epoch = row[1] as? String, let offset = number(row[2])
                    else { continue }
                    answer.ordered[room] = LogPosition(epoch: epoch, offset: offset)
                }
            case "end":
                answer.isComplete = true
                answer.isTruncated = (object["truncated"] as? Bool) == true
            default: break
            }
            answers[node] = answer
        }
        return answers.values.sorted { $0.node < $1.node }
    }

    private static func number(_ value: Any?) -> UInt64? { (value as? NSNumber)?.uint64Value }
}

/// Whether the counts of a cluster's nodes add up.
///
/// Nodes are asked more than once: what was sent by the first time must have been seen by the last, so traffic that
/// goes on disturbs nothing.
package struct AuditReport: Sendable {
    /// The columns of the table, in order.
    package static let columns = [
        "published", "expected", "arrived", "echoed", "received", "duplicates", "dropped", "healed", "unrecoverable",
        "waiting",
    ]

    /// The nodes that should have answered.
    private let nodes: [String]
    private let first: [String: AuditAnswer]
    private let before: [String: AuditAnswer]
    private let last: [String: AuditAnswer]
    /// Pairs of numbers that were compared.
    package private(set) var compared = 0
    /// What differs, in words; empty when everything adds up.
    package private(set) var differences: [String] = []
    /// What can't be compared, in words.
    package private(set) var remarks: [String] = []

    /// From the answers of the first round, of the one before the last, and of the last. `tops`: where the logs of
    /// ordered rooms ended after the first round.
    package init(
        nodes: [String], first: [AuditAnswer], before: [AuditAnswer], last: [AuditAnswer],
        tops: [String: LogPosition] = [:]
    ) {
        func byNode(_ answers: [AuditAnswer]) -> [String: AuditAnswer] {
            Dictionary(answers.map { ($0.node, $0) }) { first, _ in first }
        }
        self.nodes = nodes
        self.first = byNode(first)
        self.before = byNode(before)
        self.last = byNode(last)
        for node in nodes where self.last[node]?.isComplete != true { differences.append("\(node) did not answer") }
        compareNumbers()
        comparePositions(tops)
        compareReceptions()
        for answer in last where answer.isTruncated {
            remarks.append("\(answer.node) has more channels than it could tell")
        }
        let gone = sum("unrecoverable")
        if gone > 0 { remarks.append("\(gone) messages were lost and counted (unrecoverable)") }
    }

    private mutating func compareNumbers() {
        for (node, answer) in last.sorted(by: { $0.key < $1.key }) {
            for seen in answer.seen.sorted(by: { ($0.channel, $0.origin) < ($1.channel, $1.origin) }) {
                guard let origin = first[seen.origin], origin.incarnation == seen.incarnation,
                    let sent = origin.sent[seen.channel]
                else { continue }
                compared += 1
                if seen.last < sent {
                    differences.append(
                        "\(node) has seen \(seen.origin)'s messages in \(seen.channel) up to number \(seen.last) "
                            + "of \(sent): \(sent - seen.last) missing")
                }
            }
        }
    }

    private mutating func comparePositions(_ tops: [String: LogPosition]) {
        for (node, answer) in last.sorted(by: { $0.key < $1.key }) {
            for (room, position) in answer.ordered.sorted(by: { $0.key < $1.key }) {
                guard let top = tops[room] else { continue }
                compared += 1
                if position.epoch != top.epoch {
                    differences.append("\(node) is in epoch \(position.epoch) of \(room), the log in \(top.epoch)")
                } else if position.offset < top.offset {
                    differences.append(
                        "\(node) has delivered \(room) up to offset \(position.offset) of \(top.offset): "
                            + "\(top.offset - position.offset) missing")
                }
            }
        }
    }

    /// Each answer to a PUBLISH tells how many connections got it: so many must have arrived.
    private mutating func compareReceptions() {
        let expected = sum("expected"), arrived = sum("arrived") &+ sum("echoed")
        guard expected != arrived, last.count == nodes.count else { return }
        let text = "\(expected) receptions were expected, \(arrived) came"
        let repaired = sum("healed") &+ sum("unrecoverable")
        if expected > arrived, expected - arrived <= repaired {
            remarks.append("\(text); what was lost on the way was delivered after all or is counted")
        } else if sum("nodes_gone") > 0 || sum("reconnects") > 0 {
            remarks.append("\(text); nodes or connections have gone since, which leaves receptions uncounted")
        } else if figuresAreStill {
            differences.append(text)
        } else if expected > arrived {
            remarks.append("\(expected - arrived) receptions are under way: \(text)")
        }
    }

    /// Nothing was published or received between the last two rounds.
    private var figuresAreStill: Bool {
        nodes.allSatisfy { node in
            ["expected", "arrived", "echoed", "waiting"].allSatisfy {
                before[node]?.figures[$0] != nil && before[node]?.figures[$0] == last[node]?.figures[$0]
            }
        }
    }

    /// A figure over all nodes.
    package func sum(_ name: String) -> UInt64 { last.values.reduce(0) { $0 &+ ($1.figures[name] ?? 0) } }

    /// Whether everything adds up.
    package var addsUp: Bool { differences.isEmpty }

    /// `adds up`, or what differs.
    package var verdict: String {
        var lines = ["\(compared) numbers compared over \(last.count) node\(last.count == 1 ? "" : "s")"] + remarks
        lines += addsUp ? ["adds up"] : ["does not add up:"] + differences.map { "  " + $0 }
        // Names and epochs come from Redis, where anybody may have written them.
        return lines.map(PrintableText.escaped).joined(separator: "\n") + "\n"
    }

    /// A row a node, and their sum.
    package var text: String {
        let names = ["NODE"] + Self.columns.map { $0.uppercased() }
        var rows = [names]
        for node in nodes {
            rows.append([node] + Self.columns.map { last[node]?.figures[$0].map(String.init) ?? "-" })
        }
        rows.append(["sum"] + Self.columns.map { String(sum($0)) })
        return Self.table(rows) + verdict
    }

    /// For one room: who has sent how much, and who has seen how much of it.
    package func text(room: String, channel: String) -> String {
        var rows = [["NODE", "SENT", "SEEN"]]
        for node in nodes {
            let answer = last[node]
            if let position = answer?.ordered[room] {
                rows.append([node, "-", "epoch \(position.epoch), offset \(position.offset)"])
                continue
            }
            let seen = (answer?.seen ?? []).filter { $0.channel == channel }.sorted { $0.origin < $1.origin }
                .map { "\($0.origin): \($0.last)" }.joined(separator: ", ")
            rows.append([node, answer?.sent[channel].map(String.init) ?? "-", seen.isEmpty ? "-" : seen])
        }
        return Self.table(rows, left: [0, 2]) + verdict
    }

    private static func table(_ texts: [[String]], left: Set<Int> = [0]) -> String {
        let rows = texts.map { $0.map(PrintableText.escaped) }
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            let padded = row.indices.map { column in
                let space = String(repeating: " ", count: widths[column] - row[column].count)
                return left.contains(column) ? row[column] + space : space + row[column]
            }.joined(separator: "  ")
            return String(padded.reversed().drop { $0 == " " }.reversed())
        }.joined(separator: "\n") + "\n"
    }

    /// For programs.
    package var json: String {
        var object: [String: Any] = [
            "adds_up": addsUp, "compared": compared, "differences": differences, "remarks": remarks,
        ]
        object["nodes"] = nodes.map { node -> [String: Any] in
            let answer = last[node]
            return [
                "id": node, "answered": answer?.isComplete == true, "figures": answer?.figures ?? [:],
                "sent": answer?.sent ?? [:],
                "ordered": (answer?.ordered ?? [:]).mapValues {
                    ["epoch": $0.epoch, "offset": $0.offset] as [String: Any]
                },
                "seen": (answer?.seen ?? []).map {
                    ["channel": $0.channel, "origin": $0.origin, "last": $0.last] as [String: Any]
                },
            ]
        }
        object["sum"] = Dictionary(uniqueKeysWithValues: Self.columns.map { ($0, sum($0)) })
        let data = try? JSONSerialization.data(withJSONObject: object, options: [.sortedKeys])
        // A terminal may be what reads it; the escapes are JSON's own.
        return PrintableText.escaped(String(decoding: data ?? Data(), as: UTF8.self)) + "\n"
    }
}
