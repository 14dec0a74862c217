/* db.c - objects.db.
 *
 * Both object tables are WITHOUT ROWID: the id is the key of the B-tree itself.
 * Rows of packs that are gone may stay behind in the object tables: they count for nothing, as their pack is not in `packs`, and
 * are swept away by store_gc.
 */
#include "server/store/db.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "common/bytes.h"
#include "common/cleanup.h"

#define DB_VERSION 3	   /* 1 had no sums, 2 none of packs */
#define WAL_PAGES  "16384" /* 64 MiB before it is written back */

static const char setup_sql[] = "PRAGMA journal_mode=WAL;"
				"PRAGMA journal_size_limit=134217728;"
				"PRAGMA synchronous=FULL;"
				"PRAGMA wal_autocheckpoint=" WAL_PAGES ";"
				"PRAGMA cache_size=-32768;";
static const char schema_sql[] =
	"BEGIN IMMEDIATE;"
	"CREATE TABLE IF NOT EXISTS meta(key INTEGER PRIMARY KEY, value INTEGER NOT NULL);"
	"CREATE TABLE IF NOT EXISTS packs(num INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE,"
	" kind INTEGER NOT NULL, count INTEGER NOT NULL, size INTEGER NOT NULL,"
	" plain INTEGER NOT NULL, sum INTEGER NOT NULL);"
	"CREATE TABLE IF NOT EXISTS chunks(id BLOB PRIMARY KEY, pack INTEGER NOT NULL,"
	" slot INTEGER NOT NULL, length INTEGER NOT NULL, sum INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS nodes(id BLOB PRIMARY KEY, pack INTEGER NOT NULL,"
	" slot INTEGER NOT NULL, length INTEGER NOT NULL, window INTEGER NOT NULL,"
	" data INTEGER NOT NULL, sum INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS recent(seq INTEGER PRIMARY KEY, objects BLOB NOT NULL);"
	"PRAGMA user_version=3;"
	"COMMIT;";

int db_error(sqlite3 *db, int rc, const char *what, struct err *err)
{
	const char *why = db ? sqlite3_errmsg(db) : sqlite3_errstr(rc);
	int code = -EIO;

	switch (rc & 0xff) {
	case SQLITE_FULL:
		code = -ENOSPC;
		break;
	case SQLITE_NOMEM:
		code = -ENOMEM;
		break;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return err_set(err, -EUCLEAN,
			       "the object index is damaged (%s: %s); start with --rebuild-index",
			       what, why);
	default:
		if (db &&
		    (sqlite3_system_errno(db) == ENOSPC || sqlite3_system_errno(db) == EDQUOT))
			code = -ENOSPC;
	}
	return err_set(err, code, "object index: %s: %s", what, why);
}

int db_run(sqlite3 *db, const char *sql, const char *what, struct err *err)
{
	int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : db_error(db, rc, what, err);
}

int db_connect(const char *path, sqlite3 **ret, struct err *err)
{
	sqlite3 *db = NULL;
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
		    SQLITE_OPEN_PRIVATECACHE;
	int rc = sqlite3_open_v2(path, &db, flags, NULL);
	int r = 0;

	if (rc != SQLITE_OK) {
		r = db_error(db, rc, path, err);
		(void)sqlite3_close(db);
		return r;
	}
	(void)sqlite3_busy_timeout(db, 60000);
	*ret = db;
	return 0;
}

int db_prepare(sqlite3 *db, const struct db_statement *list, size_t len, struct err *err)
{
	for (size_t i = 0; i < len; i++) {
		int rc = sqlite3_prepare_v3(db, list[i].sql, -1, SQLITE_PREPARE_PERSISTENT,
					    list[i].stmt, NULL);

		if (rc != SQLITE_OK)
			return db_error(db, rc, "prepare", err);
	}
	return 0;
}

static int prepare_writer(struct db *db, struct err *err)
{
	const struct db_statement list[] = {
		{&db->begin, "BEGIN IMMEDIATE"},
		{&db->commit, "COMMIT"},
		{&db->rollback, "ROLLBACK"},
		{&db->add_pack, "INSERT OR REPLACE INTO packs VALUES(?,?,?,?,?,?,?)"},
		{&db->add_chunk, "INSERT OR REPLACE INTO chunks VALUES(?,?,?,?,?)"},
		{&db->add_node, "INSERT OR REPLACE INTO nodes VALUES(?,?,?,?,?,?,?)"},
		{&db->drop_pack, "DELETE FROM packs WHERE num=?"},
		{&db->drop_chunk, "DELETE FROM chunks WHERE id=? AND pack=?"},
		{&db->drop_node, "DELETE FROM nodes WHERE id=? AND pack=?"},
		{&db->add_recent, "INSERT INTO recent(objects) VALUES(?)"},
		{&db->clear_recent, "DELETE FROM recent"},
		{&db->set_meta, "INSERT OR REPLACE INTO meta VALUES(?,?)"},
	};

	return db_prepare(db->writer, list, sizeof(list) / sizeof(list[0]), err);
}

