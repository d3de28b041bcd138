import ConduitTelemetry
import Glibc
import NIOCore
import NIOPosix
import NIOSSL

/// One run from the first connection to the report.
package final class BenchRun: Sendable {
    let plan: BenchPlan
    let stop: StopSignal
    let report: @Sendable (BenchProgress) -> Void

    /// - Parameters:
    ///   - stop: ends the run early.
    ///   - progress: is told every second how far it is.
    package init(
        plan: BenchPlan, stop: StopSignal = StopSignal(),
        progress: @escaping @Sendable (BenchProgress) -> Void = { _ in }
    ) {
        self.plan = plan
        self.stop = stop
        self.report = progress
    }

    /// Runs and returns the figures; throws when nothing could be measured.
    package func run() async throws -> BenchReport {
        if let problem = plan.problem { throw BenchError(problem) }
        try Self.allowDescriptors(plan.connections + plan.churners + 64)
        let endpoints = try await endpoints()
        let group = MultiThreadedEventLoopGroup(numberOfThreads: plan.threads)
        let result: Result<BenchReport, any Error>
        do {
            let workers = try await makeWorkers(group, endpoints)
            do {
                var phases = BenchPhases(run: self, workers: workers)
                result = .success(try await phases.run())
            } catch {
                result = .failure(error)
            }
            await Self.closeAll(workers)
        } catch {
            result = .failure(error)
        }
        try? await group.shutdownGracefully()
        return try result.get()
    }

    private func makeWorkers(
        _ group: MultiThreadedEventLoopGroup, _ endpoints: [LoadWorker.Endpoint]
    ) async throws -> [WorkerRef] {
        let mask = UInt32.random(in: 1...UInt32.max)
        var workers: [WorkerRef] = []
        let plan = self.plan
        for (index, loop) in Array(group.makeIterator()).enumerated() {
            workers.append(
                try await loop.submit {
                    WorkerRef(LoadWorker(loop: loop, index: index, plan: plan, endpoints: endpoints, mask: mask))
                }.get())
        }
        let all = workers
        for worker in workers {
            try await worker.query {
                $0.peers = all
                $0.startTicking()
            }
        }
        return workers
    }

    /// Names are looked up once, certificates are read once.
    private func endpoints() async throws -> [LoadWorker.Endpoint] {
        var context: NIOSSLContext?
        if plan.targets.contains(where: \.isSecure) {
            var settings = TLSConfiguration.makeClientConfiguration()
            settings.certificateVerification = plan.insecure ? .none : .fullVerification
            context = try NIOSSLContext(configuration: settings)
        }
        var endpoints: [LoadWorker.Endpoint] = []
        for target in plan.targets {
            let address: SocketAddress
            do {
                address = try await NIOThreadPool.singleton.runIfActive {
                    try SocketAddress.makeAddressResolvingHost(target.host, port: target.port)
                }
            } catch {
                throw BenchError("\(target.host) is not known")
            }
            endpoints.append(
                LoadWorker.Endpoint(target: target, address: address, tls: target.isSecure ? context : nil))
        }
        return endpoints
    }

    /// A goodbye to the server, two seconds for its answers, and the rest is cut.
    private static func closeAll(_ workers: [WorkerRef]) async {
        for worker in workers { try? await worker.query { $0.leaveAll() } }
        let deadline = NIODeadline.now() + .seconds(2)
        while NIODeadline.now() < deadline {
            var open = 0
            for worker in workers { open += (try? await worker.query { $0.openConnections }) ?? 0 }
            guard open > 0 else { break }
            try? await Task.sleep(for: .milliseconds(10))
        }
        for worker in workers { try? await worker.query { $0.closeAll() } }
    }

    /// Raises the soft limit of descriptors as far as it may.
    private static func allowDescriptors(_ count: Int) throws(BenchError) {
        var limit = rlimit()
        // Unsafe for the pointers, which live for the calls only.
        guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        guard limit.rlim_cur < count else { return }
        limit.rlim_cur = limit.rlim_max
        unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        guard limit.rlim_max >= count else {
            throw BenchError(
                "so many connections need \(count) file descriptors, and this process may have \(limit.rlim_max): "
                    + "raise the limit (ulimit -n)")
        }
    }
}
