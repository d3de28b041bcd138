import ArgumentParser
import Conduit
import ConduitAuth
import Foundation

/// `conduit token`: makes tokens and looks into them.
struct TokenCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token", abstract: "Issue tokens for clients, and inspect them.",
        subcommands: [TokenIssueCommand.self, TokenInspectCommand.self])
}

/// Where a node's settings come from, for commands that only look at them.
struct SettingsOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Read settings from a YAML or JSON file.", valueName: "file"))
    var config: String?

    @Option(help: ArgumentHelp("Set any setting; may be repeated.", valueName: "key=value"))
    var set: [String] = []

    func validate() throws {
        for text in set where !text.contains("=") {
            throw ValidationError("--set takes key=value, such as --set auth.jwt.issuer=shop")
        }
    }

    func load() throws -> NodeConfiguration {
        let overrides = set.map { text in
            let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            return ConfigurationOverride(key: String(parts[0]), value: String(parts[1]), source: "--set")
        }
        return try NodeOptions.load(overrides: overrides, file: config)
    }
}

/// Secrets as commands read them.
enum SecretInput {
    /// The content of a file, or of standard input for `-`, without the line's end.
    static func read(_ path: String, _ flag: String) throws -> String {
        let data: Data?
        if path == "-" {
            data = try FileHandle.standardInput.readToEnd()
        } else {
            data = FileManager.default.contents(atPath: path)
        }
        guard let data, let text = String(data: data.prefix(65_536), encoding: .utf8) else {
            throw CommandExit.failure(CommandExit.unavailable, ["\(flag): \(path.debugDescription) can't be read"])
        }
        var result = text[...]
        while let last = result.unicodeScalars.last, last == "\n" || last == "\r" {
            result = result.dropLast()
        }
        return String(result)
    }
}

