import ConduitGateway

// Who may come in through the public port, and how many.
extension NodeConfiguration {
    static func readDoor(_ values: ConfigurationValues, into gateway: inout GatewayConfiguration) {
        // Each entry was checked by the same rules.
        gateway.trustedProxies = TrustedProxies.list(values.list("http.trusted-proxies")) ?? .none
        gateway.proxyProtocol = values.boolean("http.proxy-protocol")
        gateway.connectionsPerAddress = values.integer("limits.connections-per-address")
        gateway.connectionsPerUser = values.integer("limits.connections-per-user")
        gateway.handshakesPerSecond = values.integer("limits.handshakes-per-second")
        gateway.handshakesPerSecondPerAddress = values.integer("limits.handshakes-per-second-per-address")
        gateway.handshaking = values.integer("limits.handshaking")
        gateway.memoryBytes = values.integer("limits.memory-bytes")
    }

    static func tls(_ values: ConfigurationValues) -> ServerTLS? {
        let certificate = values.text("http.tls-certificate")
        let key = values.text("http.tls-key")
        guard !certificate.isEmpty, !key.isEmpty else { return nil }
        var tls = ServerTLS(certificateFile: certificate, keyFile: key)
        tls.minimumVersion = ServerTLS.Version(rawValue: values.text("http.tls-minimum")) ?? .tls12
        tls.clientCAFile = values.text("http.tls-client-ca")
        tls.clientCertificates =
            ServerTLS.ClientCertificates(rawValue: values.text("http.tls-client-certificates")) ?? .none
        tls.reloadMilliseconds = values.milliseconds("http.tls-reload-interval")
        return tls
    }

    static func findContradictionsOfDoor(in values: inout ConfigurationValues) {
        if values.boolean("http.proxy-protocol"), values.list("http.trusted-proxies").isEmpty {
            values.contradiction(
                "http.proxy-protocol", "http.trusted-proxies",
                message: "http.proxy-protocol needs http.trusted-proxies: from nobody else a PROXY header is taken")
        }
        let certificates = "http.tls-client-certificates"
        let authority = "http.tls-client-ca"
        let asks = values.text(certificates) != "none"
        if asks, tls(values) == nil {
            values.contradiction(
                certificates, "http.tls-certificate", "http.tls-key",
                message: "\(certificates) needs http.tls-certificate and http.tls-key")
        } else if asks, values.text(authority).isEmpty {
            values.contradiction(certificates, authority, message: "\(certificates) needs \(authority)")
        } else if !asks, !values.text(authority).isEmpty {
            values.contradiction(
                authority, certificates, message: "\(authority) needs \(certificates) to be optional or required")
        }
        findContradictionsOfTLS(in: &values)
    }

    private static func findContradictionsOfTLS(in values: inout ConfigurationValues) {
        let names = ["http.tls-certificate", "http.tls-key"]
        guard let tls = tls(values) else {
            for (name, other) in zip(names, names.reversed()) where !values.text(name).isEmpty {
                values.contradiction(name, other, message: "\(name) needs \(other)")
            }
            return
        }
        // Said already.
        if tls.clientCertificates != .none, tls.clientCAFile.isEmpty { return }
        guard let problem = tls.problem() else { return }
        let name =
            switch problem.part {
            case .certificate: names[0]
            case .key: names[1]
            case .clientCA: "http.tls-client-ca"
            }
        values.contradiction(
            name, message: "\(ConfigurationKey.quoted(values.text(name))) \(problem.message)")
    }
}
