import ConduitTelemetry
import Testing

@Suite struct PrometheusTextTests {
    @Test func pageLooksAsPrometheusWantsIt() {
        var page = PrometheusText()
        page.write(MetricName.clients, 12)
        page.write(MetricName.dropped, label: "reason", ["slow": 3, "closed": 1])
        page.write(MetricName.errors, label: "code", [:])
        #expect(
            page.text == """
                # HELP conduit_clients Open WebSocket connections.
                # TYPE conduit_clients gauge
                conduit_clients 12
                # HELP conduit_dropped_total Messages that were not delivered, by reason.
                # TYPE conduit_dropped_total counter
                conduit_dropped_total{reason="closed"} 1
                conduit_dropped_total{reason="slow"} 3

                """)
    }

    @Test func labelValuesAreEscaped() {
        var page = PrometheusText()
        page.write(MetricName.info, [.init(1, [(name: "node", value: "a\"b\\c\nd\r\ne"), (name: "v", value: "é")])])
        #expect(page.text.hasSuffix("conduit_info{node=\"a\\\"b\\\\c\\nd\r\\ne\",v=\"é\"} 1\n"))
        #expect(page.text.utf8.filter { $0 == 0x0A }.count == 3)
    }

    @Test(arguments: [
        (0.0, "0"), (-0.5, "-0.5"), (1.5, "1.5"), (.infinity, "+Inf"), (-.infinity, "-Inf"), (.nan, "NaN"),
        (123_456_789, "123456789"),
    ])
    func numbersAreWrittenAsGoReadsThem(value: Double, text: String) {
        var page = PrometheusText()
        page.write(MetricName.clients, value)
        #expect(page.text.hasSuffix("\nconduit_clients \(text)\n"))
    }

    @Test func histogramsAreInSecondsAndCumulative() {
        var histogram = LatencyHistogram()
        histogram.record(microseconds: 80)
        histogram.record(microseconds: 800)
        histogram.record(microseconds: 30_000_000)
        var page = PrometheusText()
        page.write(MetricName.localDelivery, histogram)
        let lines = page.text.split(separator: "\n")
        #expect(lines.contains("# TYPE conduit_local_delivery_seconds histogram"))
        #expect(lines.contains("conduit_local_delivery_seconds_bucket{le=\"5e-05\"} 0"))
        #expect(lines.contains("conduit_local_delivery_seconds_bucket{le=\"0.0001\"} 1"))
        #expect(lines.contains("conduit_local_delivery_seconds_bucket{le=\"0.001\"} 2"))
        #expect(lines.contains("conduit_local_delivery_seconds_bucket{le=\"10\"} 2"))
        #expect(lines.contains("conduit_local_delivery_seconds_bucket{le=\"+Inf\"} 3"))
        #expect(lines.contains("conduit_local_delivery_seconds_sum 30.00088"))
        #expect(lines.contains("conduit_local_delivery_seconds_count 3"))
    }

    @Test func metricNamesFollowTheConventions() {
        #expect(Set(MetricName.all.map(\.name)).count == MetricName.all.count)
        for metric in MetricName.all {
            #expect(metric.name.hasPrefix("conduit_") || metric.name.hasPrefix("process_"))
            #expect(metric.name.utf8.allSatisfy { (0x61...0x7A).contains($0) || $0 == 0x5F }, "\(metric.name)")
            #expect(metric.name.hasSuffix("_total") == (metric.kind == .counter), "\(metric.name)")
            if metric.kind == .histogram { #expect(metric.name.hasSuffix("_seconds")) }
            #expect(metric.help.hasSuffix("."))
        }
    }
}
