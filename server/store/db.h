/* db.h - objects.db: which object is in which pack (SQLite).  A cache: the packs know it all.
 *
 * New objects come into `recent` first, a row of many; when there are enough of them they are merged into the tables that are looked up in,
 * sorted: a thousand at a time would touch a thousand pages (docs/adr/0001-object-index.md).
 *
 * One writer at a time (the caller sees to that: struct store.write_lock) and a few readers, each a connection of
 * its own; WAL mode lets them work side by side.  Objects that no checkpoint covered yet are not in here (objects.h).
 *
 * Errors: -ENOSPC, -ENOMEM, -EIO; -EUCLEAN: the file is damaged. */
#ifndef SERVER_STORE_DB_H
#define SERVER_STORE_DB_H
#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/id.h"
#include "common/pack.h"

/* Where an object is. */
struct place {
	uint32_t pack; /* its number; 0: not there */
	uint32_t slot; /* in the pack's table */
	uint32_t length;
	uint32_t window; /* nodes: length of the window */
	uint32_t data;	 /* nodes: bytes of chunks in it */
};

/* What stands beside each place in the file: SQLite sees when its pages do not fit together, not that a bit of a row has turned. */
uint16_t db_place_sum(enum pack_kind kind, const struct id *id, const struct place *p);

/* A pack in the store.  Numbers count up and never come again. */
struct pack_row {
	struct id id;
	uint32_t num;
	enum pack_kind kind;
	uint32_t count;
	uint32_t size;	/* of the file */
	uint32_t plain; /* size */
};

/* What stands beside it in the file: a pack that was taken for another one would count as damaged, or as there. */
uint32_t db_pack_sum(const struct pack_row *p);

enum db_meta {
	DB_CLEAN,     /* 1: closed in order, the packs are those of the index */
	DB_NEXT_PACK, /* number of the next pack */
	DB_SUSPECT,   /* 1: chunks were lost, so a node may lack some */
	DB_MAKING,    /* 1: it is being made from the packs, as an index that was lost */
	DB_BAD, /* 1: objects that were recent at a start are lost, since their sum was wrong */
};

#define DB_READERS 6

struct db_reader {
	sqlite3 *db; /* NULL: not opened yet */
	sqlite3_stmt *find_chunk, *find_node, *pack_by_num, *pack_by_id;
	sqlite3_stmt *packs_from, *chunks_from, *nodes_from;
	bool busy;
};

struct db {
	char *path; /* heap */
	sqlite3 *writer;
	sqlite3_stmt *begin, *commit, *rollback;
	sqlite3_stmt *add_pack, *add_chunk, *add_node, *drop_pack, *drop_chunk, *drop_node;
	sqlite3_stmt *add_recent, *clear_recent, *set_meta;
	pthread_mutex_t lock; /* guards `busy` of the readers */
	pthread_cond_t free;
	struct db_reader readers[DB_READERS];
};

/* Open or create.  -EPROTO: made by a later version. */
int db_open(struct db *db, const char *path, struct err *err) MUST_CHECK;
void db_done(struct db *db);
/* Remove the file and what belongs to it; before db_open. */
int db_remove(const char *path, struct err *err) MUST_CHECK;

/* ---- between db.c and db_read.c */
struct db_statement {
	sqlite3_stmt **stmt;
	const char *sql;
};
int db_error(sqlite3 *db, int rc, const char *what, struct err *err);
int db_run(sqlite3 *db, const char *sql, const char *what, struct err *err) MUST_CHECK;
int db_connect(const char *path, sqlite3 **ret, struct err *err) MUST_CHECK;
int db_prepare(sqlite3 *db, const struct db_statement *list, size_t len,
	       struct err *err) MUST_CHECK;
/* Finalizes its statements too; NULL is fine. */
void db_disconnect(sqlite3 *db);

/* ---- reading; a reader is one thread's until it is given back, and waits for one that is free */
int db_reader_get(struct db *db, struct db_reader **ret, struct err *err) MUST_CHECK;
void db_reader_put(struct db *db, struct db_reader *r);
/* Many lookups in one look at the database. */
int db_reader_begin(struct db_reader *r, struct err *err) MUST_CHECK;
void db_reader_end(struct db_reader *r);
/* Not there: ret->pack = 0, and no error.  1: its row is damaged; it is as if not there. */
int db_find(struct db_reader *r, enum pack_kind kind, const struct id *id, struct place *ret,
	    struct err *err) MUST_CHECK;
/* Not there: ret->num = 0.  Of these, too, -EUCLEAN when a row is damaged: what it should say concerns thousands of objects. */
int db_pack_by_num(struct db_reader *r, uint32_t num, struct pack_row *ret,
		   struct err *err) MUST_CHECK;
int db_pack_by_id(struct db_reader *r, const struct id *id, struct pack_row *ret,
		  struct err *err) MUST_CHECK;
/* Up to `len` packs with a number of at least `from`, ascending. */
int db_packs_from(struct db_reader *r, uint32_t from, struct pack_row *ret, size_t len,
		  size_t *ret_len, struct err *err) MUST_CHECK;
/* Up to `len` objects with an id greater than `after`, ascending. */
struct db_object {
	struct id id;
	uint32_t pack, slot;
};
int db_objects_from(struct db_reader *r, enum pack_kind kind, const struct id *after,
		    struct db_object *ret, size_t len, size_t *ret_len, struct err *err) MUST_CHECK;

/* ---- writing: between begin and commit (or rollback, which never fails) */
int db_begin(struct db *db, struct err *err) MUST_CHECK;
int db_commit(struct db *db, struct err *err) MUST_CHECK;
void db_rollback(struct db *db);
/* Replaces a pack of the same id. */
int db_add_pack(struct db *db, const struct pack_row *p, struct err *err) MUST_CHECK;
/* Replaces the object's former place. */
int db_add_object(struct db *db, enum pack_kind kind, const struct id *id, const struct place *p,
		  struct err *err) MUST_CHECK;
int db_drop_pack(struct db *db, uint32_t num, struct err *err) MUST_CHECK;
/* Only if it is still in that pack. */
int db_drop_object(struct db *db, enum pack_kind kind, const struct id *id, uint32_t pack,
		   struct err *err) MUST_CHECK;
/* Any bytes; they come back in the order in which they were added. */
int db_add_recent(struct db *db, const void *data, size_t size, struct err *err) MUST_CHECK;
int db_clear_recent(struct db *db, struct err *err) MUST_CHECK;
typedef int (*db_recent_fn)(void *arg, const void *data, size_t size, struct err *err);
int db_each_recent(struct db *db, db_recent_fn fn, void *arg, struct err *err) MUST_CHECK;
int db_set_meta(struct db *db, enum db_meta key, uint64_t value, struct err *err) MUST_CHECK;
/* 0 when it was never set. */
int db_get_meta(struct db *db, enum db_meta key, uint64_t *ret, struct err *err) MUST_CHECK;
#endif