void db_disconnect(sqlite3 *db)
{
	sqlite3_stmt *s;

	while (db && (s = sqlite3_next_stmt(db, NULL)))
		(void)sqlite3_finalize(s);
	(void)sqlite3_close(db);
}

static int get_version(sqlite3 *db, int *ret, struct err *err)
{
	sqlite3_stmt *s = NULL;
	int rc = sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &s, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(s);
	if (rc == SQLITE_ROW)
		*ret = sqlite3_column_int(s, 0);
	(void)sqlite3_finalize(s);
	return rc == SQLITE_ROW ? 0 : db_error(db, rc, "read its version", err);
}

static int open_writer(struct db *db, struct err *err)
{
	int version = 0;
	int r = db_connect(db->path, &db->writer, err);

	if (r == 0)
		r = get_version(db->writer, &version, err);
	if (r == 0 && version > DB_VERSION) {
		r = err_set(
			err, -EPROTO,
			"'%s' was made by a later version of Hoist (its version is %d, ours %d)",
			db->path, version, DB_VERSION);
	}
	if (r == 0 && version > 0 && version < DB_VERSION) {
		r = err_set(err, -EUCLEAN,
			    "'%s' was made by an earlier version of Hoist; start with "
			    "--rebuild-index",
			    db->path);
	}
	if (r == 0)
		r = db_run(db->writer, setup_sql, "set up", err);
	if (r == 0)
		r = db_run(db->writer, schema_sql, "make tables", err);
	if (r == 0)
		r = prepare_writer(db, err);
	return r;
}

int db_open(struct db *db, const char *path, struct err *err)
{
	int r;

	*db = (struct db){0};
	(void)pthread_mutex_init(&db->lock, NULL);
	(void)pthread_cond_init(&db->free, NULL);
	db->path = strdup(path);
	r = db->path ? open_writer(db, err) : err_set(err, -ENOMEM, "out of memory");
	if (r < 0)
		db_done(db);
	return r;
}

void db_done(struct db *db)
{
	if (!db->path && !db->writer)
		return;
	for (size_t i = 0; i < DB_READERS; i++)
		db_disconnect(db->readers[i].db);
	db_disconnect(db->writer);
	free(db->path);
	(void)pthread_mutex_destroy(&db->lock);
	(void)pthread_cond_destroy(&db->free);
	*db = (struct db){0};
}

int db_remove(const char *path, struct err *err)
{
	/* The file first: without its log it would be that of some time ago, and say that it was closed in order.  A log without its file counts for nothing. */
	static const char *const tails[] = {"", "-wal", "-shm", "-journal"};

	for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
		char name[4096];

		if (snprintf(name, sizeof(name), "%s%s", path, tails[i]) >= (int)sizeof(name))
			return err_set(err, -ENAMETOOLONG, "'%s' is too long a name", path);
		if (unlink(name) < 0 && errno != ENOENT) {
			int code = -errno;

			return err_set(err, code, "remove '%s': %s", name, strerrordesc_np(-code));
		}
	}
	return 0;
}

/* ---- writing */

static void bind_id(sqlite3_stmt *s, int n, const struct id *id)
{
	(void)sqlite3_bind_blob(s, n, id->b, ID_SIZE, SQLITE_STATIC);
}

uint16_t db_place_sum(enum pack_kind kind, const struct id *id, const struct place *p)
{
	uint8_t buf[1 + ID_SIZE + 5 * 4];
	struct writer w;

	writer_init(&w, buf, sizeof(buf));
	writer_u8(&w, (uint8_t)kind);
	writer_bytes(&w, id->b, ID_SIZE);
	writer_u32(&w, p->pack);
	writer_u32(&w, p->slot);
	writer_u32(&w, p->length);
	writer_u32(&w, p->window);
	writer_u32(&w, p->data);
	return (uint16_t)XXH3_64bits(buf, w.size);
}

uint32_t db_pack_sum(const struct pack_row *p)
{
	uint8_t buf[ID_SIZE + 5 * 4];
	struct writer w;

	writer_init(&w, buf, sizeof(buf));
	writer_bytes(&w, p->id.b, ID_SIZE);
	writer_u32(&w, p->num);
	writer_u32(&w, p->kind);
	writer_u32(&w, p->count);
	writer_u32(&w, p->size);
	writer_u32(&w, p->plain);
	return (uint32_t)XXH3_64bits(buf, w.size);
}

static int step_write(struct db *db, sqlite3_stmt *s, const char *what, struct err *err)
{
	int rc = sqlite3_step(s);

	(void)sqlite3_reset(s);
	return rc == SQLITE_DONE ? 0 : db_error(db->writer, rc, what, err);
}

