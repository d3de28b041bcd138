import ConduitCore
import ConduitHub
import ConduitRedis
import ConduitTelemetry
import ConduitWire
import Logging
import NIOCore
import Tracing

// Ordered rooms, in: what the bus brings, what is missing, what members get.
extension Bridge {
    /// Most messages and bytes of one part of a log.
    static let logPageMessages = 500
    static let logPageBytes = 256 * 1024
    /// How long observers are not told that something is being read, in milliseconds.
    private static let catchingUpMilliseconds: Int64 = 200
    /// Positions that are asked for in one turn.
    private static let positionsPerTurn = 2_000
    /// How often a room that is followed is said to be alive, so that its epoch stays.
    private static let touchMilliseconds: Int64 = 3_600_000

    // MARK: Interest

    /// The subscription of a room is confirmed: whatever came before it is in the log.
    func orderedConfirmed(_ room: RoomName) {
        guard ordered.contains(room) else { return }
        updateOrdered(room) { $0.doubt() }
        readOrdered()
    }

    /// Nobody of this node is interested any more.
    func forgetOrdered(_ room: RoomName) {
        guard let state = ordered[room] else { return }
        if let position = state.position { orderedPublishes.learned(position, of: room) }
        ordered.close(room)
        orderedLag.removeAll(of: room)
        for waiting in orderedJoins.removeAll(of: room) { refuse(waiting.join) }
    }

    /// The subscriptions are gone: rooms without members are forgotten with them.
    func orderedSubscriptionsLost() {
        for room in Array(ordered.rooms) where interest.state(of: .room(room)) == nil { forgetOrdered(room) }
    }

    // MARK: From the bus

    func receivedOrdered(_ topic: BusTopic, _ envelope: NodeEnvelope) {
        guard case .room(let room) = topic else { return drop(RelayDrop.badChannel) }
        guard let batch = OrderedBatch(envelope), batch.messages.allSatisfy({ $0.json.isEnvelope }) else {
            return drop(RelayDrop.badEntry)
        }
        if envelope.origin != node { handedOff.append((envelope.sentAt, batch.messages.count)) }
        let mask = interest.shards(of: topic)
        let trace = trace(of: envelope)
        let outcome = updateOrdered(room) { state in
            state.received(batch) {
                // What comes after a hole has waited for it; only the payload's own message is of its trace.
                self.deliver($0, epoch: $1, to: room, mask, $0.offset == batch.messages.first?.offset ? trace : nil)
            }
        }
        if let outcome { note(outcome, in: room) }
    }

    /// Gives a message to the members of this node: one frame for all.
    private func deliver(
        _ message: OrderedMessage, epoch: String, to room: RoomName, _ mask: UInt64, _ trace: ServiceContext? = nil
    ) {
        counters.orderedReceived += 1
        let frame = ServerMessage(json: message.json, offset: message.offset)
        orderedJoins.delivered(frame, offset: message.offset, epoch: epoch, to: room)
        var mask = mask
        if !orderedLag.isEmpty {
            orderedLag.delivered(message, epoch: epoch, in: room)
            mask &= ~orderedLag.shards(of: room)
        }
        guard mask != 0 else { return }
        let refused = mask & handOff.all & ~handOff.offer(traced(command(frame, message, room), trace), to: mask)
        if refused != 0 { orderedLag.refused(refused, message, epoch: epoch, in: room) }
    }

    private func command(_ frame: ServerMessage, _ message: OrderedMessage, _ room: RoomName) -> ShardCommand {
        message.excluded.map { .roomExcept(room, frame, $0) } ?? .room(room, frame)
    }

    @discardableResult
    private func updateOrdered<Result>(_ room: RoomName, _ body: (inout OrderedRoom) -> Result) -> Result? {
        ordered.update(room, now: now, body)
    }

