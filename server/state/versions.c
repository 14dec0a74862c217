#include <stdlib.h>

#include "common/cleanup.h"
#include "server/state/sqlite.h"

#define COLUMNS                                                                                   \
	"image, version, created, job, machine, machine_name, manifest, size, data_bytes, disks," \
	" damaged, removing"

void version_row_done(struct version_row *v)
{
	free(v->disks);
	*v = (struct version_row){0};
}

static int read_row(sqlite3_stmt *st, struct version_row *ret, struct err *err)
{
	struct version_row v = {0};

	column_text(st, 0, v.image, sizeof(v.image));
	v.version = (uint32_t)sqlite3_column_int64(st, 1);
	v.created = sqlite3_column_int64(st, 2);
	column_text(st, 3, v.job, sizeof(v.job));
	column_text(st, 4, v.machine, sizeof(v.machine));
	column_text(st, 5, v.machine_name, sizeof(v.machine_name));
	v.manifest = column_id(st, 6);
	v.size = (uint64_t)sqlite3_column_int64(st, 7);
	v.data_bytes = (uint64_t)sqlite3_column_int64(st, 8);
	v.damaged = sqlite3_column_int64(st, 10) != 0;
	v.removing = sqlite3_column_int64(st, 11) != 0;
	if (!column_heap(st, 9, &v.disks))
		return err_set(err, -ENOMEM, "read the versions: out of memory");
	*ret = v;
	return 0;
}

static int note_number(struct state *s, const char *image, uint32_t version, int64_t created,
		       struct err *err)
{
	return sql_run(s, err,
		       "INSERT INTO images(name, created, last_version) VALUES(?1, ?2, ?3)"
		       " ON CONFLICT(name) DO UPDATE SET"
		       " last_version=max(last_version, excluded.last_version),"
		       " created=min(created, excluded.created)",
		       "tii", image, created, (int64_t)version);
}

int state_reserve_version(struct state *s, const char *image, uint32_t version, int64_t created,
			  struct err *err)
{
	CLEANUP_STMT sqlite3_stmt *st = NULL;
	LOCK_STATE(s);
	int r = sql_prepare(s, &st, err, "SELECT 1 FROM images WHERE name=?1 AND last_version>=?2",
			    "ti", image, (int64_t)version);

	if (r == 0)
		r = sql_step(s, st, err);
	if (r != 0)
		return r < 0 ? r : 0;
	return note_number(s, image, version, created, err);
}

/* Within a transaction. */
int versions_insert(struct state *s, const struct version_row *v, struct err *err)
{
	int r = note_number(s, v->image, v->version, v->created, err);

	if (r < 0)
		return r;
	return sql_run(s, err, "INSERT INTO versions(" COLUMNS ") VALUES(?,?,?,?,?,?,?,?,?,?,?,?)",
		       "tiitttbiitii", v->image, (int64_t)v->version, v->created, v->job,
		       v->machine, v->machine_name, &v->manifest, (int64_t)v->size,
		       (int64_t)v->data_bytes, v->disks, (int64_t)v->damaged, (int64_t)v->removing);
}

int state_add_version(struct state *s, const struct version_row *v, struct err *err)
{
	LOCK_STATE(s);
	int r = sql_begin(s, err);

	if (r < 0)
		return r;
	return sql_end(s, versions_insert(s, v, err), err);
}

int state_get_version(struct state *s, const char *image, uint32_t version, struct version_row *ret,
		      struct err *err)
{
	CLEANUP_STMT sqlite3_stmt *st = NULL;
	LOCK_STATE(s);
	int r = sql_prepare(s, &st, err,
			    "SELECT " COLUMNS " FROM versions WHERE image=?1 AND NOT removing AND"
			    " (?2=0 OR version=?2) ORDER BY version DESC LIMIT 1",
			    "ti", image, (int64_t)version);

	if (r == 0)
		r = sql_step(s, st, err);
	if (r < 0)
		return r;
	if (r == 0 && version)
		return err_set(err, -ENOENT, "There is no version %u of an image '%s'.", version,
			       image);
	if (r == 0)
		return err_set(err, -ENOENT, "There is no image '%s'.", image);
	return read_row(st, ret, err);
}

int state_next_version(struct state *s, const char *image, uint32_t *ret, struct err *err)
{
	CLEANUP_STMT sqlite3_stmt *st = NULL;
	LOCK_STATE(s);
	int r = sql_prepare(
		s, &st, err,
		"SELECT 1 + max(ifnull((SELECT last_version FROM images WHERE name=?1), 0),"
		" ifnull((SELECT max(version) FROM jobs WHERE image=?1 AND"
		" manifest IS NOT NULL), 0))",
		"t", image);

	if (r == 0)
		r = sql_step(s, st, err);
	if (r < 0)
		return r;
	if (sqlite3_column_int64(st, 0) > UINT32_MAX) {
		return err_set(
			err, -EOVERFLOW,
			"Image '%s' has had the highest number that a version can have; capture into another image.",
			image);
	}
	*ret = (uint32_t)sqlite3_column_int64(st, 0);
	return 0;
}

int state_set_damaged(struct state *s, const char *image, uint32_t version, bool damaged,
		      struct err *err)
{
	LOCK_STATE(s);

	return sql_run(s, err, "UPDATE versions SET damaged=? WHERE image=? AND version=?", "iti",
		       (int64_t)damaged, image, (int64_t)version);
}

int state_set_disks(struct state *s, const char *image, uint32_t version, const char *disks,
		    struct err *err)
{
	LOCK_STATE(s);

	return sql_run(s, err, "UPDATE versions SET disks=? WHERE image=? AND version=?", "tti",
		       disks, image, (int64_t)version);
}

int state_begin_removal(struct state *s, const char *image, uint32_t version, struct err *err)
{
	LOCK_STATE(s);
	int r = sql_run(s, err,
			"UPDATE versions SET removing=1 WHERE image=?1 AND (?2=0 OR version=?2)",
			"ti", image, (int64_t)version);

	if (r == 0 && sqlite3_changes(s->db) == 0)
		return err_set(err, -ENOENT, "There is no such version of an image '%s'.", image);
	return r;
}

int state_remove_version(struct state *s, const char *image, uint32_t version, struct err *err)
{
	LOCK_STATE(s);

	return sql_run(s, err, "DELETE FROM versions WHERE image=? AND version=? AND removing",
		       "ti", image, (int64_t)version);
}

int state_each_version(struct state *s, const char *image, state_version_fn fn, void *arg,
		       struct err *err)
{
	CLEANUP_STMT sqlite3_stmt *st = NULL;
	LOCK_STATE(s);
	int r = sql_prepare(s, &st, err,
			    "SELECT " COLUMNS " FROM versions WHERE ?1 IS NULL OR image=?1"
			    " ORDER BY image, version",
			    "t", image);

	if (r < 0)
		return r;
	while ((r = sql_step(s, st, err)) > 0) {
		struct version_row v;

		r = read_row(st, &v, err);
		if (r < 0)
			return r;
		r = fn(arg, &v);
		version_row_done(&v);
		if (r < 0)
			return r;
	}
	return r;
}
