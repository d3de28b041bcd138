/// Every metric of a node, in one place: dashboards and alerts are written from this list.
public enum MetricName {
    // The node.
    /// Always 1; labels tell who this is.
    public static let info = Metric(
        "conduit_info", .gauge, "Always 1; the labels tell node id and version.", labels: ["node", "version"])
    /// Readiness.
    public static let ready = Metric("conduit_ready", .gauge, "1 when the node takes new clients, else 0.")
    /// Whether the node works without its cluster.
    public static let degraded = Metric("conduit_degraded", .gauge, "1 while Redis is configured but away, else 0.")

    // The hub.
    /// Open connections.
    public static let clients = Metric("conduit_clients", .gauge, "Open WebSocket connections.")
    /// Users.
    public static let users = Metric("conduit_users", .gauge, "Users with at least one connection on this node.")
    /// Rooms.
    public static let rooms = Metric("conduit_rooms", .gauge, "Rooms with members on this node.")
    /// Memberships.
    public static let memberships = Metric("conduit_memberships", .gauge, "Memberships of clients in rooms.")
    /// Connections ever accepted.
    public static let accepted = Metric("conduit_connections_total", .counter, "Connections accepted.")
    /// Connections that ended.
    public static let closed = Metric(
        "conduit_connections_closed_total", .counter, "Connections that ended, by close code.", labels: ["code"])
    /// Messages from clients.
    public static let messagesIn = Metric("conduit_messages_received_total", .counter, "Messages from clients.")
    /// Bytes from clients.
    public static let bytesIn = Metric("conduit_received_bytes_total", .counter, "Bytes of messages from clients.")
    /// Messages to clients.
    public static let deliveries = Metric(
        "conduit_deliveries_total", .counter, "Messages handed to sockets, one a recipient.")
    /// Bytes to clients.
    public static let bytesOut = Metric("conduit_sent_bytes_total", .counter, "Bytes handed to sockets.")
    /// Compressed for clients.
    public static let deflated = Metric(
        "conduit_deflated_messages_total", .counter, "Messages compressed, each once for all who take it so.")
    /// Bytes of those.
    public static let deflatedBytes = Metric(
        "conduit_deflated_bytes_total", .counter, "Bytes of the messages that were compressed, before and after.",
        labels: ["when"])
    /// Compressed by clients.
    public static let inflated = Metric(
        "conduit_inflated_messages_total", .counter, "Compressed messages of clients that were expanded.")
    /// Bytes of those.
    public static let inflatedBytes = Metric(
        "conduit_inflated_bytes_total", .counter, "Bytes of clients' compressed messages, before and after.",
        labels: ["when"])
    /// Compressed by clients and refused.
    public static let inflationRefused = Metric(
        "conduit_inflation_refused_total", .counter, "Compressed messages of clients that were refused, by reason.",
        labels: ["reason"])
    /// Bytes that wait.
    public static let pendingBytes = Metric("conduit_pending_bytes", .gauge, "Bytes that wait for slow clients.")
    /// The largest of them.
    public static let largestPendingBytes = Metric(
        "conduit_pending_bytes_largest", .gauge, "Bytes that wait for the client for whom most wait.")
    /// Clients for whom bytes wait.
    public static let stalledClients = Metric(
        "conduit_stalled_clients", .gauge, "Clients whose sockets take nothing though bytes wait.")
    /// Clients that read too slowly.
    public static let slowClosed = Metric(
        "conduit_slow_consumers_closed_total", .counter, "Slow consumers closed with 3008, by reason.",
        labels: ["reason"])
    /// Lost messages.
    public static let dropped = Metric(
        "conduit_dropped_total", .counter, "Messages that were not delivered, by reason.", labels: ["reason"])
    /// Error replies.
    public static let errors = Metric(
        "conduit_errors_total", .counter, "Error events sent to clients, by code.", labels: ["code"])
    /// Clients over a limit.
    public static let limitsExceeded = Metric(
        "conduit_limits_exceeded_total", .counter, "What clients asked for beyond a limit of their own, by limit.",
        labels: ["limit"])
    /// Tokens that are good no more.
    public static let revocations = Metric(
        "conduit_revocations", .gauge, "Revocations of users and tokens that the node holds to.")
    /// Revocations that there was no room for.
    public static let revocationsDropped = Metric(
        "conduit_revocations_dropped_total", .counter, "Revocations forgotten before their time, for want of room.")
    /// Time of a local delivery.
    public static let localDelivery = Metric(
        "conduit_local_delivery_seconds", .histogram,
        "From reading a message to writing it to its last recipient on this node.")
    /// Time of a ping.
    public static let pingRoundTrip = Metric(
        "conduit_ping_round_trip_seconds", .histogram, "From pinging a client to its pong.")
    /// Lateness of the loops.
    public static let loopLag = Metric("conduit_loop_lag_seconds", .histogram, "How late timers of event loops fire.")

