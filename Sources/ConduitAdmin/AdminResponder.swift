import ConduitCore
import ConduitTelemetry
import ConduitWire
import HTTPTypes
import Hummingbird
import NIOCore

/// Answers one request of an operator: finds the route, checks who asks, asks the node, writes JSON.
struct AdminResponder<Node: AdminNode>: HTTPResponder {
    typealias Context = BasicRequestContext

    let node: Node
    let admission: AdminGuard
    let timeLimit: Duration

    func respond(to request: Request, context: BasicRequestContext) async throws -> Response {
        do {
            return try await limited { try await answer(request) }
        } catch let error as AdminError {
            return Self.response(error)
        } catch let error as RequestError {
            return Self.response(AdminError(error))
        } catch is NIOTooManyBytesError {
            return Self.response(.tooLarge)
        }
    }

    /// The answer, or 408 when it (the reading of the body too) takes longer than the limit.
    private func limited(_ body: @escaping @Sendable () async throws -> Response) async throws -> Response {
        try await withThrowingTaskGroup(of: Response.self) { group in
            group.addTask { try await body() }
            group.addTask {
                try await Task.sleep(for: timeLimit)
                throw AdminError.tooSlow
            }
            defer { group.cancelAll() }
            guard let first = try await group.next() else { throw AdminError.tooSlow }
            return first
        }
    }

    private func answer(_ request: Request) async throws -> Response {
        let uri = request.head.path ?? "/"
        let parts = uri.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let found = Result { () throws(AdminError) in
            try AdminOperation.find(method: request.method.rawValue, path: String(parts[0]))
        }
        // Who may not ask doesn't learn which paths there are.
        try admission.check(request.head, isOpen: (try? found.get())?.operation.isOpen == true)
        let (operation, route) = try found.get()
        // Probes and scrapers may add what they like.
        let query = try AdminQuery(operation.isAPI && parts.count > 1 ? parts[1] : nil, of: operation)
        switch route {
        case .live: return Self.json(AdminJSON.status("alive"))
        case .ready:
            let readiness = await node.readiness()
            return Self.json(AdminJSON.status(readiness.status), status: readiness.httpStatus)
        case .metrics:
            let page = AdminMetrics.page(
                await node.statistics(), node: node.nodeID, readiness: await node.readiness())
            return Self.response(ByteBuffer(string: page), type: PrometheusText.contentType)
        case .cluster: return Self.json(AdminJSON.cluster(await node.cluster(), seenFrom: node.nodeID))
        case .nodes: return Self.json(AdminJSON.nodes(await node.cluster()))
        case .node(let id):
            let cluster = await node.cluster()
            guard let found = cluster.nodes.first(where: { $0.id == id }) else {
                throw Self.missing("node", among: cluster.unreachable)
            }
            return Self.json(AdminJSON.node(found, unreachable: cluster.unreachable))
        case .document: return Self.json(AdminDocument.bytes)
        case .rooms: return Self.json(AdminJSON.rooms(try await node.rooms(try query.rooms())))
        case .room(let room): return Self.json(AdminJSON.room(try await node.room(room)))
        case .presence(let room):
            let page = try await node.presence(of: room, limit: try query.limit(), after: try query.text("cursor"))
            return Self.json(AdminJSON.presence(page, of: room))
        case .history(let room):
            let (since, limit) = (try query.since(), try query.limit())
            return Self.json(AdminJSON.history(try await node.history(of: room, since: since, limit: limit)))
        case .clients:
            let holder = try query.value("node") { NodeID($0) }
            return Self.json(AdminJSON.clients(try await node.clients(try query.clients(), on: holder)))
        case .client(let id):
            let found = try await node.client(id)
            if let client = found.rows.first {
                return Self.json(AdminJSON.client(client, unreachable: found.unreachable))
            }
            throw Self.missing("client", among: found.unreachable)
        case .user(let user):
            var search = ClientSearch()
            search.user = user
            search.limit = 1_000
            return Self.json(AdminJSON.clients(try await node.clients(search, on: nil), of: user))
        case .publish, .broadcast, .send:
            let command = try AdminCommand(await body(request), for: route)
            let receipt = try await node.publish(command.type, command.payload, to: command.target)
            return Self.json(AdminJSON.receipt(receipt, countName: "delivered_to"))
        case .disconnect:
            let command = try AdminCommand(await body(request), for: route)
            return Self.json(
                AdminJSON.receipt(try await node.disconnect(command.target), countName: "disconnected"))
        case .kick(let room):
            let command = try AdminCommand(await body(request), for: route)
            return Self.json(AdminJSON.kick(try await node.kick(command.target, from: room)))
        case .revoke:
            let revocation = try AdminRevocation(await body(request))
            return Self.json(AdminJSON.receipt(try await node.revoke(revocation), countName: "disconnected"))
        // Of `AdminOperation.announced`.
        case .page, .series, .events, .drain, .rebalance: throw AdminError.notFound
        }
    }

    private func body(_ request: Request) async throws -> ByteBuffer {
        let type = request.headers[.contentType] ?? ""
        guard type.lowercased().prefix(while: { $0 != ";" && $0 != " " }) == "application/json" else {
            throw AdminError.notJSON
        }
        if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > AdminServer.maximumBodyBytes {
            throw AdminError.tooLarge
        }
        return try await request.body.collect(upTo: AdminServer.maximumBodyBytes)
    }

    /// What was asked for is nowhere, or where nobody answers.
    private static func missing(_ what: String, among unreachable: [String]) -> AdminError {
        guard !unreachable.isEmpty else {
            return AdminError(status: 404, code: "not_found", message: "there is no \(what) of this name")
        }
        let names = unreachable.joined(separator: ", ")
        return AdminError(
            status: 503, code: ErrorCode.unavailable.rawValue, message: "can't tell: \(names) can't be reached")
    }

    private static func response(_ error: AdminError) -> Response {
        var response = json(AdminJSON.error(error), status: error.status)
        if let allow = error.allow { response.headers[.allow] = allow }
        if error.status == 401 { response.headers[.wwwAuthenticate] = "Bearer" }
        return response
    }

    private static func json(_ body: ByteBuffer, status: Int = 200) -> Response {
        response(body, type: "application/json", status: status)
    }

    private static func response(_ body: ByteBuffer, type: String, status: Int = 200) -> Response {
        Response(
            status: .init(code: status),
            headers: [.contentType: type, .cacheControl: "no-store", .xContentTypeOptions: "nosniff"],
            body: ResponseBody(byteBuffer: body))
    }
}
