import ConduitCore
import ConduitWire
import NIOCore
import Testing

@testable import ConduitCluster

/// Redis as a room sees it: a log with an epoch, and a bus that carries what is appended.
private struct ModelLog {
    var epoch = "e0"
    private var epochs = 0
    /// Offset → text; the keys are consecutive, up to `top`.
    var kept: [UInt64: String] = [:]
    var top: UInt64 = 0
    /// Everything that was ever appended, by epoch.
    var all: [String: [UInt64: String]] = [:]
    var bus: [OrderedBatch] = []

    mutating func append(_ count: Int) {
        var messages: [OrderedMessage] = []
        for _ in 0..<count {
            top += 1
            let text = "{\"\(epoch)\":\(top)}"
            kept[top] = text
            all[epoch, default: [:]][top] = text
            messages.append(OrderedMessage(offset: top, json: ByteBuffer(string: text)))
        }
        bus.append(OrderedBatch(epoch: epoch, messages: messages))
    }

    mutating func trim(to count: Int) {
        for offset in kept.keys where offset + UInt64(count) <= top { kept[offset] = nil }
    }

    mutating func beginAnew() {
        epochs += 1
        epoch = "e\(epochs)"
        kept = [:]
        top = 0
    }

    /// A fail-over to a replica that lacks the newest.
    mutating func lose(_ count: UInt64) {
        let rest = top - min(top, count)
        for offset in kept.keys where offset > rest { kept[offset] = nil }
        top = rest
        bus.removeAll()
    }

    /// As the script reads.
    mutating func read(_ position: RecoveryPoint?, known: [RecoveryPoint], most: Int) -> OrderedRoom.Page {
        if known.contains(where: { $0.epoch == epoch && top < $0.offset }) { beginAnew() }
        guard let position else { return OrderedRoom.Page(epoch: epoch, top: top, messages: [], isWhole: false) }
        let after = position.epoch == epoch ? position.offset : 0
        let offsets = kept.keys.filter { $0 > after }.sorted()
        let page = offsets.prefix(most).map {
            OrderedMessage(offset: $0, json: ByteBuffer(string: kept[$0] ?? ""))
        }
        return OrderedRoom.Page(epoch: epoch, top: top, messages: page, isWhole: page.count == offsets.count)
    }
}

@Suite struct OrderedRoomTests {
    private func batch(_ epoch: String, _ offsets: ClosedRange<UInt64>) -> OrderedBatch {
        OrderedBatch(
            epoch: epoch, messages: offsets.map { OrderedMessage(offset: $0, json: ByteBuffer(string: "{\($0)}")) })
    }

    private func page(
        _ epoch: String, top: UInt64, _ offsets: [UInt64] = [], isWhole: Bool = true
    ) -> OrderedRoom.Page {
        OrderedRoom.Page(
            epoch: epoch, top: top,
            messages: offsets.map { OrderedMessage(offset: $0, json: ByteBuffer(string: "{\($0)}")) }, isWhole: isWhole)
    }

    /// A room that stands at an offset.
    private func live(_ epoch: String, at offset: UInt64) -> OrderedRoom {
        var room = OrderedRoom()
        room.readStarted()
        _ = room.readAnswered(page(epoch, top: offset)) { _, _ in }
        return room
    }

    @Test func nothingIsDeliveredBeforeThePositionIsKnown() {
        var room = OrderedRoom()
        var delivered: [UInt64] = []
        #expect(room.wantsRead && room.position == nil && room.known.isEmpty)
        _ = room.received(batch("e", 3...6)) { message, _ in delivered.append(message.offset) }
        #expect(delivered.isEmpty)
        room.readStarted()
        #expect(!room.wantsRead)
        _ = room.readAnswered(page("e", top: 4)) { message, _ in delivered.append(message.offset) }
        #expect(delivered == [5, 6])
        #expect(room.isLive && room.position == RecoveryPoint(epoch: "e", offset: 6))
    }