    // Rooms by namespace.
    /// Rooms of a namespace.
    public static let namespaceRooms = Metric(
        "conduit_namespace_rooms", .gauge,
        "Rooms with members on this node, by namespace: configured ones, none at all, or other.",
        labels: ["namespace"])
    /// Memberships in a namespace.
    public static let namespaceMembers = Metric(
        "conduit_namespace_members", .gauge, "Memberships of clients in rooms, by namespace.", labels: ["namespace"])
    /// Messages to a namespace.
    public static let namespaceMessages = Metric(
        "conduit_namespace_messages_total", .counter,
        "Messages that clients and servers have published to rooms on this node, by namespace.", labels: ["namespace"])
    /// Messages to members of a namespace.
    public static let namespaceDeliveries = Metric(
        "conduit_namespace_deliveries_total", .counter,
        "Messages to rooms that were handed to members on this node, one a member, by namespace.",
        labels: ["namespace"])
    // On the way to other nodes.
    /// Clients sent elsewhere.
    public static let shed = Metric(
        "conduit_shed_total", .counter, "Clients that were sent to other nodes, by reason: drain, rebalance.",
        labels: ["reason"])
    /// Times that nobody arrived.
    public static let rebalanceHalts = Metric(
        "conduit_rebalance_halts_total", .counter,
        "Times that the node stopped rebalancing because clients did not arrive at the nodes that have fewer.")
    /// Whether nobody arrives.
    public static let rebalanceHalted = Metric(
        "conduit_rebalance_halted", .gauge, "1 while the node does not rebalance for that reason, else 0.")
    /// Whether the node is on its way out.
    public static let draining = Metric("conduit_draining", .gauge, "1 while the node drains, else 0.")

    // The public port.
    /// Time of a handshake.
    public static let handshakeDuration = Metric(
        "conduit_handshake_seconds", .histogram,
        "From accepting a connection to its upgrade, authentication too; refused ones are not counted.")
    /// Requests by what became of them.
    public static let handshakes = Metric(
        "conduit_handshakes_total", .counter, "HTTP requests on the public port, by outcome.", labels: ["outcome"])
    /// Who was kept out by a limit.
    public static let connectionsRefused = Metric(
        "conduit_connections_refused_total", .counter, "Connections that a limit kept out, by the limit.",
        labels: ["limit"])
    /// Connections that are not upgraded.
    public static let unfinishedHandshakes = Metric(
        "conduit_unfinished_handshakes", .gauge, "Connections of the public port that are not upgraded.")
    /// The end of the certificate.
    public static let certificateExpiry = Metric(
        "conduit_tls_certificate_expiry_timestamp_seconds", .gauge,
        "When the first certificate of the public port's chain ends, in seconds since 1970.")
    /// New certificates.
    public static let certificateReloads = Metric(
        "conduit_tls_certificate_reloads_total", .counter,
        "New certificates that were found: taken ones, and failed ones, for which the old one stays.",
        labels: ["result"])
    /// The limit of memory.
    public static let memoryLimit = Metric(
        "conduit_memory_limit_bytes", .gauge, "Resident memory above which no new clients are taken.")
    /// Whether the memory guard is on.
    public static let memoryOver = Metric(
        "conduit_memory_over_limit", .gauge, "1 while new clients are refused for want of memory, else 0.")

