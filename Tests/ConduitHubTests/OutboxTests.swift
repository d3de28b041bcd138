import ConduitCore
import ConduitTesting
import NIOCore
import Testing

@testable import ConduitHub

/// The outbox against a naive model: for each client the list of what it is owed, in order.
@Suite struct OutboxTests {
    /// A shard's worth of clients and rooms around an outbox, with the model beside it.
    private struct World {
        var outbox = Outbox()
        var rooms = RoomTable(roomsPerClient: 100, membersPerRoom: 10_000)
        var owed: [Int32: [String]] = [:]
        var got: [Int32: [String]] = [:]
        var open: Set<Int32> = []
        var messages = 0
        var everybodyIsServed: Bool { owed.values.allSatisfy { $0.isEmpty } }

        mutating func next(_ length: Int = 0) -> String {
            messages += 1
            return "<\(messages)\(String(repeating: "x", count: length))>"
        }

        mutating func arrive(_ client: Int32) {
            open.insert(client)
            owed[client] = []
            got[client] = []
            outbox.arrived(client)
        }

        mutating func join(_ client: Int32, _ room: RoomName) {
            guard rooms.join(room, client: client, observes: false, now: 0) == .joined else { return }
            if let number = rooms.number(of: room) { outbox.joined(client, room: number) }
        }

        mutating func leave(_ client: Int32, _ room: RoomName) {
            guard let number = rooms.number(of: room), rooms.contains(client, at: number) else { return }
            outbox.left(client, room: number, isEmpty: rooms.members(at: number).count == 1)
            _ = rooms.leave(room, client: client)
        }

        mutating func publish(_ room: RoomName, except excluded: Int32?, length: Int = 0) {
            guard let number = rooms.number(of: room) else { return }
            let text = next(length)
            outbox.publish(
                ByteBuffer(string: text), room: number, members: rooms.members(at: number), except: excluded)
            for member in rooms.members(at: number) where member.client != excluded {
                owed[member.client, default: []].append(text)
            }
        }

        mutating func publishToEverybody(except excluded: Int32?) {
            let text = next()
            outbox.publishToEverybody(ByteBuffer(string: text), Array(open), except: excluded)
            for client in open where client != excluded { owed[client, default: []].append(text) }
        }

        mutating func publish(to clients: [Int32]) {
            let text = next()
            outbox.publish(ByteBuffer(string: text), to: clients)
            for client in clients { owed[client, default: []].append(text) }
        }

        mutating func answer(_ client: Int32) {
            let text = next()
            let length = outbox.answer(client) { $0.writeString(text) }
            #expect(length == text.utf8.count)
            owed[client, default: []].append(text)
        }

        /// The client is gone; what it was owed is lost, and counted.
        mutating func go(_ client: Int32) {
            outbox.retired(client)
            for number in rooms.numbers(of: client) {
                outbox.left(client, room: number, isEmpty: rooms.members(at: number).count == 1)
            }
            _ = rooms.removeClient(client)
            #expect(outbox.forget(client) == (owed[client]?.count ?? 0))
            open.remove(client)
            owed[client] = nil
            got[client] = nil
        }

        mutating func write(slice: Int = .max) {
            outbox.seal()
            while let write = outbox.nextUrgent() { take(write) }
            var rest = slice
            while rest > 0, let write = outbox.nextBulk() {
                take(write)
                rest -= 1
            }
            outbox.reset()
        }

        private mutating func take(_ write: Outbox.Write) {
            let text = String(buffer: write.bytes)
            let expected = owed[write.client] ?? []
            #expect(text == expected.joined())
            #expect(write.messages == expected.count)
            owed[write.client] = []
        }
    }

    private static func room(_ number: Int) throws -> RoomName { try #require(RoomName("room\(number)")) }

    @Test(arguments: 0..<40) func everybodyGetsWhatIsTheirsInOrder(_ seed: Int) throws {
        var generator = SeededGenerator(seed: UInt64(seed))
        var world = World()
        var slots: [Int32] = []
        let names = try (0..<6).map(Self.room)
        for _ in 0..<1_500 {
            let client = slots.randomElement(using: &generator)
            let name = names[Int.random(in: 0..<names.count, using: &generator)]
            switch Int.random(in: 0..<100, using: &generator) {
            case ..<8:
                let free = (0..<24 as Range<Int32>).first { !world.open.contains($0) }
                if let free {
                    world.arrive(free)
                    slots.append(free)
                }
            case ..<22: if let client { world.join(client, name) }
            case ..<28: if let client { world.leave(client, name) }
            case ..<31:
                if let client {
                    world.go(client)
                    slots.removeAll { $0 == client }
                }
            case ..<60: world.publish(name, except: Bool.random(using: &generator) ? client : nil)
            case ..<66: world.publishToEverybody(except: Bool.random(using: &generator) ? client : nil)
            case ..<72: world.publish(to: Array(slots.shuffled(using: &generator).prefix(5)))
            case ..<90: if let client { world.answer(client) }
            default: world.write()
            }
        }
        world.write()
        #expect(world.outbox.isEmpty)
        #expect(world.everybodyIsServed, "seed \(seed)")
    }

    /// Members of a very large room are served in slices; whatever comes meanwhile, each gets all of it in order.
    @Test(arguments: 0..<6) func slicesKeepTheOrder(_ seed: Int) throws {
        var generator = SeededGenerator(seed: UInt64(seed))
        var world = World()
        let (large, small) = (try Self.room(0), try Self.room(1))
        let count = Int32(Outbox.bulkMembers + 300)
        for client in 0..<count {
            world.arrive(client)
            world.join(client, large)
            if client % 50 == 0 { world.join(client, small) }
        }
        for _ in 0..<60 {
            switch Int.random(in: 0..<6, using: &generator) {
            case 0: world.publish(large, except: Bool.random(using: &generator) ? 7 : nil)
            case 1: world.publish(small, except: nil)
            case 2: world.answer(Int32.random(in: 0..<count, using: &generator))
            case 3:
                let client = Int32.random(in: 0..<count, using: &generator)
                if world.open.contains(client) { world.go(client) } else { world.arrive(client) }
            case 4: world.publishToEverybody(except: nil)
            default: break
            }
            world.write(slice: 100)
        }
        while world.outbox.hasBulk { world.write(slice: 100) }
        #expect(world.outbox.isEmpty)
        #expect(world.everybodyIsServed, "seed \(seed)")
    }

    @Test func aSmallRoomDoesNotWaitForALargeOne() throws {
        var world = World()
        let (large, small) = (try Self.room(0), try Self.room(1))
        for client in 0..<Int32(Outbox.bulkMembers + 100) {
            world.arrive(client)
            world.join(client, large)
        }
        let other = Int32(Outbox.bulkMembers + 100)
        world.arrive(other)
        world.join(other, small)
        world.publish(large, except: nil)
        world.publish(small, except: nil)
        world.write(slice: 10)
        #expect(world.owed[other] == [])
        #expect(world.outbox.hasBulk)
        #expect(world.owed.values.filter { !$0.isEmpty }.count == Outbox.bulkMembers + 90)
    }

    @Test func muchThatIsOwedIsHeavy() throws {
        var world = World()
        world.arrive(1)
        world.join(1, try Self.room(0))
        #expect(!world.outbox.isHeavy)
        for _ in 0..<20 { world.publish(try Self.room(0), except: nil, length: 1 << 20) }
        #expect(world.outbox.isHeavy)
        world.write()
        #expect(!world.outbox.isHeavy)
    }
}
