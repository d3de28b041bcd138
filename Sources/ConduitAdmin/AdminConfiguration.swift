/// Settings of the operator's port.
public struct AdminConfiguration: Sendable {
    /// Whether there is one.
    public var isEnabled = true
    /// The address that it listens on.
    public var host = "127.0.0.1"
    /// The port; 0 takes any free one.
    public var port = 8181
    /// The bearer token that requests need; empty asks for none, which is refused unless ``host`` is loopback.
    public var token = ""

    /// How long a request may take, the reading of its body too.
    package var timeLimit: Duration = .seconds(15)

    /// The defaults.
    public init() {}

    /// Whether only this machine can reach the port.
    ///
    /// Addresses only, and the one name that means them by standard (RFC 6761): another name might resolve to
    /// anything tomorrow.
    public static func isLoopback(_ host: String) -> Bool {
        if host == "localhost" || host == "::1" || host == "[::1]" { return true }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts.first == "127" && parts.allSatisfy { UInt8($0) != nil }
    }
}
