import ConduitAdmin
import ConduitCluster
import ConduitCore
import ConduitTesting
import ConduitWire
import NIOCore
import Testing

/// What is asked of the whole cluster: routes, queries, shapes.
@Suite struct AdminAPITests {
    private let node = NodeID("node-a")

    @Test func listsOfRoomsTakeWhatIsDocumentedAndNothingElse() async throws {
        try await withAdmin { node, port in
            let room = try #require(RoomName("a\"b"))
            node.set {
                $0.rooms = AdminRooms(
                    rows: [.init(room: room, members: 4, mode: .fast, nodes: 2)], cursor: "4:a\"b", unreachable: ["n"])
            }
            let page = try await request(
                port, "GET", "/api/v1/rooms?search=L%C3%96b&namespace=&sort=members&limit=2&cursor=7:a+b%2Bc")
            #expect(
                page.body
                    == #"{"rooms":[{"room":"a\"b","members":4,"mode":"fast","nodes":2}],"cursor":"4:a\"b","unreachable":["n"]}"#
                    + "\n")
            #expect(try await request(port, "GET", "/api/v1/rooms").status == 200)
            #expect(node.calls == ["rooms 'LÖb'  members 2 7:a b+c", "rooms '' - name 100 -"])
            for query in [
                "limit=0", "limit=1001", "limit=%2B5", "limit=x", "sort=size", "cursor=a", "cursor=1:", "cursor=:a",
                "limit=1&limit=2", "limt=1", "search=%FF", "search=%zz", "search=\(String(repeating: "a", count: 256))",
            ] {
                let refused = try await request(port, "GET", "/api/v1/rooms?\(query)")
                #expect(refused.status == 400, "\(query)")
                #expect(refused.body.hasPrefix(#"{"error":{"code":"bad_request","message":""#))
            }
            #expect(node.calls.count == 2)
        }
    }

    @Test func roomAndHistoryAreJSON() async throws {
        try await withAdmin { node, port in
            let room = try await request(port, "GET", "/api/v1/rooms/a%2Fb")
            #expect(
                room.body
                    == #"{"room":"a/b","members":3,"users":2,"mode":"ordered","nodes":[{"node_id":"node-a","members":3}],"#
                    + "\"epoch\":\"e\",\"offset\":7,\"unreachable\":[\"node-b\"]}\n")
            let messages = [#"{"type":"t","offset":1}"#, #"{"type":"#, "{\"type\":\"\u{1}\"}"].map {
                ByteBuffer(string: $0)
            }
            node.set { $0.log = RoomLog(epoch: "e", offset: 9, messages: messages) }
            let history = try await request(port, "GET", "/api/v1/rooms/a/history?epoch=e%201&offset=5&limit=7")
            #expect(
                history.body
                    == #"{"room":"a","epoch":"e","offset":9,"messages":[{"type":"t","offset":1}],"unreachable":[]}"#
                    + "\n",
                "what is no JSON is left out")
            for query in ["epoch=e", "offset=5", "limit=3"] {
                #expect(try await request(port, "GET", "/api/v1/rooms/a/history?\(query)").status == 200)
            }
            #expect(
                node.calls == [
                    "room a/b", "history a e 1/5 7", "history a e/0 100", "history a /5 100", "history a - 3",
                ])
            for query in ["epoch=e&offset=-1", "offset=x", "epoch=&offset=1", "epoch=e&offset=99999999999999999"] {
                #expect(try await request(port, "GET", "/api/v1/rooms/a/history?\(query)").status == 400, "\(query)")
            }
            node.set { $0.error = RequestError(.badRequest, "this room keeps no history") }
            #expect(try await request(port, "GET", "/api/v1/rooms/a/history").status == 400)
        }
    }

    @Test func clientsAreJSON() async throws {
        try await withAdmin { node, port in
            let room = try #require(RoomName("r"))
            let id = try #require(ClientID("node-a.abc"))
            let row = ClientRow(
                client: id, user: UserID("u\"1"), connectedAt: 0, address: "192.0.2.1", pendingBytes: 5, roomCount: 1,
                rooms: [room])
            let other = ClientRow(
                client: id, user: nil, connectedAt: 0, address: "", pendingBytes: 0, roomCount: 0, rooms: [])
            let found = [row, other].map { FoundClient(node: node.nodeID, row: $0) }
            node.set { $0.clients = AdminClients(rows: found, cursor: "node-a.abc", unreachable: []) }
            let first =
                #"{"client_id":"node-a.abc","user_id":"u\"1","node_id":"node-a","connected_at":"1970-01-01T00:00:00.000Z","#
                + #""remote_address":"192.0.2.1","rooms":["r"],"room_count":1,"pending_bytes":5}"#
            let second =
                #"{"client_id":"node-a.abc","user_id":null,"node_id":"node-a","connected_at":"1970-01-01T00:00:00.000Z","#
                + #""remote_address":null,"rooms":[],"room_count":0,"pending_bytes":0}"#
            let list = try await request(
                port, "GET", "/api/v1/clients?search=x&user=u&node=node-b&room=r&limit=3&cursor=n.a")
            #expect(list.body == "{\"clients\":[\(first),\(second)],\"cursor\":\"node-a.abc\",\"unreachable\":[]}\n")
            let one = try await request(port, "GET", "/api/v1/clients/node-a.abc")
            #expect(one.body == first.dropLast() + ",\"unreachable\":[]}\n")
            node.set { $0.clients.cursor = nil }
            let user = try await request(port, "GET", "/api/v1/users/u%201")
            #expect(user.body == "{\"user_id\":\"u 1\",\"clients\":[\(first),\(second)],\"unreachable\":[]}\n")
            #expect(
                node.calls == ["clients 'x' u r node-b n.a 3", "client node-a.abc", "clients '' u 1 - - - 1000"])
            node.set { $0.clients = AdminClients(rows: []) }
            #expect(try await request(port, "GET", "/api/v1/clients/node-a.abc").status == 404)
            node.set { $0.clients.unreachable = ["node-a"] }
            let silent = try await request(port, "GET", "/api/v1/clients/node-a.abc")
            #expect(silent.status == 503)
            #expect(silent.body.contains("node-a"))
            for path in ["clients?cursor=x", "clients?user=", "clients?node=%20", "clients/x", "users/%0A", "users/"] {
                #expect(try await request(port, "GET", "/api/v1/\(path)").status == 400, "\(path)")
            }
        }
    }

    @Test func kickReachesTheNode() async throws {
        try await withAdmin { node, port in
            node.set { $0.receipt = AdminReceipt(count: 2, unreachable: ["node-b"]) }
            let answer = try await request(port, "POST", "/api/v1/rooms/a%20b/kick", body: #"{"user":"u"}"#)
            #expect(answer.body == "{\"kicked\":2,\"unreachable\":[\"node-b\"]}\n")
            #expect(node.calls == ["kick user(u) from a b"])
            for body in ["{}", #"{"user":"u","client":"n.a"}"#, #"{"user":"u","type":"t"}"#, #"{"client":"x"}"#] {
                #expect(try await request(port, "POST", "/api/v1/rooms/a/kick", body: body).status == 400, "\(body)")
            }
            #expect(node.calls.count == 1)
        }
    }
}

@Suite struct RoomCursorTests {
    @Test(arguments: ["0:a", "17:b:c", "999999999:é", "3:\u{0301}x"])
    func cursorsAreReadAsTheyWereWritten(text: String) throws {
        #expect(try #require(RoomPlace(cursor: text)).cursor == text)
    }

    @Test(arguments: ["", "a", ":a", "1:", "1234567890:a", "-1:a", "+1:a", "1:\u{0}"])
    func othersAreRefused(text: String) { #expect(RoomPlace(cursor: text) == nil) }
}
