import ArgumentParser
import Conduit
import ConduitTelemetry

/// `conduit check-config`: reads the settings as `serve` would and says what is wrong with them.
struct CheckConfigCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check-config", abstract: "Check the configuration; list everything that is wrong with it.")

    @OptionGroup var node: NodeOptions

    func run() throws {
        let configuration = try node.load()
        print("The configuration is in order.")
        let set = configuration.settingsThatNeedRestart
        if !set.isEmpty {
            print("Set and not taken over by a running node (SIGHUP): " + set.joined(separator: ", "))
        }
        if !configuration.auth.isConfigured { CommandExit.say("conduit: warning: \(configuration.openNotice)") }
        if let notice = configuration.endlessTokensNotice { CommandExit.say("conduit: warning: \(notice)") }
    }
}

/// `conduit config`: a configuration to start from.
struct ConfigCommand: ParsableCommand {
    enum Format: String, ExpressibleByArgument, CaseIterable {
        case yaml, env, markdown
    }

    static let configuration = CommandConfiguration(
        commandName: "config", abstract: "Print every setting with its default and what it does.")

    @Option(help: "yaml (a configuration file), env (variables) or markdown (Docs/configuration.md).")
    var format = Format.yaml

    func run() {
        switch format {
        case .yaml: print(ConfigurationDocument.yaml, terminator: "")
        case .env: print(ConfigurationDocument.environment, terminator: "")
        case .markdown: print(ConfigurationDocument.markdown, terminator: "")
        }
    }
}

/// `conduit version`.
struct VersionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "version", abstract: "Print the version.")

    func run() {
        print("conduit \(ConduitVersion.current)")
    }
}
