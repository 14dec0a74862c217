/* put.c - a pack comes in.
 *
 * Everything is hashed before anything counts.  Then: find which of its objects are not there yet; write the file; and, with the folder locked
 * against others that handle the same pack, rename it and enter it.  Between the finding and the entering something may
 * have been lost that was found; the store's epoch tells, and it is done over. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "server/store/collector.h"
#include "server/store/internal.h"
#include "server/store/workers.h"

#define ATTEMPTS 16

struct incoming {
	struct id id;
	const void *data;
	size_t size;
	bool is_lenient; /* leave out nodes that lack chunks, instead of refusing the pack */
	bool is_found; /* it is listed even if all its objects are elsewhere: else gc would not know of its file */
	bool is_instead;    /* its objects are entered although they are there */
	bool has_file;	    /* the file is at its final place */
	bool is_unreadable; /* some of its objects are in packs that cannot be read */
	int fd;		    /* of the file, -1: none yet */
	char path[FILES_PATH_SIZE], tmp[FILES_PATH_SIZE];
	struct pack pack;
	const uint8_t *plain; /* the scratch's */
	struct id *ids;	      /* pack.count of each of these */
	struct place *places; /* in this pack */
	struct place *found;  /* in the store */
	bool *left_out;
	uint64_t epoch; /* when `found` was looked up */
};

static void incoming_done(struct incoming *in)
{
	pack_done(&in->pack);
	free(in->ids);
	free(in->places);
	free(in->found);
	free(in->left_out);
	if (in->fd >= 0)
		(void)close(in->fd); /* nothing that counts was written through it */
}

/* Malformed or wrong: to whoever sent it, that is one. */
static int bad_message(int code, struct err *err)
{
	err->code = code == -EPROTO ? -EBADMSG : code;
	return err->code;
}

static int incoming_init(struct incoming *in, const struct id *id, const void *data, size_t size,
			 struct err *err)
{
	struct id got;
	uint32_t count;
	int r;

	*in = (struct incoming){.id = *id, .data = data, .size = size, .fd = -1};
	files_path_pack(in->path, id);
	if (size > PACK_SIZE_MAX)
		return err_set(err, -EBADMSG, "a pack of %zu bytes is too large", size);
	got = id_of(data, size);
	if (!id_equal(&got, id)) {
		char text[ID_TEXT_SIZE];

		id_to_text(&got, text);
		return err_set(err, -EBADMSG, "a pack of another name: its bytes hash to %s", text);
	}
	r = pack_decode(data, size, &in->pack, err);
	if (r < 0)
		return bad_message(r, err);
	count = in->pack.count;
	in->ids = calloc(count, sizeof(*in->ids));
	in->places = calloc(count, sizeof(*in->places));
	in->found = calloc(count, sizeof(*in->found));
	in->left_out = calloc(count, sizeof(*in->left_out));
	if (!in->ids || !in->places || !in->found || !in->left_out)
		return err_set(err, -ENOMEM, "take in a pack: out of memory");
	for (uint32_t i = 0; i < count; i++) {
		in->ids[i] = in->pack.entries[i].id;
		in->places[i].slot = i;
		in->places[i].length = in->pack.entries[i].length;
	}
	return 0;
}

static bool is_all_there(const struct incoming *in)
{
	for (uint32_t i = 0; i < in->pack.count; i++)
		if (in->found[i].pack == 0 && !in->left_out[i])
			return false;
	return true;
}

static int find_objects(struct store *s, struct incoming *in, struct err *err)
{
	if (in->is_instead)
		return 0; /* `found` stays empty */
	if (in->pack.kind == PACK_NODES)
		return objects_find_nodes(s, in->ids, in->pack.count, in->found, err);
	return objects_find(s, PACK_CHUNKS, in->ids, in->pack.count, in->found, err);
}

/* Was this very pack taken in before, and is all of it still there?  Then it need not be looked into. */
static int is_known(struct store *s, struct incoming *in, bool *ret, struct err *err)
{
	struct pack_row row;
	int r = objects_pack_by_id(s, &in->id, &row, err);

	*ret = false;
	if (r < 0 || row.num == 0)
		return r;
	r = find_objects(s, in, err);
	*ret = r == 0 && is_all_there(in);
	return r;
}

/* Decompress, hash each object. */
static int open_body(struct incoming *in, struct scratch *c, struct err *err)
{
	uint8_t *plain = scratch_plain(c, in->pack.plain_size);
	int r;

	if (!plain)
		return err_set(err, -ENOMEM, "take in a pack: out of memory");
	r = pack_decompress(&in->pack, c->codec, plain, err);
	if (r == 0)
		r = pack_verify(&in->pack, plain, err);
	in->plain = plain;
	return r;
}

static void note_loss(struct store *s)
{
	(void)pthread_mutex_lock(&s->lock);
	objects_note_loss(s);
	(void)pthread_mutex_unlock(&s->lock);
}

