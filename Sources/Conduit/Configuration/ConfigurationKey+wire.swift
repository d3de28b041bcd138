// Settings of the WebSocket protocol itself.
extension ConfigurationKey {
    static let echo: [ConfigurationKey] = [
        ConfigurationKey(
            "http.echo", .boolean, default: "false",
            "Whether /echo sends back whatever a WebSocket client says, without a token: for tests.")
    ]

    static let frames: [ConfigurationKey] = [
        ConfigurationKey(
            "limits.frames-per-message", .integer(1...16_777_216), default: "1024",
            "Most frames that a client's message may be split into; more closes it with 1009.")
    ]

    static let compression: [ConfigurationKey] = [
        ConfigurationKey(
            "compression.enabled", .boolean, default: "false",
            "Whether permessage-deflate is agreed on with clients who offer it."),
        ConfigurationKey(
            "compression.threshold", .integer(0...67_108_864), default: "1024",
            "Messages of fewer bytes are sent as they are."),
        ConfigurationKey(
            "compression.level", .integer(1...9), default: "1",
            "zlib's level: 1 is the fastest, 9 makes the fewest bytes."),
        ConfigurationKey(
            "compression.window-bits", .integer(9...15), default: "15",
            "Window of what the server compresses, as a power of two; a client may ask for less."),
        ConfigurationKey(
            "compression.max-ratio", .integer(1...1032), default: "200",
            "A client's message of more than 64 KiB may be so many times as long as its compressed bytes; "
                + "more closes it with 1009."),
    ]
}
