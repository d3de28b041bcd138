import ConduitGateway
import Glibc
import NIOCore

/// PROXY headers whole and in slices must be what the specification says by splitting words; lists of forwarded addresses
/// what a walk from their right end finds.
enum ProxyFuzz {
    static func run(_ input: FuzzInput) -> String? {
        let expected = header(input.bytes)
        let whole = ProxyProbe.header([input.whole])
        guard whole == expected else { return "whole: \(whole) instead of \(expected)" }
        let sliced = ProxyProbe.header(input.slices)
        guard sliced == expected else { return "in slices: \(sliced) instead of \(expected)" }
        return forwarded(input.bytes)
    }

    // MARK: PROXY headers

    private static let signature: [UInt8] = [13, 10, 13, 10, 0, 13, 10, 0x51, 0x55, 0x49, 0x54, 10]

    /// The PROXY protocol's sections 2.1 and 2.2.
    private static func header(_ bytes: [UInt8]) -> ProxyProbe.Outcome {
        if bytes.isEmpty { return .incomplete }
        let line = Array("PROXY ".utf8)
        if bytes.starts(with: line) { return text(bytes) }
        if bytes.starts(with: signature) { return binary(bytes) }
        return line.starts(with: bytes) || signature.starts(with: bytes) ? .incomplete : .malformed
    }

    private static func text(_ bytes: [UInt8]) -> ProxyProbe.Outcome {
        // 107 bytes at most, with the two that end it.
        let line = bytes.prefix(107)
        guard let end = line.dropLast().firstIndex(of: 13) else { return bytes.count < 107 ? .incomplete : .malformed }
        guard bytes[end + 1] == 10 else { return .malformed }
        let leftover = Array(bytes[(end + 2)...])
        let words = bytes[..<end].split(separator: 32, omittingEmptySubsequences: false)
            .map { String(decoding: $0, as: UTF8.self) }
        if words[1] == "UNKNOWN" { return .unknown(leftover: leftover) }
        guard words.count == 6, ["TCP4", "TCP6"].contains(words[1]) else { return .malformed }
        let family = words[1] == "TCP4" ? AF_INET : AF_INET6
        guard let source = address(words[2], family), address(words[3], family) != nil,
            words[4...].allSatisfy({ port in
                (1...5).contains(port.utf8.count) && port.utf8.allSatisfy { (48...57).contains($0) }
                    && (Int(port) ?? .max) < 65_536
            })
        else { return .malformed }
        return .client(source, leftover: leftover)
    }

    private static func binary(_ bytes: [UInt8]) -> ProxyProbe.Outcome {
        guard bytes.count >= 16 else { return .incomplete }
        let end = 16 + Int(bytes[14]) * 256 + Int(bytes[15])
        guard [0x20, 0x21].contains(bytes[12]), end <= 4_096 else { return .malformed }
        guard bytes.count >= end else { return .incomplete }
        let leftover = Array(bytes[end...])
        if bytes[12] == 0x20 { return .proxy(leftover: leftover) }
        let body = bytes[16..<end]
        switch bytes[13] {
        case 0, 0x31: return .unknown(leftover: leftover)
        case 0x11 where body.count >= 12: return .client(mapped + body.prefix(4), leftover: leftover)
        case 0x21 where body.count >= 36: return .client(Array(body.prefix(16)), leftover: leftover)
        default: return .malformed
        }
    }

    /// What stands before an address of version 4 in the one of version 6 that stands for it.
    private static let mapped: [UInt8] = Array(repeating: 0, count: 10) + [0xFF, 0xFF]

    /// Unsafe: libc writes the address into memory that is large enough for either version.
    private static func address(_ text: some StringProtocol, _ family: Int32) -> [UInt8]? {
        guard !text.utf8.contains(0) else { return nil }
        var bytes: [UInt8] = Array(repeating: 0, count: 16)
        let result = unsafe bytes.withUnsafeMutableBytes { unsafe inet_pton(family, String(text), $0.baseAddress) }
        guard result == 1 else { return nil }
        return family == AF_INET ? mapped + bytes.prefix(4) : bytes
    }

    // MARK: Forwarded addresses

    private static func forwarded(_ bytes: [UInt8]) -> String? {
        guard let peer = address(ProxyProbe.peer, AF_INET) else { return "no peer" }
        if let client = ProxyProbe.client(of: bytes, in: "X-Forwarded-For") {
            // More lines would be more fields.
            guard !bytes.contains(13), !bytes.contains(10) else { return nil }
            let expected = walk(bytes, peer)
            guard client == expected else { return "X-Forwarded-For: \(client) instead of \(expected)" }
        }
        if let client = ProxyProbe.client(of: bytes, in: "Forwarded"), client != peer {
            // What is believed must stand there: as digits and letters between `for=` and the next separator.
            let text = String(decoding: bytes, as: UTF8.self).lowercased()
            guard text.contains("for=") else { return "Forwarded: \(client) from nothing" }
        }
        return nil
    }

    private static func walk(_ bytes: [UInt8], _ peer: [UInt8]) -> [UInt8] {
        var last = peer
        for element in bytes.split(separator: 44).reversed() {
            let blanks: [UInt8] = [32, 9]
            var word = element.drop { blanks.contains($0) }
            while let end = word.last, blanks.contains(end) { word.removeLast() }
            if word.isEmpty { continue }
            guard let found = hop(String(decoding: word, as: UTF8.self)) else { return peer }
            last = found
            // 10.0.0.0/8, in either form.
            guard found.starts(with: mapped + [10]) else { return found }
        }
        return last
    }

    /// An address with or without brackets and port.
    private static func hop(_ text: String) -> [UInt8]? {
        func isPort(_ text: some StringProtocol) -> Bool {
            (1...5).contains(text.utf8.count) && text.utf8.allSatisfy { (48...57).contains($0) }
        }
        func any(_ text: some StringProtocol) -> [UInt8]? { address(text, AF_INET) ?? address(text, AF_INET6) }
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]") else { return nil }
            let rest = text[text.index(after: end)...]
            guard rest.isEmpty || (rest.hasPrefix(":") && isPort(rest.dropFirst())) else { return nil }
            return any(text[text.index(after: text.startIndex)..<end])
        }
        if parts.count == 2 { return isPort(parts[1]) ? any(parts[0]) : nil }
        return any(text)
    }
}
