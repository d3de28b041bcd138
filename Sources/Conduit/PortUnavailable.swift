import NIOCore

/// A port that could not be opened: which one, and what the system says.
public struct PortUnavailable: Error, CustomStringConvertible {
    /// The setting that names the port.
    public let key: String
    /// `host:port` as it was configured.
    public let address: String
    /// The system's error.
    public let reason: any Error

    /// In words, with the way out.
    public var description: String {
        let why =
            switch (reason as? IOError)?.errnoCode {
            case 98?: "another program listens there"
            case 99?: "this machine has no such address"
            case 13?: "not permitted; ports below 1024 need a right"
            default: "\(reason)"
            }
        return "can't listen on \(address): \(why). Choose another one with \(key)"
    }
}
