import ConduitWire

/// Reads `Sec-WebSocket-Extensions` (RFC 6455, 9.1) and chooses among the offers of `permessage-deflate` (RFC 7692, 7.1).
struct ExtensionOffers {
    /// One offer: the extension's name and its parameters, in order.
    struct Offer: Equatable {
        var name: String
        var parameters: [Parameter] = []
    }

    /// A parameter, with its value where it has one; quotes are taken off.
    struct Parameter: Equatable {
        var name: String
        var value: String?
    }

    /// All lines of a request together: that many offers are read, far more than any client makes.
    private static let most = 32

    /// For clients that take less than what this server wants to use, but not least.
    private static let middleWindowBits: UInt8 = 12

    private(set) var offers: [Offer] = []

    /// Reads one line of the field behind those before it; `false` when it isn't what the standard says it is.
    mutating func read(_ line: ArraySlice<UInt8>) -> Bool {
        var scanner = Scanner(rest: line)
        while true {
            scanner.skipBlanks()
            // Lists may have empty elements.
            if scanner.take(0x2C) { continue }
            if scanner.isAtEnd { return true }
            guard let offer = scanner.offer(), scanner.isAtEnd || scanner.take(0x2C), offers.count < Self.most else {
                return false
            }
            offers.append(offer)
        }
    }

    /// The first offer that can be met; `nil` where there is none.
    ///
    /// - Parameter windowBits: the largest window that this server wants to use.
    func deflate(windowBits: UInt8) -> DeflateParameters? {
        for offer in offers where offer.name == "permessage-deflate" {
            if let agreed = Self.accept(offer, windowBits: windowBits) { return agreed }
        }
        return nil
    }

    /// What unknown, doubled or wrong parameters ask for can't be known, so they decline their offer (RFC 7692, 7.1).
    private static func accept(_ offer: Offer, windowBits: UInt8) -> DeflateParameters? {
        var agreed = DeflateParameters(serverWindowBits: windowBits, saysServerWindow: windowBits < 15)
        var seen: Set<String> = []
        for parameter in offer.parameters {
            guard seen.insert(parameter.name).inserted else { return nil }
            switch (parameter.name, parameter.value) {
            // No side keeps a context in any case, so both may be asked for.
            case ("server_no_context_takeover", nil), ("client_no_context_takeover", nil): break
            case ("server_max_window_bits", let value?):
                // zlib makes no raw stream with a window of 8 bits.
                guard let bits = Self.bits(value), DeflateParameters.windowBits.contains(bits) else { return nil }
                agreed.serverWindowBits = Self.window(windowBits, asked: bits)
                agreed.saysServerWindow = true
            case ("client_max_window_bits", nil): break
            case ("client_max_window_bits", let value?):
                // What the client will use is less than the server could read: it is only told that this is fine.
                guard let bits = Self.bits(value) else { return nil }
                agreed.clientWindowBits = bits
            default: return nil
            }
        }
        return agreed
    }

    /// The window for a client that takes no larger one than it has asked for.
    ///
    /// One of three at most, since each window that some member of a room has costs another compression of its messages;
    /// a smaller one than was asked for may be answered (RFC 7692, 7.1.2.1).
    private static func window(_ largest: UInt8, asked: UInt8) -> UInt8 {
        guard asked < largest else { return largest }
        return asked >= middleWindowBits ? middleWindowBits : DeflateParameters.windowBits.lowerBound
    }

    /// 8 to 15, without a zero before them.
    private static func bits(_ text: String) -> UInt8? {
        switch text {
        case "8", "9", "10", "11", "12", "13", "14", "15": UInt8(text)
        default: nil
        }
    }

    /// What stands in the header of the answer.
    static func answer(_ agreed: DeflateParameters) -> String {
        var text = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        if agreed.saysServerWindow { text += "; server_max_window_bits=\(agreed.serverWindowBits)" }
        if let bits = agreed.clientWindowBits { text += "; client_max_window_bits=\(bits)" }
        return text
    }

    /// Takes tokens from the front.
    private struct Scanner {
        var rest: ArraySlice<UInt8>

        var isAtEnd: Bool { rest.isEmpty }

        mutating func skipBlanks() {
            while let byte = rest.first, RequestHead.isBlank(byte) { rest.removeFirst() }
        }

        mutating func take(_ byte: UInt8) -> Bool {
            guard rest.first == byte else { return false }
            rest.removeFirst()
            return true
        }

        /// extension = token *( ";" token [ "=" ( token | quoted-string ) ] )
        mutating func offer() -> Offer? {
            guard let name = token() else { return nil }
            var offer = Offer(name: name)
            skipBlanks()
            while take(0x3B) {
                skipBlanks()
                guard let name = token() else { return nil }
                skipBlanks()
                var parameter = Parameter(name: name)
                if take(0x3D) {
                    skipBlanks()
                    guard let value = rest.first == 0x22 ? quoted() : token() else { return nil }
                    parameter.value = value
                    skipBlanks()
                }
                offer.parameters.append(parameter)
            }
            return offer
        }

        private mutating func token() -> String? {
            let end = rest.firstIndex { !RequestHead.isToken($0) } ?? rest.endIndex
            guard end > rest.startIndex else { return nil }
            defer { rest = rest[end...] }
            return String(decoding: rest[..<end], as: UTF8.self)
        }

        /// A quoted string, which must hold a token when the escapes are taken out.
        private mutating func quoted() -> String? {
            guard take(0x22) else { return nil }
            var value: [UInt8] = []
            while let byte = rest.popFirst() {
                switch byte {
                case 0x22: return value.isEmpty ? nil : String(decoding: value, as: UTF8.self)
                case 0x5C:
                    guard let escaped = rest.popFirst(), RequestHead.isToken(escaped) else { return nil }
                    value.append(escaped)
                default:
                    guard RequestHead.isToken(byte) else { return nil }
                    value.append(byte)
                }
            }
            return nil
        }
    }
}
