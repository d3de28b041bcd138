import ConduitRedis
import NIOCore

/// Replies read whole and in slices must be the same, and what they say must be digested.
enum RESPFuzz {
    private struct Outcome: Equatable {
        var replies: [RedisReply] = []
        var failed = false
    }

    static func run(_ input: FuzzInput) -> String? {
        let mode: RedisReplyReader.Mode = input.options & 1 == 0 ? .answers : .pushes
        let limits =
            input.options & 2 == 0 ? RedisReplyReader.Limits() : RedisReplyReader.Limits(bytes: 4_096, elements: 64)
        let whole = read([input.whole], mode, limits)
        let sliced = read(input.slices, mode, limits)
        guard whole == sliced else { return "whole: \(whole), in slices: \(sliced)" }
        for case .value(let value) in whole.replies { digest(value, depth: 0) }
        if input.bytes.starts(with: "redis".utf8) || input.bytes.starts(with: "unix".utf8) {
            _ = try? RedisURL.list(String(decoding: input.bytes.prefix(512), as: UTF8.self))
        }
        return nil
    }

    private static func read(
        _ slices: [ByteBuffer], _ mode: RedisReplyReader.Mode, _ limits: RedisReplyReader.Limits
    ) -> Outcome {
        var outcome = Outcome()
        do throws(RedisError) {
            let reader = try RedisReplyReader(mode: mode, limits: limits)
            for slice in slices {
                try reader.read(slice) {
                    outcome.replies.append($0)
                    return true
                }
            }
        } catch {
            outcome.failed = true
        }
        return outcome
    }

    private static func digest(_ value: RedisValue, depth: Int) {
        if let ranges = value.array, ranges.first?.array != nil { _ = RedisSlotMap(value, host: "redis.example") }
        _ = (value.string, value.integer, value.isNull, value.bytes)
        if case .error(let text) = value {
            _ = RedisRedirection(RedisError(.server, text), host: "redis.example")
        }
        guard depth < 16 else { return }
        for inner in value.array ?? [] { digest(inner, depth: depth + 1) }
    }
}
