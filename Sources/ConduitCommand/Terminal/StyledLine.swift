/// One line for a terminal: pieces of text, each in one style.
package struct StyledLine: Sendable, Hashable {
    package enum Style: String, Sendable {
        case plain = ""
        case bold = "1"
        case dim = "2"
        case reversed = "7"
        case green = "32"
        case yellow = "33"
        case red = "31"
        case cyan = "36"
    }

    package struct Piece: Sendable, Hashable {
        package var text: String
        package var style: Style
    }

    package private(set) var pieces: [Piece] = []
    /// Columns that it takes.
    package private(set) var width = 0

    package init() {}

    package init(_ text: String, _ style: Style = .plain) { add(text, style) }

    /// Appends text that is fit for a terminal already.
    package mutating func add(_ text: String, _ style: Style = .plain) {
        guard !text.isEmpty else { return }
        width += Columns.width(text)
        if let last = pieces.indices.last, pieces[last].style == style {
            pieces[last].text += text
        } else {
            pieces.append(Piece(text: text, style: style))
        }
    }

    /// Appends spaces up to a column.
    package mutating func fill(to column: Int) {
        add(String(repeating: " ", count: max(0, column - width)))
    }

    /// Without styles, and without spaces at the end.
    package var plain: String {
        let text = pieces.map(\.text).joined()
        return String(text.reversed().drop { $0 == " " }.reversed())
    }

    /// With the terminal's codes for the styles; colours only where they are wanted.
    package func coded(colours: Bool) -> String {
        pieces.map { piece in
            switch piece.style {
            case .plain: piece.text
            case .bold, .dim, .reversed: "\u{1B}[\(piece.style.rawValue)m\(piece.text)\u{1B}[0m"
            default: colours ? "\u{1B}[\(piece.style.rawValue)m\(piece.text)\u{1B}[0m" : piece.text
            }
        }.joined()
    }
}
