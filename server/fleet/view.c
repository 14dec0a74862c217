/* What operators are shown.  Inventories are what agents sent: only fields of the expected type are passed on. */
#include <string.h>

#include "common/json.h"
#include "common/text.h"
#include "server/fleet/private.h"

json_t *view_time(int64_t t)
{
	char text[TIME_TEXT_SIZE];

	if (t == 0)
		return json_null();
	time_to_text(t, text);
	return json_string(text);
}

/* null for "" */
static json_t *text_or_null(const char *text)
{
	return *text ? json_string(text) : json_null();
}

/* What an agent sent may hold anything but what JSON cannot: that was checked when it came in. */
static json_t *parse_or(const char *text, json_t *otherwise)
{
	json_t *j = text ? json_loads(text, 0, NULL) : NULL;

	if (!j)
		return otherwise;
	json_decref(otherwise);
	return j;
}

/* Set members one by one: a NULL value (out of memory) makes the whole view NULL. */
struct view {
	json_t *o;
	bool bad;
};

static void put(struct view *v, const char *key, json_t *take_value)
{
	if (json_object_set_new(v->o, key, take_value) < 0)
		v->bad = true;
}

static void put_u64(struct view *v, const char *key, uint64_t n)
{
	put(v, key, json_integer((json_int_t)n));
}

static json_t *view_done(struct view *v)
{
	if (!v->bad)
		return v->o;
	json_decref(v->o);
	return NULL;
}

/* How a job ended, in a word; what is done with something lost is not called done. */
static json_t *result_of(const struct job_row *row)
{
	if (row->state == JOB_WAITING || row->state == JOB_RUNNING)
		return json_null();
	return json_string(row->state == JOB_DONE && row->unreadable > 0
				   ? "done_with_unreadable"
				   : job_state_name(row->state));
}

static void put_identity(struct view *v, const struct job_row *row)
{
	put(v, "id", json_string(row->id));
	put(v, "kind", json_string(job_kind_name(row->kind)));
	put(v, "state", json_string(job_state_name(row->state)));
	put(v, "result", result_of(row));
	put(v, "machine", text_or_null(row->machine));
	put(v, "machine_name", text_or_null(row->machine_name));
	put(v, "image", text_or_null(row->image));
	put(v, "version", row->version ? json_integer(row->version) : json_null());
	put(v, "all_blocks", json_boolean(row->all_blocks));
	put(v, "created", view_time(row->created));
	put(v, "started", view_time(row->started));
	put(v, "ended", view_time(row->ended));
}

/* null unless something of the disks is put off or being saved, or is lost. */
static json_t *rescue_or_null(const struct job *j)
{
	if (j->read_errors == 0)
		return json_null();
	return json_pack("{s:o, s:I, s:I}", "pass", text_or_null(j->rescue_pass), "left",
			 (json_int_t)j->sick, "read_errors", (json_int_t)j->read_errors);
}

static void put_progress(struct view *v, const struct job_row *row, const struct job *live)
{
	bool running = live && row->state == JOB_RUNNING;
	uint64_t rate = running ? pace_rate(&live->pace, fleet_now_ms()) : 0;
	uint64_t left = row->total > row->done ? row->total - row->done : 0;
	int64_t eta = running && row->total > 0 ? pace_eta(left, rate) : -1;

	put(v, "phase", text_or_null(row->phase));
	put(v, "disk", running && live->disk >= 0 ? json_integer(live->disk) : json_null());
	put_u64(v, "done", row->done);
	put_u64(v, "total", row->total);
	put_u64(v, "data", row->data);
	put_u64(v, "sent", row->sent);
	put_u64(v, "skipped", row->skipped);
	put_u64(v, "rate", rate);
	put(v, "eta_s", eta >= 0 ? json_integer(eta) : json_null());
	put_u64(v, "unreadable", row->unreadable);
	put(v, "rescue", running ? rescue_or_null(live) : json_null());
	put(v, "bottleneck", running ? text_or_null(live->bottleneck) : json_null());
	put(v, "stalled", json_boolean(live && live->stalled));
}

