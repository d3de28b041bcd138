/// What the control group of this process lets it have (cgroup version 1 and 2).
package enum ControlGroup {
    /// The least memory limit of the process's groups in bytes; `nil` when none is set.
    package static func memoryLimit() -> UInt64? {
        memoryLimit(groups: FileBytes.text("/proc/self/cgroup") ?? "", read: FileBytes.text)
    }

    /// - Parameters:
    ///   - groups: the lines of `/proc/self/cgroup`: `number:controllers:path`; version 2 has no controllers there.
    ///   - read: the text of a file, if there is one.
    package static func memoryLimit(groups: String, read: (String) -> String?) -> UInt64? {
        var least: UInt64?
        for line in groups.split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3 else { continue }
            let root: String
            let file: String
            if parts[1].isEmpty {
                (root, file) = ("/sys/fs/cgroup", "memory.max")
            } else if parts[1].split(separator: ",").contains("memory") {
                (root, file) = ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            } else {
                continue
            }
            // A limit of any group above holds too. In a container the path may be the host's, whose groups aren't
            // there; the root is then the container's own.
            var path = parts[2].split(separator: "/").prefix(32)
            while true {
                let folder = path.isEmpty ? root : root + "/" + path.joined(separator: "/")
                if let limit = read(folder + "/" + file).flatMap(limit), limit < least ?? .max { least = limit }
                guard path.popLast() != nil else { break }
            }
        }
        return least
    }

    /// `max`, or what version 1 says when there is no limit (nearly 2⁶³), is none.
    private static func limit(_ text: String) -> UInt64? {
        guard let number = UInt64(text.prefix { $0 != "\n" }), number > 0, number < 1 << 62 else { return nil }
        return number
    }
}
