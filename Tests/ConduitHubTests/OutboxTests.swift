import ConduitCore
import ConduitTesting
import ConduitWire
import NIOCore
import Testing

@testable import ConduitHub

/// The outbox against a naive model: for each client the list of what it is owed, in order.
@Suite struct OutboxTests {
    /// A shard's worth of clients and rooms around an outbox, with the model beside it.
    private struct World {
        var outbox = Outbox()
        /// Whether two of three clients take messages compressed, with windows of two sizes.
        let deflates: Bool
        let compressor = MessageCompressor(level: 1, threshold: 0)
        /// Messages that came compressed.
        private(set) var deflatedMessages = 0
        var rooms = RoomTable(roomsPerClient: 100, membersPerRoom: 10_000)
        var owed: [Int32: [String]] = [:]
        var got: [Int32: [String]] = [:]
        var open: Set<Int32> = []
        var messages = 0
        var everybodyIsServed: Bool { owed.values.allSatisfy { $0.isEmpty } }

        init(deflates: Bool = false) {
            self.deflates = deflates
            self.outbox = Outbox(compressor: deflates ? compressor : nil)
        }

        /// The next message; some of them can be compressed.
        mutating func next(_ length: Int = 0) -> (text: String, message: ServerMessage) {
            messages += 1
            let text = "<\(messages)\(String(repeating: "x", count: max(length, messages % 5 * 40)))>"
            let message = ServerMessage(json: ByteBuffer(string: text))
            return (text, messages % 5 > 1 ? message.compressible : message)
        }

        mutating func arrive(_ client: Int32) {
            open.insert(client)
            owed[client] = []
            got[client] = []
            outbox.arrived(client, windowBits: deflates ? [0, 15, 9][Int(client) % 3] : 0)
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
            let (text, message) = next(length)
            outbox.publish(
                message.frame, deflated: message.deflated, room: number, members: rooms.members(at: number),
                except: excluded)
            for member in rooms.members(at: number) where member.client != excluded {
                owed[member.client, default: []].append(text)
            }
        }

        mutating func publishToEverybody(except excluded: Int32?) {
            let (text, message) = next()
            outbox.publishToEverybody(message.frame, deflated: message.deflated, Array(open), except: excluded)
            for client in open where client != excluded { owed[client, default: []].append(text) }
        }

        mutating func publish(to clients: [Int32]) {
            let (text, message) = next()
            outbox.publish(message.frame, deflated: message.deflated, to: clients)
            for client in clients { owed[client, default: []].append(text) }
        }

        mutating func answer(_ client: Int32) {
            let (text, message) = next()
            let length = outbox.answer(client) { $0.writeImmutableBuffer(message.frame) }
            #expect(length == message.byteCount)
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
            let texts = read(write.bytes, isPlain: !deflates || write.client % 3 == 0)
            let expected = owed[write.client] ?? []
            #expect(texts == expected)
            #expect(write.messages == expected.count)
            owed[write.client] = []
        }

        /// The messages of whole frames.
        private mutating func read(_ bytes: ByteBuffer, isPlain: Bool) -> [String] {
            var parser = WebSocketFrameParser(maximumMessageBytes: 1 << 24, role: .client, deflates: !isPlain)
            var (bytes, texts) = (bytes, [String]())
            let limits = MessageCompressor.Limits(messageBytes: 1 << 24, ratio: 2_000)
            while let event = try? parser.next(from: &bytes) {
                if case .deflated = event { deflatedMessages += 1 }
                guard case .text(let text) = try? compressor.expanded(event, limits) else { return texts + ["?"] }
                texts.append(String(buffer: text))
            }
            #expect(!parser.hasUnfinishedMessage)
            return texts
        }
    }

    private static func room(_ number: Int) throws -> RoomName { try #require(RoomName("room\(number)")) }

    @Test(arguments: 0..<40, [false, true])
    func everybodyGetsWhatIsTheirsInOrder(_ seed: Int, _ deflates: Bool) throws {
        var generator = SeededGenerator(seed: UInt64(seed))
        var world = World(deflates: deflates)
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
        #expect((world.deflatedMessages > 0) == deflates)
        #expect(world.compressor.statistics.deflated <= UInt64(2 * world.messages))
    }

    /// Members of a very large room are served in slices; whatever comes meanwhile, each gets all of it in order.
    @Test(arguments: 0..<6, [false, true]) func slicesKeepTheOrder(_ seed: Int, _ deflates: Bool) throws {
        var generator = SeededGenerator(seed: UInt64(seed))
        var world = World(deflates: deflates)
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
