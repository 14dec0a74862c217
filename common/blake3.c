/* The tree of BLAKE3 (section 2.1 of the paper): chunks of 1 KiB are its leaves, and of the two
 * children of a parent the left one holds the largest power of two of chunks that leaves something
 * for the right one.
 *
 * What is asked for is the hash of 8 to 128 KiB, so that whole levels are few nodes wide.  All
 * nodes of a level are therefore hashed side by side: first all chunks, as many as the CPU has
 * lanes at a time, then pairs of chaining values, level by level.  Pairing neighbours, with the odd
 * last one moving up as it is, gives exactly the tree above.
 *
 * Longer input is cut into aligned subtrees of at most SPAN_MAX bytes.  The stack holds the
 * chaining values of complete subtrees of falling size, one for each bit set in chunk_count; equal
 * sizes merge at once.  The last bytes stay in the buffer until blake3_final, as only then is it
 * known which node is the root. */
#include "common/blake3.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

#include "common/blake3_kernel.h"

#define SPAN_MAX ((size_t)128 * 1024) /* 4 KiB of chaining values on the stack */

/* Read by every hash, written by tests alone. */
static _Atomic enum blake3_isa forced_isa = BLAKE3_AUTO;

static const struct blake3_kernel *kernel_get(void)
{
	enum blake3_isa isa = atomic_load_explicit(&forced_isa, memory_order_relaxed);
	const struct blake3_kernel *k = NULL;

	if (isa != BLAKE3_AUTO)
		return blake3_kernel_get(isa);
	for (isa = BLAKE3_AVX512; !k; isa--)
		k = blake3_kernel_get(isa);
	return k;
}

/* Any chunk: 0 <= size <= BLAKE3_CHUNK_SIZE, 0 only for the empty message; BLAKE3_ROOT or 0. */
static void hash_chunk(const struct blake3_kernel *k, const uint8_t *in, size_t size,
		       uint64_t counter, uint32_t root, uint8_t *cv)
{
	uint8_t last[BLAKE3_BLOCK_SIZE] = {0};
	uint8_t h[BLAKE3_CV_SIZE];
	uint32_t flags = BLAKE3_CHUNK_START;

	memcpy(h, blake3_iv_cv, sizeof(h));
	while (size > BLAKE3_BLOCK_SIZE) {
		k->block(h, in, BLAKE3_BLOCK_SIZE, counter, flags);
		flags = 0;
		in += BLAKE3_BLOCK_SIZE;
		size -= BLAKE3_BLOCK_SIZE;
	}
	if (size > 0)
		memcpy(last, in, size);
	k->block(h, last, (uint32_t)size, counter, flags | BLAKE3_CHUNK_END | root);
	memcpy(cv, h, sizeof(h));
}

/* The parent of the two chaining values at `in`; `cv` may lie there too. */
static void hash_parent(const struct blake3_kernel *k, const uint8_t *in, uint32_t root,
			uint8_t *cv)
{
	uint8_t h[BLAKE3_CV_SIZE];

	memcpy(h, blake3_iv_cv, sizeof(h));
	k->block(h, in, BLAKE3_BLOCK_SIZE, 0, BLAKE3_PARENT | root);
	memcpy(cv, h, sizeof(h));
}

/* The narrowest function for all `len` nodes, or the widest for the first of them: half empty
 * lanes cost less than a second call.  NULL: one by one. */
static blake3_lanes_fn *lanes_fn(const struct blake3_kernel *k, size_t len, size_t *ret_width)
{
	if (len > 8 && k->lanes16) {
		*ret_width = 16;
		return k->lanes16;
	}
	if (len > 4 && k->lanes8) {
		*ret_width = 8;
		return k->lanes8;
	}
	*ret_width = 4;
	return len > 1 ? k->lanes4 : NULL;
}

