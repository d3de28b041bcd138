package import Conduit
import ConduitTelemetry
import Foundation

/// What this machine lets a process do, as far as a node cares; `nil` for what can't be read.
package struct MachineFacts: Sendable, Hashable {
    package var softDescriptors: UInt64?
    package var hardDescriptors: UInt64?
    /// `fs.nr_open`: above this no limit of a process goes.
    package var mostDescriptors: UInt64?
    package var acceptBacklog: UInt64?
    /// `net.ipv4.ip_local_port_range`
    package var localPorts: ClosedRange<Int>?
    package var reservedPorts: [ClosedRange<Int>] = []
    /// Connections that the firewall follows; `nil` when it follows none.
    package var trackedConnections: UInt64?
    /// Of the control group, or the machine's.
    package var memoryBytes: UInt64?

    package init() {}

    /// Of this machine and this process.
    package static func now() -> MachineFacts {
        var facts = MachineFacts()
        var limit = rlimit()
        // Unsafe: the call fills in a value of ours.
        if unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 {
            facts.softDescriptors = UInt64(limit.rlim_cur)
            facts.hardDescriptors = UInt64(limit.rlim_max)
        }
        facts.mostDescriptors = number("/proc/sys/fs/nr_open")
        facts.acceptBacklog = number("/proc/sys/net/core/somaxconn")
        let ends = text("/proc/sys/net/ipv4/ip_local_port_range").split { $0.isWhitespace }.compactMap { Int($0) }
        if ends.count == 2, ends[0] <= ends[1] { facts.localPorts = ends[0]...ends[1] }
        facts.reservedPorts = ranges(text("/proc/sys/net/ipv4/ip_local_reserved_ports"))
        facts.trackedConnections = number("/proc/sys/net/netfilter/nf_conntrack_max")
        let total = text("/proc/meminfo").split(separator: "\n").first { $0.hasPrefix("MemTotal:") }
        let machine = total?.split { $0.isWhitespace }.compactMap { UInt64($0) }.first.map { $0 * 1_024 }
        facts.memoryBytes = ControlGroup.memoryLimit().map { min($0, machine ?? .max) } ?? machine
        return facts
    }

    private static func text(_ path: String) -> String {
        String(decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self)
    }

    private static func number(_ path: String) -> UInt64? {
        UInt64(text(path).trimmingCharacters(in: .whitespacesAndNewlines))
    }

    /// `8080,9000-9010`
    package static func ranges(_ text: String) -> [ClosedRange<Int>] {
        text.split { $0 == "," || $0.isWhitespace }.compactMap { part in
            let ends = part.split(separator: "-").compactMap { Int($0) }
            guard let first = ends.first, let last = ends.last, first <= last else { return nil }
            return first...last
        }
    }

    // MARK: What that means

    /// Descriptors of a node that aren't its clients': loops, listeners, Redis, files.
    private static let otherDescriptors: UInt64 = 100
    /// Below this a node without a limit of its own takes few clients.
    private static let fewDescriptors: UInt64 = 65_536

    /// Judged for a node of this configuration.
    package func findings(_ configuration: NodeConfiguration) -> [Finding] {
        descriptors(configuration) + backlog(configuration) + ports(configuration) + tracking(configuration)
            + memory(configuration)
    }

    private func descriptors(_ configuration: NodeConfiguration) -> [Finding] {
        guard let soft = softDescriptors, let hard = hardDescriptors else { return [] }
        let clients = UInt64(max(0, configuration.gateway.connections))
        let wanted = clients > 0 ? clients + Self.otherDescriptors : Self.fewDescriptors
        let limits = "\(Self.count(soft)) open files (soft limit of this shell), \(Self.count(hard)) (hard)"
        guard soft < wanted else {
            let for_ = clients > 0 ? "; limits.connections needs \(Self.count(wanted))" : ""
            return [Finding("machine", "descriptors", .ok, limits + for_)]
        }
        let what =
            clients > 0
            ? "limits.connections needs \(Self.count(wanted))"
            : "a node here takes \(Self.count(soft > Self.otherDescriptors ? soft - Self.otherDescriptors : 0)) clients at most"
        var remedy =
            "LimitNOFILE=\(wanted) in the systemd unit, --ulimit nofile=\(wanted) for a container, or ulimit -n \(wanted)"
        if hard < wanted { remedy += "; the hard limit must be raised, as root" }
        if let most = mostDescriptors, most < wanted { remedy += "; sysctl fs.nr_open=\(wanted)" }
        return [Finding("machine", "descriptors", clients > 0 ? .fail : .warn, "\(limits); \(what)", remedy: remedy)]
    }

    private func backlog(_ configuration: NodeConfiguration) -> [Finding] {
        guard let somaxconn = acceptBacklog else { return [] }
        let wanted = UInt64(max(0, configuration.gateway.backlog))
        let text = "net.core.somaxconn is \(Self.count(somaxconn)), http.backlog \(Self.count(wanted))"
        guard somaxconn < wanted else { return [Finding("machine", "backlog", .ok, text)] }
        return [
            Finding(
                "machine", "backlog", .warn, text + ": the kernel takes the lesser one",
                remedy: "sysctl net.core.somaxconn=\(wanted)")
        ]
    }

    private func ports(_ configuration: NodeConfiguration) -> [Finding] {
        guard let range = localPorts else { return [] }
        var findings: [Finding] = []
        let clients = configuration.gateway.connections
        let text =
            "\(range.lowerBound)-\(range.upperBound), \(Self.count(UInt64(range.count))) of them: as many connections can a "
            + "balancer on such a machine have to one address and port of a node"
        if clients > range.count {
            findings.append(
                Finding(
                    "machine", "local-ports", .warn, text + "; limits.connections is \(Self.count(UInt64(clients)))",
                    remedy:
                        "on the balancer: sysctl net.ipv4.ip_local_port_range=\"1024 65535\", or give it more source "
                        + "addresses"))
        } else {
            findings.append(Finding("machine", "local-ports", .ok, text))
        }
        let own =
            [("http.port", configuration.gateway.port)]
            + (configuration.admin.isEnabled ? [("admin.port", configuration.admin.port)] : [])
        for (key, port) in own
        where port > 0 && range.contains(port) && !reservedPorts.contains(where: { $0.contains(port) }) {
            findings.append(
                Finding(
                    "machine", "local-ports", .warn,
                    "\(key) \(port) is one of the ports that outgoing connections get: one may have it when the node starts",
                    remedy: "sysctl net.ipv4.ip_local_reserved_ports=\(port), or a port outside "
                        + "\(range.lowerBound)-\(range.upperBound)"))
        }
        return findings
    }

    private func tracking(_ configuration: NodeConfiguration) -> [Finding] {
        guard let tracked = trackedConnections else { return [] }
        let clients = UInt64(max(0, configuration.gateway.connections))
        let wanted = max(Self.fewDescriptors, clients * 2)
        let text = "the firewall follows \(Self.count(tracked)) connections at most (nf_conntrack_max)"
        guard tracked < wanted else { return [Finding("machine", "conntrack", .ok, text)] }
        return [
            Finding(
                "machine", "conntrack", .warn, text + ": new ones are dropped beyond",
                remedy: "sysctl net.netfilter.nf_conntrack_max=\(wanted)")
        ]
    }

    private func memory(_ configuration: NodeConfiguration) -> [Finding] {
        guard let memory = memoryBytes else { return [] }
        let clients = UInt64(max(0, configuration.gateway.connections))
        // Docs/memory.md: what an idle connection takes; what waits for slow ones comes on top.
        let each: UInt64 = configuration.gateway.tls == nil ? 3_100 : 23_500
        let wanted = 60_000_000 + clients * each + UInt64(max(0, configuration.hub.nodePendingBytes))
        let has = "\(ShortFigure.bytes(Double(memory))) for this process's group"
        guard clients > 0 else { return [Finding("machine", "memory", .ok, has)] }
        let needs = "limits.connections and limits.node-pending-bytes may need \(ShortFigure.bytes(Double(wanted)))"
        guard wanted > memory / 5 * 4 else { return [Finding("machine", "memory", .ok, "\(has); \(needs)")] }
        return [
            Finding(
                "machine", "memory", .warn, "\(has); \(needs)",
                remedy: "more memory, or a lower limits.connections; limits.memory-bytes closes the door in time")
        ]
    }

    private static func count(_ number: UInt64) -> String {
        guard number < 1 << 40 else { return "no limit on" }
        var digits = String(number)
        var index = digits.count - 3
        while index > 0 {
            digits.insert(",", at: digits.index(digits.startIndex, offsetBy: index))
            index -= 3
        }
        return digits
    }
}
