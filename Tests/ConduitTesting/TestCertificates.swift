/// A certificate authority and a certificate for `localhost` and 127.0.0.1 signed by it, made by `openssl`.
package final class TestCertificates: Sendable {
    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    private let folder: TemporaryFolder
    package var caFile: String { folder.path("ca.crt") }
    package var certificateFile: String { folder.path("server.crt") }
    package var keyFile: String { folder.path("server.key") }

    private init(folder: TemporaryFolder) { self.folder = folder }

    /// Makes fresh ones. `names` are what the certificate stands for, in openssl's notation.
    package static func make(names: String = "DNS:localhost,IP:127.0.0.1") async throws -> TestCertificates {
        let made = TestCertificates(folder: try TemporaryFolder("certs"))
        try await openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=Test-CA",
            ["-keyout", made.folder.path("ca.key"), "-out", made.caFile])
        try await openssl(
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost",
            ["-addext", "subjectAltName=\(names)"]
                + ["-keyout", made.keyFile, "-out", made.folder.path("server.csr")])
        try await openssl(
            "x509 -req -days 2 -CAcreateserial -copy_extensions copy",
            ["-in", made.folder.path("server.csr"), "-CA", made.caFile, "-CAkey", made.folder.path("ca.key")]
                + ["-out", made.certificateFile])
        return made
    }

    /// A certificate and its key, as paths of files.
    package struct Pair: Sendable {
        package let certificateFile: String
        package let keyFile: String
    }

    /// Signs another certificate. `subject` and `names` are in openssl's notation.
    package func issue(_ file: String, subject: String, names: String) async throws -> Pair {
        let pair = Pair(certificateFile: folder.path(file + ".crt"), keyFile: folder.path(file + ".key"))
        try await Self.openssl(
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes",
            ["-subj", subject, "-addext", "subjectAltName=\(names)"]
                + ["-keyout", pair.keyFile, "-out", folder.path(file + ".csr")])
        try await Self.openssl(
            "x509 -req -days 2 -CAcreateserial -copy_extensions copy",
            ["-in", folder.path(file + ".csr"), "-CA", caFile, "-CAkey", folder.path("ca.key")]
                + ["-out", pair.certificateFile])
        return pair
    }

    private static func openssl(_ words: String, _ more: [String]) async throws {
        let outcome = try await ChildProcess.run(["openssl"] + words.split(separator: " ").map(String.init) + more)
        guard outcome.status == 0 else { throw Failure(description: "openssl: \(outcome.output)") }
    }
}
