import ConduitCluster
import Synchronization

/// Whether somebody wants to look at what is there.
final class PauseSwitch: Sendable {
    private let value = Atomic(false)

    var isOn: Bool {
        get { value.load(ordering: .relaxed) }
        set { value.store(newValue, ordering: .relaxed) }
    }
}

/// Reads a cluster again and again.
struct TopLooker: Sendable {
    let reader: ClusterReader
    let prefix: String
    let interval: Duration
    let isPaused: PauseSwitch

    func run(_ take: @Sendable (TopSession.Event) -> Void) async {
        var history = TopHistory()
        var samples = TopSession.firstSamples
        var isFirst = true
        let clock = ContinuousClock()
        var next = clock.now
        while !Task.isCancelled {
            if !isPaused.isOn {
                let started = clock.now
                do {
                    let reading = try await TopReading.read(reader, prefix: prefix, history, samples: samples)
                    history = reading.history
                    // Nodes beat once a second; one that beats faster leaves holes that nobody sees.
                    let few = min(TopSession.minute, 4 + 2 * Int(interval.components.seconds))
                    samples = isFirst ? TopSession.minute : few
                    isFirst = false
                    take(.reading(reading))
                } catch {
                    take(.failed("Redis can't be read: \(error)"))
                    samples = TopSession.minute
                }
                // A slow Redis is not asked without a pause.
                next = max(next + interval, started + interval, clock.now + interval / 4)
            } else {
                next = clock.now + .milliseconds(100)
                samples = TopSession.minute
            }
            try? await clock.sleep(until: next)
        }
    }
}
