import NIOCore
import NIOPosix
import NIOSSL

/// Connections are opened at a bounded pace, and those that take too long are given up.
extension LoadWorker {
    /// Begins to open; ``pumpOpening(_:)`` goes on.
    func open(_ specs: [ConnectionSpec]) {
        toOpen = specs
        nextToOpen = 0
        openingSince = now
        pumpOpening(now)
    }

    /// Whether there is nothing more to open or to wait for.
    var isOpeningDone: Bool { nextToOpen >= toOpen.count && openingCount == 0 }

    /// Opens no more; what is on its way may still arrive.
    func stopOpening() { nextToOpen = toOpen.count }

    private var share: Int {
        max(1, plan.concurrency / plan.threads + (index < plan.concurrency % plan.threads ? 1 : 0))
    }

    func pumpOpening(_ now: UInt64) {
        while nextToOpen < toOpen.count, openingCount < share {
            if let rate = plan.connectRate {
                let allowed = Double(now - openingSince) / 1e9 * rate / Double(plan.threads)
                guard Double(nextToOpen) <= allowed else { return }
            }
            let spec = toOpen[nextToOpen]
            nextToOpen += 1
            figures.opened += 1
            figures.firstOpenedAt = min(figures.firstOpenedAt, now)
            let connection = start(spec, joins: spec.role.joins, now)
            connections.append(connection)
            if let publisher = spec.publisher {
                publishers.append(
                    LoadPublisher(id: publisher, connection: connection, template: template(forPublisher: publisher)))
            }
            if spec.role.receives {
                connection.trackers = Array(
                    repeating: DeliveryTracker(), count: layout.publishers(inRoom: spec.room))
            }
        }
    }

    private func template(forPublisher publisher: Int) -> MessageTemplate {
        if plan.mode == .echo {
            if let first = publishers.first { return first.template }
            return .echo(payloadBytes: plan.payloadBytes, mask: mask)
        }
        let room = layout.room(ofPublisher: publisher)
        return .broadcast(room: plan.room(room), payloadBytes: plan.payloadBytes, acks: plan.acks, mask: mask)
    }

    /// Opens one connection.
    func start(_ spec: ConnectionSpec, joins: Bool, _ now: UInt64) -> LoadConnection {
        let connection = LoadConnection(
            worker: self, role: spec.role, room: spec.room, target: spec.target, joins: joins, now: now)
        openingCount += 1
        opening.append(connection)
        let endpoint = endpoints[spec.target]
        let bound = NIOLoopBound(connection, eventLoop: loop)
        var bootstrap = ClientBootstrap(group: loop)
            .connectTimeout(.nanoseconds(Int64(plan.connectTimeout * 1e9)))
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelOption(.writeBufferWaterMark, value: .init(low: 1 << 20, high: 4 << 20))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let tls = endpoint.tls {
                        try channel.pipeline.syncOperations.addHandler(
                            Self.tlsHandler(tls, host: endpoint.target.host))
                    }
                    try channel.pipeline.syncOperations.addHandler(bound.value)
                }
            }
        if endpoint.tls == nil {
            let pool = NIOLoopBound(self.pool, eventLoop: loop)
            bootstrap =
                bootstrap
                .channelOption(.maxMessagesPerRead, value: 1)
                .channelOption(.recvAllocator, value: PooledReceiveAllocator(pool))
        }
        if let sources = plan.sources?.addresses, !sources.isEmpty {
            // IP_BIND_ADDRESS_NO_PORT (24): the port is chosen when the peer is known, so that ports are not used up
            // by connections to other addresses.
            bootstrap =
                bootstrap
                .channelOption(ChannelOptions.Types.SocketOption(level: .ip, name: .init(rawValue: 24)), value: 1)
                .bind(to: sources[sourceCounter % sources.count])
            sourceCounter += plan.threads
        }
        bootstrap.connect(to: endpoint.address).assumeIsolated().whenFailure { error in
            connection.fail(FailureText.describe(error))
        }
        return connection
    }

    private static func tlsHandler(_ context: NIOSSLContext, host: String) throws -> NIOSSLClientHandler {
        // An address is no server name in TLS: NIOSSL compares it with the certificate by itself.
        let isAddress = (try? SocketAddress(ipAddress: host, port: 0)) != nil
        return try NIOSSLClientHandler(context: context, serverHostname: isAddress ? nil : host)
    }

    /// The server has agreed to a WebSocket.
    func upgraded(_ connection: LoadConnection, at now: UInt64) {
        let duration = now - connection.startedAt
        if connection.role == .churner {
            figures.churn.handshake.record(nanoseconds: duration)
        } else {
            figures.handshake.record(nanoseconds: duration)
        }
    }

    /// It is in its room.
    func becameReady(_ connection: LoadConnection, at now: UInt64) {
        openingCount -= 1
        let duration = now - connection.startedAt
        if connection.role == .churner {
            figures.churn.readiness.record(nanoseconds: duration)
            connection.leavesAt = now + UInt64(plan.churnHold * 1e9)
        } else {
            figures.ready += 1
            figures.lastReadyAt = now
            figures.readiness.record(nanoseconds: duration)
            pumpOpening(now)
        }
    }

    /// It is closed, by whomever.
    func ended(_ connection: LoadConnection, from state: LoadConnection.State, because why: String) {
        let wasOnItsWay = state == .opening || state == .preparing
        if wasOnItsWay { openingCount -= 1 }
        if connection.role == .churner {
            churnersUnderWay -= 1
            if state == .leaving {
                figures.churn.completed += 1
            } else if !hasEnded {
                figures.churn.failed += 1
                figures.failures.add("churn: \(why)")
            }
            return
        }
        guard state != .leaving, !hasEnded else { return }
        figures.failures.add(why)
        if wasOnItsWay {
            figures.failed += 1
            // Later, so that a row of failures is no recursion.
            loop.assumeIsolated().execute { self.pumpOpening(self.now) }
        } else {
            figures.lost += 1
            memberLeft(connection)
        }
    }

    /// Gives up what takes too long, every tenth of a second.
    func sweepOpening(_ now: UInt64) {
        guard now >= lastSweep + 100_000_000 else { return }
        lastSweep = now
        opening.removeAll { !$0.isOnItsWay }
        let limit = UInt64(plan.connectTimeout * 1e9)
        for connection in opening where now > connection.startedAt + limit {
            connection.fail(
                connection.state == .opening
                    ? "no answer to the handshake in time" : "no answer to status and join_room in time")
        }
    }
}
