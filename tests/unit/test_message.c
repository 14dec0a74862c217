#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/message.h"
#include "tests/unit/tap.h"

#define HEX64 "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static const char CAPTURE[] =
	"{\"job\":\"0123456789abcdef\",\"kind\":\"capture\",\"end\":\"stay\",\"options\":{\"level\":3},"
	"\"disks\":[{\"n\":0,\"disk\":\"wwn:1\",\"size\":8589934592},{\"n\":1,\"disk\":\"wwn:2\",\"size\":512}]}";

static const char RESTORE[] =
	"{\"job\":\"0123456789abcdef\",\"kind\":\"restore\",\"end\":\"reboot\",\"options\":{},\"disks\":[{\"n\":0,"
	"\"disk\":\"serial:x\",\"size\":9000000000,\"fingerprint\":\"" HEX64
	"\",\"overwrite\":true,\"begun\":false,"
	"\"source\":{\"disk\":\"wwn:1\",\"size\":8589934592,\"sector_size\":512,\"physical_sector_size\":4096,"
	"\"root\":\"" HEX64 "\",\"data_bytes\":77,\"unreadable\":[[4096,512],[8192,4096]]}}]}";

static int decode(const char *text, struct order *o, struct err *err)
{
	CLEANUP_JSON json_t *j = NULL;
	int r = json_parse(text, strlen(text), 65536, &j, err);

	return r < 0 ? r : order_decode(j, o, err);
}

static void test_orders(void)
{
	struct order o = {0};
	struct err err = {0};
	CLEANUP_JSON json_t *back = NULL;
	CLEANUP_JSON json_t *want = NULL;

	ok(decode(CAPTURE, &o, &err) == 0 && o.kind == JOB_CAPTURE && o.level == 3 &&
		   o.disks_len == 2 && o.disks[1].size == 512 && !o.all_blocks,
	   "a capture");
	o.all_blocks = true;
	back = order_encode(&o);
	order_done(&o);
	ok(order_decode(back, &o, &err) == 0 && o.all_blocks && o.level == 3,
	   "of all blocks, there and back");
	json_decref(back);
	order_done(&o);
	ok(decode(RESTORE, &o, &err) == 0 && o.kind == JOB_RESTORE && o.end == END_REBOOT &&
		   o.disks[0].overwrite && !o.disks[0].begun &&
		   o.disks[0].source.physical_sector_size == 4096 &&
		   o.disks[0].unreadable_len == 2 && o.disks[0].unreadable[1].offset == 8192,
	   "a restore");
	back = order_encode(&o);
	want = json_loads(RESTORE, 0, NULL);
	ok(json_equal(back, want), "encoded again it is the same");
	order_done(&o);
}

/* `from` replaced by `to` in a lawful order: refused, with `word` in the sentence. */
static void bad(const char *base, const char *from, const char *to, const char *word)
{
	char text[2048];
	const char *at = strstr(base, from);
	struct order o = {0};
	struct err err = {0};

	if (at == NULL)
		abort();
	(void)snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - base), base, to,
		       at + strlen(from));
	if (!ok(decode(text, &o, &err) == -EPROTO && strstr(err.msg, word) != NULL &&
			o.disks == NULL,
		to))
		printf("# %s\n", err.msg);
}

