import ConduitCore
import ConduitWire
import NIOCore
import Testing

@testable import ConduitCluster

/// The merged pages of any number of nodes against one sorted list.
@Suite struct SurveyMergeTests {
    /// What each node has.
    private struct World {
        var rooms: [NodeID: [RoomName: Int]] = [:]

        init(random: inout SeededGenerator) {
            for number in 0..<Int.random(in: 1...5, using: &random) {
                guard let node = NodeID("n\(number)") else { continue }
                rooms[node] = [:]
                for _ in 0..<Int.random(in: 0...40, using: &random) {
                    guard let room = RoomName("r\(Int.random(in: 0..<60, using: &random))") else { continue }
                    rooms[node]?[room] = Int.random(in: 1...9, using: &random)
                }
            }
        }

        var totals: [RoomName: Int] {
            rooms.values.reduce(into: [:]) { sum, own in sum.merge(own, uniquingKeysWith: +) }
        }

        /// What a node answers, as `Hub.answer` does.
        func ask(_ search: RoomSearch, maximumBytes: Int) -> SurveyOutcome {
            let totals = totals
            var outcome = SurveyOutcome()
            for (node, own) in rooms {
                let places = own.keys.map { RoomPlace(key: search.byMembers ? totals[$0] ?? 0 : 0, room: $0) }
                    .filter { place in search.after.map { $0 < place } ?? true }.sorted()
                let rows = places.prefix(search.limit).map {
                    RoomRow(room: $0.room, members: own[$0.room] ?? 0, total: max($0.key, own[$0.room] ?? 0))
                }
                outcome.answers[node] = SurveyFindings(
                    rows, maximumBytes: maximumBytes, hasMore: places.count > search.limit)
            }
            return outcome
        }
    }

    @Test(arguments: 1...60 as ClosedRange<UInt64>, [false, true])
    func pagesTogetherAreTheWholeList(seed: UInt64, byMembers: Bool) {
        var random = SeededGenerator(state: seed)
        let world = World(random: &random)
        let totals = world.totals
        let expected = totals.map { RoomPlace(key: byMembers ? $0.value : 0, room: $0.key) }.sorted()
        var search = RoomSearch()
        search.byMembers = byMembers
        search.limit = Int.random(in: 1...20, using: &random)
        let bytes = Int.random(in: 20...400, using: &random)
        var seen: [FoundRoom] = []
        var pages = 0
        repeat {
            let page = world.ask(search, maximumBytes: bytes).rooms(search)
            #expect(page.rows.count <= search.limit)
            seen += page.rows
            search.after = page.next
            pages += 1
        } while search.after != nil && pages < 200
        #expect(seen.map(\.place.room) == expected.map(\.room), "seed \(seed)")
        for room in seen {
            #expect(room.members == totals[room.place.room], "seed \(seed)")
            #expect(room.nodes == world.rooms.values.count { $0[room.place.room] != nil }, "seed \(seed)")
        }
    }

