import ConduitFuzzing
import ConduitTesting
import Foundation
import Testing

/// What libFuzzer found and what it begins with must be read without a disagreement, by every build.
@Suite struct ReplayTests {
    private static let folder = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("Tests/Fuzz")

    static func inputs(_ kind: String, of target: FuzzTarget) throws -> [(name: String, bytes: [UInt8])] {
        let folder = folder.appendingPathComponent(kind).appendingPathComponent(target.rawValue)
        guard FileManager.default.fileExists(atPath: folder.path) else { return [] }
        return try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
            .sorted { $0.path < $1.path }
            .map { ($0.lastPathComponent, Array(try Data(contentsOf: $0))) }
    }

    @Test(arguments: FuzzTarget.allCases) func everyKeptInputIsReadRight(_ target: FuzzTarget) throws {
        let corpus = try Self.inputs("corpus", of: target)
        #expect(corpus.count > 5, "the corpus of \(target.rawValue) is missing")
        for (name, bytes) in corpus + (try Self.inputs("regressions", of: target)) {
            let problem = target.disagreement(on: bytes)
            #expect(problem == nil, "\(target.rawValue)/\(name)")
        }
    }

    /// A small fuzzer of its own, for machines without libFuzzer.
    @Test(arguments: FuzzTarget.allCases, [1, 2, 3] as [UInt64])
    func inputsThatAreChangedAreReadRight(_ target: FuzzTarget, seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let corpus = try Self.inputs("corpus", of: target).map(\.bytes).filter { !$0.isEmpty && $0.count < 2_000 }
        for round in 0..<400 {
            guard var bytes = corpus.randomElement(using: &generator) else { return }
            for _ in 0..<Int.random(in: 1...4, using: &generator) { Self.change(&bytes, corpus, &generator) }
            let problem = target.disagreement(on: bytes)
            #expect(problem == nil, "\(target.rawValue), seed \(seed), round \(round): \(bytes)")
        }
    }

    private static func change(
        _ bytes: inout [UInt8], _ corpus: [[UInt8]], _ generator: inout SeededGenerator
    ) {
        let place = Int.random(in: 0...bytes.count, using: &generator)
        switch Int.random(in: 0..<5, using: &generator) {
        case 0: if place < bytes.count { bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &generator) }
        case 1: bytes.insert(UInt8.random(in: 0...255, using: &generator), at: place)
        case 2: if place < bytes.count { bytes.remove(at: place) }
        case 3: bytes.removeSubrange(place...)
        default:
            let other = corpus.randomElement(using: &generator) ?? []
            bytes.insert(contentsOf: other.dropFirst(Int.random(in: 0...other.count, using: &generator)), at: place)
        }
    }
}
