/* Which captures and restores are possible: every refusal, and that hostile inventories only make refusals. */
#include <errno.h>
#include <string.h>

#include "server/fleet/private.h"
#include "tests/unit/tap.h"

#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"
#define ONES  "1111111111111111111111111111111111111111111111111111111111111111"
#define ROOT  "abababababababababababababababababababababababababababababababab"
#define DISK(id, size, more)                                       \
	"{\"id\":\"" id "\",\"size\":" size                        \
	",\"sector_size\":512,\"read_only\":false,\"empty\":true," \
	"\"fingerprint\":\"" ZEROS "\"" more "}"
#define SOURCE(id, size)                                      \
	"{\"disk\":\"" id "\",\"size\":" size                 \
	",\"sector_size\":512,\"physical_sector_size\":4096," \
	"\"root\":\"" ROOT "\",\"data_bytes\":77}"

static struct job_disk_row rows[JOB_DISKS_MAX];

static json_t *parse(const char *text)
{
	json_t *j = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;

	if (text && !j) {
		printf("# not JSON: %s\n", text);
		abort();
	}
	return j;
}

static void check(const char *name, int r, int want, const struct err *err, const char *says)
{
	ok(r == want && (!says || strstr(err->msg, says)), name);
	if (r != want || (says && !strstr(err->msg, says)))
		printf("# got %d: %s\n", r, r < 0 ? err->msg : "");
}

static void capture(const char *name, const char *inventory, const char *ids, int want,
		    const char *says)
{
	CLEANUP_JSON json_t *inv = parse(inventory), *list = parse(ids);
	struct err err = {0};
	size_t len = 99;
	int r = plan_capture(inv, list, rows, &len, &err);

	check(name, r, want, &err, says);
	ok((r == 0) == (len != 99), "the output is written only on success");
}

static void test_capture(void)
{
	static const char two[] =
		"{\"disks\":[" DISK("a", "1048576", "") "," DISK("b", "2097152", "") "]}";

	capture("capture: all disks", two, NULL, 0, NULL);
	ok(strcmp(rows[0].disk, "a") == 0 && rows[0].size == 1048576 &&
		   strcmp(rows[1].disk, "b") == 0,
	   "capture: in order of listing");
	capture("capture: one", two, "[\"b\"]", 0, NULL);
	ok(strcmp(rows[0].disk, "b") == 0 && rows[0].size == 2097152, "capture: the one named");
	capture("capture: none there", "{\"disks\":[]}", NULL, API_DISK_MISSING, "no disk");
	capture("capture: none named", two, "[]", API_DISK_MISSING, "no disk");
	capture("capture: unknown", two, "[\"c\"]", API_DISK_MISSING, "'c'");
	capture("capture: twice", two, "[\"a\",\"a\"]", API_BAD_REQUEST, "twice");
	capture("capture: no text", two, "[7]", API_BAD_REQUEST, "no text");
	capture("capture: not an id", two, "[\"../a\"]", API_DISK_MISSING, "../a");
	capture("capture: no list", "{}", NULL, API_DISK_MISSING, NULL);
	capture("capture: disks that are none", "{\"disks\":[1,null,\"x\"]}", NULL, API_BAD_REQUEST,
		NULL);
	capture("capture: disks that are an object", "{\"disks\":{\"id\":\"a\"}}", NULL,
		API_DISK_MISSING, NULL);
	capture("capture: a size of text", "{\"disks\":[{\"id\":\"a\",\"size\":\"1\"}]}", NULL,
		API_BAD_REQUEST, "size");
	capture("capture: a negative size", "{\"disks\":[{\"id\":\"a\",\"size\":-512}]}", NULL,
		API_BAD_REQUEST, "size");
	capture("capture: more than any disk has",
		"{\"disks\":[" DISK("a", "70368744177665", "") "]}", NULL, API_BAD_REQUEST, "size");
}

static void test_capture_many(void)
{
	CLEANUP_JSON json_t *disks = json_array(), *inv = json_pack("{s:O}", "disks", disks);
	struct err err = {0};
	size_t len = 0;

	for (int i = 0; i < 33; i++) {
		char id[16];

		(void)snprintf(id, sizeof(id), "d%d", i);
		(void)json_array_append_new(disks, json_pack("{s:s,s:i}", "id", id, "size", 4096));
		if (i == 31)
			ok(plan_capture(inv, NULL, rows, &len, &err) == 0 && len == 32,
			   "capture: 32 disks");
	}
	check("capture: 33 are too many", plan_capture(inv, NULL, rows, &len, &err), API_TOO_LARGE,
	      &err, "32");
}

struct restore_case {
	const char *name, *disk, *source, *pairs, *overwrite;
	int want;
	const char *says;
};