    // The cluster.
    /// Relayed away.
    public static let relayPublished = Metric(
        "conduit_relay_published_total", .counter, "Messages published to other nodes.")
    /// Relayed here.
    public static let relayReceived = Metric(
        "conduit_relay_received_total", .counter, "Messages received from other nodes.")
    /// Relayed nowhere.
    public static let relayDropped = Metric(
        "conduit_relay_dropped_total", .counter, "Messages that could not be relayed, by reason.", labels: ["reason"])
    /// Holes in sequences.
    public static let relayGaps = Metric(
        "conduit_relay_gaps_total", .counter,
        "Messages of other nodes that were found missing, by their sequence numbers: healed and unrecoverable ones.")
    /// Holes that were filled.
    public static let relayHealed = Metric(
        "conduit_relay_healed_total", .counter, "Messages that were missing and were delivered after all.")
    /// Holes that stay.
    public static let relayUnrecoverable = Metric(
        "conduit_relay_unrecoverable_total", .counter, "Messages that were missing and are lost.")
    /// Receptions that Redis promised.
    public static let relayExpected = Metric(
        "conduit_relay_expected_total", .counter,
        "Published messages times the connections that got them, by Redis's answers.")
    /// Receptions.
    public static let relayArrived = Metric(
        "conduit_relay_arrived_total", .counter, "Messages of other nodes that arrived, whatever became of them.")
    /// Receptions of own messages.
    public static let relayEchoed = Metric(
        "conduit_relay_echoed_total", .counter, "Own messages that came back from Redis.")
    /// Came twice.
    public static let relayDuplicates = Metric(
        "conduit_relay_duplicates_total", .counter, "Messages of other nodes that came twice and were dropped.")
    /// Stored by the logs of ordered rooms.
    public static let orderedPublished = Metric(
        "conduit_ordered_published_total", .counter, "Messages that the logs of ordered rooms took from this node.")
    /// Messages of ordered rooms that this node's members got.
    public static let orderedReceived = Metric(
        "conduit_ordered_received_total", .counter, "Messages of ordered rooms handed to members, whoever published.")
    /// Messages of ordered rooms that came again.
    public static let orderedDuplicates = Metric(
        "conduit_ordered_duplicates_total", .counter, "Messages of ordered rooms that came twice and were dropped.")
    /// Time between nodes.
    public static let relayLatency = Metric(
        "conduit_relay_seconds", .histogram, "From publishing on another node to delivery on this one.")
    /// Subscribed channels.
    public static let subscriptions = Metric("conduit_subscriptions", .gauge, "Redis channels subscribed to.")
    /// Members in rosters.
    public static let presenceMembers = Metric(
        "conduit_presence_members", .gauge, "Members in the rosters that this node keeps, all nodes together.")
    /// Rosters put right.
    public static let presenceRepaired = Metric(
        "conduit_presence_repaired_total", .counter,
        "Mistakes in rosters that were found and put right, in Redis or on this node.")
    /// Redis round trips.
    public static let redisRoundTrip = Metric(
        "conduit_redis_round_trip_seconds", .histogram, "Round trips of heartbeats to Redis.")
    /// The last of them.
    public static let redisLastRoundTrip = Metric(
        "conduit_redis_last_round_trip_seconds", .gauge, "Last round trip of a heartbeat to Redis.")
    /// Heartbeats that came to nothing.
    public static let heartbeatsRefused = Metric(
        "conduit_heartbeats_refused_total", .counter,
        "Leases and heartbeats that Redis refused to write: oom above its maxmemory, misconf, readonly, noperm or other.",
        labels: ["reason"])
    /// Events that Redis was not told of.
    public static let eventsDropped = Metric(
        "conduit_events_dropped_total", .counter,
        "Entries of the stream of events that were left out, above events.per-second, by event.", labels: ["event"])
    /// Redis links that came back.
    public static let redisReconnects = Metric(
        "conduit_redis_reconnects_total", .counter, "Connections to Redis that were made again.")
    /// Bytes waiting for Redis.
    public static let outboxBytes = Metric("conduit_outbox_bytes", .gauge, "Bytes that wait for Redis.")
    /// Nodes alive.
    public static let clusterNodes = Metric("conduit_cluster_nodes", .gauge, "Nodes with a valid lease, this one too.")

    // What operators ask of all nodes.
    /// Questions through this node.
    public static let surveyQuestions = Metric(
        "conduit_survey_questions_total", .counter,
        "Questions of operators to the cluster through this node: complete, partial when a node or Redis is missing, "
            + "or refused when too many are under way.", labels: ["outcome"])
    /// How long those take.
    public static let surveyDuration = Metric(
        "conduit_survey_seconds", .histogram, "From such a question to its outcome.")
    /// Answers of other nodes.
    public static let surveyAnswers = Metric(
        "conduit_survey_answers_received_total", .counter,
        "Answers of other nodes to such questions: taken, late, too_long or unreadable.", labels: ["result"])
    /// Questions of other nodes.
    public static let surveyQuestionsReceived = Metric(
        "conduit_survey_questions_received_total", .counter,
        "Such questions of other nodes: answered, or refused when too many are under way.", labels: ["result"])

