import ConduitCore
import ConduitTesting
import ConduitWire
import Foundation
import NIOCore
import Testing

@testable import ConduitAdmin

/// The document is made of the table that requests are routed by; here it is held to what the port does.
@Suite struct AdminDocumentTests {
    private func document() throws -> [String: Any] {
        let data = Data(AdminDocument.bytes.readableBytesView)
        return try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    }

    /// A path of an operation with names in the places of what stands in braces.
    private func example(_ operation: AdminOperation) -> String {
        operation.path.replacingOccurrences(of: "{client}", with: "node-a.abc")
            .replacingOccurrences(of: "{node}", with: "node-a").replacingOccurrences(of: "{room}", with: "a%2Fb")
            .replacingOccurrences(of: "{user}", with: "u")
    }

    @Test func everyOperationIsServedAndDescribedOnce() throws {
        let paths = try #require(try document()["paths"] as? [String: [String: Any]])
        #expect(Set(AdminOperation.all.map(\.id)).count == AdminOperation.all.count)
        #expect(paths.values.reduce(0) { $0 + $1.count } == AdminOperation.all.count)
        var routes: Set<AdminRoute> = []
        for operation in AdminOperation.all {
            let item = try #require(paths[operation.path]?[operation.method.rawValue] as? [String: Any])
            #expect(item["operationId"] as? String == operation.id)
            let method = operation.method.rawValue.uppercased()
            let found = try AdminOperation.find(method: method, path: example(operation))
            #expect(found.operation.id == operation.id)
            #expect(routes.insert(found.route).inserted, "\(operation.id) has the route of another one")
        }
    }

    @Test func referencesLeadSomewhere() throws {
        let text = String(buffer: AdminDocument.bytes)
        let components = try #require(try document()["components"] as? [String: [String: Any]])
        let parts = text.components(separatedBy: "\"#/components/").dropFirst()
        #expect(parts.count > 100)
        for part in parts {
            let path = part.prefix { $0 != "\"" }.split(separator: "/").map(String.init)
            #expect(path.count == 2 && components[path[0]]?[path[1]] != nil, "\(path)")
        }
    }

    @Test func reservedTypesAreThoseOfTheProtocol() {
        for type in AdminSchemas.reserved { #expect(ReservedTypes.contains(type), "\(type)") }
    }

    @Test func eachRequestIsAnsweredAsDescribed() async throws {
        try await withAdmin(token: "t") { _, port in
            for operation in AdminOperation.all {
                let described = Set(operation.answers.map(\.status) + AdminDocument.statuses(of: operation))
                let path = example(operation)
                let (method, other) = operation.method == .get ? ("GET", "POST") : ("POST", "GET")
                let refused = try await request(port, method, path, body: operation.body.map { _ in "{}" })
                #expect(refused.status == (operation.isOpen ? 200 : 401), "\(operation.id)")
                let headers = ["Authorization": "Bearer t"]
                let answer = try await request(port, method, path, headers, body: operation.body.map { _ in "{}" })
                #expect(described.contains(answer.status), "\(operation.id) answered \(answer.status)")
                #expect(try await request(port, other, path, headers, body: "{}").status == 405, "\(operation.id)")
                guard operation.isAPI else { continue }
                let unknown = try await request(port, method, path + "?nothing=1", headers, body: "{}")
                #expect(unknown.status == 400, "\(operation.id) takes what isn't described")
            }
            let page = try await request(port, "GET", "/api/v1/openapi.json", ["Authorization": "Bearer t"])
            #expect(page["content-type"] == "application/json")
            #expect(page.body == String(buffer: AdminDocument.bytes))
        }
    }
}
