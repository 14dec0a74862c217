/* private.h - inside server/fleet. */
#ifndef SERVER_FLEET_PRIVATE_H
#define SERVER_FLEET_PRIVATE_H
#include <pthread.h>

#include "common/cleanup.h"
#include "server/fleet/fleet.h"
#include "server/fleet/pace.h"
#include "server/rate.h"

#define JOB_LOG_KEPT   200u
#define JOBS_LISTED    200u
#define TICK_MS	       1000u
#define TOUCH_EVERY_MS 60000u
#define TOLD_EVERY_MS  60000u /* of what somebody may do without end: an event */
#define DEAF_MS	       5000u  /* a server that did not tick for so long did not hear either */
#define POLL_LATE_S    5u
/* docs/protocol.md, "Limits" */
#define MACHINES_MAX	 4096u
#define INVENTORIES_MAX	 (256u << 20)
#define INVENTORY_SMALL	 (64u << 10) /* of a known machine, is taken beyond that */
#define REGISTRATIONS	 30u	     /* at once, and so many in 1,000 s */
#define REGISTRATIONS_KS 500u
#define RENEWALS	 30u /* the same of a session's secret: --renew is a second at least */
#define RENEWALS_KS	 1000u
#define REFUSALS	 30u /* of registrations that the log tells of at once, and so many in 1,000 s */
#define REFUSALS_KS	 100u
#define OWN_JOBS_MAX	 256u
#define TAKEN_SPARE	 (256ull << 20)
#define STALE_KEPT	 4u
#define COMMIT_AGAIN_MS \
	60000u /* of a capture that is settled, and whose version cannot be written */

struct machine {
	struct machine *next;
	struct machine_row row;	  /* inventory NULL: it is parsed below */
	json_t *inventory;	  /* never changed, only replaced */
	uint64_t former_until_ms; /* secrets.c: 0 for registering only, UINT64_MAX not yet known */
	char former_address[ADDRESS_SIZE]; /* of this session, before the present one; "": none */
	struct id stale[STALE_KEPT];	   /* secrets before, to be recognised */
	size_t stale_len;		   /* counts on */
	size_t stale_own;	     /* those from here on are of the session that is under way */
	uint64_t stale_ms, moved_ms; /* when that was last told */
	struct job *job;	     /* the present one, or NULL */
	pthread_cond_t cond;	     /* job or its cancelling: for the agent's poll */
	uint64_t heard_ms;	     /* monotonic; 0: not since the server's start */
	uint64_t spoke_ms;	     /* the same, of its secret's last use: register.c */
	uint64_t registered_ms;	     /* and of its last registration */
	bool is_unused;		     /* its secret, since then */
	uint64_t claimed_ms;	     /* when a token was last shown that would have its place */
	uint64_t contest_told_ms;
	struct bucket registrations, renewals;
	size_t inventory_size; /* of its JSON */
	uint64_t touched_ms;   /* when last_seen was last made durable */
	uint64_t session;      /* changes with each registration: what is of a former one ends */
	char told_cancel[JOB_ID_SIZE]; /* ended job that the agent was told to leave */
	bool removed;		       /* no longer in the list; freed by the last waiter */
	unsigned waiters;
};

struct job {
	struct job *next;
	unsigned refs;	    /* the list's, and one a request that holds it */
	struct job_row row; /* log NULL while the job lives: see below */
	struct job_disk_row *disks;
	struct partial *partials[JOB_DISKS_MAX];
	size_t disks_len;
	struct machine *machine;    /* NULL: verify, gc; or it has ended */
	pthread_cond_t cond;	    /* seq */
	json_t *log;		    /* array of text */
	int64_t disk;		    /* being worked on, -1 */
	char bottleneck[12];	    /* what the agent said, or empty */
	uint64_t said_done;	    /* the same, also of a phase with nothing to count */
	uint64_t sick, read_errors; /* the same, of places that cannot be read */
	char rescue_pass[8];
	struct pace pace;
	uint64_t began_ms;    /* monotonic; 0: before this server's start */
	uint64_t heard_ms;    /* last word of the agent about it */
	uint64_t progress_ms; /* last change of a number, or bytes moved */
	bool stalled;
	char held[HELD_SIZE]; /* why nothing more of it can be taken in, or empty */
	bool is_starved;      /* what was last asked for there was no memory for */
	uint64_t taken;	      /* plain bytes of packs, since the server's start */
	uint64_t fresh
		[2]; /* of these, what the store may drop yet: since its last checkpoint, and before */
	uint64_t durable, dropped; /* its checkpoints then */
	bool committing;	   /* done was said and is being carried out */
	uint64_t commit_ms;	   /* of a capture that is settled: when the worker tries again */
	bool cancel;		   /* verify, gc: asked to stop */
	uint64_t saved_seq;
	uint64_t reopened_ms; /* when that was last told of; 0: never */
};

