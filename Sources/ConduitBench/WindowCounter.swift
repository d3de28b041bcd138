/// How far one publisher's messages have reached all members on one loop: the half of a closed loop that counts.
package struct WindowCounter: Sendable {
    /// Every message up to this number is with every member.
    package private(set) var done: UInt32 = 0
    /// Members that have each message after ``done``, in a ring.
    private var counts: [UInt32]
    private let mask: UInt32

    /// Room for `window` messages that are under way.
    package init(window: Int) {
        var size = 2
        while size < window + 1 { size *= 2 }
        self.counts = Array(repeating: 0, count: size)
        self.mask = UInt32(size - 1)
    }

    /// One more member has this message; whether ``done`` moved.
    package mutating func receive(_ number: UInt32, members: UInt32) -> Bool {
        // Given up before, or of no window that there could be.
        guard number > done, number - done <= mask + 1 else { return false }
        counts[Int(number & mask)] += 1
        guard number == done + 1 else { return false }
        return advance(members: members)
    }

    /// Moves over everything that is complete; when members have left, that may be more.
    package mutating func advance(members: UInt32) -> Bool {
        let before = done
        // An empty room completes nothing: there is always a count of at least one.
        while counts[Int((done + 1) & mask)] >= max(1, members) {
            done += 1
            counts[Int(done & mask)] = 0
        }
        return done != before
    }

    /// Gives up what is missing up to this number.
    package mutating func skip(through number: UInt32, members: UInt32) {
        while done < number {
            done += 1
            counts[Int(done & mask)] = 0
        }
        _ = advance(members: members)
    }
}