static const struct restore_case restores[] = {
	{"same size", DISK("t", "1048576", ""), SOURCE("s", "1048576"), NULL, NULL, 0, NULL},
	{"larger", DISK("t", "1049088", ""), SOURCE("s", "1048576"), NULL, NULL, 0, NULL},
	{"one sector too small", DISK("t", "1048064", ""), SOURCE("s", "1048576"), NULL, NULL,
	 API_TARGET_TOO_SMALL, "1048576 are needed"},
	{"named", DISK("t", "1048576", ""), SOURCE("s", "1048576"),
	 "[{\"source\":\"s\",\"target\":\"t\"}]", NULL, 0, NULL},
	{"another source", DISK("t", "1048576", ""), SOURCE("s", "1048576"),
	 "[{\"source\":\"x\",\"target\":\"t\"}]", NULL, API_DISK_MISSING, "'x'"},
	{"another target", DISK("t", "1048576", ""), SOURCE("s", "1048576"),
	 "[{\"source\":\"s\",\"target\":\"x\"}]", NULL, API_DISK_MISSING, "'x'"},
	{"no pair", DISK("t", "1048576", ""), SOURCE("s", "1048576"), "[7]", NULL, -EPROTO, NULL},
	{"no pairs", DISK("t", "1048576", ""), SOURCE("s", "1048576"), "[]", NULL, API_BAD_REQUEST,
	 NULL},
	{"one target for two", DISK("t", "1048576", ""),
	 SOURCE("s", "1048576") "," SOURCE("r", "1048576"),
	 "[{\"source\":\"s\",\"target\":\"t\"},{\"source\":\"r\",\"target\":\"t\"}]", NULL,
	 API_BAD_REQUEST, "twice"},
	{"as many of one as of the other", DISK("t", "1048576", ""),
	 SOURCE("s", "1048576") "," SOURCE("r", "1048576"), NULL, NULL, API_DISK_MISSING,
	 "which goes where"},
	{"holds data", DISK("t", "1048576", ",\"empty\":false"), SOURCE("s", "1048576"), NULL, NULL,
	 API_TARGET_HOLDS_DATA, ZEROS},
	{"holds data, another one named", DISK("t", "1048576", ",\"empty\":false"),
	 SOURCE("s", "1048576"), NULL, "[\"" ONES "\"]", API_TARGET_HOLDS_DATA, ZEROS},
	{"holds data, named", DISK("t", "1048576", ",\"empty\":false"), SOURCE("s", "1048576"),
	 NULL, "[7,\"" ONES "\",\"" ZEROS "\"]", 0, NULL},
	{"empty is not said", DISK("t", "1048576", ",\"empty\":null"), SOURCE("s", "1048576"), NULL,
	 NULL, API_TARGET_HOLDS_DATA, NULL},
	{"empty is said oddly", DISK("t", "1048576", ",\"empty\":1"), SOURCE("s", "1048576"), NULL,
	 NULL, API_TARGET_HOLDS_DATA, NULL},
	{"no fingerprint", DISK("t", "1048576", ",\"fingerprint\":null,\"error\":\"bad sector\""),
	 SOURCE("s", "1048576"), NULL, NULL, API_READ_ERROR, "bad sector"},
	{"a fingerprint that is none", DISK("t", "1048576", ",\"fingerprint\":\"00\""),
	 SOURCE("s", "1048576"), NULL, "[\"00\"]", API_READ_ERROR, NULL},
	{"read-only", DISK("t", "1048576", ",\"read_only\":true"), SOURCE("s", "1048576"), NULL,
	 "[\"" ZEROS "\"]", API_WRITE_ERROR, "read-only"},
	{"read-only is not said", DISK("t", "1048576", ",\"read_only\":null"),
	 SOURCE("s", "1048576"), NULL, NULL, API_WRITE_ERROR, NULL},
	{"sector size", DISK("t", "1048576", ",\"sector_size\":4096"), SOURCE("s", "1048576"), NULL,
	 NULL, API_SECTOR_SIZE, "4096"},
	{"sector size is not said", DISK("t", "1048576", ",\"sector_size\":null"),
	 SOURCE("s", "1048576"), NULL, NULL, -EPROTO, "sector_size"},
	{"a source that is damaged", DISK("t", "1048576", ""), "{\"disk\":\"s\"}", NULL, NULL,
	 API_STORE_DAMAGED, NULL},
};

static void test_restore(const struct restore_case *c)
{
	char *inventory = NULL, *sources = NULL;
	json_t *inv, *src, *pairs = parse(c->pairs), *overwrite = parse(c->overwrite);
	struct err err = {0};
	size_t len = 99;
	int r;

	/* a key that stands twice counts as said last: DISK's `more` overrides */
	if (asprintf(&inventory, "{\"disks\":[%s]}", c->disk) < 0 ||
	    asprintf(&sources, "[%s]", c->source) < 0)
		abort();
	inv = parse(inventory);
	src = parse(sources);
	memset(rows, 0, sizeof(rows));
	r = plan_restore(inv, src, pairs, overwrite, rows, &len, &err);
	check(c->name, r, c->want, &err, c->says);
	if (r == 0) {
		ok(len == 1 && strcmp(rows[0].disk, "t") == 0 &&
			   strcmp(rows[0].source_disk, "s") == 0 &&
			   rows[0].geometry.size == 1048576 &&
			   rows[0].geometry.physical_sector_size == 4096 &&
			   rows[0].data_bytes == 77 && rows[0].root.b[5] == 0xab &&
			   !rows[0].begun && rows[0].overwrite == (c->overwrite != NULL),
		   "all of it is noted");
	} else {
		ok(len == 99, "nothing is written");
	}
	json_decref(inv);
	json_decref(src);
	json_decref(pairs);
	json_decref(overwrite);
	free(inventory);
	free(sources);
}

int main(void)
{
	test_capture();
	test_capture_many();
	for (size_t i = 0; i < sizeof(restores) / sizeof(restores[0]); i++)
		test_restore(&restores[i]);
	return done();
}
