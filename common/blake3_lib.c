/* common/blake3.h by libblake3: built in place of blake3.c and blake3_kernel.c where pkg-config
 * finds the library. */
#include "common/blake3.h"

#include <assert.h>

#ifdef HAVE_LIBBLAKE3

_Static_assert(BLAKE3_OUT_SIZE == BLAKE3_OUT_LEN, "libblake3 makes hashes of another size");

void blake3_hash(const void *data, size_t size, uint8_t out[static BLAKE3_OUT_SIZE])
{
	struct blake3 h;

	blake3_init(&h);
	blake3_update(&h, data, size);
	blake3_final(&h, out);
}

void blake3_init(struct blake3 *h)
{
	blake3_hasher_init(&h->hasher);
}

void blake3_update(struct blake3 *h, const void *data, size_t size)
{
	blake3_hasher_update(&h->hasher, data, size);
}

void blake3_final(const struct blake3 *h, uint8_t out[static BLAKE3_OUT_SIZE])
{
	blake3_hasher_finalize(&h->hasher, out, BLAKE3_OUT_SIZE);
}

const char *blake3_isa_name(enum blake3_isa isa)
{
	return isa == BLAKE3_AUTO ? "auto" : isa == BLAKE3_LIBRARY ? "library" : "none";
}

bool blake3_isa_supported(enum blake3_isa isa)
{
	return isa == BLAKE3_AUTO || isa == BLAKE3_LIBRARY;
}

void blake3_force_isa(enum blake3_isa isa)
{
	assert(blake3_isa_supported(isa));
	(void)isa;
}

#endif
