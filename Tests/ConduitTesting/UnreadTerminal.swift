import Foundation

/// A terminal that takes what a program writes only when the test reads it: the two ends of a pty.
package final class UnreadTerminal: Sendable {
    private let controller: Int32
    /// The other end, open so that the terminal outlives its programs.
    private let terminal: Int32
    /// Where programs open it.
    package let path: String

    package init(columns: UInt16, rows: UInt16) throws {
        // Unsafe: the path is a C string that lives for the call.
        controller = unsafe open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)
        var (number, lock): (UInt32, Int32) = (0, 0)
        // Unsafe: the calls read and fill in values of ours. TIOCSPTLCK and TIOCGPTN, which Swift doesn't know.
        guard controller >= 0, unsafe ioctl(controller, 0x4004_5431, &lock) == 0,
            unsafe ioctl(controller, 0x8004_5430, &number) == 0
        else { throw SpawnedProcess.Failure(description: "no pty: \(errno)") }
        path = "/dev/pts/\(number)"
        // Unsafe: the path is a C string that lives for the call.
        terminal = unsafe open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)
        var size = winsize(ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0)
        // Unsafe: the call reads a value of ours.
        guard terminal >= 0, unsafe ioctl(terminal, UInt(TIOCSWINSZ), &size) == 0 else {
            throw SpawnedProcess.Failure(description: "no terminal: \(errno)")
        }
    }

    deinit {
        close(terminal)
        close(controller)
    }

    /// Whether it takes no byte more.
    package var isFull: Bool {
        var look = pollfd(fd: terminal, events: Int16(POLLOUT), revents: 0)
        // Unsafe: the call fills in a value of ours.
        return unsafe poll(&look, 1, 0) == 0
    }

    /// How it is set: raw or not, with or without echo.
    package var settings: [UInt32] {
        var settings = termios()
        // Unsafe: the call fills in a value of ours.
        _ = unsafe tcgetattr(terminal, &settings)
        return [settings.c_iflag, settings.c_oflag, settings.c_cflag, settings.c_lflag]
    }

    package func press(_ byte: UInt8) {
        // Unsafe: the byte lives for the call.
        _ = unsafe withUnsafeBytes(of: byte) { unsafe write(controller, $0.baseAddress, 1) }
    }

    /// All that was written by now.
    package func read() -> String {
        var all: [UInt8] = []
        var bytes = [UInt8](repeating: 0, count: 65_536)
        while true {
            // Unsafe: the kernel fills the array, at most as much as it has room for.
            let count = unsafe bytes.withUnsafeMutableBytes {
                unsafe Foundation.read(controller, $0.baseAddress, $0.count)
            }
            guard count > 0 else { return String(decoding: all, as: UTF8.self) }
            all += bytes.prefix(count)
        }
    }
}
