/* db.c - objects.db.
 *
 * Both object tables are WITHOUT ROWID: the id is the key of the B-tree itself.  Ids are evenly spread, so each new
 * object of a large store touches a page of its own; that is why objects come in batches, sorted, and go to the
 * database file from a large WAL (docs/adr/0001-object-index.md has the numbers).
 * Rows of packs that are gone may stay behind in the object tables: they count for nothing, as their pack is not in `packs`, and
 * are swept away by store_gc.
 */
#include "server/store/db.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"

#define DB_VERSION 1
#define WAL_PAGES  "16384" /* 64 MiB before it is written back */

static const char setup_sql[] = "PRAGMA journal_mode=WAL;"
				"PRAGMA synchronous=FULL;"
				"PRAGMA wal_autocheckpoint=" WAL_PAGES ";"
				"PRAGMA cache_size=-32768;";
static const char schema_sql[] =
	"BEGIN IMMEDIATE;"
	"CREATE TABLE IF NOT EXISTS meta(key INTEGER PRIMARY KEY, value INTEGER NOT NULL);"
	"CREATE TABLE IF NOT EXISTS packs(num INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE,"
	" kind INTEGER NOT NULL, count INTEGER NOT NULL, size INTEGER NOT NULL,"
	" plain INTEGER NOT NULL);"
	"CREATE TABLE IF NOT EXISTS chunks(id BLOB PRIMARY KEY, pack INTEGER NOT NULL,"
	" slot INTEGER NOT NULL, length INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS nodes(id BLOB PRIMARY KEY, pack INTEGER NOT NULL,"
	" slot INTEGER NOT NULL, length INTEGER NOT NULL, window INTEGER NOT NULL,"
	" data INTEGER NOT NULL) WITHOUT ROWID;"
	"PRAGMA user_version=1;"
	"COMMIT;";

static int db_error(sqlite3 *db, int rc, const char *what, struct err *err)
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
		if (db && sqlite3_system_errno(db) == ENOSPC)
			code = -ENOSPC;
	}
	return err_set(err, code, "object index: %s: %s", what, why);
}

static int run(sqlite3 *db, const char *sql, const char *what, struct err *err)
{
	int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : db_error(db, rc, what, err);
}

static int open_connection(const char *path, sqlite3 **ret, struct err *err)
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

struct statement {
	sqlite3_stmt **stmt;
	const char *sql;
};

static int prepare(sqlite3 *db, const struct statement *list, size_t len, struct err *err)
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
	const struct statement list[] = {
		{&db->begin, "BEGIN IMMEDIATE"},
		{&db->commit, "COMMIT"},
		{&db->rollback, "ROLLBACK"},
		{&db->add_pack, "INSERT OR REPLACE INTO packs VALUES(?,?,?,?,?,?)"},
		{&db->add_chunk, "INSERT OR REPLACE INTO chunks VALUES(?,?,?,?)"},
		{&db->add_node, "INSERT OR REPLACE INTO nodes VALUES(?,?,?,?,?,?)"},
		{&db->drop_pack, "DELETE FROM packs WHERE num=?"},
		{&db->drop_chunk, "DELETE FROM chunks WHERE id=? AND pack=?"},
		{&db->drop_node, "DELETE FROM nodes WHERE id=? AND pack=?"},
		{&db->set_meta, "INSERT OR REPLACE INTO meta VALUES(?,?)"},
	};

	return prepare(db->writer, list, sizeof(list) / sizeof(list[0]), err);
}

static int prepare_reader(struct db_reader *r, struct err *err)
{
	const struct statement list[] = {
		{&r->find_chunk, "SELECT pack,slot,length FROM chunks WHERE id=?"},
		{&r->find_node, "SELECT pack,slot,length,window,data FROM nodes WHERE id=?"},
		{&r->pack_by_num, "SELECT num,id,kind,count,size,plain FROM packs WHERE num=?"},
		{&r->pack_by_id, "SELECT num,id,kind,count,size,plain FROM packs WHERE id=?"},
		{&r->packs_from, "SELECT num,id,kind,count,size,plain FROM packs WHERE num>=? "
				 "ORDER BY num LIMIT ?"},
		{&r->chunks_from, "SELECT id,pack,slot FROM chunks WHERE id>? ORDER BY id LIMIT ?"},
		{&r->nodes_from, "SELECT id,pack,slot FROM nodes WHERE id>? ORDER BY id LIMIT ?"},
	};

	return prepare(r->db, list, sizeof(list) / sizeof(list[0]), err);
}

static void finalize_all(sqlite3 *db)
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
	int r = open_connection(db->path, &db->writer, err);

	if (r == 0)
		r = get_version(db->writer, &version, err);
	if (r == 0 && version > DB_VERSION) {
		r = err_set(
			err, -EPROTO,
			"'%s' was made by a later version of Hoist (its version is %d, ours %d)",
			db->path, version, DB_VERSION);
	}
	if (r == 0)
		r = run(db->writer, setup_sql, "set up", err);
	if (r == 0)
		r = run(db->writer, schema_sql, "make tables", err);
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
		finalize_all(db->readers[i].db);
	finalize_all(db->writer);
	free(db->path);
	(void)pthread_mutex_destroy(&db->lock);
	(void)pthread_cond_destroy(&db->free);
	*db = (struct db){0};
}

