import ArgumentParser
import Conduit
import ConduitAuth
import Foundation
import Logging
import NIOCore

/// `conduit token inspect`: what a token says, and what a node with these settings would say of it.
struct TokenInspectCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect", abstract: "Show what a token says and whether a node would take it.",
        discussion: """
            The keys are those of the node's settings (--config, CONDUIT_AUTH_…). Nothing is asked of the network \
            unless auth.jwt.jwks-url is set. Ends with 0 for a good token, 65 for one that is refused, 69 when it \
            can't be told.
            """)

    @OptionGroup var settings: SettingsOptions

    @Argument(help: "The token; - or none reads standard input.")
    var token = "-"

    func run() async throws {
        var auth = try settings.load().auth
        auth.hook = nil
        let text = token == "-" ? try SecretInput.read("-", "token") : token
        let signed: SignedToken
        let claims: JSONValue
        do {
            signed = try SignedToken(text)
            claims = try signed.claims()
        } catch {
            throw CommandExit.failure(CommandExit.badData, ["no token: \(error.message)"])
        }
        print("header")
        Self.show(signed.header, times: [])
        print("claims")
        Self.show(claims, times: ["iat", "nbf", "exp"])
        try await judge(text, auth)
    }

    private func judge(_ text: String, _ auth: AuthConfiguration) async throws {
        guard auth.jwt.isConfigured else {
            print("verdict\n  not checked: the settings name no key (auth.jwt.*)")
            throw ExitCode(CommandExit.unavailable)
        }
        let silent = Logger(label: "conduit") { _ in SwiftLogNoOpLogHandler() }
        let authenticator: Authenticator
        do {
            authenticator = try await Authenticator.make(auth, logger: silent)
        } catch {
            throw CommandExit.failure(CommandExit.configuration, ["\(error)"])
        }
        let result: Result<Identity, any Error>
        do {
            result = .success(try await authenticator.identity(token: text))
        } catch {
            result = .failure(error)
        }
        await authenticator.shutdown()
        switch result {
        case .success(let identity):
            print("verdict\n  good: " + (identity.user.map { "the user \(Self.harmless($0.rawValue))" } ?? "no user"))
        case .failure(let error as AuthenticationError):
            print("verdict\n  refused (\(error.reason.rawValue)): \(error.message)")
            throw ExitCode(CommandExit.badData)
        case .failure(let error):
            print("verdict\n  can't be told: \(error)")
            throw ExitCode(CommandExit.unavailable)
        }
    }

    /// One member a line, sorted by name.
    private static func show(_ value: JSONValue, times: Set<String>) {
        let members = (value.object ?? [:]).sorted { $0.key < $1.key }
        let width = members.map { harmless($0.key).count }.max() ?? 0
        for (name, value) in members {
            let label = harmless(name).padding(toLength: max(width, 1), withPad: " ", startingAt: 0)
            var line = "  \(label)  \(harmless(String(buffer: value.raw)))"
            if times.contains(name), case .number(let seconds) = value.content, abs(seconds) < 253_402_300_799 {
                line += "  (\(words(seconds, now: Date().timeIntervalSince1970)))"
            }
            print(line)
        }
    }

    /// Without characters that a terminal would obey: whoever made the token may be a stranger.
    private static func harmless(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator:
                result += "\\u{\(String(scalar.value, radix: 16))}"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    /// `2026-11-28T05:46:46Z, in 59 minutes`.
    static func words(_ seconds: Double, now: Double) -> String {
        let distance = abs(seconds - now)
        let (number, unit): (Double, String) =
            switch distance {
            case ..<120: (distance, "second")
            case ..<7200: (distance / 60, "minute")
            case ..<172_800: (distance / 3600, "hour")
            default: (distance / 86_400, "day")
            }
        let count = Int(number.rounded())
        let span = "\(count) \(unit)\(count == 1 ? "" : "s")"
        let moment = Date(timeIntervalSince1970: seconds).formatted(.iso8601)
        return moment + ", " + (seconds >= now ? "in \(span)" : "\(span) ago")
    }
}
