/* xfs_log.c - has the log to be replayed?  "XFS Algorithms & Data Structures", 3rd edition, chapter "Journaling Log", and
 * fs/xfs/libxfs/xfs_log_format.h in Linux.
 *
 * The log is a ring of sectors of 512 bytes.  Each sector begins with the number of the round in which it was written (its own first four bytes
 * are kept in the record's header), a record's header with a magic and then that number.  The head is where the number falls by one, or to zero in
 * the first round.  A clean log has right before its head a record of a single operation that says "unmounted".
 *
 * Numbers are looked at by bisection, as the kernel does.  Should the log be torn, with old sectors before newer ones, then bisection may
 * find another edge than the kernel: before it is no unmount record, or it is one after which the kernel also would go no further. */
#include <inttypes.h>
#include <string.h>

#include "agent/usage/xfs.h"

#define SECTOR	      512u
#define RECORD_MAGIC  0xfeedbabeu
#define RECORD_MAX    (256u << 10) /* bytes, without its header */
#define HEADER_CYCLES (32u << 10)  /* bytes of a record for each sector of its header */
#define OP_UNMOUNT    0x20u

struct log {
	const struct xfs *x;
	uint64_t offset; /* in the volume */
	uint32_t len;	 /* sectors */
};

static int read_sector(const struct log *l, uint32_t i, uint8_t *sector, struct err *err)
{
	return volume_read(l->x->v, sector, SECTOR, l->offset + (uint64_t)(i % l->len) * SECTOR,
			   err);
}

static int get_cycle(const struct log *l, uint32_t i, uint32_t *ret, struct err *err)
{
	uint8_t sector[SECTOR];
	struct view v = view_of(sector, sizeof(sector));
	int r = read_sector(l, i, sector, err);

	if (r == 0)
		*ret = view_be32(&v, view_be32(&v, 0) == RECORD_MAGIC ? 4 : 0);
	return r;
}

/* The first sector of the round `cycle`, which the last one is of and the first one is not. */
static int find_edge(const struct log *l, uint32_t cycle, uint32_t *ret, struct err *err)
{
	uint32_t low = 0;
	uint32_t high = l->len - 1;

	while (high - low > 1) {
		uint32_t mid = low + (high - low) / 2;
		uint32_t c = 0;
		int r = get_cycle(l, mid, &c, err);

		if (r < 0)
			return r;
		if (c == cycle) {
			high = mid;
		} else {
			low = mid;
		}
	}
	*ret = high;
	return 0;
}

/* Where the next record would go, 1..len, and the round of the last one. */
static int find_head(const struct log *l, uint32_t *ret_head, uint32_t *ret_cycle, struct err *err)
{
	uint32_t first = 0;
	uint32_t last = 0;
	int r = get_cycle(l, 0, &first, err);

	if (r == 0)
		r = get_cycle(l, l->len - 1, &last, err);
	if (r < 0)
		return r;
	if (first == 0)
		return doubt_log(err, "its log has never been written");
	*ret_cycle = first;
	*ret_head = l->len;
	if (first == last)
		return 0;
	if (last != 0 && first != last + 1)
		return doubt_log(err, "its log cannot be understood");
	return find_edge(l, last, ret_head, err);
}

/* The header of the last record before `head`, which is 1..len. */
static int find_record(const struct log *l, uint32_t head, uint8_t *header, uint32_t *ret_at,
		       struct err *err)
{
	/* twice, as a header of several sectors comes before it */
	uint32_t max = 2 * RECORD_MAX / SECTOR;

	for (uint32_t back = 1; back <= max && back <= l->len; back++) {
		struct view v = view_of(header, SECTOR);
		uint32_t at = (head + l->len - back) % l->len;
		int r = read_sector(l, at, header, err);

		if (r < 0)
			return r;
		if (view_be32(&v, 0) == RECORD_MAGIC) {
			*ret_at = at;
			return 0;
		}
	}
	return doubt_log(err, "its log has no record at its end");
}

/* Of a record's header: how many sectors it has itself, and with what follows. */
static uint32_t header_sectors(struct view *h)
{
	uint32_t size = view_be32(h, 320);

	if (view_be32(h, 8) != 2 || size <= HEADER_CYCLES)
		return 1;
	return size > RECORD_MAX ? 0 : (size + HEADER_CYCLES - 1) / HEADER_CYCLES;
}

static uint32_t record_sectors(struct view *h)
{
	uint32_t length = view_be32(h, 12);

	return header_sectors(h) + (length > RECORD_MAX ? 0 : (length + SECTOR - 1) / SECTOR);
}

/* The last record that is whole.  One that does not reach the head, or beyond it, was torn: the kernel goes back to where it begins, and so do we, once.
 * (xfs_repair -L leaves such a log as well.) */
static int find_last(const struct log *l, uint8_t *header, uint32_t *ret_at, struct err *err)
{
	struct view h = view_of(header, SECTOR);
	uint32_t head, cycle;
	int r = find_head(l, &head, &cycle, err);

	for (unsigned i = 0; r == 0 && i < 2; i++) {
		uint32_t round;

		r = find_record(l, head, header, ret_at, err);
		if (r < 0)
			return r;
		/* before sector 0 is the end of the round before */
		round = *ret_at < head ? cycle : cycle - 1;
		if (view_be32(&h, 4) != round || view_be32(&h, 16) != round ||
		    view_be32(&h, 20) != *ret_at)
			break;
		if ((*ret_at + record_sectors(&h)) % l->len == head % l->len)
			return 0;
		head = *ret_at;
		if (head == 0) {
			head = l->len;
			cycle--;
		}
	}
	return r < 0 ? r : doubt_log(err, "its log does not end with a whole record");
}

int xfs_check_log(const struct xfs *x, struct err *err)
{
	uint64_t group = x->log_start >> x->ag_block_log;
	uint64_t block = x->log_start & ((1ull << x->ag_block_log) - 1);
	struct log l = {.x = x};
	uint8_t header[SECTOR];
	uint8_t data[SECTOR];
	struct view h = view_of(header, SECTOR);
	struct view d = view_of(data, SECTOR);
	uint32_t at;
	int r;

	if (group >= x->ag_count || block + x->log_blocks > x->ag_blocks || x->log_blocks == 0 ||
	    x->log_blocks > UINT32_MAX / x->block_size)
		return doubt(err, "its log is outside the filesystem");
	l.offset = (group * x->ag_blocks + block) * x->block_size;
	l.len = x->log_blocks * (x->block_size / SECTOR);
	volume_mark(x->v, l.offset, (uint64_t)l.len * SECTOR);
	r = find_last(&l, header, &at, err);
	if (r < 0)
		return r;
	if (memcmp(header + 304, x->log_uuid, sizeof(x->log_uuid)) != 0)
		return doubt(err, "its log is that of another filesystem");
	r = read_sector(&l, at + header_sectors(&h), data, err);
	if (r < 0)
		return r;
	if (view_be32(&h, 40) != 1 || !(view_u8(&d, 9) & OP_UNMOUNT))
		return doubt_log(err, "it was not unmounted cleanly: its log has to be replayed");
	return 0;
}
