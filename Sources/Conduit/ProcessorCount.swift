import Foundation
import NIOCore

/// How many cores this process may use: what a container's share and its affinity (`taskset`, `CPUAffinity=`) leave.
///
/// A second event loop on the same core carries nothing, and costs switching between the two.
enum ProcessorCount {
    static var usable: Int {
        let status = FileManager.default.contents(atPath: "/proc/self/status") ?? Data()
        return max(1, min(System.coreCount, allowed(in: String(decoding: status, as: UTF8.self)) ?? .max))
    }

    /// The cores that the scheduler may put a process on, as Linux tells it: `Cpus_allowed:  3,ffffffff`.
    static func allowed(in status: String) -> Int? {
        for line in status.split(separator: "\n") where line.hasPrefix("Cpus_allowed:") {
            let count = line.dropFirst("Cpus_allowed:".count).compactMap(\.hexDigitValue).reduce(0) {
                $0 + $1.nonzeroBitCount
            }
            return count > 0 ? count : nil
        }
        return nil
    }
}