    // Authentication.
    /// Clients by what became of their tokens.
    public static let authentications = Metric(
        "conduit_authentications_total", .counter,
        "Clients and new tokens by result: accepted, anonymous, refreshed, unavailable, or why they were refused.",
        labels: ["result"])
    /// Readings of the key set.
    public static let keySetReadings = Metric(
        "conduit_auth_key_set_readings_total", .counter, "Readings of the key set (JWKS), by result.",
        labels: ["result"])
    /// Keys known from the key set.
    public static let keySetKeys = Metric("conduit_auth_key_set_keys", .gauge, "Keys of the last good key set.")
    /// When the key set was read.
    public static let keySetReadTime = Metric(
        "conduit_auth_key_set_read_timestamp_seconds", .gauge, "When the key set was last read well.")
    /// Questions to the application's server.
    public static let authHookQuestions = Metric(
        "conduit_auth_hook_questions_total", .counter, "Questions to the server of auth.url, by result.",
        labels: ["result"])
    /// How long it takes to answer.
    public static let authHookLatency = Metric(
        "conduit_auth_hook_seconds", .histogram, "How long the server of auth.url takes to answer or to fail.")
    /// Whether it is asked.
    public static let authHookBreaker = Metric(
        "conduit_auth_hook_breaker", .gauge, "Whether the server of auth.url is asked: 0 yes, 1 on trial, 2 no.")

    // The configuration.
    /// Changes while the node ran.
    public static let configurationReloads = Metric(
        "conduit_config_reloads_total", .counter,
        "Configurations that were read while the node ran, by result: changed, unchanged or failed.",
        labels: ["result"])
    /// When it was read.
    public static let configurationReadTime = Metric(
        "conduit_config_read_timestamp_seconds", .gauge, "When the configuration was last read well.")
    /// Traces.
    public static let traces = Metric(
        "conduit_traces_total", .counter,
        "Publications of clients with a trace: traced, or refused for the limit of traces a second.",
        labels: ["result"])

    // The process; names that every Prometheus dashboard knows.
    /// CPU time.
    public static let processCPU = Metric("process_cpu_seconds_total", .counter, "CPU time, user and system.")
    /// Resident memory.
    public static let processMemory = Metric("process_resident_memory_bytes", .gauge, "Resident memory.")
    /// Descriptors in use.
    public static let processDescriptors = Metric("process_open_fds", .gauge, "Open file descriptors.")
    /// Descriptors allowed.
    public static let processMaxDescriptors = Metric("process_max_fds", .gauge, "Most file descriptors allowed.")
    /// The beginning of the process.
    public static let processStart = Metric(
        "process_start_time_seconds", .gauge, "When the process has started, in seconds since 1970.")

    /// All of them, for the documentation.
    public static let all: [Metric] = [
        info, ready, degraded, clients, users, rooms, memberships, accepted, closed, messagesIn, bytesIn, deliveries,
        bytesOut, deflated, deflatedBytes, inflated, inflatedBytes, inflationRefused, pendingBytes,
        largestPendingBytes, stalledClients, slowClosed, dropped, errors, limitsExceeded, revocations,
        revocationsDropped, localDelivery, pingRoundTrip, loopLag, namespaceRooms, namespaceMembers, namespaceMessages,
        namespaceDeliveries, shed, rebalanceHalts, rebalanceHalted, draining, handshakeDuration, handshakes,
        connectionsRefused, unfinishedHandshakes, certificateExpiry, certificateReloads, memoryLimit, memoryOver,
        relayPublished, relayReceived, relayDropped,
        relayGaps, relayHealed, relayUnrecoverable, relayExpected, relayArrived, relayEchoed, relayDuplicates,
        orderedPublished, orderedReceived, orderedDuplicates, relayLatency, subscriptions, presenceMembers,
        presenceRepaired, redisRoundTrip, redisLastRoundTrip, heartbeatsRefused, eventsDropped, redisReconnects,
        outboxBytes, clusterNodes,
        surveyQuestions, surveyDuration, surveyAnswers, surveyQuestionsReceived, authentications, keySetReadings,
        keySetKeys, keySetReadTime, authHookQuestions, authHookLatency, authHookBreaker, configurationReloads,
        configurationReadTime, traces, processCPU, processMemory, processDescriptors, processMaxDescriptors,
        processStart,
    ]
}
