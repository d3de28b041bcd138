/// What a running node has made of another configuration.
public struct ReloadReport: Sendable, Hashable {
    /// Settings that hold from now on, by name and sorted; never their values.
    public let changed: [String]
    /// Settings that differ from what the node runs with and that it can't take over: they hold when it is started again.
    /// Names of settings for a configuration that was loaded, else of properties, such as `gateway.port`.
    public let needsRestart: [String]
    /// Whether new connections get another certificate.
    public let hasNewCertificate: Bool

    init(changed: [String], needsRestart: [String], hasNewCertificate: Bool) {
        self.changed = changed
        self.needsRestart = needsRestart
        self.hasNewCertificate = hasNewCertificate
    }
}
