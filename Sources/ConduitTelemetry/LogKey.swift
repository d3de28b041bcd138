/// Names of the metadata in log lines; the same everywhere.
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
    /// How many.
    public static let count = "count"
    /// A duration in milliseconds.
    public static let milliseconds = "ms"
}
