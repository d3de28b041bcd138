/// Why a run can't begin or go on, in words for the one who started it.
package struct BenchError: Error, Hashable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}
