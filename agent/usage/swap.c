/* swap.c - Linux swap areas: include/linux/swap.h, union swap_header, and mkswap(8).
 *
 * The magic is in the last ten bytes of the first page, whose size (that of the machine that made it) is not written anywhere else.  The header
 * page holds all that swapon and /etc/fstab need; the rest is only ever read by the kernel that wrote it, unless it hibernated: then the magic
 * is another, and the image is everywhere.  The magic alone is what is left of a swap that somebody wrote something else over; so all that mkswap writes
 * has to be right, and its area need not be all of the space. */
#include <string.h>

#include "agent/usage/scan.h"
#include "common/bytes.h"

#define MAGIC_SIZE 10u
#define PAGE_MIN   4096u
#define PAGE_MAX   65536u
#define INFO_AT	   1024u /* before it nothing: mkswap clears it */
#define BAD_AT	   1536u /* the list of bad pages, up to the magic */

#define MAGIC(text) (text), sizeof(text) - 1

static const struct {
	const char *magic;
	size_t size;
	const char *content;
	bool is_image; /* of a machine that sleeps */
} magics[] = {
	{MAGIC("SWAPSPACE2"), "swap", false},
	{MAGIC("SWAP-SPACE"), "swap", false},
	{MAGIC("S1SUSPEND"), "swsuspend", true},
	{MAGIC("S2SUSPEND"), "swsuspend", true},
	{MAGIC("ULSUSPEND"), "swsuspend", true},
	{MAGIC("LINHIB0001"), "swsuspend", true},
	{MAGIC("\xed\xc3\x02\xe9\x98\x56\xe5\x0c"), "swsuspend", true}, /* TuxOnIce */
};

/* The index of the magic, and the page it is at the end of; -ENOENT. */
static int find(struct volume *v, uint32_t *ret_page, struct err *err)
{
	for (uint32_t page = PAGE_MIN; page <= PAGE_MAX; page *= 2) {
		char magic[MAGIC_SIZE];
		int r;

		if (page > volume_size(v))
			break;
		r = volume_read(v, magic, sizeof(magic), page - MAGIC_SIZE, err);
		if (r < 0)
			return r;
		for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++) {
			if (memcmp(magic, magics[i].magic, magics[i].size) == 0) {
				*ret_page = page;
				return (int)i;
			}
		}
	}
	return -ENOENT;
}

static int swap_probe(struct volume *v, struct usage_part *part, struct err *err)
{
	uint8_t header[1024];
	uint32_t page;
	int i = find(v, &page, err);
	int r;

	if (i < 0)
		return i == -ENOENT ? 0 : i;
	r = volume_read(v, header, sizeof(header), 1024, err);
	if (r < 0)
		return r;
	part->content = magics[i].content;
	if (strcmp(magics[i].magic, "SWAP-SPACE") != 0) {
		part_set_uuid(part, header + 12);
		part_set_label(part, header + 28, 16);
	}
	return 1;
}

/* `ret_end`: that of the area, in bytes. */
static int check_header(struct volume *v, uint32_t page, uint64_t *ret_end, struct err *err)
{
	uint8_t header[BAD_AT];
	struct view h = view_of(header, sizeof(header));
	int r = volume_read(v, header, sizeof(header), 0, err);

	if (r < 0)
		return r;
	*ret_end = ((uint64_t)view_le32(&h, INFO_AT + 4) + 1) * page;
	if (!bytes_are_zero(header, INFO_AT))
		return doubt(err, "there is something in front of the header of a swap space");
	if (view_le32(&h, INFO_AT) != 1)
		return doubt(err, "its swap space is not of version 1");
	if (*ret_end <= page || *ret_end > volume_size(v) ||
	    view_le32(&h, INFO_AT + 8) > (page - BAD_AT - MAGIC_SIZE) / 4)
		return doubt(err, "the header of its swap space contradicts itself, or is that of "
				  "a larger one");
	return 0;
}

static int swap_map(struct scan *s, struct place *p, struct err *err)
{
	uint32_t page;
	uint64_t end;
	int i = find(p->volume, &page, err);
	int r;

	(void)s;
	if (i < 0)
		return i;
	if (magics[i].is_image)
		return doubt(err, "it holds the image of a hibernated system");
	r = check_header(p->volume, page, &end, err);
	if (r < 0)
		return r;
	volume_mark(p->volume, 0, page);
	volume_mark(p->volume, end, UINT64_MAX);
	p->part.how = USAGE_HEADER;
	p->part.used = page + (volume_size(p->volume) - end);
	part_set_why(&p->part, "swap space: what was swapped out is of no use");
	return 0;
}

const struct format format_swap = {.name = "swap", .probe = swap_probe, .map = swap_map};
