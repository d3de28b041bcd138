/// Who is behind the proxies: what `Forwarded` (RFC 7239) and `X-Forwarded-For` say, as far as it can be believed.
///
/// Each proxy adds the peer that it saw at the right end. So the list is walked from there, past hops that are trusted,
/// to the first that isn't: that is the client, and whatever stands left of it may be the client's own invention.
enum ForwardedAddress {
    private enum Finding {
        case absent
        /// Something stands where an address has to be.
        case malformed
        case address(IPAddress)
    }

    /// The client's address; the peer's own where nothing else can be believed.
    ///
    /// A proxy writes one of the two fields and lets the other through. So if both are there, they count only when they
    /// agree: which of them the client has written can't be told.
    static func client(of head: RequestHead, peer: IPAddress, trusted: TrustedProxies) -> IPAddress {
        guard trusted.contains(peer) else { return peer }
        let standard = find("forwarded", in: head, trusted, elements: forwardedElements)
        let usual = find("x-forwarded-for", in: head, trusted, elements: listElements)
        return switch (standard, usual) {
        case (.absent, .address(let address)), (.address(let address), .absent): address
        case (.address(let address), .address(let other)) where address == other: address
        default: peer
        }
    }

    private static func find(
        _ name: String, in head: RequestHead, _ trusted: TrustedProxies,
        elements: (ArraySlice<UInt8>) -> [String?]?
    ) -> Finding {
        var last: IPAddress?
        for line in head.values(name).reversed() {
            guard let elements = elements(line) else { return .malformed }
            for element in elements.reversed() {
                guard let element, let address = address(element) else { return .malformed }
                guard trusted.contains(address) else { return .address(address) }
                last = address
            }
        }
        return last.map { .address($0) } ?? .absent
    }

    // MARK: What stands in the fields

    /// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`. Names such as `unknown` and
    /// `_hidden` are none.
    static func address(_ text: String) -> IPAddress? {
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]") else { return nil }
            let rest = text[text.index(after: end)...]
            guard rest.isEmpty || isPort(rest) else { return nil }
            return IPAddress(text[text.index(after: text.startIndex)..<end])
        }
        if let colon = text.firstIndex(of: ":"), text[text.index(after: colon)...].firstIndex(of: ":") == nil {
            guard isPort(text[colon...]) else { return nil }
            return IPAddress(text[..<colon])
        }
        return IPAddress(text)
    }

    private static func isPort(_ text: Substring) -> Bool {
        text.hasPrefix(":") && (2...6).contains(text.utf8.count)
            && text.utf8.dropFirst().allSatisfy { (0x30...0x39).contains($0) }
    }

    /// The elements of a plain list.
    private static func listElements(_ line: ArraySlice<UInt8>) -> [String?]? {
        line.split(separator: 0x2C).map(trimmed).filter { !$0.isEmpty }.map { String(decoding: $0, as: UTF8.self) }
    }

    private static func trimmed(_ text: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var text = text
        while let first = text.first, RequestHead.isBlank(first) { text.removeFirst() }
        while let last = text.last, RequestHead.isBlank(last) { text.removeLast() }
        return text
    }

    /// What each element says with `for=`; `nil` in there when it doesn't. `nil` for all when it is not RFC 7239:
    /// quoted text may hold commas, so the rest of such a line means nothing.
    static func forwardedElements(_ line: ArraySlice<UInt8>) -> [String?]? {
        var elements: [String?] = []
        var text = line
        while true {
            var client: String?
            var isEmpty = true
            repeat {
                text = text.drop(while: RequestHead.isBlank)
                if text.isEmpty || text.first == 0x2C || text.first == 0x3B { continue }
                isEmpty = false
                let name = text.prefix(while: RequestHead.isToken)
                text = text.dropFirst(name.count)
                guard !name.isEmpty, text.popFirst() == 0x3D, let value = value(&text) else { return nil }
                text = text.drop(while: RequestHead.isBlank)
                if RequestHead.equals(name, "for") {
                    guard client == nil else { return nil }
                    client = value
                }
            } while skip(0x3B, &text)
            if !isEmpty { elements.append(client) }
            if text.isEmpty { return elements }
            guard skip(0x2C, &text) else { return nil }
        }
    }

    private static func skip(_ byte: UInt8, _ text: inout ArraySlice<UInt8>) -> Bool {
        guard text.first == byte else { return false }
        text.removeFirst()
        return true
    }

    /// A token or a quoted string. Many write an address of version 6 without the quotes that it needs; they are wrong.
    private static func value(_ text: inout ArraySlice<UInt8>) -> String? {
        guard skip(0x22, &text) else {
            // Without quotes a port needs a colon, which is no byte of a token, but what everybody sends.
            let value = text.prefix { RequestHead.isToken($0) || $0 == 0x3A }
            text = text.dropFirst(value.count)
            return value.isEmpty ? nil : String(decoding: value, as: UTF8.self)
        }
        var value: [UInt8] = []
        while let byte = text.popFirst() {
            switch byte {
            case 0x22: return String(decoding: value, as: UTF8.self)
            case 0x5C:
                guard let escaped = text.popFirst() else { return nil }
                value.append(escaped)
            default: value.append(byte)
            }
        }
        return nil
    }
}
