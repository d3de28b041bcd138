import ConduitCore
import ConduitRedis
import ConduitTesting
import NIOCore
import Testing

@testable import ConduitCluster

/// What operators read out of Redis, with entries that real nodes and others have written.
@Suite struct ClusterReaderTests {
    private func read<Answer: Sendable>(
        _ redis: RedisServer, _ body: @Sendable (ClusterReader) async throws -> Answer
    ) async throws -> Answer {
        try await RedisClient.withConnection(try RedisConfiguration(url: redis.url)) {
            try await body(ClusterReader(client: $0, prefix: "conduit"))
        }
    }

    private func node(_ name: String) throws -> NodeID { try #require(NodeID(name)) }

    @Test func theSeriesOfManyNodesComesOldestFirst() async throws {
        let redis = try await RedisServer.start()
        let (a, b, c) = (try node("a"), try node("b"), try node("c"))
        for number in 1...5 {
            _ = try await redis.redisCLI(
                "XADD", "conduit:series:a", "\(number)000-0", "clients", "\(number)", "cpu_percent", "1.5")
        }
        _ = try await redis.redisCLI("XADD", "conduit:series:b", "7000-1", "x", "nan", "clients", "9", "odd", "word")
        _ = try await redis.redisCLI("XADD", "conduit:series:b", "7000-2", "clients", "-8", "more", "1e3")
        let series = try await read(redis) { try await $0.series(of: [a, b, c], count: 3) }
        #expect(series[a]?.map(\.at) == [3000, 4000, 5000])
        #expect(series[a]?.map { $0.figures["clients"] } == [3, 4, 5])
        #expect(series[a]?.last?.figures == ["clients": 5, "cpu_percent": 1.5])
        #expect(
            series[b] == [
                Sample(at: 7000, figures: ["clients": 9]), Sample(at: 7000, figures: ["clients": -8, "more": 1000]),
            ])
        #expect(series[c]?.isEmpty == true)
        let some = try await read(redis) { try await $0.series(of: [a], count: 1, only: ["clients"]) }
        #expect(some == [a: [Sample(at: 5000, figures: ["clients": 5])]])
    }

    @Test func pairsThatAreNoneAreSkipped() {
        func text(_ text: String) -> RedisValue { .bulk(ByteBuffer(string: text)) }
        let words: [RedisValue] = [
            .integer(1), text("1"), text("a"), text("2"), text("b"), .null, .array([]), .null, text("c"), text("3"),
        ]
        var reader = SampleReader(names: nil)
        for _ in 0..<2 {
            #expect(reader.read(.array([text("7-0"), .array(words)])) == Sample(at: 7, figures: ["a": 2, "c": 3]))
        }
        let whole = RedisValue.array([text("8-0"), .array(["x", "1", "a", "2", "c", "4"].map(text))])
        #expect(reader.read(whole) == Sample(at: 8, figures: ["x": 1, "a": 2, "c": 4]))
    }

    @Test func ratesAreNumbers() {
        let (before, after) = (Sample(at: 1, figures: ["a": 0, "b": 0]), Sample(at: 2, figures: ["a": 1e308, "b": 3]))
        #expect(after.rate(of: "a", since: before) == nil)
        #expect(after.rate(of: "b", since: before) == 3_000)
    }

    @Test func theNewestSampleOfARealNodeIsRead() async throws {
        let redis = try await RedisServer.start()
        let a = try TestNode("a", try TestNode.configuration(redis))
        try await a.connected()
        try await eventually { try await read(redis) { try await $0.series(of: [a.id], count: 2) }[a.id]?.count == 2 }
        let samples = try await read(redis) { try await $0.series(of: [a.id], count: 2) }[a.id] ?? []
        #expect(samples.first.map(\.at) ?? .max <= samples.last.map(\.at) ?? 0)
        #expect(samples.allSatisfy { $0.figures["clients"] == 17 || $0.figures["clients"] == 0 })
        #expect(samples.allSatisfy { ($0.figures["rss_bytes"] ?? 0) > 1_000_000 })
    }

    @Test func eventsArePagedNewestFirst() async throws {
        let redis = try await RedisServer.start()
        for number in 0..<5 {
            _ = try await redis.redisCLI(
                "XADD", "conduit:events", "1000-\(number)", "event", "e\(number)", "node", "n", "b", "1", "a", "2")
        }
        let newest = try await read(redis) { try await $0.events(before: nil, limit: 2) }
        #expect(newest.map(\.id) == ["1000-4", "1000-3"])
        #expect(newest.map(\.event) == ["e4", "e3"])
        #expect(newest.allSatisfy { $0.node == "n" && $0.at == 1000 && $0.fields.map(\.0) == ["b", "a"] })
        let rest = try await read(redis) { try await $0.events(before: "1000-3", limit: 10) }
        #expect(rest.map(\.id) == ["1000-2", "1000-1", "1000-0"])
        #expect(try await read(redis) { try await $0.events(before: "1000-0", limit: 10) }.isEmpty)
        #expect(try await read(redis) { try await $0.events(before: "0-0", limit: 10) }.isEmpty)
        for wrong in ["+", "x", "1-2-3", "", "-1-0", "1-"] {
            await #expect(throws: RedisError.self) {
                _ = try await read(redis) { try await $0.events(before: wrong, limit: 1) }
            }
        }
    }

    @Test func busyRoomsAreSummedOverNodes() async throws {
        let redis = try await RedisServer.start()
        _ = try await redis.redisCLI("ZADD", "conduit:busy:a", "10", "lobby", "3", "attic", "0", "still")
        _ = try await redis.redisCLI("ZADD", "conduit:busy:b", "5.5", "attic", "1", "cellar")
        let nodes = [try node("a"), try node("b"), try node("c")]
        let rooms = try await read(redis) { try await $0.busiest(of: nodes) }
        #expect(
            rooms == [
                BusyRoomRow(room: "lobby", messagesPerSecond: 10, nodes: 1),
                BusyRoomRow(room: "attic", messagesPerSecond: 8.5, nodes: 2),
                BusyRoomRow(room: "cellar", messagesPerSecond: 1, nodes: 1),
            ])
    }
}
