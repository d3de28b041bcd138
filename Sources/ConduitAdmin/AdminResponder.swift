import ConduitCore
import ConduitTelemetry
import ConduitWire
import HTTPTypes
import Hummingbird
import NIOCore
import NIOHTTP1

/// Answers one request of an operator: finds the route, checks who asks, asks the node, writes JSON.
struct AdminResponder<Node: AdminNode>: HTTPResponder {
    typealias Context = BasicRequestContext

    let node: Node
    let admission: AdminGuard
    let timeLimit: Duration
    let left: LeftRequests

    func respond(to request: Request, context: BasicRequestContext) async throws -> Response {
        do {
            return try await limited { try await answer(request) }
        } catch let error as AdminError {
            return Self.response(error == .unanswered ? Self.unanswered(request) : error)
        } catch let error as RequestError {
            return Self.response(AdminError(error))
        } catch is NIOTooManyBytesError {
            return Self.response(.tooLarge)
        } catch is CancellationError {
            return Self.response(Self.unanswered(request))
        }
    }

    private static func unanswered(_ request: Request) -> AdminError {
        request.method == .post ? .unansweredCommand : .unanswered
    }

    /// The answer, within the limit in any case: before it is over the body is cancelled, to answer with what it has; a
    /// body that doesn't heed that is left to itself, and counted. A group of tasks would wait for it.
    private func limited(_ body: @escaping @Sendable () async throws -> Response) async throws -> Response {
        let (answers, answer) = AsyncStream.makeStream(
            of: Result<Response, any Error>.self, bufferingPolicy: .bufferingOldest(1))
        let (left, number) = (left, left.begin())
        let work = Task {
            let result: Result<Response, any Error>
            do { result = .success(try await body()) } catch { result = .failure(error) }
            left.end(number)
            answer.yield(result)
        }
        let patience = min(timeLimit / 4, .seconds(1))
        let timer = Task {
            try await Task.sleep(for: timeLimit - patience)
            work.cancel()
            try await Task.sleep(for: patience)
            answer.yield(.failure(AdminError.unanswered))
        }
        defer {
            timer.cancel()
            work.cancel()
            left.leave(number)
        }
        for await first in answers { return try first.get() }
        // The connection has ended.
        throw CancellationError()
    }

    /// What says, on a POST that publishes, which trace it belongs to (W3C Trace Context).
    private static func traceparent(of request: Request) -> String {
        request.headers.first { $0.name.canonicalName == "traceparent" }?.value ?? ""
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
        guard left.admits(route) else { throw AdminError.tooManyLeft }
        // Probes and scrapers may add what they like.
        let query = try AdminQuery(operation.isAPI && parts.count > 1 ? parts[1] : nil, of: operation)
        switch route {
        case .page:
            let (body, headers) = AdminDashboard.page()
            return Response(status: .ok, headers: headers, body: ResponseBody(byteBuffer: body))
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
        case .series: return Self.json(AdminJSON.series(await node.series(try AdminSeriesQuery(query))))
        case .events:
            let (before, limit) = (try query.event("before"), try query.limit())
            return Self.json(AdminJSON.events(await node.events(before: before, limit: limit)))
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
            let receipt = try await node.traced(by: Self.traceparent(of: request)) {
                try await node.publish(command.type, command.payload, to: command.target)
            }
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
        case .drain(let id):
            let timeout = try AdminDrain.timeout(await body(request))
            return Self.json(try await node.drain(id, within: timeout).json(of: id))
        case .rebalance:
            try AdminCommand.checkEmpty(await body(request))
            return Self.json(try await node.rebalance().json)
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
        do {
            let body = try await request.body.collect(upTo: AdminServer.maximumBodyBytes)
            // What was cancelled may have come in part.
            guard !Task.isCancelled else { throw AdminError.tooSlow }
            return body
        } catch is CancellationError {
            throw AdminError.tooSlow
        } catch is HTTPParserError {
            throw AdminError.unreadable
        }
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
