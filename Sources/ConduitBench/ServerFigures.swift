import NIOCore
import NIOPosix

/// What the servers of a run have done, by their Prometheus metrics: sums over all admin ports that were given.
package struct ServerFigures: Sendable, Hashable {
    package var cpuSeconds: Double
    package var deliveries: Double

    /// Reads the two sums out of an exposition.
    package init(metrics text: String) {
        self.cpuSeconds = Self.sum("process_cpu_seconds_total", text)
        self.deliveries = Self.sum("conduit_deliveries_total", text)
    }

    init(cpuSeconds: Double, deliveries: Double) {
        self.cpuSeconds = cpuSeconds
        self.deliveries = deliveries
    }

    func since(_ earlier: ServerFigures) -> ServerFigures {
        ServerFigures(cpuSeconds: cpuSeconds - earlier.cpuSeconds, deliveries: deliveries - earlier.deliveries)
    }

    private static func sum(_ name: String, _ text: String) -> Double {
        var sum = 0.0
        for line in text.split(separator: "\n") where line.hasPrefix(name) {
            let rest = line.dropFirst(name.count)
            guard rest.first == " " || rest.first == "{", let value = rest.split(separator: " ").last else { continue }
            sum += Double(value) ?? 0
        }
        return sum
    }

    /// Asks all admin ports of a plan; `nil` without any, or when one does not answer.
    static func read(_ plan: BenchPlan) async -> ServerFigures? {
        guard !plan.adminURLs.isEmpty else { return nil }
        var sum = ServerFigures(cpuSeconds: 0, deliveries: 0)
        for url in plan.adminURLs {
            guard let text = try? await metrics(of: url, token: plan.adminToken) else { return nil }
            let one = ServerFigures(metrics: text)
            sum.cpuSeconds += one.cpuSeconds
            sum.deliveries += one.deliveries
        }
        return sum
    }

    /// The answer to `GET /metrics`, at most 4 MB and 5 s of it.
    static func metrics(of url: String, token: String?) async throws -> String {
        guard url.hasPrefix("http://"), let target = BenchTarget("ws://" + url.dropFirst(7)) else {
            throw BenchError("--admin-url is not a URL such as http://127.0.0.1:8181")
        }
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connectTimeout(.seconds(2))
            .connect(host: target.host, port: target.port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
                }
            }
        let timer = channel.channel.eventLoop.scheduleTask(in: .seconds(5)) { channel.channel.close(promise: nil) }
        defer { timer.cancel() }
        return try await channel.executeThenClose { inbound, outbound in
            let authorization = token.map { "Authorization: Bearer \($0)\r\n" } ?? ""
            try await outbound.write(
                ByteBuffer(
                    string:
                        "GET /metrics HTTP/1.1\r\nHost: \(target.authority)\r\n\(authorization)Connection: close\r\n\r\n"
                ))
            var answer = ByteBuffer()
            for try await part in inbound {
                answer.writeImmutableBuffer(part)
                guard answer.readableBytes <= 4 << 20 else { break }
            }
            let text = String(buffer: answer)
            guard text.hasPrefix("HTTP/1.1 200") else { throw BenchError("\(url) answered \(text.prefix(40))") }
            return text
        }
    }
}
