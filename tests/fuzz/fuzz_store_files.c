/* Files of the store that are not what they were: packs, an index, a manifest, a partial index, the format, the object index.  Whatever
 * they hold, the store opens or says why not; what it gives out is right, byte for byte, or it is an error.
 *
 * The input: which file (1), how (1): in its place, or at places of it (4), bytes (1) of it. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "tests/fuzz/fuzz.h"
#include "tests/lib/store_fixture.h"

#define PARTIAL "job.0"

static struct sample *sample;
static struct id manifest;
static char template_dir[96];

static void begin(void)
{
	struct store *s;
	struct partial *p = NULL;
	struct err err;

	log_set_level(LOG_ERROR);
	fixture_begin();
	(void)atexit(fixture_end);
	(void)snprintf(template_dir, sizeof(template_dir), "%s/template", fixture_dir);
	sample = sample_new(1, &sample_small);
	s = fixture_open_at(template_dir, false);
	if (!fixture_put_all(s, sample) || fixture_seal(s, sample, "sealed.0") < 0 ||
	    store_put_manifest(s, "{}", 2, &manifest, &err) < 0 ||
	    partial_open(s, PARTIAL, sample->geometry.size, &p, &err) < 0)
		abort();
	for (uint32_t w = 0; w < 3; w++) {
		if (partial_set_one(p, w, &sample->nodes[w], &err) < 0)
			abort();
	}
	partial_close(p);
	store_close(s);
}

static void choose_path(uint8_t which, const uint8_t *data, size_t size, char *ret, size_t ret_size)
{
	char text[ID_TEXT_SIZE];
	struct id id = id_of(data, size);

	switch (which % 8) {
	case 0:
		(void)snprintf(ret, ret_size, "%s",
			       fixture_pack_path(&sample->packs[which / 8 % sample->packs_len].id));
		break;
	case 1:
		id_to_text(&sample->root, text);
		(void)snprintf(ret, ret_size, "%s/store/indexes/%s", fixture_data, text);
		break;
	case 2:
		id_to_text(&manifest, text);
		(void)snprintf(ret, ret_size, "%s/store/manifests/%s.json", fixture_data, text);
		break;
	case 3:
		(void)snprintf(ret, ret_size, "%s/jobs/" PARTIAL ".partial", fixture_data);
		break;
	case 4:
		(void)snprintf(ret, ret_size, "%s/store/format", fixture_data);
		break;
	case 5:
		(void)snprintf(ret, ret_size, "%s/store/objects.db", fixture_data);
		break;
	case 6: /* a pack that no checkpoint covered, under the name that it should have */
		(void)snprintf(ret, ret_size, "%s", fixture_pack_path(&id));
		break;
	default:
		(void)snprintf(ret, ret_size, "%s/store/tmp/%u", fixture_data, which);
	}
}

static void damage(uint8_t how, const char *path, const uint8_t *data, size_t size)
{
	CLEANUP_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct reader in;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		abort();
	reader_init(&in, data, size);
	if (how % 2 == 0) {
		if (ftruncate(fd, 0) < 0 || write(fd, data, size) != (ssize_t)size)
			abort();
		return;
	}
	while (in.left >= 5) {
		uint32_t at = reader_u32(&in);
		uint8_t byte = reader_u8(&in);

		if (st.st_size > 0 && pwrite(fd, &byte, 1, at % st.st_size) != 1)
			abort();
	}
}

/* Everything that can be asked. */
static void use(struct store *s)
{
	struct index_info info = {0};
	struct id ids[8], gone;
	char *text = NULL, *report = NULL;
	uint64_t damaged = 0;
	struct partial *p = NULL;
	struct err err;
	size_t size;

	for (uint32_t i = 0; i < sample->chunks_len; i += 5)
		(void)!fixture_get(s, sample, i, i + 5, NULL); /* aborts when wrong bytes come */
	(void)!fixture_get_nodes(s, sample);
	if (store_index_info(s, &sample->root, &info, &err) == 0) {
		if (info.geometry.size != sample->geometry.size)
			abort();
		if (store_index_nodes(s, &sample->root, 0, sample->windows, ids, &err) == 0 &&
		    memcmp(ids, sample->nodes, sizeof(gone) * sample->windows) != 0)
			abort();
	}
	index_info_done(&info);
	if (store_get_manifest(s, &manifest, &text, &size, &err) == 0 &&
	    (size != 2 || memcmp(text, "{}", 2) != 0))
		abort();
	free(text);
	(void)!fixture_seal(s, sample, PARTIAL);
	if (partial_open(s, "other.1", sample->geometry.size, &p, &err) == 0)
		partial_close(p);
	(void)!store_verify(s, &sample->root, NULL, NULL, &damaged, &report, &err);
	free(report);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct store_options o = {
		.no_thread = true, .interval_ms = 1000, .packs_max = 1000, .recent_max = 40};
	struct store *s = NULL;
	struct err err = {0};
	char path[400];
	int r;

	if (!sample)
		begin();
	o.rebuild = size > 1 && data[1] & 2;
	if (size < 2)
		return 0;
	tree_copy(template_dir, fixture_data);
	choose_path(data[0], data + 2, size - 2, path, sizeof(path));
	damage(data[1], path, data + 2, size - 2);
	r = store_open_options(fixture_data, &o, &s, &err);
	if (r < 0 && !err.msg[0])
		abort();
	if (r == 0) {
		use(s);
		store_close(s);
	}
	tree_remove(fixture_data);
	return 0;
}
