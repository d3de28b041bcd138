import ConduitTelemetry
import ConduitWire
import NIOCore

/// The OpenAPI 3.1 document of the port, made of ``AdminOperation/all`` and ``AdminSchemas``.
enum AdminDocument {
    /// The whole document.
    static let bytes = ByteBuffer(string: text + "\n")

    private static let text: String = {
        let info = [
            quoted("title") + ":" + quoted("Conduit admin API"),
            quoted("version") + ":" + quoted(ConduitVersion.current),
            quoted("description") + ":"
                + quoted(
                    "Any node answers for the whole cluster within a bounded time. What it could not ask is named in "
                        + "unreachable: node ids, or redis; the rest of the answer holds without it."),
        ]
        let security = #"{"token":{"type":"http","scheme":"bearer","description":"admin.token, where one is set"}}"#
        return object([
            ("openapi", quoted("3.1.0")), ("info", "{" + info.joined(separator: ",") + "}"),
            ("paths", paths), ("security", #"[{"token":[]}]"#),
            (
                "components",
                object([
                    ("securitySchemes", security), ("headers", headers), ("responses", responses),
                    ("schemas", object(AdminSchemas.all)),
                ])
            ),
        ])
    }()

    private static let headers = object([
        (
            "CacheControl",
            #"{"description":"Nothing is to be kept","required":true,"schema":{"type":"string","const":"no-store"}}"#
        ),
        ("NoSniff", #"{"required":true,"schema":{"type":"string","const":"nosniff"}}"#),
    ])

    private static let headerReferences =
        ##"{"Cache-Control":{"$ref":"#/components/headers/CacheControl"},"##
        + ##""X-Content-Type-Options":{"$ref":"#/components/headers/NoSniff"}}"##

    /// Errors by their status.
    private static let errors: [(status: Int, summary: String)] = [
        (400, "The path, the query or the body is not of its form"), (401, "The token is missing or another one"),
        (403, "There is no token, and the Host is no loopback name"), (404, "There is no such thing"),
        (405, "The path takes other methods"), (408, "The body took too long to come"),
        (413, "The body is too large"), (415, "The body is not application/json"),
        (431, "The head of the request is too long"),
        (503, "It can't be told now: try again. What a POST asked may still take effect where the message says so"),
    ]

    private static var responses: String {
        object(
            errors.map { status, summary in
                var headers = String(headerReferences.dropLast())
                if status == 401 {
                    headers += #","WWW-Authenticate":{"required":true,"schema":{"type":"string","const":"Bearer"}}"#
                }
                if status == 405 { headers += #","Allow":{"required":true,"schema":{"type":"string"}}"# }
                return (
                    "Error\(status)",
                    object([
                        ("description", quoted(summary)), ("headers", headers + "}"),
                        ("content", content("application/json", "Error")),
                    ])
                )
            })
    }

    private static var paths: String {
        var paths: [(String, [(String, String)])] = []
        for operation in AdminOperation.all {
            let item = (operation.method.rawValue, describe(operation))
            if let index = paths.firstIndex(where: { $0.0 == operation.path }) {
                paths[index].1.append(item)
            } else {
                paths.append((operation.path, [item]))
            }
        }
        return object(paths.map { ($0.0, object($0.1)) })
    }

    private static func describe(_ operation: AdminOperation) -> String {
        let inPath = operation.placeholders.map { name in
            object([
                ("name", quoted(name)), ("in", quoted("path")), ("required", "true"),
                ("schema", reference(AdminSchemas.name(ofPart: name))),
            ])
        }
        let inQuery = operation.parameters.map { parameter in
            object([
                ("name", quoted(parameter.name)), ("in", quoted("query")), ("required", "false"),
                ("description", quoted(parameter.summary)), ("schema", parameter.schema),
            ])
        }
        var fields = [
            ("operationId", quoted(operation.id)), ("tags", "[\(quoted(operation.tag))]"),
            ("summary", quoted(operation.summary)), ("parameters", "[\((inPath + inQuery).joined(separator: ","))]"),
        ]
        if let body = operation.body {
            fields.append(
                ("requestBody", object([("required", "true"), ("content", content("application/json", body))])))
        }
        if operation.isOpen { fields.append(("security", "[]")) }
        let answers = operation.answers.map { answer in
            (
                "\(answer.status)",
                object([
                    ("description", quoted(answer.summary)), ("headers", headerReferences),
                    ("content", content(answer.type, answer.schema)),
                ])
            )
        }
        let refusals = Set(statuses(of: operation)).sorted().map {
            ("\($0)", ##"{"$ref":"#/components/responses/Error"## + "\($0)\"}")
        }
        fields.append(("responses", object(answers + refusals)))
        return object(fields)
    }

    /// Every error that an operation may answer with.
    static func statuses(of operation: AdminOperation) -> [Int] {
        var statuses = [403, 405, 431] + operation.errors
        if !operation.isOpen { statuses.append(401) }
        if operation.isAPI { statuses += [400, 503] }
        if operation.method == .post { statuses += [408, 413, 415] }
        return statuses
    }

    // MARK: JSON

    private static func content(_ type: String, _ schema: String?) -> String {
        object([(type, object([("schema", schema.map(reference) ?? #"{"type":"string"}"#)]))])
    }

    private static func reference(_ schema: String) -> String {
        ##"{"$ref":"#/components/schemas/"## + schema + "\"}"
    }

    private static func object(_ fields: [(String, String)]) -> String {
        "{" + fields.map { quoted($0.0) + ":" + $0.1 }.joined(separator: ",") + "}"
    }

    private static func quoted(_ text: String) -> String {
        var buffer = ByteBuffer()
        buffer.writeJSONString(text)
        return String(buffer: buffer)
    }
}
