import NIOCore

/// How the time that a stop may take is shared out: to the balancer, to the clients, to the rosters.
struct DrainTimes: Hashable {
    /// What clients have to answer the close frame.
    private static let closing = TimeAmount.milliseconds(2_500)

    /// How long upgrades are still taken.
    let wait: TimeAmount
    /// When every client must have been told, from the beginning.
    let told: TimeAmount
    /// How long members' places are kept, from when the last client was told.
    let handOver: TimeAmount
    /// The longest time that clients are asked to wait, so that they are back before their places are given up.
    let delay: TimeAmount
    /// When clients who don't close are cut, from the beginning; the rest is for leaving Redis.
    let clientsEnd: TimeAmount
    /// The end, from the beginning.
    let end: TimeAmount

    /// The wait is half of the time at most. `isWaiting`: for the balancer.
    init(_ configuration: DrainConfiguration, within timeout: Duration, isWaiting: Bool) {
        end = TimeAmount(timeout)
        let quarter = TimeAmount.nanoseconds(end.nanoseconds / 4)
        wait = isWaiting ? min(TimeAmount(configuration.wait), .nanoseconds(end.nanoseconds / 2)) : .zero
        handOver = min(TimeAmount(configuration.presenceGrace), quarter)
        let delay = TimeAmount(configuration.reconnectDelay)
        let shortened = max(handOver - TimeAmount.seconds(1), TimeAmount.nanoseconds(handOver.nanoseconds / 2))
        self.delay = handOver > .zero ? min(delay, shortened) : delay
        let leave = min(
            max(TimeAmount.seconds(1), TimeAmount.nanoseconds(end.nanoseconds / 30)),
            TimeAmount.nanoseconds(end.nanoseconds / 5))
        clientsEnd = end - leave
        // Clients close while their places are kept.
        let last = max(handOver, min(Self.closing, .nanoseconds(end.nanoseconds / 8)))
        told = max(wait, clientsEnd - last)
    }
}
