import ConduitCore
import ConduitTelemetry
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

    /// What says, on a POST that publishes, which trace it belongs to (W3C Trace Context).
    private static func traceparent(of request: Request) -> String {
        request.headers.first { $0.name.canonicalName == "traceparent" }?.value ?? ""
    }

    private func answer(_ request: Request) async throws -> Response {
        let uri = request.head.path ?? "/"
        let parts = uri.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let found = Result { () throws(AdminError) in
            try AdminRoute.find(method: request.method.rawValue, path: String(parts[0]))
        }
        // Who may not ask doesn't learn which paths there are.
        try admission.check(request.head, isHealth: (try? found.get())?.isHealth == true)
        let route = try found.get()
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
            if let found = cluster.nodes.first(where: { $0.id == id }) { return Self.json(AdminJSON.node(found)) }
            guard cluster.unreachable.isEmpty else {
                throw AdminError(
                    status: 503, code: ErrorCode.unavailable.rawValue,
                    message: "can't tell: \(cluster.unreachable.joined(separator: ", ")) can't be reached")
            }
            throw AdminError(status: 404, code: "not_found", message: "there is no node of this name")
        case .presence(let room):
            let query = try AdminRoute.query(parts.count > 1 ? String(parts[1]) : nil)
            guard let limit = Int(query["limit"] ?? "100"), (1...1000).contains(limit) else {
                throw AdminError.badRequest("limit is not a whole number from 1 to 1000")
            }
            let page = try await node.presence(of: room, limit: limit, after: query["cursor"])
            return Self.json(AdminJSON.presence(page, of: room))
        case .publish, .broadcast, .send:
            let command = try AdminCommand(await body(request), for: route)
            let receipt = try await node.traced(by: Self.traceparent(of: request)) {
                try await node.publish(command.type, command.payload, to: command.target)
            }
            return Self.json(AdminJSON.receipt(receipt, countName: "delivered_to"))
        case .disconnect:
            let command = try AdminCommand(await body(request), for: route)
            return Self.json(
                AdminJSON.receipt(try await node.disconnect(command.target), countName: "disconnected"))
        case .revoke:
            let revocation = try AdminRevocation(await body(request))
            return Self.json(AdminJSON.receipt(try await node.revoke(revocation), countName: "disconnected"))
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
