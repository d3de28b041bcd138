import CThreadAccount
import Glibc

/// What one operation costs.
struct Measurement {
    let name: String
    let nanoseconds: Double
    let allocations: Double
}

/// Runs operations often enough to time them, and counts their allocations.
struct Harness {
    /// Only benchmarks whose names hold one of these words; all when there are none.
    let only: [String]
    private(set) var measurements: [Measurement] = []

    init(only: [String]) { self.only = only }

    func wants(_ name: String) -> Bool { only.isEmpty || only.contains { name.contains($0) } }

    /// Measures `body`, which does its operation so many times as it is told.
    ///
    /// The number is doubled until a run takes 50 ms of this thread's CPU; then the best of seven runs counts, since
    /// whatever disturbs a run makes it longer.
    mutating func measure(_ name: String, _ body: (Int) throws -> Void) rethrows {
        guard wants(name) else { return }
        var count = 1
        while try Self.time({ try body(count) }) < 50_000_000 { count *= 2 }
        var best = Double.infinity
        for _ in 0..<7 { best = min(best, try Self.time { try body(count) }) }
        let before = thread_allocations()
        try body(count)
        let allocations = thread_allocations() - before
        add(
            Measurement(
                name: name, nanoseconds: best / Double(count), allocations: Double(allocations) / Double(count)))
    }

    mutating func add(_ measurement: Measurement) {
        measurements.append(measurement)
        let name = measurement.name + String(repeating: " ", count: max(1, 44 - measurement.name.count))
        print(name + "\(measurement.nanoseconds.rounded(1)) ns   \(measurement.allocations.rounded(2)) allocations")
    }

    /// Nanoseconds of CPU that this thread spends in `body`.
    private static func time(_ body: () throws -> Void) rethrows -> Double {
        let begun = thread_nanoseconds()
        try body()
        return Double(thread_nanoseconds() - begun)
    }
}

extension Double {
    /// Rounded to so many digits behind the point.
    func rounded(_ digits: Int) -> Double {
        let scale = pow(10, Double(digits))
        return (self * scale).rounded() / scale
    }
}

/// Takes a value in, so that the work that made it can't be left out.
@inline(never)
func keep<Value>(_ value: Value) {
    withExtendedLifetime(value) {}
}
