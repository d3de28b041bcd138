import Foundation

/// The terminal of a live view: keys come one by one, the screen is another one, and everything is as it was afterwards.
///
/// Lines are drawn where they changed only, and what the terminal doesn't take holds nobody: it waits here, one picture at
/// most. Not for two threads at the same time; ``readKeys(_:)`` reads on a thread of its own.
final class Terminal {
    private let input: Int32
    /// Never waits for the terminal. Opened anew where that can be: others that have it open go on as they were.
    private let output: Int32
    private let saved: termios
    private let colours: Bool
    private var isEntered = false
    private var shown: [String] = []
    /// What the terminal has not taken yet.
    private var rest: ArraySlice<UInt8> = []

    /// `nil` where there is no terminal to read from and to write to, or one that can't move its cursor.
    init?() {
        let environment = ProcessInfo.processInfo.environment
        guard isatty(STDOUT_FILENO) == 1, environment["TERM"] != "dumb" else { return nil }
        // Input may come from elsewhere: the terminal itself has the keys.
        // Unsafe: the path is a C string that lives for the call.
        let input = isatty(STDIN_FILENO) == 1 ? STDIN_FILENO : unsafe open("/dev/tty", O_RDONLY | O_CLOEXEC)
        var settings = termios()
        // Unsafe: tcgetattr fills in a value of ours.
        guard input >= 0, unsafe tcgetattr(input, &settings) == 0 else { return nil }
        self.input = input
        output = Self.withoutWaiting() ?? STDOUT_FILENO
        saved = settings
        colours = (environment["NO_COLOR"] ?? "").isEmpty
    }

