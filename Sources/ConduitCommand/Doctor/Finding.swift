import ConduitTelemetry
import ConduitWire
import NIOCore

/// One thing that `conduit doctor` has looked at.
package struct Finding: Sendable, Hashable {
    package enum Level: String, Sendable, CaseIterable {
        /// As it should be.
        case ok
        /// Works, until something else goes wrong.
        case warn
        /// A node doesn't work, or loses what it must not lose.
        case fail
    }

    /// Where: `configuration`, `machine`, `redis`, `cluster`, `balancer`.
    package let area: String
    /// What was looked at, one word.
    package let check: String
    package let level: Level
    /// What is there.
    package let text: String
    /// What to change; `nil` where nothing must be.
    package let remedy: String?

    package init(_ area: String, _ check: String, _ level: Level, _ text: String, remedy: String? = nil) {
        self.area = area
        self.check = check
        self.level = level
        self.text = text
        self.remedy = remedy
    }
}

/// All findings, for people or for programs. What others have written (Redis, a balancer) commands no terminal.
package struct DoctorReport: Sendable {
    package private(set) var findings: [Finding] = []
    /// The commands that give a node its least rights in this Redis.
    package var rights: [String] = []

    package init() {}

    package mutating func add(_ more: [Finding]) { findings += more }

    /// Nothing has failed.
    package var isGood: Bool { !findings.contains { $0.level == .fail } }

    /// The findings by areas, and a remedy below each that needs one.
    package func lines() -> [StyledLine] {
        var lines: [StyledLine] = []
        let width = findings.map(\.check.utf8.count).max() ?? 0
        var area = ""
        for finding in findings {
            if finding.area != area {
                area = finding.area
                lines.append(StyledLine(PrintableText.escaped(area), .bold))
            }
            var line = StyledLine("  ")
            let style: StyledLine.Style =
                switch finding.level {
                case .ok: .green
                case .warn: .yellow
                case .fail: .red
                }
            line.add(Columns.pad(finding.level.rawValue, 4), style)
            line.add("  " + Columns.pad(finding.check, width) + "  " + PrintableText.escaped(finding.text))
            lines.append(line)
            if let remedy = finding.remedy {
                lines.append(
                    StyledLine(String(repeating: " ", count: width + 10) + "-> " + PrintableText.escaped(remedy), .cyan)
                )
            }
        }
        if !rights.isEmpty {
            lines.append(StyledLine("least rights of a node in this Redis (with a password of yours)", .bold))
            lines += rights.map { StyledLine("  " + PrintableText.escaped($0)) }
        }
        let counts = Finding.Level.allCases.map { level in
            "\(findings.count { $0.level == level }) \(level.rawValue)"
        }
        lines.append(StyledLine(counts.joined(separator: ", "), .bold))
        return lines
    }

    /// `{"ok","findings":[{"area","check","level","text","remedy"?}],"acl":[…]}`
    package var json: String {
        var buffer = ByteBuffer(string: "{\"ok\":\(isGood),\"findings\":[")
        for (index, finding) in findings.enumerated() {
            var names = [
                ("area", finding.area), ("check", finding.check), ("level", finding.level.rawValue),
                ("text", finding.text),
            ]
            if let remedy = finding.remedy { names.append(("remedy", remedy)) }
            buffer.writeStaticString(index > 0 ? ",{" : "{")
            Self.write(names, to: &buffer)
            buffer.writeStaticString("}")
        }
        buffer.writeStaticString("],\"acl\":[")
        for (index, line) in rights.enumerated() {
            if index > 0 { buffer.writeStaticString(",") }
            buffer.writeJSONString(line)
        }
        buffer.writeStaticString("]}")
        return PrintableText.escaped(String(buffer: buffer))
    }

    private static func write(_ names: [(String, String)], to buffer: inout ByteBuffer) {
        for (index, (name, value)) in names.enumerated() {
            if index > 0 { buffer.writeStaticString(",") }
            buffer.writeJSONString(name)
            buffer.writeStaticString(":")
            buffer.writeJSONString(value)
        }
    }
}
