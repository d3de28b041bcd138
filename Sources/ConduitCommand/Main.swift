import ArgumentParser

@main
struct ConduitCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "conduit")
}
