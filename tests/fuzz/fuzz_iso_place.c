/* A medium to which archives are to be added: an ISO with its directories, MBR and GPT, or added.img alone.  It is understood or refused; what was
 * written is there, and the medium did not grow by more than that.
 *
 * The input: how much is written (2), in 64 bytes, then the medium in the form of tests/lib/image.h. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "server/cli/iso_place.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_file.h"
#include "tests/lib/image.h"

#define SIZE_MAX_ (8u << 20)
#define GROWS_MAX (2u << 20)

static uint64_t file_size(void)
{
	struct stat st;

	if (fstat(fuzz_file_fd, &st) < 0)
		abort();
	return (uint64_t)st.st_size;
}

static void check_place(const struct iso_place *p)
{
	if (p->size < ISO_PLACE_START || p->size > ISO_PLACE_MAX || p->offset > p->end ||
	    p->size > p->end - p->offset || p->end > file_size() || p->offset % 2048 ||
	    strlen(p->release) == 0 || strpbrk(p->release, "/\n"))
		abort();
}

static void read_back(const uint8_t *written, size_t size)
{
	CLEANUP_FREE uint8_t *data = NULL;
	struct iso_place p;
	struct err err;
	size_t got = 0;

	/* a folder or a table may lie where was written, so it need not be found again */
	if (iso_place_find(fuzz_file_fd, &p, &err) < 0 || p.size != ISO_PLACE_START + size)
		return;
	check_place(&p);
	if (iso_place_read(fuzz_file_fd, &p, &data, &got, &err) < 0 || got != size ||
	    (p.record == 0 && size > 0 && memcmp(data, written, size) != 0))
		abort();
}

static void use(size_t size)
{
	CLEANUP_FREE uint8_t *data = NULL, *added = calloc(1, size + 1);
	struct iso_place p;
	struct err err = {0};
	uint64_t before = file_size();
	size_t got = 0;

	if (iso_place_find(fuzz_file_fd, &p, &err) < 0) {
		if (!err.msg[0])
			abort();
		return;
	}
	check_place(&p);
	if (!added || iso_place_read(fuzz_file_fd, &p, &data, &got, &err) < 0 ||
	    got != p.size - ISO_PLACE_START)
		abort();
	memset(added, 0xa5, size);
	err.msg[0] = '\0';
	if (iso_place_write(fuzz_file_fd, &p, added, size, &err) < 0) {
		if (!err.msg[0])
			abort();
		return;
	}
	if (file_size() > before + size + GROWS_MAX)
		abort();
	read_back(added, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct blk *disks[IMAGE_DISKS_MAX];
	size_t len = size > 2 ? image_decode(data + 2, size - 2, disks) : 0;

	if (len > 0 && blk_size(disks[0]) <= SIZE_MAX_) {
		fuzz_file_from(disks[0]);
		use((size_t)(data[0] | data[1] << 8) * 64);
	}
	for (size_t i = 0; i < len; i++)
		blk_free(disks[i]);
	return 0;
}
