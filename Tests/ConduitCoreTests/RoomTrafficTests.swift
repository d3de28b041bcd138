import ConduitCore
import ConduitTesting
import Testing

@Suite struct RoomTrafficTests {
    private func room(_ name: String) throws -> RoomName { try #require(RoomName(name)) }

    private func table(_ namespaces: String...) -> RoomTable {
        let policies = RoomPolicies(
            namespaces: Dictionary(uniqueKeysWithValues: namespaces.map { ($0, RoomPolicy()) }))
        return RoomTable(roomsPerClient: 100, membersPerRoom: 100, policies: policies)
    }

    private func figures(_ table: RoomTable) -> [String: RoomTraffic.Namespace] {
        Dictionary(uniqueKeysWithValues: zip(table.traffic.namespaces.names, table.traffic.figures))
    }

    @Test func onlyConfiguredNamespacesHaveNames() throws {
        let namespaces = RoomNamespaces(RoomPolicies(namespaces: ["chat": RoomPolicy(), "a": RoomPolicy()]))
        #expect(namespaces.names == ["none", "a", "chat", "_other"])
        for (name, namespace) in [
            ("lobby", "none"), ("chat:1", "chat"), ("chat:a:b", "chat"), ("a:", "a"), ("b:1", "_other"), (":x", "none"),
            ("chat\u{301}:1", "_other"), ("other:1", "_other"), ("Chat:1", "_other"),
        ] {
            #expect(namespaces.names[namespaces.number(of: try room(name))] == namespace, "\(name)")
        }
        // Who configures those very names shares them.
        let shared = RoomNamespaces(RoomPolicies(namespaces: ["_other": RoomPolicy(), "none": RoomPolicy()]))
        #expect(shared.names == ["none", "_other"])
        for name in ["_other:1", "x:1"] { #expect(shared.number(of: try room(name)) == 1) }
        for name in ["none:1", "x"] { #expect(shared.number(of: try room(name)) == 0) }
        // One that is called "other" is one like any other.
        let plain = RoomNamespaces(RoomPolicies(namespaces: ["other": RoomPolicy()]))
        #expect(plain.names == ["none", "other", "_other"])
        #expect(plain.number(of: try room("other:1")) == 1)
        #expect(plain.number(of: try room("x:1")) == 2)
    }

    @Test func figuresStayWhenRoomsEnd() throws {
        var table = table("chat")
        let first = try room("chat:1")
        _ = table.join(first, client: 1, observes: false, now: 0)
        _ = table.join(first, client: 2, observes: false, now: 0)
        let number = try #require(table.number(of: first))
        table.countPublished(at: number)
        table.countDelivered(2, at: number)
        table.countPublished(to: try room("elsewhere"))
        #expect(figures(table)["chat"] == .init(rooms: 1, members: 2, published: 1, deliveries: 2))
        #expect(figures(table)["none"] == .init(rooms: 0, members: 0, published: 1, deliveries: 0))
        _ = table.removeClient(1)
        _ = table.removeClient(2)
        #expect(figures(table)["chat"] == .init(rooms: 0, members: 0, published: 1, deliveries: 2))
        // Its number is another room's now, which begins with nothing.
        _ = table.join(try room("lobby"), client: 3, observes: false, now: 0)
        #expect(table.number(of: try room("lobby")) == number)
        table.countPublished(at: number)
        #expect(figures(table)["chat"]?.published == 1 && figures(table)["none"]?.published == 2)
        let busiest = table.endTrafficWindow(limit: 5)
        #expect(busiest.map(\.room.rawValue).sorted() == ["elsewhere", "lobby"])
        #expect(busiest.map(\.messages) == [1, 1])
        #expect(table.endTrafficWindow(limit: 5).isEmpty)
        #expect(figures(table)["chat"]?.deliveries == 2 && figures(table)["none"]?.published == 2)
        // Numbers that no room has count for nothing.
        table.countPublished(at: 99)
        table.countDelivered(1, at: -1)
    }

    @Test(arguments: 1...5 as ClosedRange<UInt64>) func agreesWithANaiveCount(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var table = table("a", "b")
        let rooms = try ["one", "two", "a:1", "a:2", "b:1", "c:1", "c:2"].map(room)
        var published: [RoomName: UInt64] = [:], window: [RoomName: UInt64] = [:], deliveries: [RoomName: UInt64] = [:]
        for step in 0..<3_000 {
            let room = try #require(rooms.randomElement(using: &random))
            let client = Int32.random(in: 0..<6, using: &random)
            switch Int.random(in: 0..<20, using: &random) {
            case 0..<4: _ = table.join(room, client: client, observes: false, now: 0)
            case 4..<7: _ = table.leave(room, client: client)
            case 7: _ = table.removeClient(client)
            case 8: _ = table.delete(room)
            case 9:
                // What ended within the window is left out, and what began again then starts from nothing.
                let busiest = table.endTrafficWindow(limit: 3)
                #expect(busiest.count <= 3)
                #expect(busiest.map(\.messages) == busiest.map(\.messages).sorted(by: >))
                for (room, messages) in busiest { #expect(messages <= window[room] ?? 0, "seed \(seed) at \(step)") }
                window = [:]
            default:
                published[room, default: 0] += 1
                window[room, default: 0] += 1
                if let number = table.number(of: room) {
                    table.countPublished(at: number)
                    let members = table.members(at: number).count
                    table.countDelivered(members, at: number)
                    deliveries[room, default: 0] += UInt64(members)
                } else {
                    table.countPublished(to: room)
                }
            }
            guard step % 50 == 0 else { continue }
            var expected: [String: RoomTraffic.Namespace] = [:]
            let namespaces = table.traffic.namespaces
            for name in namespaces.names { expected[name] = .init() }
            for room in rooms {
                let name = namespaces.names[namespaces.number(of: room)]
                expected[name]?.rooms += table.exists(room) ? 1 : 0
                expected[name]?.members += table.members(of: room).count
                expected[name]?.published += published[room] ?? 0
                expected[name]?.deliveries += deliveries[room] ?? 0
            }
            #expect(figures(table) == expected, "seed \(seed) at \(step)")
        }
    }

    @Test func theBusiestComeFirst() throws {
        var table = table()
        for number in 0..<100 {
            let name = try room("room-\(number)")
            _ = table.join(name, client: Int32(number), observes: false, now: 0)
            let place = try #require(table.number(of: name))
            for _ in 0..<(number * 37 % 100) { table.countPublished(at: place) }
        }
        for _ in 0..<1_000 { table.countPublished(to: try room("far")) }
        let busiest = table.endTrafficWindow(limit: 4)
        #expect(busiest.map(\.messages) == [1_000, 99, 98, 97])
        #expect(busiest.first?.room.rawValue == "far")
    }

    @Test func manyNamesDoNotHideABusyRoom() throws {
        var table = table()
        for number in 0..<3_000 { table.countPublished(to: try room("junk-\(number)")) }
        let far = try room("far")
        for number in 0..<2_000 {
            table.countPublished(to: far)
            table.countPublished(to: try room("more-\(number)"))
        }
        let busiest = table.endTrafficWindow(limit: 4)
        #expect(busiest.first?.room == far)
        #expect((1_900...2_000).contains(busiest.first?.messages ?? 0), "\(busiest)")
        #expect(figures(table)["none"]?.published == 7_000)
        #expect(table.endTrafficWindow(limit: 4).isEmpty)
    }
}

extension RoomTraffic.Namespace {
    fileprivate init(rooms: Int, members: Int, published: UInt64, deliveries: UInt64) {
        self.init()
        self.rooms = rooms
        self.members = members
        self.published = published
        self.deliveries = deliveries
    }
}