/* The chaining values of `len` adjacent nodes; `cvs` may be `in`. */
static void hash_nodes(const struct blake3_kernel *k, enum blake3_nodes nodes, const uint8_t *in,
		       size_t len, uint64_t counter, uint8_t *cvs)
{
	size_t size = nodes == BLAKE3_CHUNKS ? BLAKE3_CHUNK_SIZE : BLAKE3_BLOCK_SIZE;
	const uint8_t *lane[BLAKE3_LANES_MAX];

	while (len > 0) {
		size_t width, n = 1;
		blake3_lanes_fn *fn = lanes_fn(k, len, &width);

		if (fn) {
			n = len < width ? len : width;
			for (size_t i = 0; i < width; i++)
				lane[i] = in + (i < n ? i : 0) * size;
			fn(lane, nodes, counter, cvs, n);
		} else if (nodes == BLAKE3_CHUNKS) {
			hash_chunk(k, in, size, counter, 0, cvs);
		} else {
			hash_parent(k, in, 0, cvs);
		}
		in += n * size;
		cvs += n * BLAKE3_CV_SIZE;
		len -= n;
		if (nodes == BLAKE3_CHUNKS)
			counter += n;
	}
}

/* The leaves of 1 <= size <= SPAN_MAX bytes: how many, their chaining values in `cvs`. */
static size_t hash_leaves(const struct blake3_kernel *k, const uint8_t *in, size_t size,
			  uint64_t counter, uint8_t *cvs)
{
	size_t len = size / BLAKE3_CHUNK_SIZE, rest = size % BLAKE3_CHUNK_SIZE;

	hash_nodes(k, BLAKE3_CHUNKS, in, len, counter, cvs);
	if (rest == 0)
		return len;
	hash_chunk(k, in + size - rest, rest, counter + len, 0, cvs + len * BLAKE3_CV_SIZE);
	return len + 1;
}

/* One level up, in place: how many nodes that has. */
static size_t merge_level(const struct blake3_kernel *k, uint8_t *cvs, size_t len)
{
	size_t pair_len = len / 2;

	hash_nodes(k, BLAKE3_PARENTS, cvs, pair_len, 0, cvs);
	if (len % 2 == 0)
		return pair_len;
	memmove(cvs + pair_len * BLAKE3_CV_SIZE, cvs + (len - 1) * BLAKE3_CV_SIZE, BLAKE3_CV_SIZE);
	return pair_len + 1;
}

/* The chaining value of a subtree that is not the whole tree, 1 <= size <= SPAN_MAX. */
static void hash_subtree(const struct blake3_kernel *k, const uint8_t *in, size_t size,
			 uint64_t counter, uint8_t *cv)
{
	uint8_t cvs[SPAN_MAX / BLAKE3_CHUNK_SIZE * BLAKE3_CV_SIZE];
	size_t len = hash_leaves(k, in, size, counter, cvs);

	while (len > 1)
		len = merge_level(k, cvs, len);
	memcpy(cv, cvs, BLAKE3_CV_SIZE);
}

/* The hash of a whole message of at most SPAN_MAX bytes. */
static void hash_message(const struct blake3_kernel *k, const uint8_t *in, size_t size,
			 uint8_t *out)
{
	uint8_t cvs[SPAN_MAX / BLAKE3_CHUNK_SIZE * BLAKE3_CV_SIZE];
	size_t len;

	if (size <= BLAKE3_CHUNK_SIZE) {
		hash_chunk(k, in, size, 0, BLAKE3_ROOT, out);
		return;
	}
	len = hash_leaves(k, in, size, 0, cvs);
	while (len > 2)
		len = merge_level(k, cvs, len);
	hash_parent(k, cvs, BLAKE3_ROOT, out);
}

/* Apart, so that short messages do not pay for clearing the 18 KiB of `h`. */
static __attribute__((noinline)) void hash_long(const uint8_t *in, size_t size, uint8_t *out)
{
	struct blake3 h;

	blake3_init(&h);
	blake3_update(&h, in, size);
	blake3_final(&h, out);
}

