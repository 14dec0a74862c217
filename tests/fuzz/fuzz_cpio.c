/* Archives of the form newc: entries one behind the other, and the archives that a medium was given (docs/formats-added.md).  What is read lies in the
 * input and is the same when it is written and read again. */
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/cpio.h"
#include "common/json.h"
#include "server/cli/iso_added.h"
#include "tests/fuzz/fuzz.h"

static void check_entry(const struct cpio_entry *e, const uint8_t *data, size_t size)
{
	const uint8_t *name = (const uint8_t *)e->name, *content = e->data;
	size_t room = cpio_size(e);
	CLEANUP_FREE uint8_t *copy = malloc(room);
	struct cpio_entry again;
	struct writer w;
	struct reader r;
	struct err err;

	if (name < data || name + strlen(e->name) >= data + size || content < data ||
	    content > data + size || e->size > (size_t)(data + size - content) || !copy)
		abort();
	writer_init(&w, copy, room);
	cpio_put(&w, e, 1);
	if (e->name[0] == '\0') /* which cpio_put does not write */
		return;
	reader_init(&r, copy, w.size);
	if (w.bad || w.size != room || cpio_get(&r, &again, &err) < 0 || r.left != 0 ||
	    strcmp(again.name, e->name) != 0 || again.mode != e->mode || again.size != e->size ||
	    memcmp(again.data, e->data, e->size) != 0)
		abort();
}

static void check_list(const json_t *list, size_t size)
{
	const json_t *one;
	size_t i, packed = 0;

	if (json_array_size(list) > ADDED_MAX)
		abort();
	json_array_foreach((json_t *)list, i, one)
	{
		const char *name = json_string_value(json_object_get(one, "name"));
		json_int_t n = json_integer_value(json_object_get(one, "packed"));

		if (!name || n < 0 || __builtin_add_overflow(packed, (size_t)n, &packed) ||
		    packed > size || !json_is_array(json_object_get(one, "files")))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP_JSON json_t *list = json_array();
	struct err err = {0};
	struct cpio_entry e;
	struct reader r;

	reader_init(&r, data, size);
	while (cpio_get(&r, &e, &err) == 0)
		check_entry(&e, data, size);
	if (!err.msg[0] || !list)
		abort();
	err.msg[0] = '\0';
	if (added_list(data, size, 1, list, &err) == 0)
		check_list(list, size);
	else if (!err.msg[0])
		abort();
	return 0;
}
