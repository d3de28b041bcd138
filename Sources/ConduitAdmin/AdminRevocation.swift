package import ConduitCore
import ConduitTelemetry
import ConduitWire
import NIOCore

/// Whose tokens an operator wants to be good no more.
package struct AdminRevocation: Hashable, Sendable {
    /// A user's, or one by its id.
    package let target: Revocation.Target
    /// When the last of them runs out, in milliseconds since 1970; `nil` when that isn't said.
    package let expiresAt: Int64?

    package init(_ target: Revocation.Target, expiresAt: Int64? = nil) {
        self.target = target
        self.expiresAt = expiresAt
    }

    /// Reads the body of a request: `{"user" | "token_id", "expires_at"?}`.
    init(_ body: ByteBuffer) throws(AdminError) {
        let fields = try AdminCommand.fields(body)
        for name in fields.keys where !["user", "token_id", "expires_at"].contains(name) {
            throw AdminError.badRequest("\(name) is not known here; allowed: user, token_id, expires_at")
        }
        func text(_ name: String) throws(AdminError) -> String? {
            guard let token = fields[name] else { return nil }
            guard token.kind == .string else { throw AdminError.badRequest("\(name) is not a string") }
            return body.text(of: token)
        }
        switch (try text("user"), try text("token_id")) {
        case (let name?, nil):
            guard let user = UserID(name) else { throw AdminError.badRequest("user is not a user's id") }
            target = .user(user)
        case (nil, let id?):
            guard (1...Revocation.maximumTokenIDBytes).contains(id.utf8.count) else {
                throw AdminError.badRequest("token_id is not 1 to \(Revocation.maximumTokenIDBytes) bytes")
            }
            target = .token(id)
        case (nil, nil), (.some, .some): throw AdminError.badRequest("give either user or token_id")
        }
        expiresAt = try fields["expires_at"].map { token throws(AdminError) in
            let time: Int64? =
                switch token.kind {
                case .string: Timestamp.milliseconds(body.text(of: token))
                // As in a token: seconds since 1970.
                case .number: Self.milliseconds(seconds: String(buffer: body.slice(token.range)))
                default: nil
                }
            guard let time, time > WallClock.milliseconds else {
                throw AdminError.badRequest(
                    "expires_at is not a time to come, as seconds since 1970 or as 2026-11-23T22:30:00.123Z")
            }
            return time
        }
    }

    /// `nil` for what is no whole number, or milliseconds by mistake.
    private static func milliseconds(seconds: String) -> Int64? {
        // 1.8e9 is a whole number, too.
        guard let number = Int64(seconds) ?? Double(seconds).flatMap(Int64.init(exactly:)),
            (0..<100_000_000_000).contains(number)
        else { return nil }
        return number * 1_000
    }
}
