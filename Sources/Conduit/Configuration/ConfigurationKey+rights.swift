// How long tokens count that have run out or were revoked.
extension ConfigurationKey {
    static let authTimes: [ConfigurationKey] = [
        ConfigurationKey(
            "auth.refresh-grace", .duration(0...3_600_000), default: "25s",
            "A client whose token has run out has this long to bring another one, then it is closed with 3005."),
        ConfigurationKey(
            "auth.revocation-age", .duration(1_000...31_622_400_000), default: "720h",
            "How long a revocation is remembered that doesn't say how long: at least as long as tokens live."),
    ]
}