static void put_message(struct view *v, const struct fleet *f, const struct job_row *row,
			const struct job *live)
{
	char clean[MESSAGE_SIZE];

	(void)text_clean(clean, sizeof(clean), row->message, strlen(row->message));
	if (!*row->message && live && live->machine && row->state == JOB_WAITING &&
	    machine_is_away(f, live->machine))
		put(v, "message", json_string("Waiting for the machine, which is away."));
	else
		put(v, "message", text_or_null(clean)); /* an error's may be cut anywhere */
}

json_t *view_job(const struct fleet *f, const struct job_row *row, const struct job *live)
{
	struct view v = {.o = json_object()};

	put_identity(&v, row);
	put_progress(&v, row, live);
	put(&v, "code", text_or_null(row->code));
	put_message(&v, f, row, live);
	put_u64(&v, "seq", row->seq);
	put(&v, "log", live ? json_copy(live->log) : parse_or(row->log, json_array()));
	put(&v, "report", parse_or(row->report, json_null()));
	return view_done(&v);
}

static json_t *object_or_null(const json_t *o, const char *key)
{
	json_t *v = json_object_get(o, key);

	return json_is_object(v) ? json_incref(v) : json_null();
}

/* ---- the list of machines: what one says of itself is not to be in the way of what is said of the others
 *
 * Who asks takes 8 MiB and JSON_VALUES_MAX values.  When all that they say is too much, each machine gets its share: one that has more disks than go into
 * it is shown with their sizes alone, and with as many as go into it then. */

#define DISKS_MAX      256u	   /* docs/inventory.md */
#define LIST_MAX       (15u << 19) /* bytes of the list */
#define LIST_SHARES    (3u << 20)  /* of which are disks, where they are shared out */
#define LIST_DISKS     (48u << 10) /* with up to eight values each */
#define DISK_COST      128u	   /* of its share at least, whole */
#define DISK_SIZE_COST 64u	   /* and with its size alone */
#define BRIEF_MAX      256u	   /* bytes of an object that is none of the disks */

static bool is_brief(const json_t *v)
{
	return v && !json_is_array(v) && !json_is_object(v) &&
	       (!json_is_string(v) || json_string_length(v) < TEXT_SIZE);
}

/* As it will be written: of one byte there may be six. */
static size_t text_size(const json_t *v)
{
	return json_dumpb(v, NULL, 0, JSON_COMPACT);
}

/* Of an object the members `keys`, of which the last is NULL. */
static json_t *brief_or_null(const json_t *from, const char *const *keys)
{
	json_t *o = json_is_object(from) ? json_object() : json_null();

	for (; json_is_object(o) && *keys; keys++) {
		json_t *v = json_object_get(from, *keys);

		if (is_brief(v) && json_object_set(o, *keys, v) < 0) {
			json_decref(o);
			return NULL;
		}
	}
	return o;
}

static json_t *short_or_null(const json_t *from, const char *const *keys)
{
	json_t *o = brief_or_null(from, keys);

	if (!o || text_size(o) <= BRIEF_MAX)
		return o;
	json_decref(o);
	return json_null();
}

static json_t *brief_disk(const json_t *disk, bool whole)
{
	static const char *const keys[] = {"id", "path", "size", "model", "serial", "empty", NULL};
	json_t *size = json_object_get(disk, "size");

	if (whole)
		return brief_or_null(disk, keys);
	return json_pack("{s:O*}", "size", json_is_integer(size) ? size : NULL);
}

static json_t *brief_disks(const json_t *disks, size_t max, bool whole)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < json_array_size(disks) && i < max; i++) {
		if (json_array_append_new(list, brief_disk(json_array_get(disks, i), whole)) < 0) {
			json_decref(list);
			list = NULL;
		}
	}
	return list;
}

static json_t *disks_in_share(const json_t *disks, size_t share)
{
	json_t *list = brief_disks(disks, DISKS_MAX, true);
	size_t len = share / DISK_SIZE_COST;

	if (!list || (text_size(list) <= share && json_array_size(list) <= share / DISK_COST))
		return list;
	json_decref(list);
	return brief_disks(disks, len < DISKS_MAX ? len : DISKS_MAX, false);
}

