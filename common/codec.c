#include "common/codec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#define ZSTD_STATIC_LINKING_ONLY /* ZSTD_estimateCCtxSize_usingCParams */
#include <zstd.h>
#include <zstd_errors.h>

/* Level 1, for packs of about 1 MiB: with a table that stays in the first-level cache (32 KiB) it takes 4 to 5 % less time, and matches from 6 bytes
 * on, for 7, make up for what that finds less: no byte more on the standard disk (docs/performance.md). */
#define FAST_HASH_LOG  13
#define FAST_MIN_MATCH 6

/* The zstd contexts are made when first needed: a restoring agent never compresses. */
struct codec_ctx {
	ZSTD_CCtx *zc;
	ZSTD_DCtx *zd;
};

struct codec_ctx *codec_ctx_new(void)
{
	return calloc(1, sizeof(struct codec_ctx));
}

void codec_ctx_free(struct codec_ctx *ctx)
{
	if (ctx == NULL)
		return;
	ZSTD_freeCCtx(ctx->zc);
	ZSTD_freeDCtx(ctx->zd);
	free(ctx);
}

size_t codec_ctx_memory(const struct codec_ctx *ctx)
{
	return sizeof(*ctx) + ZSTD_sizeof_CCtx(ctx->zc) + ZSTD_sizeof_DCtx(ctx->zd);
}

const char *codec_name(enum codec c)
{
	static const char *const names[CODEC_COUNT] = {"stored", "zlib", "zstd"};

	return (unsigned)c < CODEC_COUNT ? names[c] : NULL;
}

static int clamp(int v, int min, int max)
{
	return v < min ? min : v > max ? max : v;
}

size_t codec_memory(enum codec c, int level, size_t size)
{
	switch (c) {
	case CODEC_ZSTD:
		return ZSTD_estimateCCtxSize_usingCParams(
			ZSTD_getCParams(clamp(level, -5, 19), size, 0));
	case CODEC_ZLIB:
		return 256u << 10; /* zconf.h, windowBits 15 and memLevel 8 */
	default:
		return 0;
	}
}

static int64_t compress_zstd(struct codec_ctx *ctx, int level, const void *in, size_t size,
			     void *out, size_t out_size)
{
	size_t n;

	if (ctx->zc == NULL)
		ctx->zc = ZSTD_createCCtx();
	if (ctx->zc == NULL)
		return -ENOMEM;
	(void)ZSTD_CCtx_reset(ctx->zc, ZSTD_reset_session_and_parameters);
	(void)ZSTD_CCtx_setParameter(ctx->zc, ZSTD_c_compressionLevel, clamp(level, -5, 19));
	if (level == 1) {
		(void)ZSTD_CCtx_setParameter(ctx->zc, ZSTD_c_hashLog, FAST_HASH_LOG);
		(void)ZSTD_CCtx_setParameter(ctx->zc, ZSTD_c_minMatch, FAST_MIN_MATCH);
	}
	n = ZSTD_compress2(ctx->zc, out, out_size, in, size);
	if (!ZSTD_isError(n))
		return (int64_t)n;
	switch (ZSTD_getErrorCode(n)) {
	case ZSTD_error_dstSize_tooSmall:
		return 0;
	case ZSTD_error_memory_allocation:
		return -ENOMEM;
	default:
		return -EIO;
	}
}

static int64_t compress_zlib(int level, const void *in, size_t size, void *out, size_t out_size)
{
	uLongf n = out_size;

	switch (compress2(out, &n, in, size, clamp(level, 1, 9))) {
	case Z_OK:
		return (int64_t)n;
	case Z_BUF_ERROR:
		return 0;
	case Z_MEM_ERROR:
		return -ENOMEM;
	default:
		return -EIO;
	}
}

int64_t codec_compress(struct codec_ctx *ctx, enum codec c, int level, const void *in, size_t size,
		       void *out, size_t out_size)
{
	switch (c) {
	case CODEC_STORED:
		if (size > out_size)
			return 0;
		memcpy(out, in, size);
		return (int64_t)size;
	case CODEC_ZLIB:
		return compress_zlib(level, in, size, out, out_size);
	case CODEC_ZSTD:
		return compress_zstd(ctx, level, in, size, out, out_size);
	}
	return -EIO;
}

static int decompress_zstd(struct codec_ctx *ctx, const void *in, size_t size, void *out,
			   size_t out_size, struct err *err)
{
	size_t n;

	if (ctx->zd == NULL)
		ctx->zd = ZSTD_createDCtx();
	if (ctx->zd == NULL)
		return err_set(err, -ENOMEM, "decompress: out of memory");
	/* One frame and nothing behind it: a second frame would be decoded too. */
	n = ZSTD_findFrameCompressedSize(in, size);
	if (ZSTD_isError(n) || n != size)
		return err_set(err, -EBADMSG, "the zstd body is not one whole frame");
	n = ZSTD_decompressDCtx(ctx->zd, out, out_size, in, size);
	if (ZSTD_isError(n)) {
		int code =
			ZSTD_getErrorCode(n) == ZSTD_error_memory_allocation ? -ENOMEM : -EBADMSG;

		return err_set(err, code, "the zstd body does not decompress: %s",
			       ZSTD_getErrorName(n));
	}
	if (n != out_size) {
		return err_set(err, -EBADMSG, "the zstd body holds %zu bytes instead of %zu", n,
			       out_size);
	}
	return 0;
}

static int decompress_zlib(const void *in, size_t size, void *out, size_t out_size, struct err *err)
{
	uLongf n = out_size;
	uLong used = size;
	int r = uncompress2(out, &n, in, &used);

	if (r == Z_MEM_ERROR)
		return err_set(err, -ENOMEM, "decompress: out of memory");
	if (r != Z_OK || used != size || n != out_size) {
		return err_set(err, -EBADMSG, "the zlib body is damaged or not %zu bytes long",
			       out_size);
	}
	return 0;
}

int codec_decompress(struct codec_ctx *ctx, enum codec c, const void *in, size_t size, void *out,
		     size_t out_size, struct err *err)
{
	switch (c) {
	case CODEC_STORED:
		if (size != out_size) {
			return err_set(err, -EBADMSG,
				       "the stored body has %zu bytes instead of %zu", size,
				       out_size);
		}
		memcpy(out, in, size);
		return 0;
	case CODEC_ZLIB:
		return decompress_zlib(in, size, out, out_size, err);
	case CODEC_ZSTD:
		return decompress_zstd(ctx, in, size, out, out_size, err);
	}
	return err_set(err, -EINVAL, "codec %d is not known", (int)c);
}
