// swift-tools-version: 6.2
import PackageDescription

/// Every target of ours is built with the same strict settings; dependencies keep their own.
///
/// With `CONDUIT_FUZZ` in the environment (dev/fuzz) they are built for libFuzzer: every branch counted, every address
/// checked.
let isFuzzing = Context.environment["CONDUIT_FUZZ"] != nil
let sanitizers = ["-sanitize=fuzzer,address"]
let strict: [SwiftSetting] =
    [
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("MemberImportVisibility"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
        .strictMemorySafety(),
        .treatAllWarnings(as: .error),
    ] + (isFuzzing ? [.unsafeFlags(sanitizers + ["-assert-config", "Debug"])] : [])

let nio: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
let posix: Target.Dependency = .product(name: "NIOPosix", package: "swift-nio")
let http1: Target.Dependency = .product(name: "NIOHTTP1", package: "swift-nio")
let concurrency: Target.Dependency = .product(name: "NIOConcurrencyHelpers", package: "swift-nio")
let embedded: Target.Dependency = .product(name: "NIOEmbedded", package: "swift-nio")
let ssl: Target.Dependency = .product(name: "NIOSSL", package: "swift-nio-ssl")
let crypto: Target.Dependency = .product(name: "Crypto", package: "swift-crypto")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let lifecycle: Target.Dependency = .product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let signals: Target.Dependency = .product(name: "UnixSignals", package: "swift-service-lifecycle")
let histogram: Target.Dependency = .product(name: "Histogram", package: "hdrhistogram-swift")
let hummingbird: Target.Dependency = .product(name: "Hummingbird", package: "hummingbird")
let configuration: Target.Dependency = .product(name: "Configuration", package: "swift-configuration")
let jwt: Target.Dependency = .product(name: "JWTKit", package: "jwt-kit")
let httpClient: Target.Dependency = .product(name: "AsyncHTTPClient", package: "async-http-client")
let tracing: Target.Dependency = .product(name: "Tracing", package: "swift-distributed-tracing")
let arguments: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")

let package = Package(
    name: "conduit",
    products: [
        .library(name: "Conduit", targets: ["Conduit"]),
        .executable(name: "conduit", targets: ["ConduitCommand"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.0.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.14.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.10.0"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0", traits: []),
        .package(
            url: "https://github.com/apple/swift-configuration", from: "1.4.0", traits: [.defaults, "YAML"]),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/vapor/jwt-kit", from: "5.0.0"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.24.0"),
        .package(url: "https://github.com/apple/swift-distributed-tracing", from: "1.6.0"),
    ],
    targets: [
        // Pure values: no NIO, no Foundation, no clock.
        .target(name: "ConduitCore", swiftSettings: strict),
        // zlib, for permessage-deflate.
        .systemLibrary(name: "CZlib", providers: [.apt(["zlib1g-dev"])]),
        // Bytes to values and back.
        .target(name: "ConduitWire", dependencies: ["ConduitCore", "CZlib", nio], swiftSettings: strict),
        // Metric names, log keys, histograms, Prometheus text.
        .target(name: "ConduitTelemetry", dependencies: [logging], swiftSettings: strict),
        // hiredis, as Debian ships it; linked by the module map.
        .systemLibrary(name: "CHiredis", providers: [.apt(["libhiredis-dev", "libssl-dev"])]),
        // One Redis connection and how it is kept. Knows nothing of rooms.
        .target(
            name: "ConduitRedis",
            dependencies: ["CHiredis", "ConduitTelemetry", nio, posix, ssl, logging],
            swiftSettings: strict),
        // What Linux has and Swift's Glibc module leaves out: epoll, malloc_trim.
        .systemLibrary(name: "CLinux"),
        // Everything local to one node.
        .target(
            name: "ConduitHub",
            dependencies: [
                "CLinux", "ConduitWire", "ConduitCore", "ConduitTelemetry", nio, posix, concurrency, logging, tracing,
            ],
            swiftSettings: strict),
        // The same verbs for the other nodes.
        .target(
            name: "ConduitCluster",
            dependencies: [
                "ConduitHub", "ConduitRedis", "ConduitWire", "ConduitCore", "ConduitTelemetry", nio, posix, logging,
                tracing,
            ],
            swiftSettings: strict),
        // The public port: listener, HTTP, upgrade.
        .target(
            name: "ConduitGateway",
            dependencies: [
                "CLinux", "ConduitHub", "ConduitWire", "ConduitCore", "ConduitTelemetry", nio, posix, concurrency, ssl,
                crypto, logging,
            ],
            resources: [.embedInCode("Resources/example-client.html")],
            swiftSettings: strict),
        // The operator's port.
        .target(
            name: "ConduitAdmin",
            dependencies: [
                "ConduitCluster", "ConduitHub", "ConduitWire", "ConduitCore", "ConduitTelemetry", hummingbird, nio,
                http1, logging, lifecycle,
            ],
            resources: [.embedInCode("Resources/dashboard.html")],
            swiftSettings: strict),
        // Who a client is: tokens, keys, the application's own server. Needs Foundation, so not on the message path.
        .target(
            name: "ConduitAuth",
            dependencies: [
                "ConduitGateway", "ConduitHub", "ConduitWire", "ConduitCore", "ConduitTelemetry", jwt, httpClient, nio,
                http1, ssl, logging,
            ],
            swiftSettings: strict),
        // Composition root and the API for people who embed a node.
        .target(
            name: "Conduit",
            dependencies: [
                "ConduitAdmin", "ConduitAuth", "ConduitGateway", "ConduitCluster", "ConduitRedis", "ConduitHub",
                "ConduitWire", "ConduitCore", "ConduitTelemetry", configuration, nio, posix, logging, lifecycle,
                tracing,
            ],
            swiftSettings: strict),
        // The load generator behind `conduit bench`: knows the public protocol, nothing of a node.
        .target(
            name: "ConduitBench",
            dependencies: ["ConduitWire", "ConduitCore", "ConduitTelemetry", histogram, nio, posix, ssl],
            swiftSettings: strict),
        .executableTarget(
            name: "ConduitCommand",
            dependencies: [
                "Conduit", "ConduitAuth", "ConduitBench", "ConduitCluster", "ConduitRedis", "ConduitWire",
                "ConduitCore", "ConduitTelemetry",
                configuration, arguments, nio, posix, logging, lifecycle, signals,
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "ChatExample", dependencies: ["Conduit", logging], path: "Examples/Chat", swiftSettings: strict),

        // Real Redis servers, real sockets, real processes: for Tests/ only.
        .target(
            name: "ConduitTesting",
            dependencies: ["ConduitWire", "ConduitCore", nio, posix, concurrency, http1, ssl],
            path: "Tests/ConduitTesting", swiftSettings: strict),
        // What is fuzzed: for the fuzzer below and for the tests, which replay what it found.
        .target(
            name: "ConduitFuzzing",
            dependencies: ["ConduitGateway", "ConduitRedis", "ConduitWire", "ConduitCore", nio],
            path: "Tests/Fuzz/ConduitFuzzing", swiftSettings: strict),
        .testTarget(name: "ConduitCoreTests", dependencies: ["ConduitCore", "ConduitTesting"], swiftSettings: strict),
        .testTarget(
            name: "ConduitWireTests", dependencies: ["ConduitWire", "ConduitCore", "ConduitTesting", nio],
            swiftSettings: strict),
        .testTarget(
            name: "ConduitTelemetryTests", dependencies: ["ConduitTelemetry", "ConduitTesting", logging],
            swiftSettings: strict),
        .testTarget(
            name: "ConduitRedisTests",
            dependencies: ["ConduitRedis", "ConduitTesting", nio, posix, embedded, concurrency, ssl, logging],
            swiftSettings: strict),
        .testTarget(
            name: "ConduitHubTests",
            dependencies: [
                "ConduitHub", "ConduitWire", "ConduitCore", "ConduitTelemetry", "ConduitTesting", nio, posix, embedded,
                concurrency, logging,
            ],
            swiftSettings: strict),
        .testTarget(
            name: "ConduitClusterTests",
            dependencies: [
                "ConduitCluster", "ConduitRedis", "ConduitHub", "ConduitWire", "ConduitCore", "ConduitTelemetry",
                "ConduitTesting", nio, posix, concurrency, logging,
            ],
            swiftSettings: strict),
        .testTarget(
            name: "ConduitGatewayTests",
            dependencies: [
                "ConduitGateway", "ConduitHub", "ConduitWire", "ConduitCore", "ConduitTelemetry", "ConduitTesting", nio,
                posix, embedded, http1, ssl, logging,
            ],
            swiftSettings: strict),
        .testTarget(
            name: "ConduitAuthTests",
            dependencies: [
                "ConduitAuth", "ConduitGateway", "ConduitHub", "ConduitWire", "ConduitCore", "ConduitTelemetry",
                "ConduitTesting", jwt, crypto, nio, concurrency, logging,
            ],
            swiftSettings: strict),
        .testTarget(
            name: "ConduitAdminTests",
            dependencies: [
                "ConduitAdmin", "ConduitCluster", "ConduitRedis", "ConduitHub", "ConduitWire", "ConduitCore",
                "ConduitTelemetry", "ConduitTesting", nio, posix, logging,
            ],
            swiftSettings: strict),
        .testTarget(
            name: "ConduitBenchTests",
            dependencies: [
                "ConduitBench", "Conduit", "ConduitWire", "ConduitCore", "ConduitTesting", nio, posix, ssl, logging,
            ],
            swiftSettings: strict),
        .testTarget(
            name: "ConduitFuzzingTests", dependencies: ["ConduitFuzzing", "ConduitTesting"], swiftSettings: strict),
        // Whole nodes, in process and as processes: the promises of Docs/.
        .testTarget(
            name: "ConduitTests",
            dependencies: [
                "Conduit", "ConduitCommand", "ConduitAdmin", "ConduitAuth", "ConduitBench", "ConduitGateway",
                "ConduitCluster", "ConduitRedis", "ConduitHub", "ConduitWire", "ConduitCore", "ConduitTelemetry",
                "ConduitTesting",
                configuration, nio,
                posix, logging, tracing,
            ],
            swiftSettings: strict),
    ],
    swiftLanguageModes: [.v6]
)

if isFuzzing {
    package.targets.append(
        .executableTarget(
            name: "ConduitFuzzer", dependencies: ["ConduitFuzzing"], path: "Tests/Fuzz/Fuzzer",
            linkerSettings: [.unsafeFlags(sanitizers + ["-use-ld=lld"])]))
    package.products.append(.executable(name: "conduit-fuzzer", targets: ["ConduitFuzzer"]))
}