static void put_brief(struct view *v, const json_t *inventory, size_t share)
{
	static const char *const firmware[] = {"kind", "bits", "secure_boot", NULL};
	static const char *const hypervisor[] = {"kind", "guest", "version", NULL};

	put(v, "firmware", short_or_null(json_object_get(inventory, "firmware"), firmware));
	put(v, "hypervisor", short_or_null(json_object_get(inventory, "hypervisor"), hypervisor));
	put(v, "disks", disks_in_share(json_object_get(inventory, "disks"), share));
}

static void put_inventory(struct view *v, json_t *inventory)
{
	json_t *disks = json_object_get(inventory, "disks");

	put(v, "firmware", object_or_null(inventory, "firmware"));
	put(v, "hypervisor", object_or_null(inventory, "hypervisor"));
	put(v, "disks", json_is_array(disks) ? json_incref(disks) : json_array());
	put(v, "inventory", json_incref(inventory));
}

static const char *machine_state(const struct fleet *f, const struct machine *m)
{
	if (machine_is_away(f, m))
		return "away";
	return m->job && m->job->row.state == JOB_RUNNING ? "busy" : "idle";
}

static void put_machine(struct view *v, const struct fleet *f, const struct machine *m)
{
	json_t *memory = json_object_get(m->inventory, "memory");

	put(v, "id", json_string(m->row.id));
	put(v, "name", json_string(m->row.name));
	put(v, "state", json_string(machine_state(f, m)));
	put(v, "address", json_string(m->row.address));
	put(v, "first_seen", view_time(m->row.first_seen));
	put(v, "last_seen", view_time(m->row.last_seen));
	put(v, "agent_version", json_string(m->row.agent_version));
	put(v, "job", m->job ? json_string(m->job->row.id) : json_null());
	put(v, "memory", json_is_integer(memory) ? json_incref(memory) : json_null());
}

json_t *view_machine(const struct fleet *f, const struct machine *m)
{
	struct view v = {.o = json_object()};

	put_machine(&v, f, m);
	put_inventory(&v, m->inventory);
	return view_done(&v);
}

/* NULL: out of memory, or, with `ret_fits` false, more than a list may have (NULL: what is shared out is not). */
static json_t *list_machines(const struct fleet *f, size_t share, bool *ret_fits)
{
	json_t *list = json_array();
	size_t size = 0, disks = 0;
	bool fits = true;

	for (const struct machine *m = f->machines; list && m; m = m->next) {
		struct view v = {.o = json_object()};
		json_t *o;

		put_machine(&v, f, m);
		put_brief(&v, m->inventory, share);
		o = view_done(&v);
		size += text_size(o);
		disks += json_array_size(json_object_get(o, "disks"));
		fits = !ret_fits || (size <= LIST_MAX && disks <= LIST_DISKS);
		if (json_array_append_new(list, o) < 0 || !fits) {
			json_decref(list);
			list = NULL;
		}
	}
	if (ret_fits)
		*ret_fits = fits;
	return list;
}

json_t *view_machines(const struct fleet *f)
{
	bool fits;
	json_t *list = list_machines(f, LIST_MAX, &fits);
	size_t len = 0;

	if (list || fits)
		return list;
	for (const struct machine *m = f->machines; m; m = m->next)
		len++;
	return list_machines(f, LIST_SHARES / len, NULL);
}

/* Of a version's disks: what is zeros in the image since nobody could read it. */
static uint64_t unreadable_bytes(const json_t *disks)
{
	uint64_t sum = 0;
	const json_t *d;
	size_t i;

	json_array_foreach((json_t *)disks, i, d)
	{
		sum += (uint64_t)json_integer_value(json_object_get(d, "unreadable_bytes"));
	}
	return sum;
}

json_t *view_version(const struct version_row *v)
{
	struct view w = {.o = json_object()};
	json_t *disks = parse_or(v->disks, json_array());

	put_u64(&w, "version", v->version);
	put(&w, "created", view_time(v->created));
	put(&w, "machine", text_or_null(v->machine));
	put(&w, "machine_name", text_or_null(v->machine_name));
	put_u64(&w, "unreadable_bytes", unreadable_bytes(disks));
	put(&w, "disks", disks);
	put_u64(&w, "data_bytes", v->data_bytes);
	put(&w, "damaged", json_boolean(v->damaged));
	return view_done(&w);
}