    /// Counts and tells what came of messages.
    private func note(_ outcome: OrderedRoom.Outcome, in room: RoomName) {
        counters.orderedDuplicates += outcome.duplicates
        counters.healed += outcome.healed
        counters.unrecoverable += outcome.unrecoverable
        if outcome.changedEpoch {
            limitedLog.log(.notice, "an ordered room has a new epoch", [LogKey.room: "\(room)"])
        }
        if ordered.takeRecovered(room) { tell(.live, room) }
    }

    private func tell(_ state: RoomState, _ room: RoomName, missed: UInt64? = nil, epoch: String? = nil) {
        let mask = interest.shards(of: .room(room))
        guard mask != 0 else { return }
        handOff.add(.observers(room, EventEncoder.roomState(state, missed: missed, epoch: epoch, room: room)), to: mask)
        needsFlush()
    }

    // MARK: From the log

    /// Reads the logs that are to be read, as many at once as may be.
    func readOrdered() {
        guard let commands, commands.isReady else { return }
        while let (room, number, state) = ordered.nextRead({ interest.isConfirmed(.room($0)) }) {
            var read = OrderedReadCall(
                room: room, epoch: Self.newEpoch(), known: state.known, after: state.position,
                most: Self.logPageMessages, bytes: Self.logPageBytes)
            if state.position == nil {
                // Nobody of this node has read anything: only the position counts.
                read.known = known(of: room)
                read.most = 0
            }
            run(read) { [weak self] page in
                guard let self else { return }
                if self.ordered.readEnded(room, number) { self.applied(page, to: room) }
                // Behind this turn: a link that refuses at once must not make a deep stack.
                self.eventLoop.assumeIsolated().execute { [weak self] in self?.readOrdered() }
            }
        }
    }

    /// Runs the read script; `nil` when that failed.
    func run(_ read: OrderedReadCall, _ done: @escaping (OrderedRoom.Page?) -> Void) {
        let call = read.call(keys)
        evaluate(.orderedRead, keys: call.keys, call.arguments) { [weak self] result in
            switch result {
            case .success(let value):
                let page = read.answer(value)
                if page == nil { self?.drop(RelayDrop.malformed) }
                done(page)
            case .failure(let error):
                if error.code == .server {
                    self?.complain("Redis refuses to read an ordered room", read.room, error)
                }
                done(nil)
            }
            self?.needsFlush()
        }
    }

    private func applied(_ page: OrderedRoom.Page?, to room: RoomName) {
        guard let page else { return ordered.readFailed(room, now: now) }
        let mask = interest.shards(of: .room(room))
        let outcome = updateOrdered(room) { state in
            state.readAnswered(page) {
                // A client that resumes later must name the epoch that it reads from here on.
                self.tell(.gap, room, missed: $0, epoch: $0 == nil ? page.epoch : nil)
            } deliver: {
                self.deliver($0, epoch: $1, to: room, mask)
            }
        }
        guard let outcome else { return }
        note(outcome, in: room)
        if ordered[room]?.isLive == true {
            orderedJoins.sawEnd(of: room)
            admitWaiting(for: room)
        }
    }

    // MARK: Positions

    /// Redis has told where a room is, asked for when its members stood at `asked`: what it told should be here in a
    /// moment.
    func compare(_ told: RecoveryPoint, in room: RoomName, asked: RecoveryPoint) {
        let isOnItsWay = updateOrdered(room) { $0.checked(told, asked: asked) }
        if isOnItsWay == true { ordered.expect(told, in: room, now: now) }
    }

