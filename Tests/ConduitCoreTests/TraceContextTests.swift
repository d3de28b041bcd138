import ConduitCore
import Testing

@Suite struct TraceContextTests {
    private static let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    @Test func whatIsReadIsWrittenAgain() throws {
        let trace = try #require(TraceContext(traceparent: Self.good))
        #expect(trace.traceID == "4bf92f3577b34da6a3ce929d0e0e4736")
        #expect(trace.spanID == "00f067aa0ba902b7")
        #expect(trace.isSampled)
        #expect(trace.traceparent == Self.good)
    }

    @Test func aLaterVersionMayHaveMore() throws {
        let trace = try #require(
            TraceContext(traceparent: "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-more"))
        #expect(!trace.isSampled)
        #expect(trace.traceparent == "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")
    }

    @Test(arguments: [
        "", "00", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-011",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473x-00f067aa0ba902b7-01",
        "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
        "00-4bf92f3577b34da6a3ce929d0e0e47é6-00f067aa0ba902b7-01",
    ])
    func anythingElseIsNone(text: String) { #expect(TraceContext(traceparent: text) == nil) }

    @Test func policiesAndBoundsOfATableChangeForRoomsThatExist() throws {
        let room = try #require(RoomName("a:1"))
        var table = RoomTable(roomsPerClient: 1, membersPerRoom: 10)
        #expect(table.join(room, client: 0, observes: false, now: 0) == .joined)
        let number = try #require(table.number(of: room))
        var policy = RoomPolicy()
        policy.publish = .nobody
        table.reload(roomsPerClient: 2, membersPerRoom: 1, policies: RoomPolicies(namespaces: ["a": policy]))
        #expect(table.policy(at: number)?.publish == .nobody)
        #expect(table.join(room, client: 1, observes: false, now: 0) == .roomFull)
        #expect(table.join(try #require(RoomName("b")), client: 0, observes: false, now: 0) == .joined)
        #expect(table.join(try #require(RoomName("c")), client: 0, observes: false, now: 0) == .tooManyRooms)
        #expect(table.members(of: room).count == 1)
    }
}
