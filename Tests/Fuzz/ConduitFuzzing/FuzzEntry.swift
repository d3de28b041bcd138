import Glibc

/// Called by libFuzzer's driver for each input; ends the process when something is wrong, which libFuzzer keeps.
///
/// Unsafe: the bytes are libFuzzer's and are copied at once.
@_cdecl("conduit_fuzz")
public func conduitFuzz(_ target: Int32, _ bytes: UnsafePointer<UInt8>?, _ count: Int) {
    let targets = FuzzTarget.allCases
    guard targets.indices.contains(Int(target)) else { return }
    let input = unsafe Array(UnsafeBufferPointer(start: bytes, count: count))
    guard let problem = targets[Int(target)].disagreement(on: input) else { return }
    print("\(targets[Int(target)].rawValue): \(problem)")
    _ = fflush(nil)
    abort()
}

/// The number of a target's name, -1 for none.
///
/// Unsafe: the text is a C string of the environment.
@_cdecl("conduit_fuzz_target")
public func conduitFuzzTarget(_ name: UnsafePointer<CChar>?) -> Int32 {
    guard let name = unsafe name else { return -1 }
    let text = unsafe String(cString: name)
    return Int32(FuzzTarget.allCases.firstIndex { $0.rawValue == text } ?? -1)
}
