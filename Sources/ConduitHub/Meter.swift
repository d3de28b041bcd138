package import ConduitCore

/// How much one client may say: only made where there is a limit. Loop-bound: owned by its ``Client`` or the echo.
///
/// Refusals are counted in a bucket too: a tenth of what it holds is forgiven each second. So a client that is now and
/// then too fast is told so, and one that goes on whatever it is told is closed.
package final class Meter {
    private var messages: TokenBucket?
    private var bytes: TokenBucket?
    private var strikes: TokenBucket?

    /// `nil` where nothing is limited.
    package init?(_ configuration: HubConfiguration, now: Int64) {
        self.messages = Self.bucket(configuration.messagesPerSecond, configuration.messagesBurst, now)
        self.bytes = Self.bucket(configuration.bytesPerSecond, configuration.bytesBurst, now)
        guard messages != nil || bytes != nil else { return nil }
        let most = configuration.rateStrikes
        self.strikes = most > 0 ? TokenBucket(perSecond: max(1, most / 10), burst: most, now: now) : nil
    }

    /// Whether two configurations limit a client in the same way.
    package static func isSame(_ one: HubConfiguration, _ other: HubConfiguration) -> Bool {
        one.messagesPerSecond == other.messagesPerSecond && one.messagesBurst == other.messagesBurst
            && one.bytesPerSecond == other.bytesPerSecond && one.bytesBurst == other.bytesBurst
            && one.rateStrikes == other.rateStrikes
    }

    private static func bucket(_ perSecond: Int, _ burst: Int, _ now: Int64) -> TokenBucket? {
        guard perSecond > 0 else { return nil }
        return TokenBucket(perSecond: perSecond, burst: burst > 0 ? burst : perSecond, now: now)
    }

    /// Lets a message of so many bytes through, or says how much too early it is, and by which limit.
    package func take(_ count: Int, now: Int64) -> (milliseconds: Int64, limit: ClientLimit)? {
        let (slow, dense) = (messages?.wait(now: now) ?? 0, bytes?.wait(for: count, now: now) ?? 0)
        guard max(slow, dense) == 0 else {
            return dense > slow ? (dense, .bytesPerSecond) : (slow, .messagesPerSecond)
        }
        _ = messages?.take(now: now)
        _ = bytes?.take(count, now: now)
        return nil
    }

    /// Counts a refusal. Returns whether that was one too many.
    package func strike(now: Int64) -> Bool { !(strikes?.take(now: now) ?? true) }
}

@available(*, unavailable)
extension Meter: Sendable {}
