import Glibc

/// How many files this process may have open, which is how many clients a node can have.
enum DescriptorLimit {
    /// What Linux allows a process at most, unless `fs.nr_open` was changed.
    private static let most: rlim_t = 1_048_576

    /// Raises the soft limit as far as the hard one lets it.
    ///
    /// Shells, systemd and with it container runtimes give 1,024, for programs that use `select` and fail beyond it. In a
    /// pod nobody could say otherwise. What can't be raised shows in `process_max_fds`.
    static func raise() {
        var limit = rlimit()
        // Unsafe for the pointers, which live for the calls only.
        guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        let wanted = min(limit.rlim_max, most)
        guard limit.rlim_cur < wanted else { return }
        limit.rlim_cur = wanted
        unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
}
