package import Foundation
import Synchronization

/// A program that a test started, with its process id, and nothing of ours but three descriptors.
///
/// Foundation's `Process` lets programs that start at the same time inherit each other's pipes, so that one
/// seems to run as long as the other; here every descriptor but 0, 1 and 2 is closed in the child.
package final class SpawnedProcess: Sendable {
    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    package let pid: Int32
    /// Closing it is how we say that no more input comes.
    private let input: Mutex<FileHandle?>
    /// Standard output and standard error together.
    package let output: FileHandle
    /// The status of `waitpid`, once the process has ended.
    private let ended = Mutex<Int32?>(nil)

    /// Starts `arguments[0]`, found in `PATH`. `discardingErrors`: standard error goes nowhere.
    package init(
        _ arguments: [String], environment: [String: String]? = nil, discardingErrors: Bool = false
    ) throws {
        // Close-on-exec, so that whatever else is started meanwhile does not keep them open.
        let input = try Self.pipe()
        let output = try Self.pipe()
        let variables = (environment ?? ProcessInfo.processInfo.environment).map { "\($0)=\($1)" }
        // Unsafe: the C API of spawn; everything allocated for it is freed below.
        var actions = unsafe posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        unsafe posix_spawn_file_actions_init(&actions)
        unsafe posix_spawnattr_init(&attributes)
        defer {
            unsafe posix_spawn_file_actions_destroy(&actions)
            unsafe posix_spawnattr_destroy(&attributes)
            close(input.read)
            close(output.write)
        }
        unsafe posix_spawn_file_actions_adddup2(&actions, input.read, 0)
        unsafe posix_spawn_file_actions_adddup2(&actions, output.write, 1)
        if discardingErrors {
            unsafe posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
        } else {
            unsafe posix_spawn_file_actions_adddup2(&actions, output.write, 2)
        }
        // Closing what is not open is no error here.
        for descriptor in 3..<min(Int32(sysconf(Int32(_SC_OPEN_MAX))), 1024) {
            unsafe posix_spawn_file_actions_addclose(&actions, descriptor)
        }
        // Worker threads block signals; the child must not inherit that.
        var none = sigset_t()
        unsafe sigemptyset(&none)
        var all = sigset_t()
        unsafe sigfillset(&all)
        unsafe posix_spawnattr_setsigmask(&attributes, &none)
        unsafe posix_spawnattr_setsigdefault(&attributes, &all)
        unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

        var argv: [UnsafeMutablePointer<CChar>?] = unsafe arguments.map { unsafe strdup($0) } + [nil]
        var envp: [UnsafeMutablePointer<CChar>?] = unsafe variables.map { unsafe strdup($0) } + [nil]
        defer {
            unsafe (argv + envp).forEach { unsafe free($0) }
        }
        var pid: pid_t = 0
        let error = unsafe posix_spawnp(&pid, arguments.first ?? "", &actions, &attributes, &argv, &envp)
        self.input = Mutex(FileHandle(fileDescriptor: input.write, closeOnDealloc: true))
        self.output = FileHandle(fileDescriptor: output.read, closeOnDealloc: true)
        self.pid = pid
        guard error == 0 else {
            throw Failure(description: "\(arguments.first ?? ""): \(unsafe String(cString: strerror(error)))")
        }
    }

    /// Whether it has not ended yet.
    package var isRunning: Bool { exitStatus == nil }

    /// The exit status, 128 and the signal when a signal ended it, `nil` while it runs.
    package var exitStatus: Int32? { ended.withLock { Self.status(reaping: pid, &$0, WNOHANG) } }

    /// Sends a signal unless the process has ended.
    package func signal(_ number: Int32) {
        ended.withLock { ended in
            if Self.status(reaping: pid, &ended, WNOHANG) == nil { _ = kill(pid, number) }
        }
    }

    package func write(_ text: String) throws {
        try input.withLock { try $0?.write(contentsOf: Data(text.utf8)) }
    }

    package func closeInput() {
        input.withLock {
            try? $0?.close()
            $0 = nil
        }
    }

    /// Waits for the end, at most `limit`.
    package func wait(within limit: Duration = .seconds(60)) async throws -> Int32 {
        try await eventually("process \(pid) ends", within: limit) { !self.isRunning }
        return exitStatus ?? -1
    }

    /// Reaps once; a process id that was reaped may belong to somebody else, so it is never touched again.
    private static func status(reaping pid: Int32, _ ended: inout Int32?, _ flags: Int32) -> Int32? {
        if let ended { return ended }
        var raw: Int32 = 0
        // Unsafe: waitpid fills in a number of ours.
        guard unsafe waitpid(pid, &raw, flags) == pid else { return nil }
        let signal = raw & 0x7F
        ended = signal == 0 ? (raw >> 8) & 0xFF : 128 + signal
        return ended
    }

    private static func pipe() throws -> (read: Int32, write: Int32) {
        var ends: [Int32] = [-1, -1]
        // Unsafe: pipe fills in two numbers.
        guard unsafe Foundation.pipe(&ends) == 0 else { throw Failure(description: "no pipe") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        return (ends[0], ends[1])
    }
}
