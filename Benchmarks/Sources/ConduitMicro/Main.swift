import Foundation

/// Times and counts the single steps of a message: `ConduitMicro [--only WORD,…] [--json FILE]`.
///
/// Ends with 1 when a broadcast allocates for every recipient.
@main
struct Main {
    static func main() async {
        var arguments = CommandLine.arguments.dropFirst()
        var only: [String] = []
        var file: String?
        while let option = arguments.popFirst() {
            switch (option, arguments.popFirst()) {
            case ("--only", let words?): only = words.split(separator: ",").map(String.init)
            case ("--json", let path?): file = path
            default:
                print("usage: ConduitMicro [--only WORD,…] [--json FILE]")
                exit(64)
            }
        }
        var harness = Harness(only: only)
        var status: Int32 = 0
        do {
            try measureBytes(&harness)
            measureTables(&harness)
            try await measureFanOut(&harness)
        } catch {
            print("\(error)")
            status = 1
        }
        do {
            if let file { try write(harness.measurements, to: file) }
        } catch {
            print("can't write \(file ?? ""): \(error)")
            status = 1
        }
        exit(status)
    }

    private static func write(_ measurements: [Measurement], to file: String) throws {
        let rows = measurements.map { row in
            ["name": row.name, "ns": row.nanoseconds.rounded(1), "allocations": row.allocations.rounded(2)]
                as [String: Any]
        }
        let document: [String: Any] = ["kind": "micro", "steps": rows]
        var data = try JSONSerialization.data(withJSONObject: document, options: [.prettyPrinted, .sortedKeys])
        data.append(UInt8(ascii: "\n"))
        try data.write(to: URL(fileURLWithPath: file))
    }
}
