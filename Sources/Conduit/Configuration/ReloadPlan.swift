import ConduitCluster
import ConduitCore

/// What becomes of another configuration in a running node: a value, decided before anything is touched.
struct ReloadPlan {
    /// The settings that hold then: the new ones, as far as they can be taken over.
    let configuration: NodeConfiguration
    /// What changes by that.
    let changed: [String]
    /// What would be otherwise after a new start.
    let needsRestart: [String]
    /// Whether others decide who may connect, or may: files of keys are read again.
    let changesAuthentication: Bool

    /// - Parameter decidesItself: the application's own handler says who may connect, so `auth` means nothing.
    init(from running: NodeConfiguration, to new: NodeConfiguration, decidesItself: Bool) {
        var next = running
        for setting in ReloadableSetting.all { setting.take(new, &next) }
        next.hub.rooms = Self.rooms(from: running.hub.rooms, to: new.hub.rooms)
        next.cluster.rooms = next.hub.rooms
        // Whether anybody is asked at all decides where the port listens.
        if !decidesItself, running.auth.isConfigured, new.auth.isConfigured {
            let isOpen = running.auth.isOpen
            next.auth = new.auth
            next.auth.isOpen = isOpen
        }
        var changed = Set(
            ReloadableSetting.all.filter { $0.differs(running, next) }.map(\.key)
                + Self.roomSettings(from: running.hub.rooms, to: next.hub.rooms))
        let authentication = ReloadableSetting.authentication.filter { $0.differs(running, next) }.map(\.key)
        changed.formUnion(authentication)
        // What stands in a file may be another key under the same name.
        let files = [next.auth.jwt.publicKeyFile, next.auth.jwt.previousPublicKeyFile, next.auth.caFile]
        changesAuthentication = !authentication.isEmpty || files.contains { !$0.isEmpty }
        self.changed = changed.sorted()
        if let loaded = running.loaded, let wanted = new.loaded, wanted != loaded {
            needsRestart = wanted.differences(from: loaded).filter { !changed.contains($0) }.sorted()
            next.loaded = loaded.replacing(self.changed, from: wanted)
        } else {
            needsRestart = Self.properties(of: next, thatDifferFrom: new)
        }
        configuration = next
    }

    // MARK: Rooms

    /// Mode, inbox and presence of a room are kept: other nodes and what is in Redis rely on them.
    private static func rooms(from running: RoomPolicies, to new: RoomPolicies) -> RoomPolicies {
        func merged(_ running: RoomPolicy, _ new: RoomPolicy) -> RoomPolicy {
            var policy = new
            policy.mode = running.mode
            policy.isInbox = running.isInbox
            policy.presence = running.presence
            // What waits for slow members of an ordered room is never left out.
            if policy.mode == .ordered { policy.slow = running.slow }
            return policy
        }
        var next = RoomPolicies(rest: merged(running.rest, new.rest))
        for namespace in Set(running.namespaces.keys).union(new.namespaces.keys) {
            next.namespaces[namespace] = merged(
                running.namespaces[namespace] ?? running.rest, new.namespaces[namespace] ?? new.rest)
        }
        return next
    }

    private static let roomFields: [(name: String, differs: @Sendable (RoomPolicy, RoomPolicy) -> Bool)] = [
        ("history-size", { $0.historySize != $1.historySize }),
        ("history-age", { $0.historyMilliseconds != $1.historyMilliseconds }),
        ("recover-limit", { $0.recoverLimit != $1.recoverLimit }),
        ("presence-grace", { $0.presenceGraceMilliseconds != $1.presenceGraceMilliseconds }),
        ("presence-members", { $0.presenceMembers != $1.presenceMembers }),
        ("publish", { $0.publish != $1.publish }),
        ("slow", { $0.slow != $1.slow }),
        ("members", { $0.members != $1.members }),
    ]

    /// The settings that a reload takes of each namespace.
    static let roomSettingNames = roomFields.map(\.name)

    private static func roomSettings(from running: RoomPolicies, to next: RoomPolicies) -> [String] {
        var names: [String] = []
        func compare(_ namespace: String, _ one: RoomPolicy, _ other: RoomPolicy) {
            for field in roomFields where field.differs(one, other) { names.append("rooms.\(namespace).\(field.name)") }
        }
        compare(ConfigurationKey.defaultNamespace, running.rest, next.rest)
        for (namespace, policy) in next.namespaces {
            compare(namespace, running.namespaces[namespace] ?? running.rest, policy)
        }
        return names
    }

    // MARK: Configurations that were made by hand

    /// The paths of properties that differ; their values may be secrets and are never told.
    private static func properties(
        of running: NodeConfiguration, thatDifferFrom new: NodeConfiguration
    ) -> [String] {
        var running = running
        var new = new
        running.loaded = nil
        new.loaded = nil
        var found: [String] = []
        compare(running, new, path: "", &found)
        return found.sorted()
    }

    private static func compare(_ one: Any, _ other: Any, path: String, _ found: inout [String]) {
        if let one = one as? AnyHashable, let other = other as? AnyHashable, one == other { return }
        let (left, right) = (Mirror(reflecting: one), Mirror(reflecting: other))
        if left.displayStyle == .struct, right.displayStyle == .struct, left.children.count == right.children.count,
            !left.children.isEmpty
        {
            for (first, second) in zip(left.children, right.children) {
                let name = first.label ?? "?"
                compare(first.value, second.value, path: path.isEmpty ? name : path + "." + name, &found)
            }
        } else if String(reflecting: one) != String(reflecting: other) {
            found.append(path)
        }
    }
}

