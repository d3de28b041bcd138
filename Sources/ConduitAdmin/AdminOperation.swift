import ConduitCore

/// One operation of the admin port: its path, what it takes and what it answers.
///
/// The table ``all`` is the only list of them: requests are routed by it and the OpenAPI document is made of it.
struct AdminOperation: Sendable {
    /// How it is asked for. A `GET` is answered to `HEAD` too.
    enum Method: String, Sendable {
        case get, post
    }

    /// What stands in a path or a query.
    struct Parameter: Sendable {
        let name: String
        /// JSON Schema.
        let schema: String
        let summary: String

        init(_ name: String, _ schema: String, _ summary: String) {
            self.name = name
            self.schema = schema
            self.summary = summary
        }
    }

    /// An answer that is no error.
    struct Answer: Sendable {
        var status = 200
        var type = "application/json"
        /// Name of the JSON Schema among ``AdminSchemas``; plain text has none.
        let schema: String?
        let summary: String
    }

    let method: Method
    /// Such as `/api/v1/rooms/{room}/kick`: what stands in braces is one segment, percent-encoded.
    let path: String
    /// `operationId` of the document.
    let id: String
    let tag: String
    let summary: String
    /// What the query may hold.
    var parameters: [Parameter] = []
    /// Name of the body's JSON Schema.
    var body: String?
    let answers: [Answer]
    /// Statuses of errors, beside those that every operation of its kind has.
    var errors: [Int] = []
    /// Whether it is answered without the token.
    var isOpen = false
    /// Makes the route of the segments that stand for what is in braces.
    let route: @Sendable ([String]) throws(AdminError) -> AdminRoute

    /// Whether it is part of the API, whose errors and queries are checked alike.
    var isAPI: Bool { path.hasPrefix("/api/") }

    /// Names in braces, in order.
    var placeholders: [String] {
        path.split(separator: "/").filter { $0.hasPrefix("{") }.map { String($0.dropFirst().dropLast()) }
    }

    // MARK: Finding one

    /// The segments that stand for what is in braces; `nil` when the path is another one.
    private func match(_ segments: [Substring]) -> [String]? {
        let own = path.split(separator: "/", omittingEmptySubsequences: false)
        guard own.count == segments.count else { return nil }
        var parts: [String] = []
        for (one, segment) in zip(own, segments) {
            if one.hasPrefix("{") { parts.append(String(segment)) } else if one != segment { return nil }
        }
        return parts
    }

    /// Finds the operation of a request. Segments are split first and decoded after, so that a room's name may hold a `/`.
    static func find(
        method: String, path: String
    ) throws(AdminError) -> (operation: AdminOperation, route: AdminRoute) {
        let segments = path.split(separator: "/", omittingEmptySubsequences: false)
        var allowed: [String] = []
        for operation in all {
            guard let parts = operation.match(segments) else { continue }
            let methods = operation.method == .get ? ["GET", "HEAD"] : ["POST"]
            if methods.contains(method) { return (operation, try operation.route(parts)) }
            allowed += methods
        }
        guard !allowed.isEmpty else { throw AdminError.notFound }
        throw AdminError.methodNotAllowed(allowed.joined(separator: ", "))
    }
}
