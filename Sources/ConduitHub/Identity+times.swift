// When a token was issued and when it ends, where clocks are apart.
extension Identity {
    /// The earliest moment by this node's clock at which the token may have been issued, in milliseconds since 1970.
    package var issuedNotBefore: Int64? {
        issuedAt.map { time in
            let (moment, isOver) = time.subtractingReportingOverflow(leeway)
            return isOver ? .min : moment
        }
    }

    /// Until when the token is taken, in milliseconds since 1970: as at the handshake, so afterwards.
    package var isTakenUntil: Int64? {
        expiresAt.map { time in
            let (moment, isOver) = time.addingReportingOverflow(leeway)
            return isOver ? .max : moment
        }
    }
}
