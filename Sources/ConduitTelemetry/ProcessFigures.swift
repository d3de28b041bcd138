import Glibc

/// What this process uses of its machine, read from `/proc`.
public struct ProcessFigures: Sendable, Hashable {
    /// Resident memory in bytes.
    public var residentBytes: UInt64
    /// CPU time in seconds since the start, user and system, all threads.
    public var cpuSeconds: Double
    /// Open file descriptors.
    public var openDescriptors: Int
    /// Most file descriptors allowed; 0 when there is no limit or it can't be read.
    public var maxDescriptors: Int
    /// When the process has started, in seconds since 1970; 0 when it can't be read.
    public var startedAt = startTime
    /// When the figures were read, in seconds of a clock that never jumps.
    public var takenAt: Double

    /// Makes figures; for tests and for ``now()``.
    public init(
        residentBytes: UInt64, cpuSeconds: Double, openDescriptors: Int, maxDescriptors: Int, takenAt: Double
    ) {
        self.residentBytes = residentBytes
        self.cpuSeconds = cpuSeconds
        self.openDescriptors = openDescriptors
        self.maxDescriptors = maxDescriptors
        self.takenAt = takenAt
    }

    /// Reads the figures of this process: four small files, no waiting. A file that can't be read counts as 0.
    public static func now() -> ProcessFigures {
        ProcessFigures(
            residentBytes: residentBytes(), cpuSeconds: seconds(of: CLOCK_PROCESS_CPUTIME_ID),
            openDescriptors: openDescriptors(), maxDescriptors: maxDescriptors(),
            takenAt: seconds(of: CLOCK_MONOTONIC))
    }

    /// How busy the process was since `earlier`: 100 is one core. 0 when no time went by.
    public func cpuPercent(since earlier: ProcessFigures) -> Double {
        let wall = takenAt - earlier.takenAt
        guard wall > 0 else { return 0 }
        return max(0, (cpuSeconds - earlier.cpuSeconds) / wall * 100)
    }

    /// Resident memory alone, in bytes: one small file.
    package static func residentBytes() -> UInt64 {
        // statm: sizes in pages; the second is the resident one.
        let fields = fileText("/proc/self/statm").split(separator: " ")
        guard fields.count > 1, let pages = UInt64(fields[1]) else { return 0 }
        return pages * UInt64(max(0, sysconf(Int32(_SC_PAGESIZE))))
    }

    /// It doesn't change, so it is read once.
    private static let startTime: Double = {
        // Behind the name, which may hold anything: the 20th field is the start in clock ticks since the machine's own.
        guard let rest = fileText("/proc/self/stat").split(separator: ")").last else { return 0 }
        let fields = rest.split(separator: " ")
        let ticks = Double(sysconf(Int32(_SC_CLK_TCK)))
        guard fields.count > 19, let start = Double(fields[19]), ticks > 0 else { return 0 }
        return seconds(of: CLOCK_REALTIME) - seconds(of: CLOCK_BOOTTIME) + start / ticks
    }()

    private static func maxDescriptors() -> Int {
        for line in fileText("/proc/self/limits").split(separator: "\n") where line.hasPrefix("Max open files") {
            return line.dropFirst("Max open files".count).split(separator: " ").first.flatMap { Int($0) } ?? 0
        }
        return 0
    }

    private static func openDescriptors() -> Int {
        var status = stat()
        // Unsafe for the pointer to `status`, which lives for the call only. Linux 6.2 and later tell the
        // number of descriptors as the size of the directory; that is much cheaper than to list it.
        if unsafe stat("/proc/self/fd", &status) == 0, status.st_size > 0 { return Int(status.st_size) }
        // Unsafe for the directory handle, which does not leave this function.
        guard let directory = unsafe opendir("/proc/self/fd") else { return 0 }
        defer { unsafe closedir(directory) }
        var count = 0
        while unsafe readdir(directory) != nil { count += 1 }
        return max(0, count - 3)  // without ".", ".." and the directory itself
    }

    private static func seconds(of clock: clockid_t) -> Double {
        var time = timespec()
        // Unsafe for the pointer, which lives for the call only.
        unsafe clock_gettime(clock, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1_000_000_000
    }

    /// The first 4 KB of a file; empty when it can't be read.
    private static func fileText(_ path: String) -> String {
        // Unsafe for the C string, which lives for the call only.
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return "" }
        defer { _ = close(descriptor) }
        // Unsafe because the kernel fills the memory; it gets the buffer's own size.
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: 4096) { buffer, count in
            unsafe count = max(0, read(descriptor, buffer.baseAddress, buffer.count))
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
