/* state.h - what the server knows beside images, docs/database.md.  The seam for a second implementation (PostgreSQL): nothing here is
 * about SQL.
 *
 * All functions may be called from many threads; each is one transaction, durable on return unless said otherwise.  Strings in rows
 * are NUL-terminated; "heap" ones belong to the row and go with its _done().  Callbacks get a row that lives until they return, must
 * not call into this module, and end the walk with a value < 0, which is returned.
 *
 * Errors: -ENOENT not there, -EEXIST there already, -EIO and -ENOSPC the storage, -ENOMEM; others where named. */
#ifndef SERVER_STATE_STATE_H
#define SERVER_STATE_STATE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/id.h"
#include "common/limits.h"
#include "common/message.h"

#define MACHINE_ID_SIZE	   33 /* 32 hex digits and NUL */
#define NAME_SIZE	   (NAME_MAX_LEN + 1)
#define ADDRESS_SIZE	   64
#define AGENT_VERSION_SIZE 33
#define TOKEN_ID_SIZE	   9 /* 8 hex digits and NUL */
#define NOTE_SIZE	   201
#define CODE_SIZE	   32
#define MESSAGE_SIZE	   (REASON_MAX + 1)
#define PHASE_SIZE	   16
#define PASSWORD_HASH_SIZE 128
#define OPERATORS_MAX	   128u
#define SESSIONS_MAX	   16u /* of one operator */
#define ACCESS_TOKENS_MAX  64u

struct state;

/* Open or create the database at `path` and bring its schema up to date.  `ret_new`: it was not there.
 * -EPROTO: of a later version, or no database of ours. */
int state_open(const char *path, struct state **ret, bool *ret_new, struct err *err) MUST_CHECK;
void state_close(struct state *s);

/* ---- machines */

struct machine_row {
	char id[MACHINE_ID_SIZE];
	char name[NAME_SIZE];
	char agent_version[AGENT_VERSION_SIZE];
	char address[ADDRESS_SIZE];
	int64_t first_seen, last_seen;
	struct id secret_hash; /* zero: none */
	struct id former_hash; /* the one before, until its successor was used; zero: none */
	/* secrets of the session that `displaced_job` was ordered for and a token's holder has taken the place of; zero, "": none */
	struct id displaced_hash, displaced_former;
	char displaced_job[JOB_ID_SIZE];
	char *inventory; /* heap, JSON */
};
void machine_row_done(struct machine_row *m);

/* Write all of it, be it there or not. */
int state_put_machine(struct state *s, const struct machine_row *m, struct err *err) MUST_CHECK;
int state_put_secrets(struct state *s, const char *id, const struct id *secret,
		      const struct id *former, struct err *err) MUST_CHECK;
/* Durable some time later. */
int state_touch_machine(struct state *s, const char *id, int64_t last_seen, const char *address,
			struct err *err) MUST_CHECK;
/* Also forgets with which tokens it was enrolled. */
int state_remove_machine(struct state *s, const char *id, struct err *err) MUST_CHECK;
typedef int (*state_machine_fn)(void *arg, const struct machine_row *m);
int state_each_machine(struct state *s, state_machine_fn fn, void *arg, struct err *err) MUST_CHECK;

/* ---- enrolment tokens */

struct token_row {
	char id[TOKEN_ID_SIZE];
	char note[NOTE_SIZE];
	uint32_t uses, uses_left;
	int64_t created;
	int64_t expires; /* 0: never */
	bool revoked;
#define TOKEN_JOB_SIZE 96
	char job[TOKEN_JOB_SIZE]; /* of each machine that it enrols (server/fleet/rule.h); "": none */
};
/* When there are TOKENS_MAX, the oldest that is revoked or has expired goes; -EUSERS if none is. */
#define TOKENS_MAX 1000u
int state_add_token(struct state *s, const struct token_row *t, const struct id *hash,
		    struct err *err) MUST_CHECK;
