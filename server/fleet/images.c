/* Images: the list of the store's manifests that the state holds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "common/log.h"
#include "server/fleet/private.h"

#define MANIFEST_MAX (8u << 20)

static int out_of_memory(struct err *err)
{
	return err_set(err, -ENOMEM, "The server is out of memory; ask again.");
}

/* ---- manifests */

static int parse_time(const char *text, int64_t *ret)
{
	struct tm tm = {0};
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);

	if (!end || *end)
		return -EPROTO;
	*ret = timegm(&tm);
	return 0;
}

static int add_disk(const json_t *d, struct version_row *v, struct err *err)
{
	uint64_t size = 0, data = 0;
	struct id root;
	const char *id = NULL;
	int r = json_get_str(d, "disk", DISK_ID_MAX, &id, err);

	if (r == 0 && !disk_id_is_valid(id))
		r = err_set(err, -EPROTO, "field 'disk' is not the id of a disk");
	if (r == 0)
		r = json_get_u64(d, "size", DISK_SIZE_MIN, DISK_SIZE_MAX, &size, err);
	if (r == 0)
		r = json_get_u64(d, "data_bytes", 0, DISK_SIZE_MAX, &data, err);
	if (r == 0)
		r = json_get_id(d, "root", &root, err);
	if (r < 0)
		return r;
	v->size += size;
	v->data_bytes += data;
	return 0;
}

static int read_names(const json_t *m, struct version_row *v, struct err *err)
{
	const char *image = NULL, *created = NULL, *job = "", *machine = "", *machine_name = "";
	uint64_t hoist = 0, version = 0;
	int r = json_get_u64(m, "hoist", 1, 1, &hoist, err);

	if (r == 0)
		r = json_get_str(m, "image", NAME_MAX_LEN, &image, err);
	if (r == 0 && !name_is_valid(image))
		r = err_set(err, -EPROTO, "field 'image' is not the name of an image");
	if (r == 0)
		r = json_get_u64(m, "version", 1, UINT32_MAX, &version, err);
	if (r == 0)
		r = json_get_str(m, "created", TIME_TEXT_SIZE - 1, &created, err);
	if (r == 0 && parse_time(created, &v->created) < 0)
		r = err_set(err, -EPROTO, "field 'created' is not a time");
	if (r == 0)
		r = json_opt_str(m, "job", JOB_ID_SIZE - 1, &job, err);
	if (r == 0)
		r = json_opt_str(m, "machine", MACHINE_ID_SIZE - 1, &machine, err);
	if (r == 0)
		r = json_opt_str(m, "machine_name", NAME_MAX_LEN, &machine_name, err);
	if (r < 0)
		return r;
	v->version = (uint32_t)version;
	(void)snprintf(v->image, sizeof(v->image), "%s", image);
	(void)snprintf(v->job, sizeof(v->job), "%s", job);
	(void)snprintf(v->machine, sizeof(v->machine), "%s", machine);
	(void)snprintf(v->machine_name, sizeof(v->machine_name), "%s", machine_name);
	return 0;
}

int version_from_manifest(const json_t *m, const struct id *id, struct version_row *ret,
			  struct err *err)
{
	CLEANUP(version_row_done) struct version_row v = {.manifest = *id};
	const json_t *disks = NULL, *d;
	size_t i;
	int r = read_names(m, &v, err);

	if (r == 0)
		r = json_get_array(m, "disks", JOB_DISKS_MAX, &disks, err);
	if (r < 0)
		return err_prefix(err, "manifest");
	json_array_foreach((json_t *)disks, i, d)
	{
		r = add_disk(d, &v, err);
		if (r < 0)
			return err_prefix(err, "manifest, disk %zu", i);
	}
	v.disks = json_dumps(disks, JSON_COMPACT);
	if (!v.disks)
		return out_of_memory(err);
	*ret = v;
	v.disks = NULL;
	return 0;
}

/* ---- what operators see */

/* Gathers the versions of one image after the other. */
struct gathering {
	json_t *images;	  /* what has been gathered */
	json_t *versions; /* of the present image */
	char name[NAME_SIZE];
	int64_t created;
	uint32_t latest;
	uint64_t size, unreadable; /* of the latest version */
	bool damaged;
	bool full; /* with the versions themselves, not their number */
};

static int end_image(struct gathering *g)
{
	json_t *image;

	if (!g->versions)
		return 0;
	image = json_pack("{s:s, s:o, s:I, s:I, s:I, s:b, s:o}", "name", g->name, "created",
			  view_time(g->created), "latest", (json_int_t)g->latest, "size",
			  (json_int_t)g->size, "unreadable_bytes", (json_int_t)g->unreadable,
			  "damaged", (int)g->damaged, "versions",
			  g->full ? json_incref(g->versions)
				  : json_integer((json_int_t)json_array_size(g->versions)));
	json_decref(g->versions);
	g->versions = NULL;
	return json_array_append_new(g->images, image) < 0 ? -ENOMEM : 0;
}

