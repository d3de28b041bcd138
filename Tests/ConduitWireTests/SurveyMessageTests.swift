import ConduitCore
import ConduitWire
import NIOCore
import Testing

@Suite struct SurveyMessageTests {
    private let room = RoomName(literal: "a%{b}ü")
    private let user = UserID(literal: "u 1")

    private func samples() throws -> [ControlMessage] {
        let client = try #require(ClientID("n.1.abc"))
        var rooms = RoomSearch()
        rooms.text = "Größe"
        rooms.namespace = ""
        rooms.byMembers = true
        rooms.limit = 1_000
        rooms.after = RoomPlace(key: 77, room: room)
        var clients = ClientSearch()
        clients.text = "x"
        clients.user = user
        clients.room = room
        clients.limit = 1
        clients.after = client
        let questions: [SurveyQuestion] = [
            .rooms(RoomSearch()), .rooms(rooms), .room(room), .clients(ClientSearch()), .clients(clients),
            .client(client), .disconnect(.user(user)), .disconnect(.client(client)), .kick(.user(user), room),
            .kick(.client(client), room),
        ]
        let asked = questions.map { ControlMessage.ask(SurveyRequest(number: .max, answerBytes: 40_000, question: $0)) }
        return asked + [
            .answer(SurveyAnswer(number: 3, findings: SurveyFindings(count: 5))),
            .answer(SurveyAnswer(number: 4, findings: SurveyFindings(body: ByteBuffer(), hasMore: true))),
        ]
    }

    @Test func theyComeBackAsTheyWere() throws {
        for sample in try samples() {
            var bytes = ByteBuffer()
            sample.write(to: &bytes)
            #expect(ControlMessage(bytes) == sample)
        }
    }

    @Test func anythingElseIsNothing() throws {
        for sample in try samples() {
            var bytes = ByteBuffer()
            sample.write(to: &bytes)
            for length in 0..<bytes.readableBytes {
                let read = bytes.getSlice(at: 0, length: length).flatMap { ControlMessage($0) }
                // An answer's rows may be cut anywhere, but then it is another answer.
                if case .answer = sample { #expect(read != sample) } else { #expect(read == nil) }
            }
            if case .answer = sample { continue }
            bytes.writeInteger(0 as UInt8)
            #expect(ControlMessage(bytes) == nil, "a byte too many")
        }
    }

    @Test func rowsComeBackAsTheyWereAndOthersEndTheList() throws {
        let client = try #require(ClientID("n.1.abc"))
        let rows = [
            ClientRow(
                client: client, user: user, connectedAt: 1_700_000_000_000, address: "2001:db8::1", pendingBytes: 9,
                roomCount: 200, rooms: [room]),
            ClientRow(
                client: client, user: nil, connectedAt: 0, address: "", pendingBytes: 0, roomCount: 0, rooms: []),
        ]
        let clients = SurveyFindings(rows, maximumBytes: 10_000, hasMore: false)
        #expect(clients.rows(ClientRow.self) == rows)
        var cut = clients
        cut.body.moveWriterIndex(to: cut.body.writerIndex - 1)
        #expect(cut.rows(ClientRow.self) == [rows[0]])
        let rooms = [RoomRow(room: room, members: 1, total: 3)]
        #expect(SurveyFindings(rooms, maximumBytes: 100, hasMore: false).rows(RoomRow.self) == rooms)
        let count = RoomCount(members: 5, userHashes: [1, .max])
        #expect(SurveyFindings([count], maximumBytes: 100, hasMore: false).rows(RoomCount.self) == [count])
        #expect(SurveyFindings(count: 7).count == 7)
        #expect(SurveyFindings().count == 0)
    }

    @Test func whatDoesNotFitIsSaidToBeMore() {
        let rows = (0..<10).map { RoomRow(room: RoomName("room-\($0)") ?? room, members: $0, total: 0) }
        let findings = SurveyFindings(rows, maximumBytes: 50, hasMore: false)
        #expect(findings.hasMore)
        #expect(findings.body.readableBytes <= 50)
        #expect(findings.rows(RoomRow.self) == Array(rows.prefix(3)))
        #expect(!SurveyFindings(rows, maximumBytes: 1_000, hasMore: false).hasMore)
    }

    @Test func tooManyUsersAreOnlyCounted() {
        let count = RoomCount(members: 1, userHashes: Set(0...UInt64(RoomCount.maximumHashes)))
        #expect(count.hashes.isEmpty && count.users == RoomCount.maximumHashes + 1)
        // Nor do they push the numbers out of an answer that is too short for them.
        let short = RoomCount(members: 9, userHashes: Set(0..<1_000), maximumBytes: 8_007)
        let findings = SurveyFindings([short], maximumBytes: 8_007, hasMore: false)
        #expect(short.hashes.isEmpty && short.users == 1_000 && findings.rows(RoomCount.self) == [short])
        #expect(RoomCount(members: 9, userHashes: Set(0..<1_000), maximumBytes: 8_008).hashes.count == 1_000)
        #expect(RoomCount.hash(of: user) == RoomCount.hash(of: UserID(literal: "u 1")))
        #expect(RoomCount.hash(of: user) != RoomCount.hash(of: UserID(literal: "u 2")))
    }

    @Test func placesAreInTheOrderOfTheList() throws {
        let names = ["b", "a", "é", "e\u{301}", "aa"].compactMap { RoomName($0) }
        let places = names.map { RoomPlace(key: 0, room: $0) } + [RoomPlace(key: 9, room: names[0])]
        let sorted = places.sorted().map { "\($0.key)\($0.room)" }
        // By bytes: é in one scalar is C3 A9, in two 65 CC 81.
        #expect(sorted.map { Array($0.utf8) } == ["9b", "0a", "0aa", "0b", "0e\u{301}", "0é"].map { Array($0.utf8) })
    }
}