    /// Where no rosters are kept a node pages by its own members, and no sum may end the list.
    @Test func aListByMembersWithoutRostersNamesEveryRoom() throws {
        let nodes = try ["a", "b", "c"].map { try #require(NodeID($0)) }
        let names = try (0..<50).map { try #require(RoomName("r\($0)")) }
        var search = RoomSearch()
        search.byMembers = true
        search.limit = 7
        var seen: Set<RoomName> = []
        var pages = 0
        repeat {
            var outcome = SurveyOutcome()
            for (index, node) in nodes.enumerated() {
                // Rooms have more members on some nodes than on others.
                let places = names.enumerated().map { RoomPlace(key: 1 + ($0 + index) % 3, room: $1) }
                    .filter { place in search.after.map { $0 < place } ?? true }.sorted()
                let rows = places.prefix(search.limit).map { RoomRow(room: $0.room, members: $0.key, total: $0.key) }
                outcome.answers[node] = SurveyFindings(
                    rows, maximumBytes: 10_000, hasMore: places.count > search.limit)
            }
            let page = outcome.rooms(search)
            seen.formUnion(page.rows.map(\.place.room))
            search.after = page.next
            pages += 1
        } while search.after != nil && pages < 200
        #expect(seen == Set(names))
    }

    @Test func whoseAnswerCannotBeReadIsNamed() throws {
        let nodes = try ["a", "b"].map { try #require(NodeID($0)) }
        let room = try #require(RoomName("r"))
        var outcome = SurveyOutcome(unreachable: ["z"])
        outcome.answers[nodes[0]] = SurveyFindings(
            [RoomCount(members: 3, userHashes: [])], maximumBytes: 100, hasMore: false)
        outcome.answers[nodes[1]] = SurveyFindings(hasMore: true)
        let count = outcome.readable(as: .room(room))
        #expect(count.members().members == 3)
        #expect(count.unreachable == ["b", "z"])
        // To a question for a list or a client, nothing is an answer.
        #expect(outcome.readable(as: .clients(ClientSearch())).unreachable == ["a", "z"])
        #expect(outcome.readable(as: .kick(.user(try #require(UserID("u"))), room)).unreachable == ["b", "z"])
    }

    @Test func clientsComeByIdAndNobodySpeaksForAnotherNode() throws {
        let nodes = try ["a", "b"].map { try #require(NodeID($0)) }
        func row(_ id: String) throws -> ClientRow {
            ClientRow(
                client: try #require(ClientID(id)), user: nil, connectedAt: 0, address: "", pendingBytes: 0,
                roomCount: 0, rooms: [])
        }
        var outcome = SurveyOutcome()
        outcome.answers[nodes[0]] = SurveyFindings(
            [try row("a.1"), try row("a.2"), try row("b.9")], maximumBytes: 1_000, hasMore: false)
        outcome.answers[nodes[1]] = SurveyFindings(
            [try row("b.1"), try row("b.3")], maximumBytes: 1_000, hasMore: true)
        var search = ClientSearch()
        search.limit = 3
        let page = outcome.clients(search)
        #expect(page.rows.map(\.row.client.rawValue) == ["a.1", "a.2", "b.1"])
        #expect(page.next?.rawValue == "b.1")
        search.limit = 10
        // What comes behind b.3 isn't known.
        #expect(outcome.clients(search).next?.rawValue == "b.3")
        #expect(outcome.client()?.row.client.node != nil)
    }

    @Test func usersOfSeveralNodesCountOnce() throws {
        let nodes = try ["a", "b", "c"].map { try #require(NodeID($0)) }
        var outcome = SurveyOutcome()
        let counts = [
            RoomCount(members: 3, userHashes: [1, 2]), RoomCount(members: 1, userHashes: [2]),
            RoomCount(members: 0, userHashes: []),
        ]
        for (node, count) in zip(nodes, counts) {
            outcome.answers[node] = SurveyFindings([count], maximumBytes: 1_000, hasMore: false)
        }
        let found = outcome.members()
        #expect(found.members == 4 && found.users == 2)
        #expect(found.nodes == [.init(node: nodes[0], members: 3), .init(node: nodes[1], members: 1)])
    }
}

@Suite struct SurveyTableTests {
    private let nodes = ["a", "b", "c"].compactMap { NodeID($0) }

    @Test func answersOfThoseWhoAreAwaitedEndAQuestion() {
        var table = SurveyTable()
        let began = table.begin(1, awaiting: [nodes[0], nodes[1]], unreachable: ["z"]) { _ in }
        #expect(began)
        let again = table.begin(1, awaiting: [nodes[0]], unreachable: []) { _ in }
        #expect(!again, "a number is used once")
        let taken = [
            table.answered(2, by: nodes[0], SurveyFindings()),
            // Nobody else's word counts.
            table.answered(1, by: nodes[2], SurveyFindings()),
            table.answered(1, by: nodes[0], SurveyFindings(count: 1)),
            // Only once.
            table.answered(1, by: nodes[0], SurveyFindings(count: 9)),
        ]
        #expect(taken == [.late, .late, .taken, .late])
        let early = table.finish(1, isLate: false)
        #expect(early == nil)
        let last = table.answered(1, by: nodes[1], SurveyFindings(count: 2))
        #expect(last == .taken)
        let finished = table.finish(1, isLate: false)
        #expect(finished?.outcome.count == 3)
        #expect(finished?.outcome.unreachable == ["z"])
        #expect(table.count == 0)
    }

    @Test func whoSaysMoreThanWasAskedForIsNamed() {
        var table = SurveyTable()
        let bytes = SurveyFindings(count: 1).body.readableBytes
        _ = table.begin(1, awaiting: [nodes[0], nodes[1]], unreachable: [], answerBytes: bytes) { _ in }
        var long = SurveyFindings(count: 1)
        long.body.writeInteger(0 as UInt8)
        let first = table.answered(1, by: nodes[0], SurveyFindings(count: 1))
        let second = table.answered(1, by: nodes[1], long)
        #expect(first == .taken && second == .tooLong)
        let again = table.answered(1, by: nodes[1], SurveyFindings(count: 1))
        #expect(again == .late, "it has spoken")
        let finished = table.finish(1, isLate: false)
        #expect(finished?.outcome.count == 1 && finished?.outcome.unreachable == ["b"])
    }

    @Test func whoIsLateIsNamed() {
        var table = SurveyTable()
        _ = table.begin(1, awaiting: [nodes[1], nodes[0]], unreachable: []) { _ in }
        let finished = table.finish(1, isLate: true)
        #expect(finished?.outcome.unreachable == ["a", "b"])
        let again = table.finish(1, isLate: true)
        #expect(again == nil)
    }

    @Test func theAnswersOfAllQuestionsHaveOneBound() {
        var table = SurveyTable()
        var sum = 0
        var asked: UInt64 = 0
        while let bytes = table.answerBytes(of: 40), asked < 64 {
            asked += 1
            sum += bytes * 40
            let began = table.begin(asked, awaiting: [nodes[0]], unreachable: [], bytes: bytes * 40) { _ in }
            #expect(began)
        }
        #expect(sum <= SurveyTable.answersBytes && (2..<64).contains(asked))
        for number in 1...asked { _ = table.finish(number, isLate: true) }
        // Alone, a question may be asked of any number of nodes.
        #expect(table.answerBytes(of: 200) == SurveyTable.leastAnswerBytes)
        // Of more than 256 each may say less, so that the bound holds.
        #expect(table.answerBytes(of: 1_000) == SurveyTable.answersBytes / 1_000)
    }

    @Test func questionsAreBounded() {
        var table = SurveyTable()
        for number in 1...UInt64(SurveyTable.limit) {
            let began = table.begin(number, awaiting: [], unreachable: []) { _ in }
            #expect(began)
        }
        let over = table.begin(1_000, awaiting: [], unreachable: []) { _ in }
        #expect(!over)
        let finished = table.finish(1, isLate: false)
        #expect(finished != nil)
        let next = table.begin(1_000, awaiting: [], unreachable: []) { _ in }
        #expect(next)
    }
}