static void test_hostile_orders(void)
{
	bad(CAPTURE, "0123456789abcdef", "0123456789abcdeF", "job");
	bad(CAPTURE, "0123456789abcdef", "../../etc/passwd", "job");
	bad(CAPTURE, "\"capture\"", "\"verify\"", "order");
	bad(CAPTURE, "\"capture\"", "\"format\"", "format");
	bad(CAPTURE, "\"stay\"", "\"explode\"", "explode");
	bad(CAPTURE, "\"level\":3", "\"level\":20", "level");
	bad(CAPTURE, "\"n\":1", "\"n\":0", "'n'");
	bad(CAPTURE, "wwn:2", "wwn:1", "twice");
	bad(CAPTURE, "wwn:2", "w w", "disk");
	bad(CAPTURE, "\"size\":512", "\"size\":-1", "size");
	bad(CAPTURE, "\"size\":512", "\"size\":70368744177665", "size");
	bad(CAPTURE, "\"size\":512", "\"size\":1e3", "size");
	bad(CAPTURE, "\"level\":3", "\"all_blocks\":1", "all_blocks");
	bad(RESTORE, "\"fingerprint\":\"0", "\"fingerprint\":\"X", "fingerprint");
	bad(RESTORE, "\"overwrite\":true", "\"overwrite\":1", "overwrite");
	bad(RESTORE, "[8192,4096]", "[4608,4096]", "extent");
	bad(RESTORE, "[8192,4096]", "[8589934592,512]", "outside");
	bad(RESTORE, "[8192,4096]", "[8192]", "pair");
	bad(RESTORE, "\"sector_size\":512", "\"sector_size\":520", "520");
	bad(RESTORE, ",\"sector_size\":512", "", "sector_size");
	bad(RESTORE, "\"source\":{", "\"source\":7,\"x\":{", "source");
}

static void test_json(void)
{
	CLEANUP_FREE char *deep = malloc(100001);
	static const char brackets[] = "{\"a\":\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[\"}";
	json_t *j = NULL;
	struct err err = {0};

	if (deep == NULL)
		abort();
	memset(deep, '[', 100000);
	deep[100000] = '\0';
	ok(json_parse(deep, 100000, 200000, &j, &err) == -EPROTO &&
		   strstr(err.msg, "deeper") != NULL,
	   "deep nesting: refused");
	ok(json_parse("{}", 2, 1, &j, &err) == -EMSGSIZE, "too large: refused");
	ok(json_parse("[]", 2, 9, &j, &err) == -EPROTO, "no object: refused");
	ok(json_parse("{\"a\":1,\"a\":2}", 13, 99, &j, &err) == -EPROTO, "a key twice: refused");
	ok(json_parse("{\"a\":\"\\u0000\"}", 14, 99, &j, &err) == -EPROTO,
	   "NUL in a text: refused");
	ok(json_parse("{\"a\":\"\xff\"}", 9, 99, &j, &err) == -EPROTO, "no UTF-8: refused");
	ok(json_parse("{} x", 4, 99, &j, &err) == -EPROTO && j == NULL,
	   "something behind it: refused, output untouched");
	ok(json_parse(brackets, strlen(brackets), 99, &j, &err) == 0,
	   "brackets in a text are no nesting");
	json_decref(j);
}

static void test_words(void)
{
	char text[TIME_TEXT_SIZE];
	char long_name[66];

	memset(long_name, 'a', 65);
	long_name[65] = '\0';
	ok(name_is_valid("web1") && name_is_valid("a.b_c-D") && !name_is_valid("") &&
		   !name_is_valid(".a") && !name_is_valid("a/b") && !name_is_valid("a b") &&
		   !name_is_valid(long_name),
	   "names");
	ok(disk_id_is_valid("serial:QEMU_HARDDISK:QM1") && !disk_id_is_valid("a b") &&
		   !disk_id_is_valid("") && !disk_id_is_valid("/dev/sda"),
	   "ids of disks");
	time_to_text(1769860800, text);
	ok(strcmp(text, "2026-01-31T12:00:00Z") == 0, "time");
	time_to_text(INT64_MAX, text);
	ok(strlen(text) == 20, "a broken clock's time");
}

static void test_api_error(void)
{
	struct api_error e;
	static const char text[] =
		"{\"error\":{\"code\":\"no_space\",\"message\":\"The store is full.\"}}";

	ok(api_error_decode(text, strlen(text), &e) && strcmp(e.code, "no_space") == 0 &&
		   strcmp(e.message, "The store is full.") == 0,
	   "an error");
	ok(!api_error_decode("{}", 2, &e) && !api_error_decode("<html>", 6, &e) &&
		   !api_error_decode("{\"error\":{\"code\":1,\"message\":\"x\"}}", 33, &e),
	   "no errors");
}

int main(void)
{
	test_orders();
	test_hostile_orders();
	test_json();
	test_words();
	test_api_error();
	return done();
}
