package import NIOCore

/// What is fuzzed: each target takes any bytes and says what is wrong with how they were read; `nil` when nothing is.
///
/// The same functions are called by libFuzzer (`make fuzz`) and by the tests, which replay `Tests/Fuzz/corpus` and
/// `Tests/Fuzz/regressions`.
package enum FuzzTarget: String, CaseIterable, Sendable {
    /// WebSocket frames: parser and assembler against ``ReferenceFrames``.
    case frames
    /// JSON scanner and command decoder against ``ReferenceJSON`` and Foundation.
    case json
    /// The head of an HTTP request, and what an upgrade makes of it.
    case http
    /// What nodes tell each other by Redis.
    case bus
    /// What Redis answers.
    case resp
    /// PROXY headers, and what proxies say of a client's address in fields of the head.
    case proxy
    /// Compressed messages, expanded and compressed again.
    case inflate

    /// Reads `input` in several ways and compares.
    package func disagreement(on input: [UInt8]) -> String? {
        let input = FuzzInput(input)
        return switch self {
        case .frames: FrameFuzz.run(input)
        case .json: JSONFuzz.run(input)
        case .http: HTTPFuzz.run(input)
        case .bus: BusFuzz.run(input)
        case .resp: RESPFuzz.run(input)
        case .proxy: ProxyFuzz.run(input)
        case .inflate: InflateFuzz.run(input)
        }
    }
}

/// An input taken apart: options, sizes of slices, and the bytes that the target reads.
///
/// | bytes | content |
/// |---|---|
/// | 1 | lowest three bits: how many sizes follow; the other five: options of the target |
/// | *n* | sizes: up to 127 one more than that, above 16 for each one above 127; used in turn, 1 when there are none |
/// | the rest | what is read |
package struct FuzzInput: Sendable {
    /// Five bits that a target takes its limits and roles from.
    package let options: UInt8
    /// What is read.
    package let bytes: [UInt8]
    private let sizes: [Int]

    package init(_ input: [UInt8]) {
        let first = input.first ?? 0
        options = first >> 3
        let rest = input.dropFirst()
        sizes = rest.prefix(Int(first & 7)).map { $0 < 128 ? Int($0) + 1 : (Int($0) - 127) * 16 }
        bytes = Array(rest.dropFirst(Int(first & 7)))
    }

    /// The bytes as one buffer that has something before and behind them, as a receive buffer has.
    package var whole: ByteBuffer {
        var buffer = ByteBuffer(bytes: [0xEE, 0xEE, 0xEE])
        buffer.moveReaderIndex(forwardBy: 3)
        buffer.writeBytes(bytes)
        buffer.writeInteger(0xEE as UInt8)
        buffer.moveWriterIndex(to: buffer.writerIndex - 1)
        return buffer
    }

    /// The bytes in slices.
    package var slices: [ByteBuffer] {
        var rest = whole
        var index = 0
        var result: [ByteBuffer] = []
        while rest.readableBytes > 0 {
            let size = sizes.isEmpty ? 1 : sizes[index % sizes.count]
            guard let slice = rest.readSlice(length: min(size, rest.readableBytes)) else { break }
            result.append(slice)
            index += 1
        }
        return result
    }
}
