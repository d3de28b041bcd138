package import NIOCore
import Synchronization

/// The compressed frames of one message, made when the first recipient wants one and shared by all shards.
///
/// There is one for each size of window that clients have agreed on: three at most, see `ExtensionOffers`. Two shards that want the same at the same moment may both make it, which takes
/// no longer than waiting for each other; one of the two is kept.
package final class DeflatedForms: Sendable {
    /// A compressed frame, or the finding that compressing doesn't pay.
    private final class Form: Sendable {
        let frame: ByteBuffer?
        init(_ frame: ByteBuffer?) { self.frame = frame }
    }

    private let forms = InlineArray<7, AtomicLazyReference<Form>> { _ in AtomicLazyReference() }

    package init() {}

    /// The frame for a window of so many bits, 9…15; `nil` when the message goes as it is.
    ///
    /// - Parameter plain: the message's own frame.
    package func frame(of plain: ByteBuffer, windowBits: UInt8, by compressor: MessageCompressor) -> ByteBuffer? {
        guard DeflateParameters.windowBits.contains(windowBits) else { return nil }
        let index = Int(windowBits - DeflateParameters.windowBits.lowerBound)
        if let known = forms[index].load() { return known.frame }
        return forms[index].storeIfNil(Form(compressor.deflated(plain, windowBits: windowBits))).frame
    }
}
