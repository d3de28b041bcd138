import Conduit
import Logging

/// A node with rules of its own: users log in with a name, `shout` is a type of the application's,
/// and everybody hears who comes and goes.
@main
struct Chat {
    static func main() async throws {
        var configuration = NodeConfiguration()
        configuration.gateway.port = 8080

        // A message type of our own. What a handler throws is answered with an `error` event.
        var router = MessageRouter()
        try router.handle("shout") { request in
            let text = try request.data.decode(String.self)
            guard text.count <= 100 else { throw RequestError(.tooLarge, "shout in 100 characters or less") }
            return Reply("shouted", RawJSON(string: text.uppercased()))
        }

        var hooks = HubHooks()
        hooks.onConnect = { client in
            Task { try await client.join(lobby) }
        }

        // Anybody may come in who says a name: ws://127.0.0.1:8080/ws?token=Ann
        let node = try await ConduitNode.start(configuration: configuration, router: router, hooks: hooks) {
            handshake in
            handshake.token.flatMap { UserID($0.value) }.map { Identity(user: $0) }
        }
        try node.hub.broadcast("news", RawJSON(#"{"text":"the chat is open"}"#), to: lobby)
        print("chat on \(node.url)")
        try await node.run()
    }

    private static let lobby = RoomName(literal: "chat:lobby")
}
