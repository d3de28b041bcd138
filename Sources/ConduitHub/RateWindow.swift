/// How many of something any second has, by cells of five milliseconds: of what was, and of what is arranged for later.
///
/// A value: times are arguments, monotonic milliseconds. It errs upwards only: a second counts as all cells that it touches.
struct RateWindow {
    private static let cell: Int64 = 5
    /// Cells that a second may touch.
    private static let width = Int(1_000 / cell) + 1

    /// A ring; a cell's place is its number modulo the length.
    private var counts: [Int]
    /// The earliest cell that is kept: everything before it is out of every second that may still be asked about.
    private var first: Int64

    init(now: Int64) {
        counts = Array(repeating: 0, count: 4 * Self.width)
        first = Self.cell(of: now) - Int64(Self.width)
    }

    /// Forgets what is over for more than a second, and has room for `ahead` milliseconds from now.
    mutating func advance(to now: Int64, ahead: Int64 = 0) {
        let cells = Int((max(0, ahead) + Self.cell - 1) / Self.cell) + 4 * Self.width
        if cells > counts.count {
            var grown = Array(repeating: 0, count: cells)
            for number in first..<first + Int64(counts.count) {
                grown[Int(number % Int64(cells))] = counts[place(of: number)]
            }
            counts = grown
        }
        let next = Self.cell(of: now) - Int64(Self.width)
        guard next > first else { return }
        for number in first..<min(next, first + Int64(counts.count)) { counts[place(of: number)] = 0 }
        first = next
    }

    /// The most that any second with this time in it has.
    func most(around time: Int64) -> Int {
        let middle = clamped(time)
        let start = middle - Int64(Self.width) + 1
        var sum = 0
        for number in start...middle { sum += self[number] }
        var most = sum
        for number in start..<middle {
            sum += self[number + Int64(Self.width)] - self[number]
            most = max(most, sum)
        }
        return most
    }

    /// What the second that ends now has.
    func last(at now: Int64) -> Int {
        let end = clamped(now)
        // Another loop may be ahead by a little: what it has noted counts.
        return (end - Int64(Self.width) + 1...end + Int64(Self.width)).reduce(0) { $0 + self[$1] }
    }

    mutating func add(_ count: Int = 1, at time: Int64) { counts[place(of: clamped(time))] += count }

    private static func cell(of time: Int64) -> Int64 { max(0, time) / cell + 2 * Int64(width) }

    private func clamped(_ time: Int64) -> Int64 {
        min(max(Self.cell(of: time), first), first + Int64(counts.count) - 1)
    }

    private func place(of number: Int64) -> Int { Int(number % Int64(counts.count)) }

    private subscript(number: Int64) -> Int {
        guard number >= first, number < first + Int64(counts.count) else { return 0 }
        return counts[place(of: number)]
    }
}
