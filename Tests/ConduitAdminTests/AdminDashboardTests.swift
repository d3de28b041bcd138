import ConduitAdmin
import ConduitCluster
import ConduitCore
import ConduitRedis
import ConduitTesting
import NIOCore
import Testing

@Suite struct AdminDashboardTests {
    @Test func pageNeedsNoTokenAndHoldsNothing() async throws {
        try await withAdmin(token: "s3cret-token") { node, port in
            let first = try await request(port, "GET", "/", ["Host": "admin.example"])
            #expect(first.status == 200)
            #expect(first["content-type"] == "text/html; charset=utf-8")
            #expect(first.body.hasPrefix("<!doctype html>"))
            #expect(first.body.hasSuffix("</html>\n"))
            for secret in ["s3cret-token", "node-a", "{{nonce}}"] { #expect(!first.body.contains(secret)) }
            #expect(node.calls == [])
            // What it shows needs the token.
            for path in ["/api/v1/series", "/api/v1/events", "/api/v1/nodes"] {
                #expect(try await request(port, "GET", path).status == 401)
            }
            #expect(try await request(port, "POST", "/", body: "{}").status == 401)
        }
    }

    @Test func withoutATokenThePageIsForLoopbackNamesOnly() async throws {
        try await withAdmin { _, port in
            for (host, status) in [("127.0.0.1:1", 200), ("localhost", 200), ("evil.example", 403)] {
                let page = try await request(port, "GET", "/", ["Host": host])
                #expect(page.status == status, "\(host)")
            }
        }
    }

    @Test func policyLetsNothingInButThePageItself() async throws {
        try await withAdmin { _, port in
            var nonces: Set<String> = []
            for _ in 0..<3 {
                let page = try await request(port, "GET", "/")
                let policy = try #require(page["content-security-policy"])
                let nonce = String(policy.split(separator: "script-src 'nonce-")[1].prefix(32))
                #expect(nonce.count == 32)
                nonces.insert(nonce)
                let parts = Set(policy.split(separator: ";").map { $0.drop { $0 == " " } }.map(String.init))
                #expect(
                    parts == [
                        "default-src 'none'", "script-src 'nonce-\(nonce)'", "style-src 'nonce-\(nonce)'",
                        "img-src data:", "connect-src 'self'", "base-uri 'none'", "form-action 'none'",
                        "frame-ancestors 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'",
                    ])
                #expect(page["x-content-type-options"] == "nosniff")
                #expect(page["referrer-policy"] == "no-referrer")
                #expect(page["x-frame-options"] == "DENY")
                #expect(page["cross-origin-opener-policy"] == "same-origin")
                #expect(page["cache-control"] == "no-store")
                #expect(page.body.split(separator: "nonce=\"\(nonce)\"").count == 3)
                // No inline handler, no foreign resource, no way to make markup of text.
                for word in [
                    " onclick=", " onerror=", " onload=", "innerHTML", "outerHTML", "insertAdjacentHTML",
                    "document.write", "eval(", "new Function", " style=\"", "src=\"http", "href=\"http", "@import",
                ] {
                    #expect(!page.body.contains(word), "\(word)")
                }
            }
            #expect(nonces.count == 3)
        }
    }

    @Test func seriesAreNumbersUnderEscapedNames() async throws {
        try await withAdmin { node, port in
            let id = try #require(NodeID("node-a"))
            let other = try #require(NodeID("node-b"))
            node.set {
                $0.series = AdminSeries(
                    nodes: [
                        (
                            id,
                            [
                                Sample(at: 1_000, figures: ["clients": 3, "cpu_percent": 1.5, "at": 7]),
                                Sample(at: 2_000, figures: ["clients": 4, "x\"<img>": -2, "huge": 1e300]),
                            ]
                        ), (other, []),
                    ], unreachable: ["redis"])
            }
            let answer = try await request(port, "GET", "/api/v1/series?count=2")
            #expect(answer.status == 200)
            #expect(answer["content-type"] == "application/json")
            #expect(
                answer.body
                    == #"{"nodes":[{"node_id":"node-a","samples":[{"at":1000,"clients":3,"cpu_percent":1.5},"#
                    + #"{"at":2000,"clients":4,"huge":1e+300,"x\"<img>":-2}]},{"node_id":"node-b","samples":[]}],"#
                    + "\"unreachable\":[\"redis\"]}\n")
            _ = try await request(port, "GET", "/api/v1/series")
            _ = try await request(port, "GET", "/api/v1/series?count=600&node=node-b&fields=clients,rooms")
            #expect(node.calls == ["series - 2 -", "series - 60 -", "series node-b 600 clients,rooms"])
        }
    }

    @Test func eventsKeepEachNameOnce() async throws {
        try await withAdmin { node, port in
            let entry = RedisValue.array([
                text("1700000000000-3"),
                .array(
                    ["event", "node_up", "node", "node-a", "at", "x", "id", "y", "v", "<b>", "v", "2"].map(text)),
            ])
            let event = try #require(ClusterEvent(entry))
            node.set { $0.events = AdminEvents(events: [event]) }
            let answer = try await request(port, "GET", "/api/v1/events?limit=1&before=1700000000001-0")
            #expect(
                answer.body
                    == #"{"events":[{"id":"1700000000000-3","at":1700000000000,"event":"node_up","node":"node-a","#
                    + #""v":"<b>"}],"unreachable":[]}"# + "\n")
            _ = try await request(port, "GET", "/api/v1/events")
            #expect(node.calls == ["events 1700000000001-0 1", "events - 100"])
        }
    }

    private func text(_ text: String) -> RedisValue { .bulk(ByteBuffer(string: text)) }

    @Test(arguments: [
        "series?count=0", "series?count=601", "series?count=x", "series?node=a%20b", "series?node=", "series?fields=",
        "series?fields=a%20b", "events?limit=0", "events?limit=1001", "events?before=now", "events?before=",
        "events?before=-1",
    ])
    func badQueriesAreRefusedBeforeTheNode(path: String) async throws {
        try await withAdmin { node, port in
            let answer = try await request(port, "GET", "/api/v1/\(path)")
            #expect(answer.status == 400)
            #expect(answer.body.hasPrefix("{\"error\":{\"code\":\"bad_request\""))
            #expect(node.calls == [])
        }
    }

    @Test func answersAreBoundedByAllNodesTogether() async throws {
        try await withAdmin { node, port in
            _ = try await request(port, "GET", "/api/v1/series?count=600")
            let query = try #require(node.seriesQuery)
            #expect(query.count(forNodes: 1) == 600)
            #expect(query.count(forNodes: 20) == 600)
            #expect(query.count(forNodes: 100) == 120)
            #expect(query.count(forNodes: 100_000) == 1)
        }
    }
}