/* Nodes: well-formed, and each chunk there. */
static int check_nodes(struct store *s, struct incoming *in, struct err *err)
{
	CLEANUP_FREE struct node *n = malloc(sizeof(*n));
	bool is_any = false;

	if (!n)
		return err_set(err, -ENOMEM, "take in a pack: out of memory");
	for (uint32_t i = 0; i < in->pack.count; i++) {
		const struct pack_entry *e = &in->pack.entries[i];
		int r = node_decode(in->plain + e->offset, e->length, n, err);

		if (r < 0)
			return bad_message(r, err);
		in->places[i].window = n->length;
		in->places[i].data = (uint32_t)node_data_bytes(n);
		r = objects_check_node(s, n, err);
		if (r == -ENODATA && in->is_lenient && s->is_making_index) {
			/* An image's, whose chunk is lost or not yet back: it is looked into before it counts. */
			note_loss(s);
			r = 0;
		}
		in->left_out[i] = r == -ENODATA && in->is_lenient;
		if (r < 0 && !in->left_out[i])
			return r;
		is_any = is_any || !in->left_out[i];
	}
	return is_any ? 0 : err_set(err, -ENODATA, "no node of '%s' has its chunks", in->path);
}

static int write_file(struct store *s, struct incoming *in, struct err *err)
{
	struct err ignored;
	int r;

	if (in->has_file || in->fd >= 0)
		return 0;
	r = files_check_room(&s->files, in->size, err);
	if (r == 0)
		r = files_create_tmp(&s->files, in->tmp, &in->fd, err);
	if (r < 0)
		return r;
	r = files_write(&s->files, in->fd, in->tmp, in->data, in->size, err);
	if (r < 0) {
		(void)!files_remove(&s->files, in->tmp, &ignored); /* else the next start does */
		(void)close(in->fd);
		in->fd = -1;
	}
	return r;
}

/* Enter the objects that were not found.  With s->lock held, and room in the generation. */
static void enter_objects(struct store *s, const struct incoming *in, uint32_t num)
{
	for (uint32_t i = 0; i < in->pack.count; i++) {
		struct fresh_object o = {
			.id = in->ids[i], .place = in->places[i], .kind = in->pack.kind};

		if (in->found[i].pack != 0 || in->left_out[i])
			continue;
		o.place.pack = num;
		generation_add(&s->current, s->seed, &o);
		if (s->collector)
			collector_enter(s->collector, &o.place);
	}
}

/* A new pack.  With s->lock held, and room in the generation. */
static int enter_pack(struct store *s, struct incoming *in, uint32_t *ret_num, struct err *err)
{
	struct fresh_pack p = {.fd = in->fd};
	int r = objects_set_alive(s, s->next_pack, err);

	if (r < 0)
		return r;
	p.row = (struct pack_row){
		.id = in->id,
		.num = s->next_pack++,
		.kind = in->pack.kind,
		.count = in->pack.count,
		.size = (uint32_t)in->size,
		.plain = in->pack.plain_size,
	};
	s->current.packs[s->current.packs_len++] = p;
	in->fd = -1;
	s->stat.packs++;
	s->stat.objects += p.row.count;
	s->stat.bytes += p.row.size;
	*ret_num = p.row.num;
	return 0;
}

/* Would a start after a kill not know of these objects?  It looks into packs that are not in the index, not for more in those that are: there their rows
 * had been swept, or lost, while the row of the pack stayed.  And it finds them where they cannot be read.  Both are rare. */
static bool is_late(const struct store *s, const struct incoming *in, uint32_t listed)
{
	return in->is_unreadable || (listed != 0 && !generation_pack(&s->current, listed));
}

/* `listed`: the pack's number if it is in the index already, else 0; `num`: the same while it is alive. */
static int enter(struct store *s, struct incoming *in, uint32_t num, uint32_t listed,
		 struct err *err)
{
	int r = 0;

	(void)pthread_mutex_lock(&s->lock);
	if (s->epoch != in->epoch || (num != 0 && !objects_pack_is_alive(s, num)))
		r = -EAGAIN;
	if (r == 0)
		r = generation_reserve(&s->current, in->pack.count, s->seed, err);
	if (r == 0 && num == 0)
		r = enter_pack(s, in, &num, err);
	if (r == 0) {
		if (is_late(s, in, listed))
			s->current.has_late = true;
		enter_objects(s, in, num);
		checkpoint_notice(s);
	}
	(void)pthread_mutex_unlock(&s->lock);
	return r;
}

/* It was renamed into place, and the folder was unlocked since: gc, or who sent the same, may have removed it, or have put its own there. */
static bool is_in_place(struct store *s, const struct incoming *in)
{
	return files_is_at(&s->files, in->fd, in->path);
}

static void give_up_file(struct incoming *in)
{
	(void)close(in->fd); /* nothing that counts was written through it */
	in->fd = -1;
	in->has_file = false;
}

/* While the index has a row of the pack, a start takes it for durable and does not look into it.  So it has to be, before it has that name: where the pack
 * could not be read, was damaged, or is being removed by gc. */
static int rename_file(struct store *s, struct incoming *in, uint32_t listed, struct err *err)
{
	int r = listed != 0 ? files_sync(&s->files, in->fd, in->tmp, err) : 0;

	if (r == 0)
		r = files_rename(&s->files, in->tmp, in->path, err);
	in->has_file = r == 0;
	return r;
}