struct fleet {
	struct fleet_config config;
	struct pairings *pairings; /* has a lock of its own, which is taken after `lock` */
	pthread_mutex_t
		lock; /* all below, and all of machines and jobs but what is fixed when they are made */
	bool stopping;
	uint64_t sessions;	/* counts registrations */
	uint64_t hears_ms;	/* since when without a break */
	uint64_t tick_ms;	/* the watchdog's last round */
	struct bucket refusals; /* of registrations, in the log */
	unsigned refused;	/* since the last one there */
	struct machine *machines;
	struct job *jobs;    /* waiting and running; newest first */
	pthread_cond_t work; /* a verify or gc job, or stopping */
	pthread_cond_t tick;
	uint64_t catch_up_ms; /* when pending_catch_up is due; UINT64_MAX: it is not */
	pthread_t worker, ticker, pending;
	bool worker_started, ticker_started, pending_started;
	pthread_mutex_t
		commit_lock; /* guards the list of versions: numbers are given one at a time; taken before `lock` */
	bool is_unrecovered; /* commit_lock: it lacks some, so the next number is not known */
};

uint64_t fleet_now_ms(void); /* monotonic */
int64_t fleet_now(void);     /* seconds since 1970 */
/* Until `deadline_ms` (monotonic): false when it has passed. */
bool fleet_wait(struct fleet *f, pthread_cond_t *cond, uint64_t deadline_ms);

static inline pthread_mutex_t *fleet_hold(struct fleet *f)
{
	(void)pthread_mutex_lock(&f->lock);
	return &f->lock;
}
static inline void fleet_unholdp(pthread_mutex_t **m)
{
	(void)pthread_mutex_unlock(*m);
}
/* Hold the lock for the current scope. */
#define LOCK_FLEET(f)                                                  \
	CLEANUP(fleet_unholdp) pthread_mutex_t *held_ = fleet_hold(f); \
	(void)held_

/* ---- machines.c; the lock is held */
struct machine *machine_find(struct fleet *f, const char *id);
/* API_NOT_FOUND, API_CONFLICT: several */
int machine_resolve(struct fleet *f, const char *name, struct machine **ret,
		    struct err *err) MUST_CHECK;
void machine_heard(struct fleet *f, struct machine *m);
/* Another one at the end of the list; NULL: out of memory. */
struct machine *machine_add(struct fleet *f);
bool machine_is_away(const struct fleet *f, const struct machine *m);
int machines_load(struct fleet *f, struct err *err) MUST_CHECK;
void machines_free(struct fleet *f);
/* Write last_seen of those that spoke, now and then; without the lock. */
void machines_touch(struct fleet *f, bool all);
/* fleet.c: the ticker lives.  A server that was stopped for a while (DEAF_MS) has heard nobody meanwhile. */
void fleet_note_tick(struct fleet *f);
/* The ticker's: an event for each job that has begun to stall or goes on again; without the lock. */
void fleet_tell_stalls(struct fleet *f);

/* ---- secrets.c */
struct id secret_hash(const char *secret);
int secret_make(char ret[static SECRET_TEXT_SIZE], struct err *err) MUST_CHECK;
/* The lock is held: the present secrets are about to be worth nothing, but `kept`. */
void secrets_replaced(struct machine *m, const struct id *kept);
/* By the secret of the last session, or of the one before if its agent never used the new one: the answer with that was lost. */
bool machine_knows_secret(const struct machine *m, const char *secret);
/* By one that this very session had before: somebody with a copy has renewed it. */
bool machine_had_secret(const struct machine *m, const char *secret);
/* By that of the session which its present job was ordered for, and whose place a token's holder has taken. */
bool machine_is_displaced(const struct machine *m, const char *secret);

/* ---- jobs.c; the lock is held */
struct job *job_new(void);
struct job *job_find(struct fleet *f, const char *id);
bool job_is_active(const struct job *j);
/* Under which the store has the index that an agent of it is sending for disk `n`. */
void job_partial_key(const char *job, uint32_t n, char ret[static 32]);
/* Drops one reference; the last one frees, and removes the partial indexes. */
void job_unref(struct fleet *f, struct job *j);
/* Something about it changed: seq and whoever waits for it. */
void job_changed(struct job *j);
int job_start(struct fleet *f, struct job *j, struct err *err) MUST_CHECK;
/* What came of a step that the server itself does for it.  One that the storage did not take is done again: until then the job is stalled, and says why. */
void job_note_step(struct job *j, int r, const struct err *err);
/* Makes the row ready to be written. */
int job_pack_log(struct job *j, struct err *err) MUST_CHECK;
void job_add_log(struct job *j, const char *text);
int jobs_load(struct fleet *f, struct err *err) MUST_CHECK;
void jobs_free(struct fleet *f);
void jobs_remove_leftovers(struct fleet *f);
/* The job of the token that has enrolled this machine, once; that it cannot be is an event, and that it waits, because not all disks may be in the
 * inventory.  The lock is not held. */
void order_what_is_owed(struct fleet *f, const char *machine, const char *name,
			const json_t *inventory);
/* Put a new job on the list and on its machine. */
void job_enlist(struct fleet *f, struct job *j, struct machine *m);
/* (job_order.c) The order for its agent; `rows` are its disks as they are now.  With or without the lock.
 * -ENOENT, -EBADMSG: an index is damaged; API_TOO_LARGE. */
