import Logging
package import NIOCore

// The verbs of a link, and how answers find the ones who wait for them.

extension RedisLink {
    /// Sends one command. When that is not possible now, the completion is called at once, before this returns.
    package func send(_ arguments: [RedisArgument], _ completion: Completion? = nil) {
        let error =
            arguments.isEmpty
            ? RedisError(.invalidCommand, "a command without a word")
            : refusal(for: .commands)
                ?? enqueue(.answer(completion)) { RedisCommandFormatter.append(arguments, to: &$0) }
        if let error { completion?(.failure(error)) }
    }

    /// `PUBLISH`, with one copy less than ``send(_:_:)``.
    package func publish(channel: ByteBuffer, payload: ByteBuffer, _ completion: Completion? = nil) {
        if let error = enqueuePublish(.answer(completion), channel, payload) { completion?(.failure(error)) }
    }

    /// `PUBLISH` whose answer goes to ``onPublished``: nothing is made for the single message. Returns why it was not
    /// taken; `nil` when it was.
    package func publishInOrder(channel: ByteBuffer, payload: ByteBuffer) -> RedisError? {
        enqueuePublish(.published, channel, payload)
    }

    private func enqueuePublish(_ waiting: Waiting, _ channel: ByteBuffer, _ payload: ByteBuffer) -> RedisError? {
        refusal(for: .commands)
            ?? enqueue(waiting) {
                RedisCommandFormatter.appendPublish(
                    channel: channel, payload: payload, isSharded: isSharded, to: &$0)
                return true
            }
    }

    /// `PING`, on either kind of connection.
    package func ping(_ completion: Completion? = nil) {
        let error =
            refusal(for: nil)
            ?? enqueue(role == .commands ? .answer(completion) : .pong(completion)) {
                RedisCommandFormatter.append(["PING"], to: &$0)
            }
        if let error { completion?(.failure(error)) }
    }

    /// Subscribes in few commands; ``onSubscribed`` confirms each channel. An error says that nothing was sent.
    @discardableResult
    package func subscribe(_ channels: [String]) -> RedisError? {
        inBatches(channels, verb: isSharded ? "SSUBSCRIBE" : "SUBSCRIBE") {
            .subscribe(channels: $0, missing: $0.count)
        }
    }

    /// The reverse; ``onUnsubscribed`` confirms each channel.
    @discardableResult
    package func unsubscribe(_ channels: [String]) -> RedisError? {
        inBatches(channels, verb: isSharded ? "SUNSUBSCRIBE" : "UNSUBSCRIBE") {
            .unsubscribe(channels: isSharded ? $0 : [], missing: $0.count)
        }
    }

    private func inBatches(
        _ channels: [String], verb: RedisArgument, _ waiting: ([String]) -> Waiting
    ) -> RedisError? {
        guard !channels.isEmpty else { return nil }
        if let error = refusal(for: .subscriptions) { return error }
        guard isSharded else { return inBatches(sameSlot: channels, verb: verb, waiting) }
        for some in Dictionary(grouping: channels, by: { RedisSlot.of($0) }).values {
            if let error = inBatches(sameSlot: some, verb: verb, waiting) { return error }
        }
        return nil
    }

    private func inBatches(
        sameSlot channels: [String], verb: RedisArgument, _ waiting: ([String]) -> Waiting
    ) -> RedisError? {
        var start = 0
        while start < channels.count {
            let batch = Array(channels[start..<min(start + Self.channelsPerCommand, channels.count)])
            let words = [verb] + batch.map(RedisArgument.string)
            if let error = enqueue(waiting(batch), { RedisCommandFormatter.append(words, to: &$0) }) {
                // Half a subscription is worse than a new connection.
                forceReconnect(reason: error.message)
                return error
            }
            start += batch.count
        }
        return nil
    }

    // MARK: Answers. An error that comes back ends the connection.

    func answer(_ reply: RedisReply) -> RedisError? {
        if case .value(let value) = reply {
            switch pending.popFirst() {
            case .published?:
                onPublished?(Self.result(value))
                return nil
            case .answer(let completion)?:
                completion?(Self.result(value))
                if case .error(let text) = value { warnOfCluster(text) }
                return Self.isDemoted(value) && machine.checksRole
                    ? RedisError(.connectionLost, "this Redis became a replica") : nil
            case .pong?, .subscribe?, .unsubscribe?, nil: break
            }
        }
        return RedisError(.protocolViolation, "Redis answered what nobody asked")
    }

    func push(_ reply: RedisReply) -> RedisError? {
        switch reply {
        case .message(let channel, let payload):
            onMessage?(channel, payload)
            return nil
        case .subscribed(let channel):
            guard case .subscribe(let channels, let missing)? = pending.first else { break }
            confirmed(missing) { .subscribe(channels: channels, missing: $0) }
            onSubscribed?(channel)
            return nil
        case .unsubscribed(let channel):
            let name = isSharded ? String(buffer: channel) : ""
            guard case .unsubscribe(let channels, let missing)? = pending.first, !isSharded || channels.contains(name)
            else {
                guard isSharded else { break }
                // Not asked for: the slot has left this server.
                onChannelsLost?([name])
                return nil
            }
            confirmed(missing) { .unsubscribe(channels: channels, missing: $0) }
            onUnsubscribed?(channel)
            return nil
        case .value(let value):
            return pushAnswer(value)
        }
        return RedisError(.protocolViolation, "Redis confirmed what nobody asked")
    }

    private func confirmed(_ missing: Int, _ rest: (Int) -> Waiting) {
        if missing > 1 {
            pending.replaceFirst(with: rest(missing - 1))
        } else {
            _ = pending.popFirst()
        }
    }

    /// What is no push on a subscribed connection: a PONG in either of its shapes, or an error.
    private func pushAnswer(_ value: RedisValue) -> RedisError? {
        switch pending.popFirst() {
        case .pong(let completion)?, .answer(let completion)?:
            completion?(Self.result(value))
            return nil
        case .subscribe(let channels, _)?:
            guard case .error(let text) = value else { break }
            onSubscribeRefused?(channels, RedisError(.server, text))
            return nil
        case .unsubscribe?:
            guard case .error = value else { break }
            return nil
        case .published?, nil: break
        }
        return RedisError(.protocolViolation, "Redis answered what nobody asked")
    }

    /// Says it once when a URL for one server names one of a Cluster.
    private func warnOfCluster(_ text: String) {
        guard !isSharded, !hasWarnedOfCluster, text.hasPrefix("MOVED ") else { return }
        hasWarnedOfCluster = true
        logger.error("this Redis is part of a Cluster: its URL must begin with redis+cluster:// or rediss+cluster://")
    }

    private static func isDemoted(_ value: RedisValue) -> Bool {
        if case .error(let text) = value { text.hasPrefix("READONLY") } else { false }
    }

    private static func result(_ value: RedisValue) -> Result<RedisValue, RedisError> {
        if case .error(let text) = value { .failure(RedisError(.server, text)) } else { .success(value) }
    }
}
