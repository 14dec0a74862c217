/* Header, table, body: whatever comes, nothing is read or written out of bounds. */
#include <stdlib.h>

#include "common/pack.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct codec_ctx *ctx;
	struct pack p = {0};
	struct err err;
	uint8_t *plain;

	if (ctx == NULL)
		ctx = codec_ctx_new();
	if (ctx == NULL || pack_decode(data, size, &p, &err) < 0)
		return 0;
	/* As large as it says and no larger: a byte more is seen by the sanitizer. */
	plain = malloc(p.plain_size);
	if (plain != NULL && pack_decompress(&p, ctx, plain, &err) == 0)
		(void)!pack_verify(&p, plain, &err);
	free(plain);
	pack_done(&p);
	return 0;
}
