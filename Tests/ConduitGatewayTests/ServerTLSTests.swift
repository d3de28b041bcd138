import ConduitHub
import ConduitTesting
import Foundation
import NIOCore
import NIOSSL
import Synchronization
import Testing

@testable import ConduitGateway

/// TLS on the public port with real clients: NIOSSL's and OpenSSL's.
@Suite struct ServerTLSTests {
    /// Files of a certificate that can be exchanged.
    final class Exchangeable: Sendable {
        private let folder: TemporaryFolder
        var tls: ServerTLS { ServerTLS(certificateFile: folder.path("crt"), keyFile: folder.path("key")) }

        init(_ certificates: TestCertificates) throws {
            folder = try TemporaryFolder("tls")
            try put(certificates)
        }

        func put(_ certificates: TestCertificates) throws {
            try put(certificate: Data(contentsOf: URL(fileURLWithPath: certificates.certificateFile)))
            try put(key: Data(contentsOf: URL(fileURLWithPath: certificates.keyFile)))
        }

        // Whole or not at all: half a file that is read in between would be a try of its own.
        func put(certificate: Data) throws {
            try certificate.write(to: URL(fileURLWithPath: folder.path("crt")), options: .atomic)
        }
        func put(key: Data) throws { try key.write(to: URL(fileURLWithPath: folder.path("key")), options: .atomic) }
    }

    /// What `openssl s_client` says of a connection.
    static func openssl(_ port: Int, _ words: String, files: [String] = []) async throws -> ChildProcess.Outcome {
        try await ChildProcess.run(
            ["openssl", "s_client", "-connect", "127.0.0.1:\(port)"] + words.split(separator: " ").map(String.init)
                + files, input: "")
    }

    /// Whether a client that trusts only this authority can connect.
    static func serves(_ certificates: TestCertificates, _ port: Int) async -> Bool {
        guard let client = try? await TestWebSocket.connect(port: port, authority: certificates.caFile) else {
            return false
        }
        await client.drop()
        return true
    }

    // MARK: New certificates

    @Test func aNewCertificateIsTakenAndClientsStay() async throws {
        let first = try await TestCertificates.make()
        let second = try await TestCertificates.make()
        let files = try Exchangeable(first)
        try await GatewayTests.withGateway({
            $0.tls = files.tls
            $0.tls?.reloadMilliseconds = 20
        }) { port, gateway, _ in
            let client = try await TestWebSocket.connect(port: port, authority: first.caFile)
            #expect(!(await Self.serves(second, port)))
            let notAfter = try #require(gateway.statistics.certificateNotAfter)
            #expect(notAfter > Int64(Date().timeIntervalSince1970))
            // The key comes after the certificate: in between they don't fit, and the old one is served.
            try files.put(certificate: try Data(contentsOf: URL(fileURLWithPath: second.certificateFile)))
            try await eventually { gateway.statistics.certificateFailures > 0 }
            #expect(await Self.serves(first, port))
            try files.put(key: try Data(contentsOf: URL(fileURLWithPath: second.keyFile)))
            try await eventually { gateway.statistics.certificateReloads == 1 }
            #expect(await Self.serves(second, port))
            #expect(!(await Self.serves(first, port)))
            // Half a file, and none.
            for broken in [Data("-----BEGIN CERTIFICATE-----\nMIIB".utf8), Data()] {
                let failures = gateway.statistics.certificateFailures
                try files.put(certificate: broken)
                try await eventually { gateway.statistics.certificateFailures > failures }
                #expect(await Self.serves(second, port))
            }
            try files.put(first)
            try await eventually { gateway.statistics.certificateReloads == 2 }
            #expect(await Self.serves(first, port))
            // Who came with the first certificate has noticed nothing.
            #expect(try await client.request("ping", "1").int("timestamp") == 1)
            await client.drop()
        }
    }

