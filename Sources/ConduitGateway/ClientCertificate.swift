/// Whom the certificate names that a client has shown, and that one of `http.tls-client-ca` vouches for.
public struct ClientCertificate: Hashable, Sendable {
    /// The common name of its subject.
    public let commonName: String?
    /// Names of DNS, mail addresses and URIs for which it stands (its subject alternative names).
    public let names: [String]

    /// Reads a certificate; TLS has verified it, so this looks at what it needs only.
    ///
    /// Text with control characters is left out: a name with a zero in it has fooled many a program.
    init?(der: [UInt8]) {
        // Certificate ::= SEQUENCE { tbsCertificate, … }
        var file = DERReader(der[...])
        guard var outer = file.enter(0x30), var body = outer.enter(0x30) else { return nil }
        // [0] version, serial number, algorithm, issuer, validity
        _ = body.enter(0xA0)
        guard body.enter(0x02) != nil, body.enter(0x30) != nil, body.enter(0x30) != nil, body.enter(0x30) != nil,
            let subject = body.enter(0x30), body.enter(0x30) != nil
        else { return nil }
        commonName = Self.commonName(subject)
        _ = body.enter(0x81)
        _ = body.enter(0x82)
        names = body.enter(0xA3).map(Self.alternativeNames) ?? []
    }

    /// The last, which is the most significant.
    private static func commonName(_ subject: DERReader) -> String? {
        var subject = subject
        var found: String?
        while var set = subject.enter(0x31) {
            while var pair = set.enter(0x30) {
                guard pair.enter(0x06)?.bytes.elementsEqual([0x55, 0x04, 0x03]) == true, let value = pair.next(),
                    [0x0C, 0x13, 0x16].contains(value.tag)
                else { continue }
                found = text(value.content) ?? found
            }
        }
        return found
    }

    private static func alternativeNames(_ extensions: DERReader) -> [String] {
        var outer = extensions
        guard var list = outer.enter(0x30) else { return [] }
        var names: [String] = []
        while var entry = list.enter(0x30) {
            guard entry.enter(0x06)?.bytes.elementsEqual([0x55, 0x1D, 0x11]) == true else { continue }
            _ = entry.enter(0x01)
            guard var value = entry.enter(0x04), var general = value.enter(0x30) else { continue }
            // [1] mail, [2] DNS, [6] URI
            while let name = general.next(), names.count < 64 {
                if [0x81, 0x82, 0x86].contains(name.tag), let text = text(name.content) { names.append(text) }
            }
        }
        return names
    }

    private static func text(_ bytes: ArraySlice<UInt8>) -> String? {
        guard !bytes.isEmpty, bytes.count <= 1_024, bytes.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else { return nil }
        return String(validating: bytes, as: UTF8.self)
    }
}

/// Walks over the elements of one level of DER.
private struct DERReader {
    private(set) var bytes: ArraySlice<UInt8>

    init(_ bytes: ArraySlice<UInt8>) { self.bytes = bytes }

    /// The next element; `nil` at the end, or where there is none that fits.
    mutating func next() -> (tag: UInt8, content: ArraySlice<UInt8>)? {
        var rest = bytes
        guard let tag = rest.popFirst(), let first = rest.popFirst() else { return nil }
        var length = Int(first)
        if first >= 0x80 {
            guard (1...3).contains(first & 0x7F) else { return nil }
            length = 0
            for _ in 0..<first & 0x7F {
                guard let byte = rest.popFirst() else { return nil }
                length = length << 8 | Int(byte)
            }
        }
        guard length <= rest.count else { return nil }
        bytes = rest.dropFirst(length)
        return (tag, rest.prefix(length))
    }

    /// Goes over the next element if it has this tag, and returns what is in it.
    mutating func enter(_ tag: UInt8) -> DERReader? {
        var copy = self
        guard let element = copy.next(), element.tag == tag else { return nil }
        self = copy
        return DERReader(element.content)
    }
}
