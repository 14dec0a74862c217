/* sqlite.h - inside server/state: one connection, statements made from text and a list of values. */
#ifndef SERVER_STATE_SQLITE_H
#define SERVER_STATE_SQLITE_H
#include <pthread.h>
#include <sqlite3.h>

#include "server/state/state.h"

struct state {
	pthread_mutex_t lock; /* one statement or transaction at a time */
	sqlite3 *db;
	uint64_t events_added;
};

static inline void stmt_finalizep(sqlite3_stmt **st)
{
	(void)sqlite3_finalize(*st);
}
#define CLEANUP_STMT CLEANUP(stmt_finalizep)

/* A lock for the current scope. */
static inline pthread_mutex_t *state_lock(struct state *s)
{
	(void)pthread_mutex_lock(&s->lock);
	return &s->lock;
}
static inline void state_unlockp(pthread_mutex_t **m)
{
	(void)pthread_mutex_unlock(*m);
}
#define LOCK_STATE(s)                                                  \
	CLEANUP(state_unlockp) pthread_mutex_t *held_ = state_lock(s); \
	(void)held_

/* Error of the last call on the connection, as a negative errno with `what`. */
int sql_error(struct state *s, struct err *err, const char *what);
/* Prepare and bind: `types` has a letter for each value: t const char * (NULL: NULL), i int64_t, b const struct id * (NULL: NULL).
 * The values must live until the statement is finalised. */
int sql_prepare(struct state *s, sqlite3_stmt **ret, struct err *err, const char *sql,
		const char *types, ...) MUST_CHECK;
/* Do a statement that gives no rows.  -EEXIST for a violated key. */
int sql_run(struct state *s, struct err *err, const char *sql, const char *types, ...) MUST_CHECK;
/* 1 a row, 0 no more, < 0 */
int sql_step(struct state *s, sqlite3_stmt *st, struct err *err) MUST_CHECK;
int sql_begin(struct state *s, struct err *err) MUST_CHECK;
/* Commit when r is 0, else roll back; returns r or the failure of the commit. */
int sql_end(struct state *s, int r, struct err *err) MUST_CHECK;

/* Columns.  Text is copied, cut at the size of the field (what is in the database was checked when it came in). */
void column_text(sqlite3_stmt *st, int i, char *ret, size_t ret_size);
/* Heap copy; NULL stays NULL.  False: out of memory. */
bool column_heap(sqlite3_stmt *st, int i, char **ret);
/* Zero when it is NULL or of another size. */
struct id column_id(sqlite3_stmt *st, int i);

int schema_migrate(struct state *s, bool *ret_new, struct err *err) MUST_CHECK;
int versions_insert(struct state *s, const struct version_row *v, struct err *err) MUST_CHECK;
#endif
