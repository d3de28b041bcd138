import Testing

@testable import ConduitTelemetry

@Suite struct ControlGroupTests {
    static func limit(_ groups: String, _ files: [String: String]) -> UInt64? {
        ControlGroup.memoryLimit(groups: groups) { files[$0] }
    }

    @Test func version2IsTheLeastOfAllGroupsAbove() {
        let groups = "0::/system.slice/conduit.service\n"
        #expect(Self.limit(groups, [:]) == nil)
        let folder = "/sys/fs/cgroup/system.slice"
        #expect(Self.limit(groups, [folder + "/conduit.service/memory.max": "max\n"]) == nil)
        #expect(Self.limit(groups, [folder + "/conduit.service/memory.max": "1000\n"]) == 1_000)
        #expect(
            Self.limit(
                groups,
                [folder + "/conduit.service/memory.max": "1000\n", folder + "/memory.max": "500\n"]) == 500)
        // In a container the root is the container's own group.
        #expect(Self.limit("0::/\n", ["/sys/fs/cgroup/memory.max": "2000\n"]) == 2_000)
    }

    @Test func version1HasAHierarchyForMemory() {
        let groups = "9:name=systemd:/\n4:cpu,memory:/docker/abc\n3:cpuset:/\n0::/\n"
        let root = "/sys/fs/cgroup/memory"
        #expect(Self.limit(groups, [root + "/docker/abc/memory.limit_in_bytes": "9223372036854771712\n"]) == nil)
        #expect(Self.limit(groups, [root + "/docker/abc/memory.limit_in_bytes": "4096\n"]) == 4_096)
        #expect(Self.limit(groups, [root + "/memory.limit_in_bytes": "8192\n"]) == 8_192)
    }

    @Test func nonsenseIsNoLimit() {
        for groups in ["", "0", "0::", "a:b:c:d", "4:memory"] { #expect(Self.limit(groups, [:]) == nil) }
        for text in ["", "x", "-1", "0", "99999999999999999999999"] {
            #expect(Self.limit("0::/", ["/sys/fs/cgroup/memory.max": text]) == nil)
        }
    }
}
