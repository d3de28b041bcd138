// swift-tools-version: 6.2
import PackageDescription

/// The benchmarks measure what is `package` in the project's modules. SwiftPM names a package after its folder, so the
/// compiler is told here that these sources belong to it, too.
let house = String(Context.packageDirectory.split(separator: "/").dropLast().last ?? "conduit").lowercased()
let packageName = String(house.map { $0.isLetter || $0.isNumber ? $0 : "_" })

let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .treatAllWarnings(as: .error),
    .unsafeFlags(["-package-name", packageName]),
]

let package = Package(
    name: "conduit-benchmarks",
    dependencies: [
        .package(path: ".."),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.14.0"),
    ],
    targets: [
        // A thread's allocations and CPU.
        .target(name: "CThreadAccount"),
        .executableTarget(
            name: "ConduitMicro",
            dependencies: [
                "CThreadAccount",
                .product(name: "Conduit", package: house),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "Logging", package: "swift-log"),
            ],
            // Without SwiftPM's own -package-name, which would come last and win.
            packageAccess: false, swiftSettings: settings),
    ],
    swiftLanguageModes: [.v6]
)