int db_begin(struct db *db, struct err *err)
{
	return step_write(db, db->begin, "begin", err);
}

int db_commit(struct db *db, struct err *err)
{
	return step_write(db, db->commit, "commit", err);
}

void db_rollback(struct db *db)
{
	if (!sqlite3_get_autocommit(db->writer)) {
		(void)sqlite3_step(db->rollback);
		(void)sqlite3_reset(db->rollback);
	}
}

int db_add_pack(struct db *db, const struct pack_row *p, struct err *err)
{
	sqlite3_stmt *s = db->add_pack;

	(void)sqlite3_bind_int64(s, 1, p->num);
	bind_id(s, 2, &p->id);
	(void)sqlite3_bind_int64(s, 3, p->kind);
	(void)sqlite3_bind_int64(s, 4, p->count);
	(void)sqlite3_bind_int64(s, 5, p->size);
	(void)sqlite3_bind_int64(s, 6, p->plain);
	(void)sqlite3_bind_int64(s, 7, db_pack_sum(p));
	return step_write(db, s, "add a pack", err);
}

int db_add_object(struct db *db, enum pack_kind kind, const struct id *id, const struct place *p,
		  struct err *err)
{
	sqlite3_stmt *s = kind == PACK_NODES ? db->add_node : db->add_chunk;

	bind_id(s, 1, id);
	(void)sqlite3_bind_int64(s, 2, p->pack);
	(void)sqlite3_bind_int64(s, 3, p->slot);
	(void)sqlite3_bind_int64(s, 4, p->length);
	if (kind == PACK_NODES) {
		(void)sqlite3_bind_int64(s, 5, p->window);
		(void)sqlite3_bind_int64(s, 6, p->data);
	}
	(void)sqlite3_bind_int64(s, kind == PACK_NODES ? 7 : 5, db_place_sum(kind, id, p));
	return step_write(db, s, "add an object", err);
}

int db_drop_pack(struct db *db, uint32_t num, struct err *err)
{
	(void)sqlite3_bind_int64(db->drop_pack, 1, num);
	return step_write(db, db->drop_pack, "drop a pack", err);
}

int db_drop_object(struct db *db, enum pack_kind kind, const struct id *id, uint32_t pack,
		   struct err *err)
{
	sqlite3_stmt *s = kind == PACK_NODES ? db->drop_node : db->drop_chunk;

	bind_id(s, 1, id);
	(void)sqlite3_bind_int64(s, 2, pack);
	return step_write(db, s, "drop an object", err);
}

int db_add_recent(struct db *db, const void *data, size_t size, struct err *err)
{
	(void)sqlite3_bind_blob64(db->add_recent, 1, data, size, SQLITE_STATIC);
	return step_write(db, db->add_recent, "add objects", err);
}

int db_clear_recent(struct db *db, struct err *err)
{
	return step_write(db, db->clear_recent, "clear the recent objects", err);
}

int db_each_recent(struct db *db, db_recent_fn fn, void *arg, struct err *err)
{
	sqlite3_stmt *s = NULL;
	int r = 0, rc = sqlite3_prepare_v2(db->writer, "SELECT objects FROM recent ORDER BY seq",
					   -1, &s, NULL);

	if (rc == SQLITE_OK) {
		while (r == 0 && (rc = sqlite3_step(s)) == SQLITE_ROW)
			r = fn(arg, sqlite3_column_blob(s, 0), (size_t)sqlite3_column_bytes(s, 0),
			       err);
	}
	if (r == 0 && rc != SQLITE_DONE)
		r = db_error(db->writer, rc, "read the recent objects", err);
	(void)sqlite3_finalize(s);
	return r;
}

int db_set_meta(struct db *db, enum db_meta key, uint64_t value, struct err *err)
{
	(void)sqlite3_bind_int64(db->set_meta, 1, key);
	(void)sqlite3_bind_int64(db->set_meta, 2, (sqlite3_int64)value);
	return step_write(db, db->set_meta, "set meta", err);
}

int db_get_meta(struct db *db, enum db_meta key, uint64_t *ret, struct err *err)
{
	sqlite3_stmt *s = NULL;
	int rc = sqlite3_prepare_v2(db->writer, "SELECT value FROM meta WHERE key=?", -1, &s, NULL);

	if (rc == SQLITE_OK) {
		(void)sqlite3_bind_int64(s, 1, key);
		rc = sqlite3_step(s);
	}
	if (rc == SQLITE_ROW)
		*ret = (uint64_t)sqlite3_column_int64(s, 0);
	else if (rc == SQLITE_DONE)
		*ret = 0;
	(void)sqlite3_finalize(s);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0
						     : db_error(db->writer, rc, "read meta", err);
}