    @Test func aHoleIsReadOnceAndFilledInOrder() {
        var room = live("e", at: 10)
        var delivered: [UInt64] = []
        _ = room.received(batch("e", 11...11)) { message, _ in delivered.append(message.offset) }
        _ = room.received(batch("e", 14...15)) { message, _ in delivered.append(message.offset) }
        #expect(delivered == [11] && room.wantsRead)
        room.readStarted()
        _ = room.received(batch("e", 16...16)) { message, _ in delivered.append(message.offset) }
        #expect(delivered == [11] && !room.wantsRead)
        let outcome = room.readAnswered(page("e", top: 15, [12, 13, 14, 15])) { message, _ in
            delivered.append(message.offset)
        }
        #expect(delivered == [11, 12, 13, 14, 15, 16])
        #expect(outcome == OrderedRoom.Outcome(healed: 2))
        #expect(room.isLive && room.waitingBytes == 0)
        let again = room.received(batch("e", 15...16)) { _, _ in }
        #expect(again.duplicates == 2)
    }

    @Test func whatTheLogHasNoMoreIsUnrecoverable() {
        var room = live("e", at: 10)
        var delivered: [UInt64] = []
        _ = room.received(batch("e", 20...20)) { message, _ in delivered.append(message.offset) }
        room.readStarted()
        let outcome = room.readAnswered(page("e", top: 20, [18, 19, 20])) { message, _ in
            delivered.append(message.offset)
        }
        #expect(delivered == [18, 19, 20])
        #expect(outcome == OrderedRoom.Outcome(healed: 2, unrecoverable: 7))
        room.doubt()
        room.readStarted()
        let trimmed = room.readAnswered(page("e", top: 25)) { _, _ in }
        #expect(trimmed.unrecoverable == 5)
        #expect(room.isLive && room.last == 25)
    }

    @Test func aNewEpochBeginsAtItsFirstMessage() {
        var room = live("a", at: 10)
        var delivered: [String] = []
        let deliver: OrderedRoom.Delivery = { delivered.append("\($1)\($0.offset)") }
        _ = room.received(batch("a", 12...12), deliver: deliver)
        _ = room.received(batch("b", 2...2), deliver: deliver)
        room.readStarted()
        let outcome = room.readAnswered(page("b", top: 2, [1, 2]), deliver: deliver)
        #expect(delivered == ["a12", "b1", "b2"])
        #expect(outcome == OrderedRoom.Outcome(healed: 1, unrecoverable: 1, changedEpoch: true))
        // What is late of the old epoch is dropped, and Redis must not go back to it.
        let late = room.received(batch("a", 13...14), deliver: deliver)
        #expect(late.duplicates == 2)
        #expect(room.isLive)
        #expect(room.known.map(\.epoch) == ["b", "a"] && room.known[1].offset == OrderedMessage.highestOffset)
    }

    @Test func positionsAreDoubtedOnlyWithReason() {
        var room = live("e", at: 10)
        let here = RecoveryPoint(epoch: "e", offset: 10)
        func check(_ epoch: String, _ offset: UInt64, asked: RecoveryPoint) -> Bool {
            room.checked(RecoveryPoint(epoch: epoch, offset: offset), asked: asked)
        }
        #expect(!check("e", 10, asked: here) && room.isLive)
        // On its way, maybe.
        #expect(check("e", 12, asked: here) && room.isLive)
        _ = room.received(batch("e", 11...15)) { _, _ in }
        // Asked before the room went on.
        #expect(!check("e", 10, asked: here) && room.isLive)
        #expect(!check("f", 1, asked: RecoveryPoint(epoch: "d", offset: 3)) && room.isLive)
        #expect(!check("e", 10, asked: RecoveryPoint(epoch: "e", offset: 15)) && !room.isLive)
    }

    @Test func aDoubtDuringAReadAsksForAnotherOne() {
        var room = live("e", at: 1)
        room.doubt()
        room.readStarted()
        room.doubt()
        _ = room.readAnswered(page("e", top: 1)) { _, _ in }
        #expect(room.wantsRead)
        room.readStarted()
        _ = room.readAnswered(page("e", top: 1)) { _, _ in }
        #expect(room.isLive)
    }

