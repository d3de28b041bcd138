/// Decides when messages for other nodes leave: at once while they are few, many together when they are many.
///
/// A PUBLISH that Redis reads alone costs it a turn of its loop; those that it reads together share one. So above a
/// rate the messages of several turns wait for each other, only as long as a handful takes to come together. With two
/// rates, so that one in between doesn't switch to and fro. A value: times are arguments, in microseconds that never
/// go back.
struct PublishPacer {
    /// What to do with what is collected.
    enum Decision: Equatable {
        case send
        case hold(until: Int64)
    }

    /// From this many messages a second on they wait for each other.
    static let busyRate: Int64 = 8_000
    /// Below this many they don't any more.
    static let quietRate: Int64 = 5_000
    /// How many shall leave together.
    static let handful: Int64 = 5
    /// How long a rate is measured.
    static let window: Int64 = 10_000
    /// The shortest wait that is worth a timer.
    static let shortestHold: Int64 = 200
    /// Bytes that wait for nobody.
    static let byteLimit = 64 * 1024

    private let longestHold: Int64
    private var windowStart: Int64
    private var count: Int64 = 0
    /// How long the first message waits for others now; 0 while they are few.
    private(set) var hold: Int64 = 0
    private var heldSince: Int64?

    /// `longestHold` 0 switches the waiting off.
    init(longestHold: Int64, now: Int64 = 0) {
        self.longestHold = max(0, longestHold)
        self.windowStart = now
    }

    /// So many messages were collected.
    mutating func collected(_ messages: Int, now: Int64) {
        let elapsed = now - windowStart
        if elapsed >= Self.window {
            measure(rate: count * 1_000_000 / elapsed)
            windowStart = now
            count = 0
        }
        count += Int64(messages)
    }

    private mutating func measure(rate: Int64) {
        guard longestHold > 0, rate >= (hold > 0 ? Self.quietRate : Self.busyRate) else {
            hold = 0
            return
        }
        hold = min(max(Self.handful * 1_000_000 / rate, Self.shortestHold), longestHold)
    }

    /// At the end of a turn: whether what is collected leaves now.
    mutating func decide(bytes: Int, now: Int64) -> Decision {
        let since = heldSince ?? now
        guard hold > 0, bytes < Self.byteLimit, now - since < hold else {
            heldSince = nil
            return .send
        }
        heldSince = since
        return .hold(until: since + hold)
    }

    /// What was collected has left for another reason.
    mutating func released() { heldSince = nil }
}
