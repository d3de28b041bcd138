/// Draws a reading: lines of at most so many columns. A value without a terminal.
package struct TopFrame: Sendable {
    let reading: TopReading
    let width: Int

    package init(_ reading: TopReading, width: Int) {
        self.reading = reading
        self.width = max(20, width)
    }

    /// Everything, one line a node, for a file or a pipe.
    package func whole(_ choice: TopChoice = TopChoice()) -> [StyledLine] {
        var lines = head() + [StyledLine()]
        guard !reading.rows.isEmpty else { return head() + [StyledLine(), nobody] }
        let columns = columns()
        lines.append(titles(columns, choice))
        lines += sorted(choice).map { line($0, columns) }
        let rooms = foot(rows: 8)
        if !rooms.isEmpty { lines += [StyledLine()] + rooms }
        return lines
    }

    /// Exactly `height` lines at most; `message` says what is wrong at the moment. Corrects where the list begins.
    package func screen(height: Int, _ choice: inout TopChoice, message: String? = nil) -> [StyledLine] {
        if choice.showsHelp { return Array(help.prefix(height)) }
        var lines = head()
        // On a very low terminal the nodes matter most.
        if height < 14 { lines = Array(lines.prefix(1)) }
        guard !reading.rows.isEmpty else {
            return fill(lines + [StyledLine(), nobody], keys(choice, message, shown: 0), height)
        }
        let wanted = choice.showsRooms && height >= 18 ? min(max(4, height / 5), 12) : 0
        let rooms = wanted > 0 ? foot(rows: wanted) : []
        let room = max(1, height - lines.count - 2 - (rooms.isEmpty ? 0 : rooms.count))
        let nodes = sorted(choice)
        choice.first = max(0, min(choice.first, nodes.count - room))
        let shown = nodes.dropFirst(choice.first).prefix(room)
        let columns = columns()
        lines.append(titles(columns, choice))
        lines += shown.map { line($0, columns) }
        while lines.count < height - 1 - rooms.count { lines.append(StyledLine()) }
        return fill(lines + rooms, keys(choice, message, shown: shown.count), height)
    }

    private func fill(_ lines: [StyledLine], _ last: StyledLine, _ height: Int) -> [StyledLine] {
        var lines = Array(lines.prefix(max(0, height - 1)))
        while lines.count < height - 1 { lines.append(StyledLine()) }
        return lines + [last]
    }

    private var nobody: StyledLine {
        StyledLine(Columns.fit("No node of the cluster \"\(reading.prefix)\" is known to this Redis.", width))
    }
}
