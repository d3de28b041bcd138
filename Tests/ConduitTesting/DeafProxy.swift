import NIOCore
import NIOPosix
import Synchronization

/// Stands between a node and its Redis, and can make the node's subscriptions deaf: the sockets stay open, commands are
/// answered, but nothing that is published arrives any more. It can swallow a single message, too.
package final class DeafProxy: Sendable {
    private final class Link: Sendable {
        let subscribes = Atomic<Bool>(false)
        let isDeaf = Atomic<Bool>(false)
    }

    private final class Forwarder: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let link: Link
        private let other: any Channel
        private let isFromNode: Bool
        private let registry: Registry

        init(_ registry: Registry, _ link: Link, to other: any Channel, isFromNode: Bool) {
            self.registry = registry
            self.link = link
            self.other = other
            self.isFromNode = isFromNode
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let bytes = unwrapInboundIn(data)
            if isFromNode {
                if String(buffer: bytes).contains("SUBSCRIBE") { link.subscribes.store(true, ordering: .relaxed) }
            } else if link.isDeaf.load(ordering: .relaxed) {
                return
            } else if link.subscribes.load(ordering: .relaxed), registry.swallows(bytes) {
                return
            }
            other.writeAndFlush(bytes, promise: nil)
        }

        func channelInactive(context: ChannelHandlerContext) { other.close(promise: nil) }
    }

    package let port: Int
    private let listener: any Channel
    private let links: Registry

    private final class Registry: Sendable {
        let links = Mutex<[Link]>([])
        let marker = Mutex<String?>(nil)

        /// Whether these bytes are the ones that must not arrive. It happens once.
        func swallows(_ bytes: ByteBuffer) -> Bool {
            marker.withLock { marker in
                guard let text = marker, String(buffer: bytes).contains(text) else { return false }
                marker = nil
                return true
            }
        }
    }

    private init(_ listener: any Channel, _ port: Int, _ links: Registry) {
        self.listener = listener
        self.port = port
        self.links = links
    }

    package static func start(to redis: Int) async throws -> DeafProxy {
        let registry = Registry()
        let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelOption(.autoRead, value: false)
            .childChannelInitializer { node in
                let link = Link()
                registry.links.withLock { $0.append(link) }
                return ClientBootstrap(group: node.eventLoop).connect(host: "127.0.0.1", port: redis).flatMap {
                    server in
                    node.eventLoop.makeCompletedFuture {
                        try node.pipeline.syncOperations.addHandler(
                            Forwarder(registry, link, to: server, isFromNode: true))
                        try server.pipeline.syncOperations.addHandler(
                            Forwarder(registry, link, to: node, isFromNode: false))
                    }
                }.flatMap { node.setOption(.autoRead, value: true) }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        return DeafProxy(listener, listener.localAddress?.port ?? 0, registry)
    }

    /// From now on the subscriptions that exist hear nothing; new ones do.
    package func deafen() {
        links.links.withLock { links in
            for link in links where link.subscribes.load(ordering: .relaxed) {
                link.isDeaf.store(true, ordering: .relaxed)
            }
        }
    }

    /// The next bytes for a subscription that contain this text are lost.
    package func swallow(_ text: String) { links.marker.withLock { $0 = text } }

    /// Whether there is nothing left to swallow.
    package var hasSwallowed: Bool { links.marker.withLock { $0 == nil } }

    package func stop() async { try? await listener.close().get() }
}
