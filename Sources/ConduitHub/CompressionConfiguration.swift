package import ConduitWire

/// How messages are compressed for clients who ask for `permessage-deflate` (RFC 7692).
public struct CompressionConfiguration: Hashable, Sendable {
    /// Messages of fewer bytes are sent as they are.
    public var threshold = 1024
    /// zlib's level, 1…9: 1 is the fastest, 9 makes the fewest bytes.
    public var level = 1
    /// The window of what the server sends, as a power of two, 9…15. A client may ask for less.
    public var windowBits = 15
    /// A client's message of more than 64 KiB may be so many times as long as its compressed bytes; more closes the
    /// connection with 1009.
    public var maxRatio = 200

    /// The defaults.
    public init() {}

    /// What compresses for the connections of one event loop.
    package func makeCompressor() -> MessageCompressor { MessageCompressor(level: level, threshold: threshold) }
}

extension HubConfiguration {
    /// What a client's compressed message may become.
    package var inflationLimits: MessageCompressor.Limits {
        MessageCompressor.Limits(messageBytes: messageBytes, ratio: compression?.maxRatio ?? 1)
    }
}
