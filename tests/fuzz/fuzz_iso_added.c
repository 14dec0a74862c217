/* An archive that somebody wants on a medium, in any of the forms that libarchive knows.  What is taken of it replaces nothing of the live image: files of
 * lib/firmware, modules in updates, their folders before them, links that stay in lib/firmware. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zstd.h>

#include "common/cleanup.h"
#include "common/cpio.h"
#include "common/json.h"
#include "server/cli/iso_added.h"
#include "server/cli/iso_archive.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_file.h"

#define RELEASE	 "6.1.0-9-amd64"
#define FIRMWARE "lib/firmware/"
#define MODULES	 "lib/modules/" RELEASE "/updates/"
#define NUMBER	 3u
#define STEP	 512u

static bool begins(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

/* Every part is a name. */
static bool is_plain(const char *path)
{
	for (const char *p = path;; p++) {
		size_t n = strcspn(p, "/");

		if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && memcmp(p, "..", 2) == 0))
			return false;
		p += n;
		if (*p == '\0')
			return true;
	}
}

static bool is_module(const char *path)
{
	const char *name = path + strlen(MODULES), *dot = strstr(name, ".ko");

	while (dot && strcmp(dot, ".ko") != 0 && strcmp(dot, ".ko.xz") != 0 &&
	       strcmp(dot, ".ko.zst") != 0)
		dot = strstr(dot + 1, ".ko");
	return dot && !strchr(name, '/');
}

/* Where the link `path` leads, by name alone, is below lib/firmware. */
static bool leads_inside(const char *path, const char *target, size_t size)
{
	size_t depth = 0;

	for (const char *p = path; (p = strchr(p, '/')); p++)
		depth++;
	for (size_t i = 0; i < size;) {
		const char *slash = memchr(target + i, '/', size - i);
		size_t n = slash ? (size_t)(slash - target) - i : size - i;

		if (n == 2 && memcmp(target + i, "..", 2) == 0)
			depth--;
		else if (n > 0 && !(n == 1 && target[i] == '.'))
			depth++;
		if (depth < 2)
			return false;
		i += n + 1;
	}
	return size > 0 && target[0] != '/';
}

static void check_entry(const struct cpio_entry *e, json_t *folders)
{
	const char *slash = strrchr(e->name, '/');
	CLEANUP_FREE char *parent = slash ? strndup(e->name, (size_t)(slash - e->name)) : NULL;

	if (!is_plain(e->name) || (slash && (!parent || !json_object_get(folders, parent))))
		abort();
	if (S_ISDIR(e->mode)) {
		if (!begins(e->name, FIRMWARE) && !begins(FIRMWARE, e->name) &&
		    !begins(MODULES, e->name))
			abort();
		(void)json_object_set_new(folders, e->name, json_true());
	} else if (S_ISLNK(e->mode)) {
		if (!begins(e->name, FIRMWARE) || !leads_inside(e->name, e->data, e->size))
			abort();
	} else if (!S_ISREG(e->mode) || !(begins(e->name, FIRMWARE) ||
					  (begins(e->name, MODULES) && is_module(e->name)))) {
		abort();
	}
}

/* How many files there are in the archive that the kernel would unpack. */
static size_t check_archive(const uint8_t *plain, size_t size)
{
	CLEANUP_JSON json_t *folders = json_object();
	struct cpio_entry e;
	struct reader r;
	struct err err;
	size_t files = 0;

	reader_init(&r, plain, size);
	for (;;) {
		if (!folders || cpio_get(&r, &e, &err) < 0)
			abort();
		if (strcmp(e.name, CPIO_TRAILER) == 0)
			return files;
		check_entry(&e, folders);
		files += !S_ISDIR(e.mode);
	}
}

static void check(const uint8_t *out, size_t size)
{
	CLEANUP_JSON json_t *list = json_array();
	json_t *one;
	CLEANUP_FREE uint8_t *plain = NULL;
	unsigned long long plain_size;
	struct err err;
	size_t packed, got;

	if (size % STEP || added_list(out, size, NUMBER, list, &err) < 0 ||
	    json_array_size(list) != 1)
		abort();
	one = json_array_get(list, 0);
	packed = (size_t)json_integer_value(json_object_get(one, "packed"));
	out += size - (packed + STEP - 1) / STEP * STEP;
	plain_size = ZSTD_getFrameContentSize(out, packed);
	if (plain_size > 2ull * ISO_ARCHIVE_SIZE_MAX || !(plain = malloc(plain_size + 1)))
		abort();
	got = ZSTD_decompress(plain, plain_size, out, packed);
	if (got != plain_size ||
	    check_archive(plain, got) != json_array_size(json_object_get(one, "files")))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP_FREE uint8_t *out = NULL;
	struct err err = {0};
	size_t out_size = 0;

	fuzz_file_new(0);
	fuzz_file_put(data, size, 0);
	if (added_pack(fuzz_file_path, RELEASE, NUMBER, &out, &out_size, &err) == 0)
		check(out, out_size);
	else if (!err.msg[0] || out)
		abort();
	return 0;
}
