/* db_read.c - looking into objects.db. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "server/store/db.h"

/* KiB: the inner pages of the tables, which are a hundredth; what lies below is in the page cache of the kernel, once for all readers. */
#define READER_CACHE "4096"

static int prepare_reader(struct db_reader *r, struct err *err)
{
	const struct db_statement list[] = {
		{&r->find_chunk, "SELECT pack,slot,length,sum FROM chunks WHERE id=?"},
		{&r->find_node, "SELECT pack,slot,length,window,data,sum FROM nodes WHERE id=?"},
		{&r->pack_by_num, "SELECT num,id,kind,count,size,plain,sum FROM packs WHERE num=?"},
		{&r->pack_by_id, "SELECT num,id,kind,count,size,plain,sum FROM packs WHERE id=?"},
		{&r->packs_from, "SELECT num,id,kind,count,size,plain,sum FROM packs WHERE num>=? "
				 "ORDER BY num LIMIT ?"},
		{&r->chunks_from, "SELECT id,pack,slot FROM chunks WHERE id>? ORDER BY id LIMIT ?"},
		{&r->nodes_from, "SELECT id,pack,slot FROM nodes WHERE id>? ORDER BY id LIMIT ?"},
	};

	return db_prepare(r->db, list, sizeof(list) / sizeof(list[0]), err);
}

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
		code = db_connect(db->path, &r->db, err);
		if (code == 0) {
			code = db_run(r->db,
				      "PRAGMA cache_size=-" READER_CACHE "; PRAGMA query_only=1;",
				      "set up a reader", err);
		}
		if (code == 0)
			code = prepare_reader(r, err);
		if (code < 0) {
			db_disconnect(r->db);
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
	return db_run(r->db, "BEGIN", "begin to read", err);
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
	struct place p = {0};
	bool is_bad = false;
	uint32_t sum;
	int rc;

	bind_id(s, 1, id);
	rc = sqlite3_step(s);
	if (rc == SQLITE_ROW) {
		p.pack = column_u32(s, 0);
		p.slot = column_u32(s, 1);
		p.length = column_u32(s, 2);
		if (kind == PACK_NODES) {
			p.window = column_u32(s, 3);
			p.data = column_u32(s, 4);
		}
		sum = column_u32(s, kind == PACK_NODES ? 5 : 3);
		is_bad = sum != db_place_sum(kind, id, &p);
	}
	(void)sqlite3_reset(s);
	if (is_bad)
		p = (struct place){0};
	*ret = p;
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return db_error(r->db, rc, "look up", err);
	return is_bad;
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
		if (!column_id(s, 1, &ret[n].id) || sqlite3_column_int64(s, 0) != ret[n].num ||
		    sqlite3_column_int64(s, 6) != db_pack_sum(&ret[n])) {
			(void)sqlite3_reset(s);
			return err_set(err, -EUCLEAN,
				       "the object index is damaged (the row of pack number "
				       "%" PRIu32 "); start with --rebuild-index",
				       ret[n].num);
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
