/// A condition that did not come true in time.
package struct NeverHappened: Error, CustomStringConvertible {
    package let description: String
}

/// Waits until `condition` holds: looks at once, then every `poll`, and throws after `within`.
///
/// An error that the condition throws ends the wait.
package func eventually(
    _ what: String = "condition",
    within limit: Duration = .seconds(60),
    poll: Duration = .milliseconds(10),
    file: String = #fileID,
    line: Int = #line,
    _ condition: () async throws -> Bool
) async throws {
    let clock = ContinuousClock()
    let deadline = clock.now + limit
    while try await !condition() {
        guard clock.now < deadline else {
            throw NeverHappened(description: "\(what): not true within \(limit) (\(file):\(line))")
        }
        try await Task.sleep(for: poll)
    }
}
