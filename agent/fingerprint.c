#include "agent/fingerprint.h"

#include <stdlib.h>
#include <string.h>

#include "common/blake3.h"

#define DOMAIN	  "hoist-fingerprint-1"
#define DISK_EDGE (1u << 20)
#define PART_HEAD (256u << 10)
#define PART_TAIL (128u << 10)
#define STEP	  (64u << 10)

struct scan {
	struct blk *blk;
	struct blake3 h;
	bool is_zero;
	unsigned char buf[STEP];
};

static void hash_u64(struct scan *s, uint64_t v)
{
	unsigned char b[8];

	for (unsigned i = 0; i < 8; i++)
		b[i] = (unsigned char)(v >> (8 * i));
	blake3_update(&s->h, b, sizeof(b));
}

static bool is_all_zero(const unsigned char *p, size_t size)
{
	return size == 0 || (p[0] == 0 && memcmp(p, p + 1, size - 1) == 0);
}

static int scan_range(struct scan *s, uint64_t from, uint64_t to, struct err *err)
{
	while (from < to) {
		size_t n = to - from < STEP ? (size_t)(to - from) : STEP;
		int r = blk_read(s->blk, s->buf, n, from, err);

		if (r < 0)
			return r;
		blake3_update(&s->h, s->buf, n);
		s->is_zero = s->is_zero && is_all_zero(s->buf, n);
		from += n;
	}
	return 0;
}

/* The first `head` and the last `tail` bytes of [from, to), what both cover once. */
static int scan_edges(struct scan *s, uint64_t from, uint64_t to, uint64_t head, uint64_t tail,
		      struct err *err)
{
	uint64_t size = to - from;
	uint64_t head_end = from + (size < head ? size : head);
	uint64_t tail_start = to - (size < tail ? size : tail);
	int r = scan_range(s, from, head_end, err);

	return r < 0 ? r : scan_range(s, tail_start > head_end ? tail_start : head_end, to, err);
}

static int by_offset(const void *pa, const void *pb)
{
	const struct partition *a = *(const struct partition *const *)pa;
	const struct partition *b = *(const struct partition *const *)pb;

	if (a->offset != b->offset)
		return a->offset < b->offset ? -1 : 1;
	if (a->size != b->size)
		return a->size < b->size ? -1 : 1;
	return a->number < b->number ? -1 : a->number > b->number;
}

static int scan_partition(struct scan *s, const struct partition *p, struct err *err)
{
	uint64_t disk = blk_size(s->blk);
	uint64_t from = p->offset < disk ? p->offset : disk;
	uint64_t to = p->size < disk - from ? from + p->size : disk;

	hash_u64(s, p->offset);
	hash_u64(s, p->size);
	return scan_edges(s, from, to, PART_HEAD, PART_TAIL, err);
}

int fingerprint_of_disk(struct blk *b, const struct partition *parts, size_t len, struct id *ret,
			bool *ret_is_zero, struct err *err)
{
	CLEANUP_FREE const struct partition **sorted = calloc(len + 1, sizeof(const void *));
	CLEANUP_FREE struct scan *s = calloc(1, sizeof(*s));
	bool is_zero;
	int r;

	if (!s || !sorted)
		return err_set(err, -ENOMEM, "fingerprint of '%s': out of memory", blk_name(b));
	for (size_t i = 0; i < len; i++)
		sorted[i] = &parts[i];
	qsort(sorted, len, sizeof(*sorted), by_offset);
	s->blk = b;
	s->is_zero = true;
	blake3_init(&s->h);
	blake3_update(&s->h, DOMAIN, sizeof(DOMAIN));
	hash_u64(s, blk_size(b));
	r = scan_edges(s, 0, blk_size(b), DISK_EDGE, DISK_EDGE, err);
	is_zero = s->is_zero;
	for (size_t i = 0; r == 0 && i < len; i++)
		r = scan_partition(s, sorted[i], err);
	if (r < 0)
		return r;
	blake3_final(&s->h, ret->b);
	*ret_is_zero = is_zero;
	return 0;
}
