/// What one loop counts of deliveries, all in one value: a delivery is one access to it and one to its tracker.
package struct DeliveryBook: Sendable {
    private let layout: TrafficLayout

    package private(set) var received: UInt64 = 0
    package private(set) var duplicated: UInt64 = 0
    package private(set) var reordered: UInt64 = 0
    /// Marks that nobody of this run has sent to this member.
    package private(set) var invalid: UInt64 = 0
    package private(set) var bytes: UInt64 = 0
    package private(set) var measuredReceived: UInt64 = 0
    package private(set) var measuredBytes: UInt64 = 0
    package private(set) var latency = LatencyRecorder()
    package private(set) var crossNodeLatency = LatencyRecorder()

    /// When things count: messages due between these times, and what comes in between them.
    package private(set) var measureStart = UInt64.max
    package private(set) var measureEnd = UInt64.max
    /// The node of each publisher.
    private var publisherNodes: [UInt16]
    /// Members of each room on this loop.
    package private(set) var roomMembers: [UInt32]
    /// Closed loop: how far each publisher's messages are; else empty.
    private var windows: [WindowCounter] = []

    package init(layout: TrafficLayout) {
        self.layout = layout
        self.publisherNodes = Array(repeating: 0, count: layout.publishers)
        self.roomMembers = Array(repeating: 0, count: layout.rooms)
    }

    // MARK: Before and after

    package mutating func count(members: [UInt32]) { roomMembers = members }

    /// `window`: messages under way of each publisher, in a closed loop.
    package mutating func begin(measureStart: UInt64, measureEnd: UInt64, publisherNodes: [UInt16], window: Int?) {
        self.measureStart = measureStart
        self.measureEnd = measureEnd
        self.publisherNodes = publisherNodes
        guard let window else { return }
        let unused = WindowCounter(window: 1)
        windows = (0..<layout.publishers).map { publisher in
            roomMembers[layout.room(ofPublisher: publisher)] > 0 ? WindowCounter(window: window) : unused
        }
    }

    package mutating func end(at time: UInt64) { measureEnd = min(measureEnd, time) }

    package func isMeasured(_ time: UInt64) -> Bool { time >= measureStart && time < measureEnd }

    // MARK: The hot path

    package mutating func countBytes(_ count: Int, at now: UInt64) {
        bytes &+= UInt64(count)
        if isMeasured(now) { measuredBytes &+= UInt64(count) }
    }

    package mutating func countInvalid() { invalid &+= 1 }

    /// A member of `room` on `node` has got a message; whether it was the last member of this loop that waited for it.
    package mutating func receive(
        _ mark: DeliveryMark, room: Int, node: UInt16, tracker: inout DeliveryTracker, at now: UInt64
    ) -> Bool {
        switch tracker.receive(mark.number) {
        case .new: break
        case .reordered: reordered &+= 1
        case .duplicate:
            duplicated &+= 1
            return false
        }
        received &+= 1
        if isMeasured(now) { measuredReceived &+= 1 }
        let publisher = Int(mark.publisher)
        if isMeasured(mark.due), publisher < publisherNodes.count {
            let duration = now > mark.due ? now - mark.due : 0
            if publisherNodes[publisher] == node {
                latency.record(nanoseconds: duration)
            } else {
                crossNodeLatency.record(nanoseconds: duration)
            }
        }
        guard publisher < windows.count else { return false }
        return windows[publisher].receive(mark.number, members: roomMembers[room])
    }

    // MARK: Closed loop

    /// Up to which number everybody on this loop has a publisher's messages.
    package func done(_ publisher: Int) -> UInt32 { publisher < windows.count ? windows[publisher].done : 0 }

    /// Gives up what is missing up to a number.
    package mutating func skip(_ publisher: Int, through number: UInt32) {
        guard publisher < windows.count else { return }
        windows[publisher].skip(
            through: number, members: roomMembers[layout.room(ofPublisher: publisher)])
    }

    /// A member is gone: its room waits for one less. Publishers that this moved.
    package mutating func memberLeft(_ room: Int) -> [Int] {
        guard room < roomMembers.count, roomMembers[room] > 0 else { return [] }
        roomMembers[room] -= 1
        guard !windows.isEmpty else { return [] }
        return (0..<layout.publishers(inRoom: room))
            .map { layout.publisher(inRoom: room, place: $0) }
            .filter { windows[$0].advance(members: roomMembers[room]) }
    }
}
