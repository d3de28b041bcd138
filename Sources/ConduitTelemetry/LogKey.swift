/// Names of the metadata in log lines; the same everywhere, and kept from version to version. Docs/operations.md has the
/// table.
public enum LogKey {
    /// A ``NodeID``.
    public static let node = "node"
    /// A ``ClientID``.
    public static let client = "client"
    /// A ``UserID``.
    public static let user = "user"
    /// A room's name.
    public static let room = "room"
    /// A close code.
    public static let code = "code"
    /// Why.
    public static let reason = "reason"
    /// An error in words.
    public static let error = "error"
    /// An address, `host:port`.
    public static let address = "address"
    /// The name of a machine.
    public static let host = "host"
    /// How many.
    public static let count = "count"
    /// How many of them have arrived.
    public static let arrived = "arrived"
    /// How many were left out.
    public static let skipped = "skipped"
    /// How many lines like this one were not written since the last one that was.
    public static let repeated = "repeated"
    /// A duration in milliseconds.
    public static let milliseconds = "ms"
    /// Bytes of memory in use.
    public static let residentBytes = "resident_bytes"
    /// Bytes of memory that may be in use.
    public static let limitBytes = "limit_bytes"
    /// A version of Conduit.
    public static let version = "version"
    /// Whether clients bring tokens.
    public static let tokens = "tokens"
    /// Whether clients without a token come in.
    public static let anonymous = "anonymous"
    /// What the application's own server is asked about.
    public static let hook = "hook"
    /// A Redis URL without its password.
    public static let redis = "redis"
    /// What the names of keys in Redis begin with.
    public static let prefix = "prefix"
    /// What `/ready` says.
    public static let readiness = "readiness"
    /// Which of a node's connections to Redis.
    public static let link = "link"
    /// Which of several independent Redis servers, by its place in the list.
    public static let server = "server"
    /// A setting.
    public static let key = "key"
    /// Where a setting was said.
    public static let source = "source"
    /// Settings that hold from now on, separated by commas.
    public static let changed = "changed"
    /// Settings that will hold when the node is started again, separated by commas.
    public static let needsRestart = "needs_restart"
    /// The name of a span.
    public static let span = "span"
    /// Of a trace, 32 hexadecimal digits.
    public static let traceID = "trace_id"
    /// Of a span, 16 hexadecimal digits.
    public static let spanID = "span_id"
    /// Of the span that a span is a part of.
    public static let parentSpanID = "parent_span_id"
    /// A duration in microseconds.
    public static let microseconds = "us"

    /// All of them, for the documentation.
    public static let all = [
        node, client, user, room, code, reason, error, address, host, count, skipped, repeated, milliseconds,
        residentBytes, limitBytes, version, tokens, anonymous, hook, redis, prefix, readiness, link, server, key,
        source, changed, needsRestart, span, traceID, spanID, parentSpanID, microseconds,
    ]
}
