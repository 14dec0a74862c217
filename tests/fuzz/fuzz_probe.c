/* What is on a disk, as libblkid sees it: partitions and contents, whatever they call themselves.  It becomes text for JSON.
 *
 * The input: a disk in the form of tests/lib/image.h. */
#include <stdlib.h>
#include <string.h>

#include "agent/probe.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_file.h"
#include "tests/fuzz/fuzz_text.h"
#include "tests/lib/image.h"

#define DISK_MAX (8u << 20)

static void check_content(const struct content *c)
{
	fuzz_check_text(c->type);
	fuzz_check_text(c->usage);
	fuzz_check_text(c->version);
	fuzz_check_text(c->uuid);
	fuzz_check_text(c->label);
}

static void check(const struct contents *c)
{
	fuzz_check_text(c->table_type);
	fuzz_check_text(c->table_uuid);
	check_content(&c->content);
	if (c->partitions_len > PARTITIONS_MAX || (c->is_empty && c->table_type[0]))
		abort();
	for (size_t i = 0; i < c->partitions_len; i++) {
		fuzz_check_text(c->partitions[i].type);
		fuzz_check_text(c->partitions[i].name);
		fuzz_check_text(c->partitions[i].uuid);
		check_content(&c->partitions[i].content);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct blk *disks[IMAGE_DISKS_MAX];
	size_t len = image_decode(data, size, disks);
	struct contents c = {.error = ""};
	struct disk d = {.sector_size = 512};
	struct err err = {0};

	if (len > 0 && blk_size(disks[0]) <= DISK_MAX) {
		fuzz_file_from(disks[0]);
		(void)snprintf(d.path, sizeof(d.path), "%s", fuzz_file_path);
		d.size = blk_size(disks[0]);
		if (probe_disk(&d, &c, &err) == 0)
			check(&c);
		else if (!err.msg[0])
			abort();
		contents_done(&c);
	}
	for (size_t i = 0; i < len; i++)
		blk_free(disks[i]);
	return 0;
}