/// A setting that a running node takes over, and where it stands in a configuration.
struct ReloadableSetting: Sendable {
    let key: String
    let differs: @Sendable (NodeConfiguration, NodeConfiguration) -> Bool
    let take: @Sendable (NodeConfiguration, inout NodeConfiguration) -> Void

    init<Value: Equatable & SendableMetatype>(
        _ key: String, _ path: any WritableKeyPath<NodeConfiguration, Value> & Sendable
    ) {
        self.key = key
        self.differs = { $0[keyPath: path] != $1[keyPath: path] }
        self.take = { $1[keyPath: path] = $0[keyPath: path] }
    }

    /// One that is taken over together with others.
    init<Value: Equatable & SendableMetatype>(
        part key: String, _ path: any KeyPath<NodeConfiguration, Value> & Sendable
    ) {
        self.key = key
        self.differs = { $0[keyPath: path] != $1[keyPath: path] }
        self.take = { _, _ in }
    }

    /// Those that stand for themselves.
    static let all: [ReloadableSetting] = [
        .init("log.level", \.logLevel),
        .init("http.origins", \.gateway.origins),
        .init("http.handshake-timeout", \.gateway.handshakeTimeoutMilliseconds),
        .init("http.max-header-bytes", \.gateway.maxHeaderBytes),
        .init("http.token-cookie", \.gateway.tokenCookie),
        .init("ready.degraded-status", \.gateway.degradedStatus),
        .init("limits.connections", \.gateway.connections),
        .init("limits.connections-per-address", \.gateway.connectionsPerAddress),
        .init("limits.connections-per-user", \.gateway.connectionsPerUser),
        .init("limits.handshakes-per-second", \.gateway.handshakesPerSecond),
        .init("limits.handshakes-per-second-per-address", \.gateway.handshakesPerSecondPerAddress),
        .init("limits.handshaking", \.gateway.handshaking),
        .init("limits.memory-bytes", \.gateway.memoryBytes),
        .init("limits.message-bytes", \.hub.messageBytes),
        .init("limits.frames-per-message", \.hub.framesPerMessage),
        .init("limits.rooms-per-client", \.hub.roomsPerClient),
        .init("limits.members-per-room", \.hub.membersPerRoom),
        .init("limits.pending-bytes", \.hub.pendingBytes),
        .init("limits.node-pending-bytes", \.hub.nodePendingBytes),
        .init("limits.handler-queue", \.hub.handlerQueue),
        .init("limits.messages-per-second", \.hub.messagesPerSecond),
        .init("limits.messages-burst", \.hub.messagesBurst),
        .init("limits.bytes-per-second", \.hub.bytesPerSecond),
        .init("limits.bytes-burst", \.hub.bytesBurst),
        .init("limits.rate-strikes", \.hub.rateStrikes),
        .init("limits.room-name-bytes", \.hub.roomNameBytes),
        .init("limits.json-depth", \.hub.jsonDepth),
        .init("heartbeat.ping-interval", \.hub.pingIntervalMilliseconds),
        .init("heartbeat.timeout", \.hub.idleTimeoutMilliseconds),
        .init("heartbeat.write-timeout", \.hub.writeTimeoutMilliseconds),
        .init("heartbeat.read-timeout", \.hub.readTimeoutMilliseconds),
        .init("auth.refresh-grace", \.hub.refreshGraceMilliseconds),
    ]

    /// Those of who may connect: all of them or none.
    static let authentication: [ReloadableSetting] = [
        .init(part: "auth.anonymous", \.auth.allowsAnonymous),
        .init(part: "auth.anonymous-rights", \.auth.anonymousRights),
        .init(part: "auth.default-rights", \.auth.defaultRights),
        .init(part: "auth.ca-file", \.auth.caFile),
        .init(part: "auth.jwt.secret", \.auth.jwt.secret),
        .init(part: "auth.jwt.previous-secret", \.auth.jwt.previousSecret),
        .init(part: "auth.jwt.public-key", \.auth.jwt.publicKeyFile),
        .init(part: "auth.jwt.previous-public-key", \.auth.jwt.previousPublicKeyFile),
        .init(part: "auth.jwt.jwks-file", \.auth.jwt.jwksFile),
        .init(part: "auth.jwt.jwks-url", \.auth.jwt.jwksURL),
        .init(part: "auth.jwt.jwks-refresh", \.auth.jwt.jwksRefresh),
        .init(part: "auth.jwt.algorithms", \.auth.jwt.algorithms),
        .init(part: "auth.jwt.issuer", \.auth.jwt.issuer),
        .init(part: "auth.jwt.audience", \.auth.jwt.audience),
        .init(part: "auth.jwt.leeway", \.auth.jwt.leeway),
        .init(part: "auth.jwt.require-expiry", \.auth.jwt.requiresExpiry),
        .init(part: "auth.url", \.auth.hook?.url),
        .init(part: "auth.url-asks", \.auth.hook?.asks),
        .init(part: "auth.url-secret", \.auth.hook?.secret),
        .init(part: "auth.url-timeout", \.auth.hook?.timeout),
        .init(part: "auth.url-concurrency", \.auth.hook?.concurrency),
        .init(part: "auth.url-breaker-failures", \.auth.hook?.breakerFailures),
        .init(part: "auth.url-breaker-pause", \.auth.hook?.breakerPause),
    ]
}

extension ConfigurationKey {
    /// Whether a running node takes another value of it over (SIGHUP, ``ConduitNode/reload(_:)``).
    package var isReloadable: Bool {
        if namespace != nil || isPattern {
            return ReloadPlan.roomSettingNames.contains(components.last ?? "")
        }
        return Self.reloadable.contains(name)
    }

    private static let reloadable = Set(
        (ReloadableSetting.all + ReloadableSetting.authentication).map(\.key))
}