    @Test func whatWaitsIsBoundedAndReadLater() {
        var room = live("e", at: 0)
        let count = UInt64(OrderedRoom.waitingLimit) + 10
        _ = room.received(batch("e", 2...count)) { _, _ in }
        room.readStarted()
        var delivered: UInt64 = 0
        _ = room.readAnswered(page("e", top: 1, [1])) { _, _ in delivered += 1 }
        #expect(delivered == UInt64(OrderedRoom.waitingLimit) + 1)
        #expect(room.wantsRead)
        room.readStarted()
        _ = room.readAnswered(page("e", top: count, Array(room.last + 1...count))) { _, _ in delivered += 1 }
        #expect(delivered == count && room.isLive)
    }

    /// Whatever comes in which order: each epoch's messages come out in order, none twice, and none is missing that the
    /// log still has.
    @Test(arguments: 1...60 as ClosedRange<UInt64>)
    func anyInterleavingGivesTheLogsOrderOnce(seed: UInt64) {
        var random = SeededGenerator(state: seed)
        let trims = seed % 3 == 0
        var log = ModelLog()
        log.append(Int.random(in: 1...5, using: &random))
        log.bus.removeAll()
        var room = OrderedRoom()
        var delivered: [String: [UInt64]] = [:]
        var unrecoverable: UInt64 = 0
        var opened: RecoveryPoint?
        var pending: OrderedRoom.Page?
        let deliver: OrderedRoom.Delivery = { message, epoch in
            #expect(String(buffer: message.json) == log.all[epoch]?[message.offset])
            delivered[epoch, default: []].append(message.offset)
        }
        func startRead() {
            room.readStarted()
            pending =
                Bool.random(using: &random)
                ? log.read(room.position, known: room.known, most: Int.random(in: 1...6, using: &random)) : nil
        }
        func endRead() {
            guard room.isReading else { return }
            let page =
                pending ?? log.read(room.position, known: room.known, most: Int.random(in: 1...6, using: &random))
            pending = nil
            let outcome = room.readAnswered(page, deliver: deliver)
            unrecoverable += outcome.unrecoverable
            if opened == nil { opened = RecoveryPoint(epoch: page.epoch, offset: page.top) }
        }
        for _ in 0..<2_000 {
            switch Int.random(in: 0..<100, using: &random) {
            case 0..<30: log.append(Int.random(in: 1...3, using: &random))
            case 30..<60:
                if !log.bus.isEmpty { _ = room.received(log.bus.removeFirst(), deliver: deliver) }
            case 60..<63:
                // A gap in the bus, which shows by the next message, or by the doubt of a new subscription.
                if !log.bus.isEmpty { log.bus.removeFirst() }
            case 63..<65:
                log.bus.removeAll()
                room.doubt()
            case 65..<80: if room.wantsRead { startRead() }
            case 80..<97: endRead()
            case 97: if trims { log.trim(to: 4) }
            case 98: if Int.random(in: 0..<10, using: &random) == 0 { log.beginAnew() }
            default:
                if Int.random(in: 0..<10, using: &random) == 0 {
                    log.lose(2)
                    room.doubt()
                }
            }
        }
        while !log.bus.isEmpty { _ = room.received(log.bus.removeFirst(), deliver: deliver) }
        endRead()
        room.doubt()
        for _ in 0..<2_000 where room.wantsRead {
            startRead()
            endRead()
        }
        #expect(room.isLive, "seed \(seed)")
        #expect(room.position == RecoveryPoint(epoch: log.epoch, offset: log.top), "seed \(seed)")
        for (_, offsets) in delivered { #expect(zip(offsets, offsets.dropFirst()).allSatisfy(<), "seed \(seed)") }
        let first = opened?.epoch == log.epoch ? opened?.offset ?? 0 : 0
        let last = delivered[log.epoch] ?? []
        if trims {
            #expect(UInt64(last.count) + unrecoverable >= log.top - first, "seed \(seed)")
        } else {
            #expect(last == Array((first + 1)..<(log.top + 1)), "seed \(seed)")
        }
    }
}