/* Enrol `machine` with the token of that hash.  A machine that was enrolled with it before takes no use of it; another takes one, if
 * it may enrol, and is owed its job.  Without TOKEN_MAY_TAKE it is only looked at whether all that could be.
 * -EACCES when the token is not there, revoked, expired, used up, or of no use to this machine. */
#define TOKEN_MAY_ENROL 1u
#define TOKEN_MAY_TAKE	2u
int state_use_token(struct state *s, const struct id *hash, const char *machine, unsigned may,
		    int64_t now, struct err *err) MUST_CHECK;
/* The job that a token owes the machine, until state_job_given; "": none. */
int state_owed_job(struct state *s, const char *machine, char ret[static TOKEN_JOB_SIZE],
		   struct err *err) MUST_CHECK;
int state_job_given(struct state *s, const char *machine, struct err *err) MUST_CHECK;
int state_revoke_token(struct state *s, const char *id, struct err *err) MUST_CHECK;
typedef int (*state_token_fn)(void *arg, const struct token_row *t);
int state_each_token(struct state *s, state_token_fn fn, void *arg, struct err *err) MUST_CHECK;

/* ---- operators, and what they show that they are themselves */

enum role {
	ROLE_NONE,
	ROLE_VIEWER,
	ROLE_OPERATOR,
	ROLE_ADMIN
}; /* each may what those before may */
const char *role_name(enum role r);
/* ROLE_NONE for another word. */
enum role role_from_name(const char *name);

struct operator_row {
	char name[NAME_SIZE];
	enum role role;
	char password[PASSWORD_HASH_SIZE]; /* hashed: server/access/password.h */
	int64_t created, changed;
};
/* -EEXIST; -EUSERS when there are OPERATORS_MAX. */
int state_add_operator(struct state *s, const struct operator_row *o, struct err *err) MUST_CHECK;
int state_get_operator(struct state *s, const char *name, struct operator_row *ret,
		       struct err *err) MUST_CHECK;
struct operator_change {
	enum role role;		  /* ROLE_NONE: the same */
	const char *password;	  /* hashed; NULL: the same */
	const char *old_password; /* hashed: what it must be, or NULL: any */
	int64_t at;
};
/* Ends the sessions, and the tokens above the role.  -ESTALE: the password is not `old_password` any more. */
int state_change_operator(struct state *s, const char *name, const struct operator_change *c,
			  struct err *err) MUST_CHECK;
/* The same password in another form: ends nothing.  Nothing happens when it is not `old` any more. */
int state_rehash_operator(struct state *s, const char *name, const char *old, const char *password,
			  struct err *err) MUST_CHECK;
/* With all that is his. */
int state_remove_operator(struct state *s, const char *name, struct err *err) MUST_CHECK;
typedef int (*state_operator_fn)(void *arg, const struct operator_row *o);
/* By name. */
int state_each_operator(struct state *s, state_operator_fn fn, void *arg,
			struct err *err) MUST_CHECK;

struct credential_row {
	char id[TOKEN_ID_SIZE];
	char operator[NAME_SIZE]; /* whose */
	char name[NAME_SIZE];	  /* of a token, "" of a session */
	char address[ADDRESS_SIZE];
	bool is_session;
	enum role role; /* at most that of the operator, also when it is read */
	int64_t created, expires;
	int64_t used; /* not at each request; 0: never */
};
/* A session too many ends the one that was not used for longest; of tokens -EUSERS.  What has expired goes.  -ENOENT: no such operator;
 * -ESTALE: his role is lower, or his password's hash is not `password` (NULL: does not matter). */
int state_add_credential(struct state *s, const struct credential_row *c, const struct id *hash,
			 const char *password, struct err *err) MUST_CHECK;
/* -ENOENT */
int state_find_credential(struct state *s, const struct id *hash, struct credential_row *ret,
			  struct err *err) MUST_CHECK;
int state_touch_credential(struct state *s, const char *id, int64_t used,
			   struct err *err) MUST_CHECK;
