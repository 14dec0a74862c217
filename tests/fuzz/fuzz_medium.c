/* The settings area of a boot medium; what is left out of it counts as zeros.  Settings that are found are the same when they are written and read again; what the
 * rules of a medium let through survives the way into the live image.  Keys for SSH are read as the live image does. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ssh/guests.h"
#include "common/cleanup.h"
#include "common/json.h"
#include "common/medium.h"
#include "common/medium_settings.h"
#include "tests/fuzz/fuzz.h"

static void add_again(void *arg, const char *key, const char *value)
{
	struct err err = {0};

	if (!value || (medium_settings_add(arg, key, value, &err) < 0 && !err.msg[0]))
		abort();
	if (medium_settings_check(key, value, &err) < 0 && !err.msg[0])
		abort();
}

/* Lines, an area, and lines again. */
static void check_way_back(const json_t *settings)
{
	CLEANUP_FREE uint8_t *area = malloc(MEDIUM_AREA_SIZE);
	CLEANUP_JSON json_t *again = json_object();
	CLEANUP_FREE char *text = NULL;
	const char *found = NULL;
	size_t size = 0, found_size = 0;
	struct err err;

	if (!area || medium_settings_text(settings, &text, &size, &err) < 0)
		abort();
	if (medium_encode(text, size, area, &err) < 0)
		return; /* too long */
	if (medium_decode(area, &found, &found_size, &err) < 0 || found_size != size ||
	    memcmp(found, text, size) != 0 ||
	    medium_settings_parse(found, found_size, again, &err) < 0 ||
	    !json_equal(settings, again))
		abort();
}

static void said(void *ctx, const char *line)
{
	(void)ctx;
	if (line[0] == '\0')
		abort();
}

/* What was taken is taken again as it is written down, and is the same. */
static void check_guests(const char *text, size_t size)
{
	static struct guests g;
	struct err err = {0};

	if (guests_load(text, size, &g, said, NULL, &err) < 0)
		return;
	if (g.len > SSH_KEYS_MAX)
		abort();
	for (size_t i = 0; i < g.len; i++) {
		char line[SSH_KEY_LINE_SIZE];
		struct ssh_key again;

		ssh_key_print(&g.keys[i], line);
		if (ssh_key_parse(line, &again, &err) < 0 ||
		    again.blob_size != g.keys[i].blob_size ||
		    memcmp(again.blob, g.keys[i].blob, again.blob_size) != 0 ||
		    strcmp(again.comment, g.keys[i].comment) != 0)
			abort();
	}
}

static void use(const char *text, size_t size)
{
	CLEANUP_JSON json_t *settings = json_object(), *kept = json_object();
	CLEANUP_JSON json_t *shown = NULL;
	struct err err = {0};

	if (medium_settings_parse(text, size, settings, &err) < 0) {
		if (!err.msg[0])
			abort();
		return;
	}
	check_guests(text, size);
	check_way_back(settings);
	medium_settings_each(settings, add_again, kept);
	check_way_back(kept);
	if (medium_settings_check_together(kept, &err) < 0 && !err.msg[0])
		abort();
	shown = medium_settings_masked(settings, false);
	if (!shown || json_object_size(shown) != json_object_size(settings))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP_FREE uint8_t *area = calloc(1, MEDIUM_AREA_SIZE);
	const char *text = NULL;
	size_t text_size = 0;
	struct err err = {0};

	if (!area)
		abort();
	memcpy(area, data, size < MEDIUM_AREA_SIZE ? size : MEDIUM_AREA_SIZE);
	if (medium_decode(area, &text, &text_size, &err) == 0) {
		const uint8_t *p = (const uint8_t *)text;

		if (p < area || text_size > MEDIUM_AREA_SIZE ||
		    p + text_size > area + MEDIUM_AREA_SIZE)
			abort();
		use(text, text_size);
	} else if (err.msg[0] == '\0') {
		abort();
	}
	use((const char *)data, size); /* the lines alone: no marker in the way */
	return 0;
}
