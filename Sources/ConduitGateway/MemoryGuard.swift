import CLinux
import ConduitTelemetry
import Logging
import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// Says whether the process has as much memory as it may: then nobody new comes in, and who is there stays.
///
/// Looked at once a second, off the message path. It is over when there is less than 95 % again, so that it doesn't
/// flicker.
final class MemoryGuard: Sendable {
    /// Most resident bytes; 0 for no limit.
    var limit: UInt64 {
        get { limitCell.load(ordering: .relaxed) }
        set { limitCell.store(newValue, ordering: .relaxed) }
    }
    private let limitCell: Atomic<UInt64>
    private let resident: @Sendable () -> UInt64
    private let isOverCell = Atomic<Bool>(false)

    init(limit: UInt64, resident: @escaping @Sendable () -> UInt64) {
        self.limitCell = Atomic(limit)
        self.resident = resident
    }

    /// The limit that a setting means: 0 is four fifths of what the control group has, if it has a limit.
    static func limit(_ setting: Int) -> UInt64 {
        if setting > 0 { return UInt64(setting) }
        return ControlGroup.memoryLimit().map { $0 / 5 * 4 } ?? 0
    }

    var isOver: Bool { isOverCell.load(ordering: .relaxed) }

    /// Looks once and says in the log when something has changed.
    func look(_ logger: Logger) {
        let limit = limit
        guard limit > 0 || isOver else { return }
        let bytes = resident()
        let wasOver = isOver
        let isOver = limit > 0 && bytes >= (wasOver ? limit / 100 * 95 : limit)
        guard isOver != wasOver else { return }
        isOverCell.store(isOver, ordering: .relaxed)
        let figures: Logger.Metadata = [LogKey.residentBytes: "\(bytes)", LogKey.limitBytes: "\(limit)"]
        if isOver {
            logger.warning("memory is at limits.memory-bytes: no new clients", metadata: figures)
        } else {
            logger.notice("memory is below limits.memory-bytes again: clients are taken", metadata: figures)
        }
    }

    /// Gives the system back what is free: the C library keeps freed memory, and the node would stay overloaded for
    /// memory that nobody uses.
    static func trim() {
        #if canImport(Glibc)
            _ = malloc_trim(0)
        #endif
    }
}