/* `operator` NULL: whosever it is. */
int state_remove_credential(struct state *s, const char *id, const char *operator,
			    struct err * err) MUST_CHECK;
typedef int (*state_credential_fn)(void *arg, const struct credential_row *c);
/* Newest first; `operator` NULL: all. */
int state_each_credential(struct state *s, const char *operator, state_credential_fn fn, void *arg,
			  struct err *err) MUST_CHECK;

/* ---- who did what */

struct audit_row {
	uint64_t id;
	int64_t at;
	bool refused;				/* it was not done */
	const char *who, *credential, *address; /* "" where there is none */
	const char *action, *object, *result;
};
/* The oldest of its kind (done, refused) go when there are too many: they can neither be changed nor be removed otherwise. */
int state_add_audit(struct state *s, const struct audit_row *a, struct err *err) MUST_CHECK;
typedef int (*state_audit_fn)(void *arg, const struct audit_row *a);
/* Those with an id greater than `after`, not older than `since`; the `limit` newest of them if `newest`, else the oldest; oldest first. */
struct audit_filter {
	uint64_t after;
	int64_t since;
	uint32_t limit;
	bool newest;
};
int state_each_audit(struct state *s, const struct audit_filter *f, state_audit_fn fn, void *arg,
		     struct err *err) MUST_CHECK;

/* ---- versions of images; an image is there as long as a version of it is */

struct version_row {
	char image[NAME_SIZE];
	uint32_t version; /* from 1 */
	int64_t created;
	char job[JOB_ID_SIZE];
	char machine[MACHINE_ID_SIZE];
	char machine_name[NAME_SIZE];
	struct id manifest;
	uint64_t size;	     /* bytes of all disks */
	uint64_t data_bytes; /* of all chunks before deduplication */
	char *disks;	     /* heap: the manifest's "disks" */
	bool damaged;
	bool removing;
};
void version_row_done(struct version_row *v);

/* -EEXIST when that version is there. */
int state_add_version(struct state *s, const struct version_row *v, struct err *err) MUST_CHECK;
/* `version` 0: the latest.  Versions being removed are not there. */
int state_get_version(struct state *s, const char *image, uint32_t version, struct version_row *ret,
		      struct err *err) MUST_CHECK;
/* The number that the next version of an image gets: above all that were ever given, also to jobs that are about to commit. */
int state_next_version(struct state *s, const char *image, uint32_t *ret,
		       struct err *err) MUST_CHECK;
/* That number was given, though no such version is there. */
int state_reserve_version(struct state *s, const char *image, uint32_t version, int64_t created,
			  struct err *err) MUST_CHECK;
int state_set_damaged(struct state *s, const char *image, uint32_t version, bool damaged,
		      struct err *err) MUST_CHECK;
/* `disks`: those of its manifest, as JSON text. */
int state_set_disks(struct state *s, const char *image, uint32_t version, const char *disks,
		    struct err *err) MUST_CHECK;
/* `version` 0: all of the image.  Marks them; state_remove_version ends it once the manifest is gone. */
int state_begin_removal(struct state *s, const char *image, uint32_t version,
			struct err *err) MUST_CHECK;
int state_remove_version(struct state *s, const char *image, uint32_t version,
			 struct err *err) MUST_CHECK;
/* `image` NULL: all.  By name, then version; also those being removed. */
typedef int (*state_version_fn)(void *arg, const struct version_row *v);
int state_each_version(struct state *s, const char *image, state_version_fn fn, void *arg,
		       struct err *err) MUST_CHECK;

/* ---- jobs */

enum job_state { JOB_WAITING, JOB_RUNNING, JOB_DONE, JOB_FAILED, JOB_CANCELLED };
const char *job_state_name(enum job_state s);
/* False for another word. */
bool job_state_from_name(const char *name, enum job_state *ret);

