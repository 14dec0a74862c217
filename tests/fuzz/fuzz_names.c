/* Words of others that become names: of machines, images, files, disks; and the job of a token.  What comes out is text for JSON and screens, and a name that is
 * made is one that is taken. */
#include <stdlib.h>
#include <string.h>

#include "agent/disk.h"
#include "common/cleanup.h"
#include "common/http.h"
#include "common/json.h"
#include "common/message.h"
#include "common/text.h"
#include "server/cli/image_ref.h"
#include "server/fleet/rule.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_text.h"

static void check_clean(const uint8_t *data, size_t size, size_t room)
{
	CLEANUP_FREE char *once = malloc(room), *twice = malloc(room);
	size_t n;

	if (!once || !twice)
		return;
	n = text_clean(once, room, data, size);
	if (n >= room || strlen(once) != n || text_clean(twice, room, once, n) != n ||
	    strcmp(once, twice) != 0)
		abort();
	fuzz_check_text(once);
	if (once[0] == ' ' || (n > 0 && once[n - 1] == ' '))
		abort();
}

static void check_rule(const char *text)
{
	CLEANUP_JSON json_t *job = NULL, *own = NULL;
	struct rule r, any = {.kind = JOB_CAPTURE};
	struct err err = {0};
	const char *image;

	own = rule_job(&any, "0123456789abcdef0123456789abcdef", text);
	image = json_string_value(json_object_get(own, "image"));
	if (own && (!image || !name_is_valid(image)))
		abort(); /* of any machine's name */
	if (rule_parse(text, &r, &err) < 0) {
		if (!err.msg[0])
			abort();
		return;
	}
	job = rule_job(&r, "0123456789abcdef0123456789abcdef", "name");
	image = json_string_value(json_object_get(job, "image"));
	if (!image || !name_is_valid(image))
		abort();
}

static void check_refs(const char *text)
{
	struct http_target t = {.pin = ""};
	struct image_ref ref;
	struct err err = {0};

	if (image_ref_parse(text, &ref, &err) == 0 && !name_is_valid(ref.name))
		abort();
	if (http_target_set_url(&t, text, &err) == 0 && strncmp(t.url, "https://", 8) != 0)
		abort();
	if (http_target_set_pin(&t, text, &err) == 0 && strlen(t.pin) != PIN_TEXT_SIZE - 1)
		abort();
}

/* Three disks of one making: the ids of them are ids, and no two the same. */
static void check_disks(const uint8_t *data, size_t size)
{
	struct disk_list l = {0};
	size_t third = size / 3;

	for (unsigned i = 0; i < 3; i++) {
		struct disk *d = disk_list_add(&l);

		if (!d)
			abort();
		(void)snprintf(d->name, sizeof(d->name), "sd%c", 'a' + i);
		(void)text_clean(d->serial, sizeof(d->serial), data, third);
		(void)text_clean(d->model, sizeof(d->model), data + third, third);
		(void)text_clean(d->wwn, sizeof(d->wwn), data + 2 * third, i == 1 ? third : 0);
		d->kind = size % 5 == 0 ? DISK_MD : DISK_PLAIN;
		d->nsid = size % 7 == 0 ? i : 0;
	}
	disk_list_name(&l);
	for (size_t i = 0; i < l.len; i++) {
		if (!disk_id_is_valid(l.disks[i].id))
			abort();
		for (size_t k = 0; k < i; k++) {
			if (strcmp(l.disks[i].id, l.disks[k].id) == 0)
				abort();
		}
	}
	disk_list_done(&l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP_FREE char *text = strndup((const char *)data, size);

	if (!text)
		return 0;
	check_clean(data, size, 9);
	check_clean(data, size, 32);
	check_clean(data, size, TEXT_SIZE);
	check_rule(text);
	check_refs(text);
	check_disks(data, size);
	return 0;
}
