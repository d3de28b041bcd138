/// How many of something any second has, by cells of five milliseconds: of what was, and of what is arranged for later.
///
/// A value: times are arguments, monotonic milliseconds. It errs upwards only: a second counts as all cells that it touches.
struct RateWindow {
    private static let cell: Int64 = 5
    /// Cells that a second may touch.
    private static let width = Int(1_000 / cell) + 1

    /// For each cell from ``first`` on, what the second has that ends with it: sums that are kept up to date, so that nothing
    /// is added up when they are asked for.
    private var sums: [Int32]
    /// The earliest cell that is kept: everything before it is out of every second that may still be asked about.
    private var first: Int64

    init(now: Int64) {
        sums = Array(repeating: 0, count: 4 * Self.width)
        first = Self.cell(of: now) - Int64(Self.width)
    }

    /// Forgets what is over for more than a second, and has room for `ahead` milliseconds from now.
    mutating func advance(to now: Int64, ahead: Int64 = 0) {
        let cells = Int((max(0, ahead) + Self.cell - 1) / Self.cell) + 4 * Self.width
        let next = max(first, Self.cell(of: now) - Int64(Self.width))
        sums.removeFirst(Int(min(next - first, Int64(sums.count))))
        first = next
        if sums.count < cells { sums.append(contentsOf: repeatElement(0, count: cells - sums.count)) }
    }

    /// The most that any second with this time in it has.
    func most(around time: Int64) -> Int {
        let place = place(of: time)
        return Int(sums[place..<place + Self.width].max() ?? 0)
    }

    /// What the second that ends now has.
    func last(at now: Int64) -> Int {
        let place = place(of: now)
        // Another loop may be ahead by a little: what it has noted counts.
        return Int(sums[place]) + Int(sums[place + Self.width])
    }

    mutating func add(_ count: Int = 1, at time: Int64) {
        let place = place(of: time)
        let count = Int32(clamping: count)
        for index in place..<place + Self.width { sums[index] &+= count }
    }

    /// One that was added at this time will not be, after all; nothing when that is long ago.
    mutating func remove(at time: Int64) {
        guard Self.cell(of: time) >= first else { return }
        add(-1, at: time)
    }

    private static func cell(of time: Int64) -> Int64 { max(0, time) / cell + 2 * Int64(width) }

    /// Where the cell of a time is kept: there is a second behind it in any case.
    private func place(of time: Int64) -> Int {
        Int(min(max(Self.cell(of: time) - first, 0), Int64(sums.count - Self.width - 1)))
    }
}
