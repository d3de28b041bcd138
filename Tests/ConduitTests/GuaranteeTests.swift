import ConduitTesting
import Foundation
import Testing

/// The promises of Docs/guarantees.md, by the messages that real clients of real nodes got while something went wrong.
///
/// `make test` runs the most telling faults in short; `CONDUIT_FAULTS=all` (`make test-faults`) runs every one, with
/// times judged too, and writes a row for each into the file `FAULT_REPORT`.
@Suite(.serialized, .timeLimit(.minutes(10)))
struct GuaranteeTests {
    private static let environment = ProcessInfo.processInfo.environment
    private static let runsAll = environment["CONDUIT_FAULTS"] != nil
    private static let short: [Fault] = [.killedNode, .killedRedis, .killedSubscriptions]

    /// `CONDUIT_FAULTS=all` or names with commas between them.
    private static var chosen: [Fault] {
        guard let names = environment["CONDUIT_FAULTS"] else { return short }
        return names == "all" ? Fault.allCases : names.split(separator: ",").compactMap { Fault(rawValue: String($0)) }
    }

    private static func whole(_ name: String) -> Int? { environment[name].flatMap { Int($0) } }

    @Test(arguments: chosen) func promisesAreKept(_ fault: Fault) async throws {
        var run = FaultRun(fault: fault)
        if Self.runsAll {
            if let seconds = Self.whole("FAULT_HOLD_SECONDS") { run.hold = .seconds(seconds) }
        } else {
            run.hold = .seconds(2)
            run.calm = .milliseconds(500)
            run.plan.fastRate = 20
        }
        if let rooms = Self.whole("FAULT_ORDERED_ROOMS") { run.plan.orderedRooms = rooms }
        let result = try await run.run()
        print(result.details)
        if let folder = Self.environment["FAULT_LOGS"] {
            for (index, log) in result.logs.enumerated() {
                try log.write(toFile: "\(folder)/\(fault.rawValue)-\(index).log", atomically: true, encoding: .utf8)
            }
        }
        if let file = Self.environment["FAULT_REPORT"], let handle = FileHandle(forWritingAtPath: file) {
            try handle.seekToEnd()
            try handle.write(contentsOf: Data((result.row + "\n").utf8))
            try handle.close()
        }
        #expect(result.broken == [])
        if Self.runsAll { #expect(result.late == []) }
    }
}