static int gather(void *arg, const struct version_row *v)
{
	struct gathering *g = arg;
	json_t *version;

	if (v->removing)
		return 0;
	if (!g->versions || strcmp(g->name, v->image) != 0) {
		if (end_image(g) < 0)
			return -ENOMEM;
		(void)snprintf(g->name, sizeof(g->name), "%s", v->image);
		g->versions = json_array();
		g->created = v->created;
		g->damaged = false;
	}
	g->latest = v->version;
	g->size = v->size;
	g->damaged = g->damaged || v->damaged;
	version = view_version(v);
	g->unreadable = (uint64_t)json_integer_value(json_object_get(version, "unreadable_bytes"));
	return json_array_append_new(g->versions, version) < 0 ? -ENOMEM : 0;
}

static int gather_images(struct fleet *f, const char *image, struct gathering *g, struct err *err)
{
	int r;

	g->images = json_array();
	r = state_each_version(f->config.state, image, gather, g, err);
	if (r == 0)
		r = end_image(g);
	if (r == -ENOMEM)
		(void)out_of_memory(err);
	json_decref(g->versions);
	g->versions = NULL;
	return r;
}

int fleet_list_images(struct fleet *f, json_t **ret, struct err *err)
{
	struct gathering g = {0};
	int r = gather_images(f, NULL, &g, err);

	if (r == 0)
		*ret = json_pack("{s:O}", "images", g.images);
	json_decref(g.images);
	return r;
}

int fleet_show_image(struct fleet *f, const char *image, json_t **ret, struct err *err)
{
	struct gathering g = {.full = true};
	int r = gather_images(f, image, &g, err);

	if (r == 0 && json_array_size(g.images) == 0)
		r = err_set(err, API_NOT_FOUND, "There is no image '%.64s'.", image);
	if (r == 0)
		*ret = json_incref(json_array_get(g.images, 0));
	json_decref(g.images);
	return r;
}

/* ---- removal */

/* The lock is held. */
static int check_unused(struct fleet *f, const char *image, uint32_t version, struct err *err)
{
	for (struct job *j = f->jobs; j; j = j->next) {
		if (strcmp(j->row.image, image) != 0)
			continue;
		if (version == 0 || j->row.version == version) {
			return err_set(
				err, API_CONFLICT,
				"Job %s (%s) uses image '%s'; cancel it or wait for its end.",
				j->row.id, job_kind_name(j->row.kind), image);
		}
	}
	return 0;
}

struct removal {
	struct removal *next;
	char image[NAME_SIZE];
	uint32_t version;
	struct id manifest;
};

static int note_removing(void *arg, const struct version_row *v)
{
	struct removal **first = arg, *n;

	if (!v->removing)
		return 0;
	n = calloc(1, sizeof(*n));
	if (!n)
		return -ENOMEM;
	memcpy(n->image, v->image, sizeof(n->image));
	n->version = v->version;
	n->manifest = v->manifest;
	n->next = *first;
	*first = n;
	return 0;
}

/* Manifest first: without it the version cannot come back, with it the row still says what is to be done. */
static int remove_one(struct fleet *f, const struct removal *v, struct err *err)
{
	int r = store_remove_manifest(f->config.store, &v->manifest, err);

	if (r < 0 && r != -ENOENT)
		return r;
	r = state_remove_version(f->config.state, v->image, v->version, err);
	if (r == 0)
		fleet_event(f, "version_removed", "", "", "%s, version %u", v->image, v->version);
	return r;
}

int images_finish_removals(struct fleet *f, struct err *err)
{
	struct removal *first = NULL, *v;
	int r = state_each_version(f->config.state, NULL, note_removing, &first, err);

	if (r == -ENOMEM)
		(void)out_of_memory(err);
	while ((v = first)) {
		first = v->next;
		if (r == 0)
			r = remove_one(f, v, err);
		free(v);
	}
	return r;
}

int fleet_remove_image(struct fleet *f, const char *image, uint32_t version, struct err *err)
{
	int r;

	(void)pthread_mutex_lock(&f->commit_lock); /* one removal at a time, no commit in between */
	(void)pthread_mutex_lock(&f->lock);
	r = check_unused(f, image, version, err);
	if (r == 0)
		r = state_begin_removal(f->config.state, image, version, err);
	(void)pthread_mutex_unlock(&f->lock);
	if (r == 0) {
		r = images_finish_removals(f, err);
		if (r < 0)
			pending_soon(f);
	}
	(void)pthread_mutex_unlock(&f->commit_lock);
	return r;
}
