import Foundation

/// An envelope from the server, as a test reads it.
package struct TestEvent: Sendable, CustomStringConvertible {
    package let text: String
    package let type: String
    /// The `id` as text; numbers too.
    package let id: String?
    package let room: String?

    package init?(_ text: String) {
        guard let object = try? JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any],
            let type = object["type"] as? String
        else { return nil }
        self.text = text
        self.type = type
        self.id = (object["id"] as? String) ?? (object["id"] as? NSNumber)?.stringValue
        self.room = object["room"] as? String
    }

    /// `data`, where it is an object.
    package var data: [String: Any] {
        let object = try? JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
        return object?["data"] as? [String: Any] ?? [:]
    }

    /// The whole envelope.
    package var object: [String: Any] {
        (try? JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]) ?? [:]
    }

    package func string(_ key: String) -> String? { data[key] as? String }

    package func int(_ key: String) -> Int? { (data[key] as? NSNumber)?.intValue }

    package var description: String { text }
}