int job_make_order(struct fleet *f, const struct job *j, const struct job_disk_row *rows,
		   json_t **ret, struct err *err) MUST_CHECK;

/* ---- job_agent.c; the lock is held */
/* The present job of a machine, if that is `id`.  NULL with the error. */
struct job *job_find_mine(struct fleet *f, const char *machine, const char *id,
			  struct err *err) MUST_CHECK;
/* Why an agent may not go on with this job; it is not (any more) the one that its machine is to do. */
int job_refuse(struct fleet *f, const char *machine, const char *id, struct err *err) MUST_CHECK;

/* ---- job_end.c; the lock is held */
/* End it: made durable, taken off the list and its machine.  If the state cannot be written it stays as it was. */
int job_end(struct fleet *f, struct job *j, enum job_state state, enum api_code code,
	    const char *message, struct err *err) MUST_CHECK;
/* The same with a code that an agent gave. */
int job_end_as(struct fleet *f, struct job *j, enum job_state state, const char *code,
	       const char *message, struct err *err) MUST_CHECK;
/* The same after it was written by another transaction. */
void job_ended(struct fleet *f, struct job *j);
/* The server's turn begins, with a reference; and what it is of a capture, which gives that back.  Without the lock, the second. */
void job_begin_committing(struct job *j);
int job_carry_out(struct fleet *f, struct job *j, struct err *err) MUST_CHECK;

/* ---- commit.c; without locks, the job is held and `committing` */
int job_commit(struct fleet *f, struct job *j, struct err *err) MUST_CHECK;

/* ---- report.c */
/* The job's report with the server's own part, and `roots` unless NULL: heap, NULL: out of memory. */
char *report_complete(const struct job *j, int64_t now, json_t *roots);
/* The roots of the disks of a capture, restore or verification as source, server and target have them, `said` being the agent's report or NULL.
 * Hashes their indexes in the store: without the lock.  -ENOENT, -EBADMSG: of a capture's one is damaged. */
int report_roots(struct fleet *f, const struct job_row *row, const struct job_disk_row *disks,
		 size_t len, const json_t *said, json_t **ret, struct err *err) MUST_CHECK;
/* Does the report of a capture name this disk's root? */
enum root_said { ROOT_NOT_SAID, ROOT_SAME, ROOT_OTHER };
enum root_said report_says_root(const struct job_disk_row *d, const json_t *said);
/* API_VERIFY_FAILED: the report of a restore names another root than that of its image, or none. */
int report_check_targets(const struct job_disk_row *disks, size_t len, const json_t *said,
			 struct err *err) MUST_CHECK;

/* ---- view.c */
/* `live` NULL: of a job that has ended; NULL: out of memory. */
json_t *view_job(const struct fleet *f, const struct job_row *row, const struct job *live);
json_t *view_machine(const struct fleet *f, const struct machine *m); /* with its inventory */
json_t *view_machines(const struct fleet *f);			      /* all of them, in brief */
json_t *view_version(const struct version_row *v);
json_t *view_time(int64_t t); /* null for 0 */

/* ---- plan.c: is this job possible?  Pure. */
/* The DISK of an inventory with that id, or NULL. */
const json_t *plan_find_disk(const json_t *inventory, const char *id);
/* Fill `ret` (room for JOB_DISKS_MAX) for a capture of the disks named by `ids` (array of text, or NULL: all). */
int plan_capture(const json_t *inventory, const json_t *ids, struct job_disk_row *ret,
		 size_t *ret_len, struct err *err) MUST_CHECK;
/* The same for a restore of `sources` (the manifest's "disks") by `pairs` ([{"source","target"}] or NULL), `overwrite`
 * ([fingerprint] or NULL). */
int plan_restore(const json_t *inventory, const json_t *sources, const json_t *pairs,
		 const json_t *overwrite, struct job_disk_row *ret, size_t *ret_len,
		 struct err *err) MUST_CHECK;

/* ---- images.c */
/* The row for a manifest whose id is `id`.  -EPROTO: it is no manifest. */
int version_from_manifest(const json_t *m, const struct id *id, struct version_row *ret,
			  struct err *err) MUST_CHECK;
/* Removals that were under way.  commit_lock is held. */
int images_finish_removals(struct fleet *f, struct err *err) MUST_CHECK;

/* ---- recover.c */
/* Take in the versions that the store's manifests tell of and the state does not (it is new, or older than the store), then finish removals.  What fails
 * is tried again every minute.  commit_lock is held. */
int images_catch_up(struct fleet *f, struct err *err) MUST_CHECK;
/* The manifests of no version, nor of one that is being made.  Without the lock. */
typedef int (*images_manifest_fn)(void *arg, const struct id *id, struct err *err);
int images_each_unlisted(struct fleet *f, images_manifest_fn fn, void *arg,
			 struct err *err) MUST_CHECK;

/* ---- worker.c */
void *worker_run(void *fleet);

/* ---- pending.c */
/* images_catch_up, and the end of jobs whose machine is gone; without locks. */
void pending_catch_up(struct fleet *f);
/* That again, in a minute.  Without the lock. */
void pending_soon(struct fleet *f);
void *pending_run(void *fleet);
#endif
