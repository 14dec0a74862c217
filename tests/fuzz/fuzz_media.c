/* A file in the server's folder of boot media, with a place for settings in it or something like one.  What is handed out is the file, and in place of the
 * settings those that were set.
 *
 * The input: the file's size (2) and where it has what follows (2), both in 512 bytes. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/medium.h"
#include "server/media/media.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_folder.h"
#include "tests/lib/sample.h"

#define UNIT 512u

static char dir[FUZZ_FOLDER_SIZE], path[96];
static struct media *media;

static void end(void)
{
	media_close(media);
	tree_remove(dir);
}

static void begin(void)
{
	struct err err;

	fuzz_folder_new(dir);
	if (media_open(dir, &media, &err) < 0)
		abort();
	(void)snprintf(path, sizeof(path), "%s/hoist.iso", dir);
	(void)atexit(end);
}

/* All of it, asked for in pieces of odd sizes. */
static uint8_t *read_all(struct media_file *f, size_t size)
{
	uint8_t *all = malloc(size + 1);
	size_t at = 0;

	while (all && at < size) {
		size_t step = at % 3 == 0 ? 4097 : 30001;
		ssize_t n = media_file_read(f, at, (char *)all + at,
					    size - at < step ? size - at : step);

		if (n <= 0)
			abort();
		at += (size_t)n;
	}
	return all;
}

static void check_set(struct media_file *f, const uint8_t *was, size_t size)
{
	CLEANUP_JSON json_t *set =
		json_pack("{s:s, s:[s,s]}", "token", "abc", "interface", "a", "b");
	CLEANUP_JSON json_t *got = json_object();
	CLEANUP_FREE uint8_t *now = NULL;
	size_t first = size, last = 0;
	struct err err;

	if (!set || !got || media_file_set(f, set, &err) < 0 ||
	    media_file_settings(f, got, &err) < 0 || !json_equal(set, got))
		abort();
	now = read_all(f, size);
	for (size_t i = 0; now && i < size; i++) {
		if (now[i] == was[i])
			continue;
		first = i < first ? i : first;
		last = i;
	}
	if (first < last && last - first >= MEDIUM_AREA_SIZE)
		abort();
}

static void use(const uint8_t *was, size_t size)
{
	CLEANUP_JSON json_t *settings = json_object();
	CLEANUP_FREE uint8_t *all = NULL;
	struct media_file *f = NULL;
	struct err err = {0};

	if (media_file_open(media, NULL, "hoist.iso", &f, &err) < 0) {
		if (!err.msg[0])
			abort();
		return;
	}
	all = read_all(f, size);
	if (media_file_size(f) != size || !all || memcmp(all, was, size) != 0)
		abort();
	if (media_file_settings(f, settings, &err) < 0 && !err.msg[0])
		abort();
	if (media_file_takes_settings(f))
		check_set(f, was, size);
	media_file_free(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP_FREE uint8_t *file = NULL;
	struct reader in;
	size_t file_size, at;
	FILE *out;

	if (!media)
		begin();
	reader_init(&in, data, size);
	file_size = reader_u16(&in) % 1024u * UNIT;
	at = reader_u16(&in) % 1024u * UNIT;
	file = calloc(1, file_size + 1);
	if (in.bad || !file || file_size == 0)
		return 0;
	if (at < file_size)
		memcpy(file + at, in.p, in.left < file_size - at ? in.left : file_size - at);
	(void)unlink(path); /* another file: they are known by their numbers */
	out = fopen(path, "we");
	if (!out || fwrite(file, 1, file_size, out) != file_size || fclose(out) != 0)
		abort();
	use(file, file_size);
	return 0;
}
