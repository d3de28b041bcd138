import ArgumentParser
import ConduitWire
import NIOCore

/// `conduit revoke`: makes tokens good no more, through the admin port of any node.
struct RevokeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "revoke", abstract: "Make the tokens of a user, or one token, good no more.",
        discussion: """
            Connections that came with such a token are closed with 3500 on every node, new ones are refused. Tokens of \
            the user that are issued later are good.
            """)

    @OptionGroup var port: AdminOptions

    @Option(help: ArgumentHelp("All tokens of a user that were issued until now.", valueName: "id"))
    var user: String?

    @Option(help: ArgumentHelp("One token, by its id (jti).", valueName: "id"))
    var tokenID: String?

    @Option(
        help: ArgumentHelp(
            "When the last of them runs out, in seconds since 1970; else auth.revocation-age from now.",
            valueName: "time"))
    var expiresAt: Int64?

    func validate() throws {
        guard (user == nil) != (tokenID == nil) else { throw ValidationError("give one of --user and --token-id") }
    }

    func run() async throws {
        var body = ByteBuffer()
        body.writeString(user != nil ? "{\"user\":" : "{\"token_id\":")
        body.writeJSONString(user ?? tokenID ?? "")
        if let expiresAt { body.writeString(",\"expires_at\":\(expiresAt)") }
        body.writeString("}")
        try await port.post("revoke", body)
    }
}