    /// The terminal of standard output, opened once more; `nil` where it is another user's, as behind `su`.
    private static func withoutWaiting() -> Int32? {
        var name = [CChar](repeating: 0, count: 1_024)
        // Unsafe: the C library fills the array, at most as much as it has room for.
        guard unsafe ttyname_r(STDOUT_FILENO, &name, name.count) == 0 else { return nil }
        // Unsafe: the path is a C string that lives for the call.
        let descriptor = unsafe open(name, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
        return descriptor >= 0 ? descriptor : nil
    }

    deinit {
        leave()
        if output != STDOUT_FILENO { close(output) }
    }

    /// Columns and rows.
    var size: (columns: Int, rows: Int) {
        var size = winsize()
        // Unsafe: the call fills in a value of ours.
        guard unsafe ioctl(output, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0, size.ws_row > 0 else {
            return (80, 24)
        }
        return (Int(size.ws_col), Int(size.ws_row))
    }

    /// Takes the terminal, or takes it again.
    func enter() {
        isEntered = true
        var raw = saved
        // Unsafe: both work on a value of ours.
        unsafe cfmakeraw(&raw)
        _ = unsafe tcsetattr(input, TCSANOW, &raw)
        shown = []
        // The other screen; no cursor; what is too long is cut off and doesn't wrap.
        begin("\u{1B}[?1049h\u{1B}[?25l\u{1B}[?7l\u{1B}[2J")
        _ = write(within: .milliseconds(100))
    }

    /// Gives it back as it was. A terminal that takes nothing is waited for a second.
    func leave() {
        guard isEntered else { return }
        isEntered = false
        begin("\u{1B}[?2026l\u{1B}[0m\u{1B}[?7h\u{1B}[?25h\u{1B}[?1049l")
        _ = write(within: .seconds(1))
        // Keys that nobody has read are forgotten. Neither call waits until everything was shown.
        tcflush(input, TCIFLUSH)
        var settings = saved
        // Unsafe: the call reads a value of ours.
        _ = unsafe tcsetattr(input, TCSANOW, &settings)
    }

    /// Everything is drawn anew the next time.
    func forget() { shown = [] }

    /// Whether the terminal has not taken all of a picture.
    var isBehind: Bool { !rest.isEmpty }

    /// Shows these lines from the top on, unless the terminal is behind. `false`: it is gone.
    func draw(_ lines: [StyledLine]) -> Bool {
        // Stopped and continued, somebody else has the terminal until it is entered again.
        guard isEntered else { return true }
        guard write(within: .zero) else { return false }
        guard !isBehind else { return true }
        let columns = size.columns
        // Behind a full line the cursor stands on the last letter: what clears the rest would take it away.
        let coded = lines.map { $0.coded(colours: colours) + ($0.width < columns ? "\u{1B}[0m\u{1B}[K" : "\u{1B}[0m") }
        // Terminals that know of it show all changes at once.
        var text = "\u{1B}[?2026h"
        if shown.isEmpty { text += "\u{1B}[2J" }
        for (row, line) in coded.enumerated() where row >= shown.count || shown[row] != line {
            text += "\u{1B}[\(row + 1);1H\(line)"
        }
        if coded.count < shown.count { text += "\u{1B}[\(coded.count + 1);1H\u{1B}[J" }
        shown = coded
        begin(text + "\u{1B}[?2026l")
        return write(within: .milliseconds(100))
    }

    /// From now on this is to be written. Of what was not taken the rest is forgotten: an escape ends what was cut off.
    private func begin(_ text: String) { rest = Array(text.utf8)[...] }

    /// Writes what the terminal takes in so long. `false`: it is gone.
    private func write(within patience: Duration) -> Bool {
        let clock = ContinuousClock()
        let end = clock.now + patience
        while !rest.isEmpty {
            // Unsafe: the bytes live for the call.
            let count = unsafe rest.withUnsafeBytes { unsafe Foundation.write(output, $0.baseAddress, $0.count) }
            if count > 0 {
                rest = rest.dropFirst(count)
                continue
            }
            guard errno == EAGAIN || errno == EINTR else { return false }
            guard clock.now < end else { return true }
            var look = pollfd(fd: output, events: Int16(POLLOUT), revents: 0)
            // Unsafe: the call fills in a value of ours.
            _ = unsafe poll(&look, 1, 20)
        }
        return true
    }

    /// Reads keys on a thread of its own until the process ends; `take` gets them, and `nil` once no more will come.
    func readKeys(_ take: @escaping @Sendable (TerminalKey?) -> Void) {
        let input = input
        Thread.detachNewThread {
            var bytes = [UInt8](repeating: 0, count: 256)
            while true {
                // Unsafe: the kernel fills the array, at most as much as it has room for.
                let count = unsafe bytes.withUnsafeMutableBytes { unsafe read(input, $0.baseAddress, $0.count) }
                if count > 0 {
                    for key in TerminalKey.read(bytes.prefix(count)) { take(key) }
                } else if count == 0 || errno != EINTR {
                    return take(nil)
                }
            }
        }
    }
}

/// What somebody has pressed.
package enum TerminalKey: Sendable, Hashable {
    case letter(Character)
    case up, down, left, right, pageUp, pageDown, home, end
    case interrupt, suspend, redraw, escape

    /// The keys of one read. A terminal sends the bytes of one key together.
    package static func read(_ bytes: some Collection<UInt8>) -> [TerminalKey] {
        var keys: [TerminalKey] = []
        var rest = Array(bytes)[...]
        while let byte = rest.popFirst() {
            switch byte {
            case 0x03: keys.append(.interrupt)
            case 0x1A: keys.append(.suspend)
            case 0x0C: keys.append(.redraw)
            case 0x1B:
                guard let kind = rest.first, kind == UInt8(ascii: "[") || kind == UInt8(ascii: "O") else {
                    keys.append(.escape)
                    continue
                }
                rest = rest.dropFirst()
                let parameters = rest.prefix { !(0x40...0x7E).contains($0) }
                rest = rest.dropFirst(parameters.count)
                guard let final = rest.popFirst() else { continue }
                if let key = sequence(final, Array(parameters)) { keys.append(key) }
            case 0x20...0x7E: keys.append(.letter(Character(Unicode.Scalar(byte))))
            default: break
            }
        }
        return keys
    }

    private static func sequence(_ final: UInt8, _ parameters: [UInt8]) -> TerminalKey? {
        switch final {
        case UInt8(ascii: "A"): .up
        case UInt8(ascii: "B"): .down
        case UInt8(ascii: "C"): .right
        case UInt8(ascii: "D"): .left
        case UInt8(ascii: "H"): .home
        case UInt8(ascii: "F"): .end
        case UInt8(ascii: "~"):
            switch parameters.first {
            case UInt8(ascii: "1"), UInt8(ascii: "7"): .home
            case UInt8(ascii: "4"), UInt8(ascii: "8"): .end
            case UInt8(ascii: "5"): .pageUp
            case UInt8(ascii: "6"): .pageDown
            default: nil
            }
        default: nil
        }
    }
}