/// `conduit token issue`: one token on standard output.
struct TokenIssueCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "issue", abstract: "Sign a token and print it.",
        discussion: """
            It is signed with --key, with the secret of --secret-file or --secret, or else with auth.jwt.secret of the \
            node's settings (CONDUIT_AUTH_JWT_SECRET or --config). What stands in arguments other users of this \
            machine can read: better give secrets in files, variables or standard input (-).
            """)

    @OptionGroup var settings: SettingsOptions

    @Option(help: ArgumentHelp("The user (sub); none makes a token for nobody in particular.", valueName: "user"))
    var sub: String?

    @Option(help: ArgumentHelp("How long it is good (such as 15m, 8h), or never.", valueName: "duration"))
    var ttl = "1h"

    @Option(
        help: ArgumentHelp(
            "A pattern of rooms with rights, such as 'chat:*=join,publish'; may be repeated.", valueName: "grant"))
    var room: [String] = []

    @Option(help: ArgumentHelp("A room that the server joins the client to; may be repeated.", valueName: "room"))
    var join: [String] = []

    @Option(help: ArgumentHelp("What rosters show of the client.", valueName: "json"))
    var info: String?

    @Option(help: ArgumentHelp("Metadata; may be repeated.", valueName: "name=text"))
    var meta: [String] = []

    @Flag(help: "May broadcast to every client.")
    var broadcastAll = false

    @Flag(help: "May publish to rooms that it is not in.")
    var publishAnywhere = false

    @Flag(help: "May not send to users and single clients.")
    var noSend = false

    @Option(help: ArgumentHelp("The token's own id (jti); else a random one.", valueName: "text"))
    var id: String?

    @Option(help: ArgumentHelp("Who issues it (iss); else auth.jwt.issuer.", valueName: "text"))
    var issuer: String?

    @Option(help: ArgumentHelp("For whom it is (aud); else auth.jwt.audience. May be repeated.", valueName: "text"))
    var audience: [String] = []

    @Option(help: ArgumentHelp("HS256, HS384, HS512, RS256, PS256, ES256 or EdDSA.", valueName: "name"))
    var algorithm: String?

    @Option(help: ArgumentHelp("Name of the key in the token's header.", valueName: "text"))
    var kid: String?

    @Option(help: ArgumentHelp("File with a private key (PEM).", valueName: "file"))
    var key: String?

    @Option(help: ArgumentHelp("File with the secret, - for standard input.", valueName: "file"))
    var secretFile: String?

    @Option(help: ArgumentHelp("The secret itself.", valueName: "text"))
    var secret: String?

    func validate() throws {
        guard [key, secretFile, secret].compactMap({ $0 }).count <= 1 else {
            throw ValidationError("give one of --key, --secret-file and --secret")
        }
        if let algorithm, TokenAlgorithm(rawValue: algorithm) == nil {
            let names = TokenAlgorithm.allCases.map(\.rawValue).joined(separator: ", ")
            throw ValidationError("--algorithm is one of \(names)")
        }
        guard ttl == "never" || (DurationText.read(ttl) ?? 0) > 0 else {
            throw ValidationError("--ttl is a duration such as 15m or 8h, or never")
        }
    }

    func run() async throws {
        let auth = try settings.load().auth
        let draft = try draft(auth)
        let token: String
        do {
            token = try await issuer(auth).token(claims: draft.json, keyID: kid)
        } catch let error as KeyError {
            throw CommandExit.failure(CommandExit.badData, ["the token can't be signed: \(error)"])
        }
        do {
            // What a node would say of it, so that nobody carries a token away that is of no use.
            var lenient = auth
            lenient.jwt.requiresExpiry = false
            lenient.jwt.issuer = ""
            lenient.jwt.audience = []
            _ = try TokenRules(lenient).identity(of: try SignedToken(token).claims(), now: draft.issuedAt)
        } catch {
            throw CommandExit.failure(CommandExit.badData, ["no node would take this: \(error.message)"])
        }
        print(token)
    }

    private func issuer(_ auth: AuthConfiguration) async throws -> TokenIssuer {
        let algorithm = algorithm.flatMap { TokenAlgorithm(rawValue: $0) }
        if let key {
            return try await TokenIssuer(privateKey: try SecretInput.read(key, "--key"), algorithm: algorithm)
        }
        let text = try secretFile.map { try SecretInput.read($0, "--secret-file") } ?? secret ?? auth.jwt.secret
        guard !text.isEmpty else {
            throw ValidationError("no key: give --key, --secret-file or --secret, or set auth.jwt.secret")
        }
        return try await TokenIssuer(secret: text, algorithm: algorithm ?? .hs256)
    }

    private func draft(_ auth: AuthConfiguration) throws -> TokenDraft {
        let now = Int64(Date().timeIntervalSince1970) * 1000
        var draft = TokenDraft(issuedAt: now)
        if ttl != "never" { draft.expiresAt = now + Int64(DurationText.read(ttl) ?? 0) }
        if let sub {
            guard let user = UserID(sub) else {
                throw ValidationError("--sub is 1 to 255 bytes without control characters")
            }
            draft.user = user
        }
        if !room.isEmpty {
            draft.rights = RoomRights(
                try room.map { text in
                    guard let grant = RoomRights.Grant(text: text) else {
                        throw ValidationError(
                            "--room is a pattern, or pattern=rights with join, publish, presence and history")
                    }
                    return grant
                })
        }
        draft.rooms = try join.map { name in
            guard let room = RoomName(name) else {
                throw ValidationError("--join is a room's name: 1 to 255 bytes without control characters")
            }
            return room
        }
        if let info {
            guard (try? RawJSON(info)) != nil else { throw ValidationError("--info is not JSON") }
            draft.info = info
        }
        for entry in meta {
            let parts = entry.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2 else { throw ValidationError("--meta takes name=text") }
            draft.metadata[String(parts[0])] = String(parts[1])
        }
        draft.mayBroadcastToEverybody = broadcastAll
        draft.mayPublishWithoutJoining = publishAnywhere
        draft.maySend = !noSend
        draft.id = id ?? UUID().uuidString.lowercased()
        draft.issuer = issuer ?? (auth.jwt.issuer.isEmpty ? nil : auth.jwt.issuer)
        draft.audience = audience.isEmpty ? Array(auth.jwt.audience.prefix(1)) : audience
        return draft
    }
}