/* With the folder locked. */
static int place_file(struct store *s, struct incoming *in, struct err *err)
{
	struct pack_row row;
	bool is_alive;
	int r = objects_pack_kept(s, 0, &in->id, &row, err);

	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&s->lock);
	is_alive = objects_pack_is_alive(s, row.num);
	(void)pthread_mutex_unlock(&s->lock);
	if (is_alive)
		return enter(s, in, row.num, row.num, err);
	if (in->has_file && !is_in_place(s, in)) {
		give_up_file(in);
		return -EAGAIN;
	}
	if (!in->has_file)
		r = rename_file(s, in, row.num, err);
	return r < 0 ? r : enter(s, in, 0, row.num, err);
}

static int take_in(struct store *s, struct incoming *in, struct err *err)
{
	pthread_mutex_t *folder_lock = &s->folder_locks[in->id.b[0]];

	for (int i = 0; i < ATTEMPTS; i++) {
		int r = 0;

		in->epoch = objects_epoch(s);
		if (in->pack.kind == PACK_NODES)
			r = check_nodes(s, in, err);
		if (r == 0)
			r = find_objects(s, in, err);
		if (r == 0 && is_all_there(in) && !in->is_found)
			return 0;
		if (r == 0)
			r = unreadable_has_object(s, in->pack.kind, in->ids, in->found,
						  in->pack.count, &in->is_unreadable, err);
		if (r == 0)
			r = write_file(s, in, err);
		if (r < 0)
			return r;
		(void)pthread_mutex_lock(folder_lock);
		r = place_file(s, in, err);
		(void)pthread_mutex_unlock(folder_lock);
		if (r != -EAGAIN)
			return r;
	}
	return err_set(err, -EBUSY, "take in '%s': the store is losing packs at the moment",
		       in->path);
}

int pack_remove_unlisted(struct store *s, const struct id *id, struct err *err)
{
	pthread_mutex_t *folder_lock = &s->folder_locks[id->b[0]];
	char path[FILES_PATH_SIZE];
	struct pack_row row;
	bool is_kept = false;
	int r;

	files_path_pack(path, id);
	(void)pthread_mutex_lock(folder_lock);
	r = objects_pack_by_id(s, id, &row, err);
	if (r == 0 && row.num == 0)
		r = unreadable_has(s, id, &is_kept, err);
	if (r == 0 && row.num == 0 && !is_kept)
		r = files_remove(&s->files, path, err);
	(void)pthread_mutex_unlock(folder_lock);
	return r;
}

/* What is left of files when the pack was not entered, or was there already. */
static void tidy(struct store *s, struct incoming *in)
{
	struct err ignored;

	if (in->fd < 0)
		return;
	/* Failing that, the next start empties tmp/ and takes in or drops the pack. */
	if (in->has_file)
		(void)!pack_remove_unlisted(s, &in->id, &ignored);
	else
		(void)!files_remove(&s->files, in->tmp, &ignored);
}

static int put(struct store *s, struct incoming *in, struct err *err)
{
	struct scratch *c = scratch_get(s);
	int r = c ? open_body(in, c, err) : err_set(err, -ENOMEM, "out of memory");

	if (r == 0)
		r = take_in(s, in, err);
	scratch_put(s, c);
	return r;
}

struct put_task {
	struct store *s;
	struct incoming *in;
};

static int put_in_worker(void *arg, struct err *err)
{
	const struct put_task *t = arg;

	return put(t->s, t->in, err);
}

int store_put_pack(struct store *s, const struct id *expected, const void *data, size_t size,
		   struct err *err)
{
	CLEANUP(incoming_done) struct incoming in;
	struct put_task task = {s, &in};
	bool known = false;
	int r = incoming_init(&in, expected, data, size, err);

	if (r == 0)
		r = checkpoint_make_room(s, err);
	if (r == 0)
		r = is_known(s, &in, &known, err);
	if (r == 0 && !known) {
		r = workers_run(s->workers, put_in_worker, &task, err);
		tidy(s, &in);
	}
	if (r == 0)
		r = checkpoint_late(s, err);
	return r;
}

int put_instead(struct store *s, const struct id *id, const void *data, size_t size,
		struct err *err)
{
	CLEANUP(incoming_done) struct incoming in;
	int r = incoming_init(&in, id, data, size, err);

	if (r == 0)
		r = checkpoint_make_room(s, err);
	if (r < 0)
		return r;
	in.is_instead = true;
	r = put(s, &in, err);
	tidy(s, &in);
	return r;
}

int put_existing(struct store *s, const struct id *id, const void *data, size_t size,
		 struct err *err)
{
	CLEANUP(incoming_done) struct incoming in;
	uint64_t ignored;
	int r = incoming_init(&in, id, data, size, err);

	if (r == 0)
		r = checkpoint_make_room(s, err);
	if (r == 0)
		r = files_open(&s->files, in.path, &in.fd, &ignored, err);
	if (r < 0)
		return r;
	in.has_file = true;
	in.is_lenient = true;
	in.is_found = true;
	return put(s, &in, err);
}