int db_remove(const char *path, struct err *err)
{
	static const char *const tails[] = {"-wal", "-shm", "-journal", ""};

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

/* ---- reading */

int db_reader_get(struct db *db, struct db_reader **ret, struct err *err)
{
	struct db_reader *r = NULL;
	int code = 0;

	(void)pthread_mutex_lock(&db->lock);
	while (!r) {
		for (size_t i = 0; i < DB_READERS && !r; i++)
			r = db->readers[i].busy ? NULL : &db->readers[i];
		if (!r)
			(void)pthread_cond_wait(&db->free, &db->lock);
	}
	r->busy = true;
	(void)pthread_mutex_unlock(&db->lock);
	if (!r->db) {
		code = open_connection(db->path, &r->db, err);
		if (code == 0)
			code = run(r->db, "PRAGMA cache_size=-16384; PRAGMA query_only=1;",
				   "set up a reader", err);
		if (code == 0)
			code = prepare_reader(r, err);
		if (code < 0) {
			finalize_all(r->db);
			r->db = NULL;
			db_reader_put(db, r);
			return code;
		}
	}
	*ret = r;
	return 0;
}

void db_reader_put(struct db *db, struct db_reader *r)
{
	(void)pthread_mutex_lock(&db->lock);
	r->busy = false;
	(void)pthread_cond_signal(&db->free);
	(void)pthread_mutex_unlock(&db->lock);
}

int db_reader_begin(struct db_reader *r, struct err *err)
{
	return run(r->db, "BEGIN", "begin to read", err);
}

void db_reader_end(struct db_reader *r)
{
	(void)sqlite3_exec(r->db, "COMMIT", NULL, NULL, NULL); /* nothing was written */
}

static uint32_t column_u32(sqlite3_stmt *s, int column)
{
	return (uint32_t)sqlite3_column_int64(s, column);
}

static bool column_id(sqlite3_stmt *s, int column, struct id *ret)
{
	if (sqlite3_column_bytes(s, column) != ID_SIZE)
		return false;
	memcpy(ret, sqlite3_column_blob(s, column), ID_SIZE);
	return true;
}

static void bind_id(sqlite3_stmt *s, int n, const struct id *id)
{
	(void)sqlite3_bind_blob(s, n, id->b, ID_SIZE, SQLITE_STATIC);
}

int db_find(struct db_reader *r, enum pack_kind kind, const struct id *id, struct place *ret,
	    struct err *err)
{
	sqlite3_stmt *s = kind == PACK_NODES ? r->find_node : r->find_chunk;
	int rc;

	*ret = (struct place){0};
	bind_id(s, 1, id);
	rc = sqlite3_step(s);
	if (rc == SQLITE_ROW) {
		ret->pack = column_u32(s, 0);
		ret->slot = column_u32(s, 1);
		ret->length = column_u32(s, 2);
		if (kind == PACK_NODES) {
			ret->window = column_u32(s, 3);
			ret->data = column_u32(s, 4);
		}
	}
	(void)sqlite3_reset(s);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : db_error(r->db, rc, "look up", err);
}

/* Step through rows of packs. */
static int read_packs(struct db_reader *r, sqlite3_stmt *s, struct pack_row *ret, size_t len,
		      size_t *ret_len, struct err *err)
{
	size_t n = 0;
	int rc = SQLITE_DONE;

	while (n < len && (rc = sqlite3_step(s)) == SQLITE_ROW) {
		ret[n] = (struct pack_row){
			.num = column_u32(s, 0),
			.kind = column_u32(s, 2) == PACK_NODES ? PACK_NODES : PACK_CHUNKS,
			.count = column_u32(s, 3),
			.size = column_u32(s, 4),
			.plain = column_u32(s, 5),
		};
		if (!column_id(s, 1, &ret[n].id)) {
			(void)sqlite3_reset(s);
			return db_error(NULL, SQLITE_CORRUPT, "packs", err);
		}
		n++;
	}
	(void)sqlite3_reset(s);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return db_error(r->db, rc, "read packs", err);
	*ret_len = n;
	return 0;
}

static int read_pack(struct db_reader *r, sqlite3_stmt *s, struct pack_row *ret, struct err *err)
{
	size_t n = 0;
	int code;

	*ret = (struct pack_row){0};
	code = read_packs(r, s, ret, 1, &n, err);
	return code;
}

int db_pack_by_num(struct db_reader *r, uint32_t num, struct pack_row *ret, struct err *err)
{
	(void)sqlite3_bind_int64(r->pack_by_num, 1, num);
	return read_pack(r, r->pack_by_num, ret, err);
}

int db_pack_by_id(struct db_reader *r, const struct id *id, struct pack_row *ret, struct err *err)
{
	bind_id(r->pack_by_id, 1, id);
	return read_pack(r, r->pack_by_id, ret, err);
}

int db_packs_from(struct db_reader *r, uint32_t from, struct pack_row *ret, size_t len,
		  size_t *ret_len, struct err *err)
{
	(void)sqlite3_bind_int64(r->packs_from, 1, from);
	(void)sqlite3_bind_int64(r->packs_from, 2, (sqlite3_int64)len);
	return read_packs(r, r->packs_from, ret, len, ret_len, err);
}

int db_objects_from(struct db_reader *r, enum pack_kind kind, const struct id *after,
		    struct db_object *ret, size_t len, size_t *ret_len, struct err *err)
{
	sqlite3_stmt *s = kind == PACK_NODES ? r->nodes_from : r->chunks_from;
	size_t n = 0;
	int rc = SQLITE_DONE;

	bind_id(s, 1, after);
	(void)sqlite3_bind_int64(s, 2, (sqlite3_int64)len);
	while (n < len && (rc = sqlite3_step(s)) == SQLITE_ROW) {
		ret[n].pack = column_u32(s, 1);
		ret[n].slot = column_u32(s, 2);
		if (!column_id(s, 0, &ret[n].id)) {
			rc = SQLITE_CORRUPT;
			break;
		}
		n++;
	}
	(void)sqlite3_reset(s);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return db_error(rc == SQLITE_CORRUPT ? NULL : r->db, rc, "read objects", err);
	*ret_len = n;
	return 0;
}

/* ---- writing */

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
