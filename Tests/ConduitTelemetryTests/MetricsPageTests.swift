import ConduitTelemetry
import Foundation
import Testing

/// Docs/metrics.md lists every metric that there is. `CONDUIT_UPDATE_DOCS=1 swift test --filter MetricsPageTests` writes
/// the list anew.
@Suite struct MetricsPageTests {
    private static let begin = "<!-- metrics: begin -->\n"
    private static let end = "<!-- metrics: end -->"
    private static let page = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("Docs/metrics.md")

    private static var table: String {
        let rows = MetricName.all.map { metric in
            let labels = metric.labels.map { "`\($0)`" }.joined(separator: ", ")
            return "| `\(metric.name)` | \(metric.kind.rawValue) | \(labels) | \(metric.help) |\n"
        }
        return "| metric | type | labels | what it is |\n|---|---|---|---|\n" + rows.joined()
    }

    @Test func theTableListsEveryMetric() throws {
        let text = try String(contentsOf: Self.page, encoding: .utf8)
        let begin = try #require(text.range(of: Self.begin)?.upperBound)
        let end = try #require(text.range(of: Self.end)?.lowerBound)
        if ProcessInfo.processInfo.environment["CONDUIT_UPDATE_DOCS"] == "1" {
            try (text[..<begin] + Self.table + text[end...]).write(to: Self.page, atomically: true, encoding: .utf8)
            return
        }
        #expect(String(text[begin..<end]) == Self.table, "CONDUIT_UPDATE_DOCS=1 swift test --filter MetricsPageTests")
    }
}
