/* codec.h - compression of pack bodies: stored, zlib (RFC 1950), zstd (RFC 8878). */
#ifndef COMMON_CODEC_H
#define COMMON_CODEC_H
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

enum codec { CODEC_STORED = 0, CODEC_ZLIB = 1, CODEC_ZSTD = 2 };
#define CODEC_COUNT 3

/* Reusable state of one thread; not to be shared. */
struct codec_ctx;
struct codec_ctx *codec_ctx_new(void); /* NULL: out of memory */
void codec_ctx_free(struct codec_ctx *ctx);
size_t codec_ctx_memory(const struct codec_ctx *ctx); /* bytes of memory that it holds */
static inline void codec_ctx_freep(struct codec_ctx **p)
{
	codec_ctx_free(*p);
}

/* "stored", "zlib", "zstd"; NULL outside the enum. */
const char *codec_name(enum codec c);

/* Compress `size` bytes into `out`, which holds `out_size`.  `level`: zstd -5..19, zlib 1..9 (clamped).
 * Returns the number of bytes, 0 when they do not fit in out_size (not an error: store them instead),
 * or -ENOMEM, -EIO (library failure). */
int64_t codec_compress(struct codec_ctx *ctx, enum codec c, int level, const void *in, size_t size,
		       void *out, size_t out_size);

/* The memory that compressing `size` bytes or less at that level takes besides. */
size_t codec_memory(enum codec c, int level, size_t size);

/* Decompress to exactly `out_size` bytes and consume exactly `size`; never writes more (a bomb is
 * refused).  0, or -EBADMSG (damaged or of another size), -ENOMEM, -EINVAL (unknown codec). */
int codec_decompress(struct codec_ctx *ctx, enum codec c, const void *in, size_t size, void *out,
		     size_t out_size, struct err *err) MUST_CHECK;
#endif
