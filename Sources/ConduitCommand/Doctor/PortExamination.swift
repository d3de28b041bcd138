import Conduit
import NIOCore
import NIOPosix

/// Whether a node of a configuration can have its ports.
struct PortExamination {
    let configuration: NodeConfiguration

    func findings() async -> [Finding] {
        let gateway = configuration.gateway
        let host = configuration.listeningHost(isAuthenticated: configuration.auth.isConfigured)
        var findings = [
            await finding(
                "http.port", host, gateway.port, health: gateway.tls == nil ? "/health" : nil)
        ]
        if configuration.admin.isEnabled {
            findings.append(
                await finding("admin.port", configuration.admin.host, configuration.admin.port, health: "/health/live"))
        }
        return findings
    }

    /// `health`: what a node answers there; `nil` where it speaks TLS.
    private func finding(_ key: String, _ host: String, _ port: Int, health: String?) async -> Finding {
        let address = host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        guard port != 0 else { return Finding("machine", key, .ok, "any free port") }
        do {
            // Without SO_REUSEPORT: another listener must be noticed.
            let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .bind(host: host, port: port).get()
            try? await channel.close().get()
            return Finding("machine", key, .ok, "\(address) is free")
        } catch let error as IOError {
            return await failure(key, host, port, address, error, health)
        } catch {
            return Finding(
                "machine", key, .fail, "\(address): \(error)", remedy: "an address of this machine, or 0.0.0.0")
        }
    }

    private func failure(
        _ key: String, _ host: String, _ port: Int, _ address: String, _ error: IOError, _ health: String?
    ) async -> Finding {
        switch error.errnoCode {
        case 98:
            guard let health else {
                return Finding(
                    "machine", key, .warn, "\(address) is taken, by whom TLS doesn't tell",
                    remedy: "nothing, when a node of yours runs here; else another \(key)")
            }
            let probe = HealthProbe(host: host, port: port, path: health)
            let status = try? await probe.status(within: .seconds(2))
            guard status != 200 else {
                return Finding("machine", key, .ok, "\(address) is taken by a node that is alive (\(health) says 200)")
            }
            return Finding(
                "machine", key, .fail,
                "\(address) is taken by another program (\(health) \(status.map { "says \($0)" } ?? "isn't answered"))",
                remedy: "end that program (ss -ltnp 'sport = :\(port)' names it), or another \(key)")
        case 13:
            return Finding(
                "machine", key, .fail, "\(address) may not be opened by this user",
                remedy: "AmbientCapabilities=CAP_NET_BIND_SERVICE in the systemd unit, or a port above 1023")
        case 99:
            return Finding(
                "machine", key, .fail, "\(host) is not an address of this machine",
                remedy: "an address of this machine, or 0.0.0.0 for all")
        default:
            return Finding("machine", key, .fail, "\(address): \(error)")
        }
    }
}
