import Testing

@testable import Conduit

@Suite struct ProcessorCountTests {
    @Test(
        arguments: [
            ("Name:\tconduit\nCpus_allowed:\t3\nCpus_allowed_list:\t0-1\n", 2), ("Cpus_allowed:\t8", 1),
            ("Cpus_allowed:\tffffffff,0000000f\n", 36), ("Cpus_allowed:\t0\n", nil), ("", nil),
        ] as [(String, Int?)])
    func coresThatMayBeUsed(_ status: String, _ count: Int?) {
        #expect(ProcessorCount.allowed(in: status) == count)
    }

    @Test func thereIsAlwaysOne() { #expect(ProcessorCount.usable >= 1) }
}
