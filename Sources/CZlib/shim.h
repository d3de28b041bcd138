// zlib, and its two initialisers for raw deflate, which it has as macros only.
#include <zlib.h>

static inline int conduit_deflate_init(z_stream *stream, int level, int window_bits) {
    return deflateInit2(stream, level, Z_DEFLATED, -window_bits, 8, Z_DEFAULT_STRATEGY);
}

static inline int conduit_inflate_init(z_stream *stream) {
    return inflateInit2(stream, -15);
}
