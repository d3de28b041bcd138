import ConduitRedis
import Testing

@Suite struct RedisURLTests {
    @Test(
        arguments: [
            ("redis://localhost", RedisConfiguration.Endpoint.host("localhost", port: 6379), nil, nil, false),
            ("redis://localhost/", .host("localhost", port: 6379), nil, nil, false),
            ("REDIS://h:1/0", .host("h", port: 1), nil, nil, false),
            ("rediss://h:65535", .host("h", port: 65535), nil, nil, true),
            ("redis://:pw@h", .host("h", port: 6379), nil, "pw", false),
            ("redis://alice:pw@h", .host("h", port: 6379), "alice", "pw", false),
            ("redis://alice@h", .host("h", port: 6379), "alice", nil, false),
            ("redis://a%40b:p%3A%2F%23%C3%A4@h:7", .host("h", port: 7), "a@b", "p:/#ä", false),
            ("redis://u:p:q@h", .host("h", port: 6379), "u", "p:q", false),
            ("redis://u:p@q@h", .host("h", port: 6379), "u", "p@q", false),
            ("redis://[::1]", .host("::1", port: 6379), nil, nil, false),
            ("rediss://u:p@[2001:db8::1]:6380", .host("2001:db8::1", port: 6380), "u", "p", true),
            ("unix:///run/redis.sock", .unixSocket(path: "/run/redis.sock"), nil, nil, false),
            ("unix://:pw@/run/a%20b.sock", .unixSocket(path: "/run/a b.sock"), nil, "pw", false),
        ] as [(String, RedisConfiguration.Endpoint, String?, String?, Bool)])
    func readsUsualURLs(
        text: String, endpoint: RedisConfiguration.Endpoint, user: String?, password: String?, tls: Bool
    ) throws {
        let url = try RedisURL(text)
        #expect(url.endpoint == endpoint)
        #expect(url.username == user)
        #expect(url.password == password)
        #expect(url.usesTLS == tls)
    }

    @Test(
        arguments: [
            ("", .noScheme),
            ("localhost:6379", .noScheme),
            ("http://h", .unknownScheme("http")),
            ("redis+sentinel://a:1,b:2", .masterNameMissing),
            ("redis+sentinel://a:1,b:2/", .masterNameMissing),
            ("redis+sentinel://a:1/my%20master", .invalidMasterName),
            ("redis+sentinel://a:1/my/master", .invalidMasterName),
            ("redis+sentinel:///m", .hostMissing),
            ("redis+sentinel://a,/m", .hostMissing),
            ("redis+sentinel://a:1,b:x/m", .invalidPort),
            ("redis+cluster://", .hostMissing),
            ("redis+cluster://a:1,,b", .hostMissing),
            ("redis+cluster://a/1", .databaseNotSupported),
            ("redis+cluster://" + (0..<65).map { "h\($0)" }.joined(separator: ","), .tooManyHosts),
            ("redis+unix:///a", .unknownScheme("redis+unix")),
            ("redis://", .hostMissing),
            ("redis://:6379", .hostMissing),
            ("redis://u:p@", .hostMissing),
            ("redis://h:", .invalidPort),
            ("redis://h:0", .invalidPort),
            ("redis://h:65536", .invalidPort),
            ("redis://h:99999999999999999999999", .invalidPort),
            ("redis://h:+1", .invalidPort),
            ("redis://h:6a", .invalidPort),
            ("redis://::1", .invalidHost),
            ("redis://[::1", .invalidHost),
            ("redis://[]", .invalidHost),
            ("redis://[::1]x", .invalidHost),
            ("redis://a,b", .severalHosts),
            ("redis://h/1", .databaseNotSupported),
            ("redis://h/0/", .databaseNotSupported),
            ("redis://h?x=1", .queryNotSupported),
            ("redis://:p#w@h", .queryNotSupported),
            ("redis://h ", .whitespace),
            ("redis://%4:x@h", .invalidPercentEncoding),
            ("redis://:%zz@h", .invalidPercentEncoding),
            ("redis://:%ff@h", .invalidPercentEncoding),
            ("redis://:%@h", .invalidPercentEncoding),
            ("unix://", .unixPathMissing),
            ("unix:///", .unixPathMissing),
            ("unix://run/redis.sock", .unixPathMissing),
        ] as [(String, RedisURLError)])
    func saysWhatIsWrong(text: String, error: RedisURLError) {
        #expect(throws: error) { try RedisURL(text) }
        #expect(!error.description.isEmpty)
    }

    @Test func readsSentinelsAndClusters() throws {
        let sentinel = try RedisURL("redis+sentinel://u:pw@a,b:1,[::1]:2,a/my-master.1")
        #expect(
            sentinel.topology
                == .sentinel(
                    master: "my-master.1",
                    sentinels: [.host("a", port: 26379), .host("b", port: 1), .host("::1", port: 2)]))
        #expect(!sentinel.usesTLS && sentinel.username == "u" && sentinel.password == "pw")
        #expect("\(sentinel)" == "redis+sentinel://u:***@a:26379,b:1,[::1]:2/my-master.1")
        let cluster = try RedisURL("rediss+cluster://:pw@a:1,b")
        #expect(cluster.topology == .cluster(seeds: [.host("a", port: 1), .host("b", port: 6379)]))
        #expect(cluster.usesTLS)
        #expect("\(cluster)" == "rediss+cluster://:***@a:1,b:6379")
    }

    @Test(
        arguments: [
            ("redis://a", ["redis://a:6379"]),
            ("redis://a,redis://b:1, rediss://:p,q@c", ["redis://a:6379", "redis://b:1", "rediss://:***@c:6379"]),
            (
                "redis+sentinel://a,b/m,redis+sentinel://a,b/n",
                ["redis+sentinel://a:26379,b:26379/m", "redis+sentinel://a:26379,b:26379/n"]
            ),
            ("redis+cluster://a,b,unix:///r.sock", ["redis+cluster://a:6379,b:6379", "unix:///r.sock"]),
        ])
    func readsListsOfServers(text: String, servers: [String]) throws {
        #expect(try RedisURL.list(text).map(\.description) == servers)
    }

    @Test(
        arguments: [
            ("redis://a,redis://a:6379", .sameServerTwice), ("redis://a,", .severalHosts),
            ("redis://a,b", .severalHosts),
            ("redis://a,redis://", .hostMissing), ("redis://a,http://b", .unknownScheme("http")),
            (",redis://a", .noScheme),
        ] as [(String, RedisURLError)])
    func saysWhatIsWrongWithAList(text: String, error: RedisURLError) {
        #expect(throws: error) { try RedisURL.list(text) }
    }

    @Test func noTextShowsThePassword() throws {
        let configuration = try RedisConfiguration(url: "redis://alice:secret@h:1")
        var dumped = ""
        dump(configuration, to: &dumped)
        for text in ["\(configuration)", String(reflecting: configuration), dumped] {
            #expect(!text.contains("secret"))
        }
        #expect("\(configuration)" == "redis://alice:***@h:1")
        var url = ""
        dump(try RedisURL("redis://alice:secret@h:1"), to: &url)
        #expect(!url.contains("secret"))
    }

    @Test func aPasswordWithASlashIsRefusedWithoutRepeatingIt() {
        #expect {
            try RedisURL("redis://:pa/ss@h")
        } throws: { error in
            !"\(error)".contains("pa/") && !"\(error)".contains("ss@")
        }
    }
}
