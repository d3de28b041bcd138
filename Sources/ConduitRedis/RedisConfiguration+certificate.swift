import NIOSSL

/// Why a client certificate or its key can't be used.
package struct RedisTLSProblem: Error, Hashable, Sendable {
    /// Whether it is the key's file, not the certificate's.
    package let isAboutKey: Bool
    /// What is wrong; begins with a verb, tells nothing of what the file holds.
    package let message: String
}

extension RedisConfiguration.TLS {
    /// What this side shows to a server that asks for a certificate; `nil` when nothing is configured.
    func clientIdentity() throws(RedisTLSProblem) -> (chain: [NIOSSLCertificate], key: NIOSSLPrivateKey)? {
        guard let certificateFile, let keyFile else { return nil }
        let chain: [NIOSSLCertificate]
        do {
            chain = try NIOSSLCertificate.fromPEMFile(certificateFile)
        } catch {
            throw RedisTLSProblem(isAboutKey: false, message: "is no readable PEM file with certificates")
        }
        guard !chain.isEmpty else { throw RedisTLSProblem(isAboutKey: false, message: "holds no certificate") }
        do {
            return (chain, try NIOSSLPrivateKey(file: keyFile, format: .pem))
        } catch {
            throw RedisTLSProblem(isAboutKey: true, message: "is no readable PEM file with a private key")
        }
    }

    /// Reads the files and says what is wrong with them; `nil` when nothing is.
    package func clientCertificateProblem() -> RedisTLSProblem? {
        do throws(RedisTLSProblem) {
            guard let identity = try clientIdentity() else { return nil }
            var settings = TLSConfiguration.makeClientConfiguration()
            settings.certificateChain = identity.chain.map { .certificate($0) }
            settings.privateKey = .privateKey(identity.key)
            let fits = (try? NIOSSLContext(configuration: settings)) != nil
            return fits ? nil : RedisTLSProblem(isAboutKey: true, message: "is not the key of the certificate")
        } catch {
            return error
        }
    }
}