    /// Compares the positions of all rooms with their logs, now and then.
    private func checkPositions(now: Int64) {
        if orderedToCheck.isEmpty, now - orderedCheckedAt >= configuration.positionCheckMilliseconds {
            orderedCheckedAt = now
            orderedToCheck = Array(ordered.rooms)
        }
        guard !orderedToCheck.isEmpty, let commands, commands.isReady else { return }
        let touches = now - orderedTouchedAt >= Self.touchMilliseconds
        for room in orderedToCheck.suffix(Self.positionsPerTurn) {
            guard let asked = ordered[room]?.position, interest.isConfirmed(.room(room)) else { continue }
            let meta = RedisArgument.string(keys.meta(of: room))
            commands.send(["HMGET", meta, "e", "o"]) { [weak self] result in
                guard case .success(let value) = result, let words = value.array, words.count == 2 else { return }
                let offset = UInt64(clamping: max(0, words[1].integer ?? 0))
                // Without meta there is another epoch, whatever it will be called.
                self?.compare(RecoveryPoint(epoch: words[0].string ?? "", offset: offset), in: room, asked: asked)
            }
            if touches { commands.send(["PEXPIRE", meta, .integer(OrderedPublishCall.metaMilliseconds)]) }
        }
        orderedToCheck.removeLast(min(orderedToCheck.count, Self.positionsPerTurn))
        if touches, orderedToCheck.isEmpty { orderedTouchedAt = now }
    }

    // MARK: Time

    func tickOrdered(now: Int64) {
        for waiting in orderedJoins.expire(now: now) { refuse(waiting.join) }
        for room in Array(orderedJoins.rooms) { admitWaiting(for: room) }
        guard !ordered.isEmpty else { return }
        ordered.tick(now: now)
        checkPositions(now: now)
        for room in ordered.takeNewlyBehind(before: now - Self.catchingUpMilliseconds) { tell(.catchingUp, room) }
        catchUpLagging()
        readOrdered()
    }

    /// The others are in reach again: rooms that are whole are live now, the others when they are.
    func tellOrderedLive() {
        for room in Array(ordered.rooms) where ordered.takeRecovered(room) { tell(.live, room) }
    }

    // MARK: Busy shards

    /// Reads for shards that were too busy and are calm again what they lack.
    private func catchUpLagging() {
        guard !orderedLag.isEmpty else { return }
        for (room, lags) in orderedLag.rooms {
            for (shard, lag) in lags where !lag.isReading {
                guard interest.shards(of: .room(room)) & (1 << UInt64(shard)) != 0 else {
                    orderedLag.remove(room, shard)
                    continue
                }
                if handOff.isCalm(shard) { catchUp(room, shard, lag) }
            }
        }
    }

    private func catchUp(_ room: RoomName, _ shard: Int, _ lag: OrderedLag.Lag) {
        guard let commands, commands.isReady else { return }
        orderedLag.readStarted(room, shard)
        let read = OrderedReadCall(
            room: room, after: RecoveryPoint(epoch: lag.epoch, offset: lag.offset), most: Self.logPageMessages,
            bytes: Self.logPageBytes)
        run(read) { [weak self] page in
            guard let self else { return }
            let missing = self.orderedLag.readEnded(room, shard, page)
            guard let page, let position = self.ordered[room]?.position, page.epoch == position.epoch else { return }
            self.give(missing, to: shard, of: room, upTo: position, wasWhole: page.isWhole)
        }
    }

    private func give(
        _ missing: [OrderedMessage], to shard: Int, of room: RoomName, upTo position: RecoveryPoint, wasWhole: Bool
    ) {
        for message in missing where message.offset <= position.offset {
            guard let lag = orderedLag.rooms[room]?[shard], message.offset > lag.offset else { continue }
            let frame = ServerMessage(json: message.json, offset: message.offset)
            guard handOff.offer(command(frame, message, room), to: 1 << UInt64(shard)) != 0 else { return }
            if message.offset - lag.offset > 1 { note(lost: message.offset - lag.offset - 1, in: room) }
            counters.healed += 1
            orderedLag.advanced(room, shard, to: message.offset)
        }
        guard let lag = orderedLag.rooms[room]?[shard], wasWhole else { return }
        // A log that ends before where the others stand has been trimmed behind them.
        let isTrimmed = missing.isEmpty && lag.offset < position.offset
        if isTrimmed { note(lost: position.offset - lag.offset, in: room) }
        if isTrimmed || lag.offset == position.offset { orderedLag.remove(room, shard) }
        admitWaiting(for: room)
    }

    private func note(lost: UInt64, in room: RoomName) {
        counters.unrecoverable += lost
        tell(.gap, room, missed: lost)
    }
}