void blake3_hash(const void *data, size_t size, uint8_t out[static BLAKE3_OUT_SIZE])
{
	if (size <= SPAN_MAX)
		hash_message(kernel_get(), data, size, out);
	else
		hash_long(data, size, out);
}

void blake3_init(struct blake3 *h)
{
	h->chunk_count = 0;
	h->stack_len = 0;
	h->buf_size = 0;
}

/* Takes in a complete subtree: `size` is a power of two of chunks, h->chunk_count a multiple of
 * that, and more input follows, so that none of the parents made here is the root. */
static void absorb(struct blake3 *h, const struct blake3_kernel *k, const uint8_t *in, size_t size)
{
	uint64_t added = size / BLAKE3_CHUNK_SIZE;

	assert(h->stack_len < sizeof(h->stack) / sizeof(h->stack[0]));
	hash_subtree(k, in, size, h->chunk_count, h->stack[h->stack_len++]);
	for (uint64_t bit = added; h->chunk_count & bit; bit <<= 1) {
		h->stack_len--;
		hash_parent(k, h->stack[h->stack_len - 1], 0, h->stack[h->stack_len - 1]);
	}
	h->chunk_count += added;
}

/* The largest subtree that may come next and leaves something of `size` bytes. */
static size_t next_span(const struct blake3 *h, size_t size)
{
	size_t span = SPAN_MAX;

	while (span >= size || h->chunk_count % (span / BLAKE3_CHUNK_SIZE) != 0)
		span /= 2;
	return span;
}

void blake3_update(struct blake3 *h, const void *data, size_t size)
{
	const struct blake3_kernel *k = kernel_get();
	const uint8_t *in = data;

	while (size > 0) {
		size_t n;

		if (h->buf_size == sizeof(h->buf)) {
			absorb(h, k, h->buf, sizeof(h->buf));
			h->buf_size = 0;
		}
		if (h->buf_size == 0 && size > sizeof(h->buf)) {
			n = next_span(h, size);
			absorb(h, k, in, n);
		} else {
			n = sizeof(h->buf) - h->buf_size;
			n = size < n ? size : n;
			memcpy(h->buf + h->buf_size, in, n);
			h->buf_size += n;
		}
		in += n;
		size -= n;
	}
}

void blake3_final(const struct blake3 *h, uint8_t out[static BLAKE3_OUT_SIZE])
{
	const struct blake3_kernel *k = kernel_get();
	uint8_t pair[2 * BLAKE3_CV_SIZE];

	if (h->stack_len == 0) {
		hash_message(k, h->buf, h->buf_size, out);
		return;
	}
	hash_subtree(k, h->buf, h->buf_size, h->chunk_count, pair + BLAKE3_CV_SIZE);
	for (size_t i = h->stack_len; i > 1; i--) {
		memcpy(pair, h->stack[i - 1], BLAKE3_CV_SIZE);
		hash_parent(k, pair, 0, pair + BLAKE3_CV_SIZE);
	}
	memcpy(pair, h->stack[0], BLAKE3_CV_SIZE);
	hash_parent(k, pair, BLAKE3_ROOT, out);
}

const char *blake3_isa_name(enum blake3_isa isa)
{
	static const char *const name[BLAKE3_ISA_COUNT] = {
		[BLAKE3_AUTO] = "auto",	      [BLAKE3_PORTABLE] = "portable",
		[BLAKE3_SSE2] = "sse2",	      [BLAKE3_SSE41] = "sse41",
		[BLAKE3_AVX2] = "avx2",	      [BLAKE3_AVX512] = "avx512",
		[BLAKE3_LIBRARY] = "library",
	};

	assert(isa < BLAKE3_ISA_COUNT);
	return name[isa];
}

bool blake3_isa_supported(enum blake3_isa isa)
{
	return isa == BLAKE3_AUTO || blake3_kernel_get(isa) != NULL;
}

void blake3_force_isa(enum blake3_isa isa)
{
	assert(blake3_isa_supported(isa));
	atomic_store_explicit(&forced_isa, isa, memory_order_relaxed);
}
