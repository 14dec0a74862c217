/* Whose the unreadable places of a disk are, by partition tables, volumes and filesystems that may say anything.
 *
 * The input: how many places (1, modulo 32), their first blocks of 4 KiB (4 each), then the disks in the form of tests/lib/image.h. */
#include <stdlib.h>
#include <string.h>

#include "agent/usage/owners.h"
#include "common/bytes.h"
#include "common/cleanup.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_text.h"
#include "tests/lib/image.h"

#define PLACES_MAX 32u
#define PLACE_SIZE 4096u
#define LIMIT_MS   10000u

static void check(const struct owner *o, size_t len, const struct extents *bad)
{
	uint64_t end = 0, sum = 0;

	if (len > OWNERS_MAX)
		abort();
	for (size_t i = 0; i < len; i++) {
		size_t at = extents_find(bad, o[i].offset);

		if (!bad->items || o[i].length == 0 || o[i].offset < end || at == bad->len ||
		    o[i].offset < bad->items[at].offset ||
		    o[i].offset + o[i].length > bad->items[at].offset + bad->items[at].length)
			abort();
		end = o[i].offset + o[i].length;
		sum += o[i].length;
		fuzz_check_text(o[i].name);
		fuzz_check_text(o[i].volume);
	}
	if (len < OWNERS_MAX && sum != extents_bytes(bad))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(extents_done) struct extents bad = {0};
	CLEANUP_FREE struct owner *owners = NULL;
	struct blk *disks[IMAGE_DISKS_MAX];
	size_t len, owners_len = 0, places;
	const uint8_t *at;
	struct reader in;
	struct err err;

	reader_init(&in, data, size);
	places = reader_u8(&in) % PLACES_MAX;
	at = reader_bytes(&in, 4 * places);
	len = at ? image_decode(in.p, in.left, disks) : 0;
	if (len == 0)
		return 0;
	reader_init(&in, at, 4 * places);
	for (size_t i = 0; i < places; i++) {
		uint64_t offset = (uint64_t)reader_u32(&in) * PLACE_SIZE;

		if (offset < blk_size(disks[0])) {
			uint64_t rest = blk_size(disks[0]) - offset;

			if (extents_add(&bad, offset, rest < PLACE_SIZE ? rest : PLACE_SIZE) < 0)
				abort();
		}
	}
	if (usage_owners(disks, len, 0, &bad, LIMIT_MS, &owners, &owners_len, &err) == 0)
		check(owners, owners_len, &bad);
	else
		abort();
	for (size_t i = 0; i < len; i++)
		blk_free(disks[i]);
	return 0;
}
