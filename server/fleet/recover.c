/* Manifests of no version: state.db is new, or was put back from a backup.  They are taken up at the start, and what could not be is tried again
 * (pending.c); until then the list of versions is not whole, and no number is given. */
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "common/log.h"
#include "server/fleet/private.h"

#define MANIFEST_MAX (8u << 20)
#define RESERVED_MAX 1000000u /* a number beyond says that what names it is damaged there too */

static int out_of_memory(struct err *err)
{
	return err_set(err, -ENOMEM, "The server is out of memory; ask again.");
}

struct listed {
	struct id *ids;
	size_t len, room;
	images_manifest_fn fn;
	void *arg;
};

static void listed_done(struct listed *l)
{
	free(l->ids);
}

static int list_one(struct listed *l, const struct id *id)
{
	if (l->len == l->room) {
		size_t room = l->room ? 2 * l->room : 64;
		struct id *p = reallocarray(l->ids, room, sizeof(*p));

		if (!p)
			return -ENOMEM;
		l->ids = p;
		l->room = room;
	}
	l->ids[l->len++] = *id;
	return 0;
}

static int list_version(void *arg, const struct version_row *v)
{
	return list_one(arg, &v->manifest);
}

static int list_settled(struct fleet *f, struct listed *l)
{
	int r = 0;
	LOCK_FLEET(f);

	for (const struct job *j = f->jobs; j && r == 0; j = j->next) {
		struct id id;

		if (!j->row.manifest)
			continue;
		id = id_of(j->row.manifest, strlen(j->row.manifest));
		r = list_one(l, &id);
	}
	return r;
}

static int id_compare(const void *a, const void *b)
{
	return memcmp(a, b, ID_SIZE);
}

static int look_at_manifest(void *arg, const struct id *id, struct err *err)
{
	const struct listed *l = arg;

	if (l->len > 0 && bsearch(id, l->ids, l->len, sizeof(*id), id_compare))
		return 0;
	return l->fn(l->arg, id, err);
}

int images_each_unlisted(struct fleet *f, images_manifest_fn fn, void *arg, struct err *err)
{
	CLEANUP(listed_done) struct listed l = {.fn = fn, .arg = arg};
	int r = state_each_version(f->config.state, NULL, list_version, &l, err);

	if (r == 0)
		r = list_settled(f, &l);
	if (r == -ENOMEM)
		return out_of_memory(err);
	if (r < 0)
		return r;
	if (l.len > 0)
		qsort(l.ids, l.len, sizeof(*l.ids), id_compare);
	return store_each_manifest(f->config.store, look_at_manifest, &l, err);
}

struct recovery {
	struct fleet *fleet;
	size_t count;
	struct err unread; /* of a manifest that may be read another time; code 0: none */
};

static void log_skipped(const struct id *id, const struct err *why)
{
	char text[ID_TEXT_SIZE];

	id_to_text(id, text);
	log_event(LOG_ERROR, "manifest_skipped", "manifest=%s reason=\"%s\"", text, why->msg);
}

/* What is no version (any more) has had a number all the same, if that can be made out: nobody else is to be given it. */
static int reserve_number(void *arg, const char *data, size_t size, struct err *err)
{
	const struct recovery *rec = arg;
	CLEANUP_JSON json_t *m = NULL;
	const char *image = NULL;
	uint64_t version = 0;
	struct err ignored;

	if (json_parse(data, size, MANIFEST_MAX, &m, &ignored) < 0 ||
	    json_get_str(m, "image", NAME_MAX_LEN, &image, &ignored) < 0 || !name_is_valid(image) ||
	    json_get_u64(m, "version", 1, RESERVED_MAX, &version, &ignored) < 0)
		return 0;
	return state_reserve_version(rec->fleet->config.state, image, (uint32_t)version,
				     fleet_now(), err);
}

/* One that is damaged must not take the others with it; gc leaves alone what it names. */
static int recover_one(void *arg, const struct id *id, struct err *err)
{
	CLEANUP(version_row_done) struct version_row v = {0};
	CLEANUP_FREE char *data = NULL;
	CLEANUP_JSON json_t *m = NULL;
	struct recovery *rec = arg;
	size_t size;
	int r = store_get_manifest(rec->fleet->config.store, id, &data, &size, err);

	if (r < 0) {
		log_skipped(id, err);
		if (r != -ENOENT && r != -EBADMSG)
			rec->unread = *err;
		return 0;
	}
	r = json_parse(data, size, MANIFEST_MAX, &m, err);
	if (r == 0)
		r = version_from_manifest(m, id, &v, err);
	if (r < 0) {
		log_skipped(id, err);
		return r == -ENOMEM ? r : reserve_number(rec, data, size, err);
	}
	r = state_add_version(rec->fleet->config.state, &v, err);
	rec->count += r == 0;
	if (r < 0)
		log_skipped(id, err);
	return r == -EEXIST ? 0 : r;
}

static int recover(struct fleet *f, struct err *err)
{
	struct recovery rec = {.fleet = f};
	int r = images_each_unlisted(f, recover_one, &rec, err);

	if (rec.count > 0)
		log_event(LOG_INFO, "images_recovered", "versions=%zu", rec.count);
	if (r == 0)
		r = store_each_damaged_manifest(f->config.store, reserve_number, &rec, err);
	if (r == 0 && rec.unread.code < 0) {
		*err = rec.unread;
		r = err->code;
	}
	return r;
}

int images_catch_up(struct fleet *f, struct err *err)
{
	const bool was_unrecovered = f->is_unrecovered;
	int r = recover(f, err);

	f->is_unrecovered = r < 0;
	if (r < 0 && !was_unrecovered) {
		fleet_event(f, "images_not_recovered", "", "",
			    "versions that only the store's manifests tell of cannot be listed, "
			    "and captures do not become versions before that; it is tried again "
			    "every minute: %s",
			    err->msg);
	}
	if (r == 0)
		r = images_finish_removals(f, err);
	if (r < 0)
		pending_soon(f);
	return r;
}