    @Test func reloadingByHandSaysWhatCameOfIt() async throws {
        let first = try await TestCertificates.make()
        let second = try await TestCertificates.make()
        let files = try Exchangeable(first)
        try await GatewayTests.withGateway({
            $0.tls = files.tls
            $0.tls?.reloadMilliseconds = 0
        }) { port, gateway, _ in
            #expect(try await gateway.reloadCertificates() == false)
            try files.put(second)
            #expect(try await gateway.reloadCertificates())
            #expect(await Self.serves(second, port))
            try files.put(key: Data("no key".utf8))
            for _ in 0..<2 { await #expect(throws: ServerTLSError.self) { try await gateway.reloadCertificates() } }
            #expect(gateway.statistics.certificateFailures == 1)
            #expect(await Self.serves(second, port))
        }
        try await GatewayTests.withGateway { _, gateway, _ in
            let isNew = try await gateway.reloadCertificates()
            #expect(!isNew)
            #expect(gateway.statistics.certificateNotAfter == nil)
        }
    }

    // MARK: Versions, protocols

    @Test func oldVersionsAreRefusedAndHTTPIsSpoken() async throws {
        let certificates = try await TestCertificates.make()
        let tls = ServerTLS(certificateFile: certificates.certificateFile, keyFile: certificates.keyFile)
        try await GatewayTests.withGateway({ $0.tls = tls }) { port, _, _ in
            // Level 0 lets OpenSSL itself speak what is that old.
            let old = try await Self.openssl(port, "-tls1_1 -cipher DEFAULT@SECLEVEL=0")
            #expect(old.status != 0)
            #expect(old.output.contains("alert protocol version"), "\(old.output)")
            for version in ["-tls1_2", "-tls1_3"] {
                let new = try await Self.openssl(port, version + " -alpn h2,http/1.1")
                #expect(new.status == 0)
                #expect(new.output.contains("ALPN protocol: http/1.1"), "\(new.output)")
            }
            // Who offers none, or another one only, is told none.
            for offer in ["", " -alpn h2"] {
                let other = try await Self.openssl(port, "-tls1_3" + offer)
                #expect(other.status == 0)
                #expect(other.output.contains("No ALPN negotiated"), "\(other.output)")
            }
        }
        var strict = tls
        strict.minimumVersion = .tls13
        try await GatewayTests.withGateway({ [strict] in $0.tls = strict }) { port, _, _ in
            let old = try await Self.openssl(port, "-tls1_2")
            #expect(old.status != 0)
            let new = try await Self.openssl(port, "-tls1_3")
            #expect(new.status == 0)
        }
    }

    // MARK: Certificates of clients

    @Test(arguments: [TLSVersion.tlsv12, .tlsv13])
    func aClientWithoutACertificateIsRefusedWhereOneIsRequired(_ version: TLSVersion) async throws {
        let certificates = try await TestCertificates.make()
        let others = try await TestCertificates.make()
        let names = "DNS:bot.example,email:bot@example.org,IP:127.0.0.1,URI:spiffe://example/bot"
        let own = try await certificates.issue("bot", subject: "/O=Example/CN=Bot No 5", names: names)
        let foreign = try await others.issue("bot", subject: "/CN=Bot No 5", names: names)
        var tls = ServerTLS(certificateFile: certificates.certificateFile, keyFile: certificates.keyFile)
        tls.clientCAFile = certificates.caFile
        for mode in [ServerTLS.ClientCertificates.required, .optional] {
            tls.clientCertificates = mode
            let seen = Mutex<[ClientCertificate?]>([])
            try await GatewayTests.withGateway(
                { [tls] in $0.tls = tls },
                authenticate: { request in
                    seen.withLock { $0.append(request.clientCertificate) }
                    return .anonymous
                }
            ) { port, gateway, _ in
                func connect(_ pair: TestCertificates.Pair?) async throws {
                    let client = try await TestWebSocket.connect(
                        port: port, authority: certificates.caFile, tlsVersion: version, clientCertificate: pair)
                    #expect(try await client.request("ping", "1").int("timestamp") == 1)
                    await client.drop()
                }
                try await connect(own)
                await #expect(throws: (any Error).self) { try await connect(foreign) }
                if mode == .required {
                    await #expect(throws: (any Error).self) { try await connect(nil) }
                } else {
                    try await connect(nil)
                }
                try await eventually { gateway.statistics.open == 0 }
                let certificate = try #require(seen.withLock { $0.first } ?? nil)
                #expect(certificate.commonName == "Bot No 5")
                #expect(certificate.names == ["bot.example", "bot@example.org", "spiffe://example/bot"])
                #expect(seen.withLock { $0.dropFirst() } == (mode == .required ? [] : [nil]))
            }
        }
    }

    @Test func whatIsNoCertificateIsNone() throws {
        #expect(ClientCertificate(der: []) == nil)
        var bytes: [UInt8] = [0x30, 0x82, 0x01, 0x00]
        for byte in UInt8.min...UInt8.max {
            bytes.append(byte)
            #expect(ClientCertificate(der: bytes) == nil)
        }
    }

    @Test func aMissingAuthorityIsSaid() async throws {
        let certificates = try await TestCertificates.make()
        var tls = ServerTLS(certificateFile: certificates.certificateFile, keyFile: certificates.keyFile)
        tls.clientCertificates = .required
        #expect(tls.problem()?.part == .clientCA)
        tls.clientCAFile = certificates.caFile
        #expect(tls.problem() == nil)
        tls.keyFile = certificates.caFile
        #expect(tls.problem()?.part == .key)
    }

    // MARK: Time

    @Test func halfAHandshakeEndsWithTheHandshakeTimeout() async throws {
        let certificates = try await TestCertificates.make()
        let tls = ServerTLS(certificateFile: certificates.certificateFile, keyFile: certificates.keyFile)
        try await GatewayTests.withGateway({
            $0.tls = tls
            $0.handshakeTimeoutMilliseconds = 300
        }) { port, gateway, _ in
            // A ClientHello that never becomes whole.
            let socket = try await TestSocket.connect(port: port)
            try await socket.send(ByteBuffer(bytes: [0x16, 0x03, 0x01, 0x02, 0x00, 0x01]))
            #expect(try await socket.waitForClose().isEmpty)
            try await eventually { gateway.statistics.results == ["timeout": 1] }
            try await eventually { gateway.statistics.open == 0 }
            await socket.close()
        }
    }
}