struct job_row {
	char id[JOB_ID_SIZE];
	enum job_kind kind;
	enum job_state state;
	char machine[MACHINE_ID_SIZE]; /* "" for verify and gc */
	char machine_name[NAME_SIZE];
	char image[NAME_SIZE]; /* "" for gc */
	uint32_t version;      /* 0: none yet */
	int64_t created, started, ended;
	enum end_action end_action;
	int level;
	bool all_blocks;
	char phase[PHASE_SIZE];
	uint64_t done, total, data, sent, skipped;
	uint64_t unreadable; /* bytes that are zeros in the image since they could not be read */
	struct rescue_wish rescue;
	char code[CODE_SIZE], message[MESSAGE_SIZE];
	uint64_t seq;
	char *log;	/* heap, JSON array of text, or NULL */
	char *report;	/* heap, JSON object, or NULL */
	char *manifest; /* heap: of a capture that is being committed, else NULL */
};
void job_row_done(struct job_row *j);

struct job_disk_row {
	uint64_t size;
	struct geometry geometry; /* restore: the source's; capture: once sealed */
	uint64_t data_bytes, unreadable_bytes;
	struct id fingerprint; /* restore: of the target */
	struct id root;
	char disk[DISK_ID_MAX + 1];	   /* on the machine */
	char source_disk[DISK_ID_MAX + 1]; /* restore */
	bool overwrite, begun, released;   /* restore */
	bool partial,
		sealed; /* capture: an index in the making may lie about; its index is in the store */
};

/* Of those that have ended the last JOBS_KEPT stay. */
#define JOBS_KEPT 10000u
int state_add_job(struct state *s, const struct job_row *j, const struct job_disk_row *disks,
		  size_t disks_len, struct err *err) MUST_CHECK;
/* Write all that can change in a job. */
int state_save_job(struct state *s, const struct job_row *j, struct err *err) MUST_CHECK;
int state_save_job_disk(struct state *s, const char *job, uint32_t n, const struct job_disk_row *d,
			struct err *err) MUST_CHECK;
/* End a capture with its version, or neither. */
int state_commit_job(struct state *s, const struct job_row *j, const struct version_row *v,
		     struct err *err) MUST_CHECK;
int state_get_job(struct state *s, const char *id, struct job_row *ret, struct err *err) MUST_CHECK;
/* Heap, NULL when there are none. */
int state_get_job_disks(struct state *s, const char *id, struct job_disk_row **ret, size_t *ret_len,
			struct err *err) MUST_CHECK;

struct job_filter {
	const char *machine; /* NULL: any */
	const char *id;	     /* how it begins, or NULL */
	bool by_state;
	enum job_state state;
	bool active;	/* only waiting and running */
	uint32_t limit; /* 0: none */
};
typedef int (*state_job_fn)(void *arg, const struct job_row *j);
/* Newest first. */
int state_each_job(struct state *s, const struct job_filter *f, state_job_fn fn, void *arg,
		   struct err *err) MUST_CHECK;
/* Keys of ended jobs' disks whose partial index may still lie about. */
typedef int (*state_partial_fn)(void *arg, const char *job, uint32_t n);
int state_each_leftover(struct state *s, state_partial_fn fn, void *arg,
			struct err *err) MUST_CHECK;
/* They were removed, all of them. */
int state_clear_leftovers(struct state *s, struct err *err) MUST_CHECK;

/* ---- events */

struct event_row {
	uint64_t id;
	int64_t at;
	const char *event, *machine, *job, *text; /* "" where there is none */
};
/* Durable some time later; the oldest go when there are too many. */
int state_add_event(struct state *s, const struct event_row *e, struct err *err) MUST_CHECK;
/* Those with an id greater than `after`, at most `limit`, oldest first. */
typedef int (*state_event_fn)(void *arg, const struct event_row *e);
int state_each_event(struct state *s, uint64_t after, uint32_t limit, state_event_fn fn, void *arg,
		     struct err *err) MUST_CHECK;
#endif
