/* fleet.h - the machines and their jobs: who is there, what each is to do, how far it is.
 *
 * What lasts is in server/state and read at the start; what moves (last word, progress, who waits) is here, behind one lock.  The
 * life of a job:
 *
 *	waiting --first word of its agent about it--> running --> done | failed
 *	   \___________________ cancel ___________________\-----> cancelled
 *
 * Only waiting and running jobs are held here, and each machine has at most one of them.  verify and gc have no machine: a thread of
 * the server does them, one after the other.
 *
 * All functions may be called from any thread.  Errors are those of server/api_error.h, the sentence meant for the person who asked. */
#ifndef SERVER_FLEET_FLEET_H
#define SERVER_FLEET_FLEET_H
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/index.h"
#include "server/api_error.h"
#include "server/fleet/pairing.h"
#include "server/state/state.h"
#include "server/store/store.h"

struct fleet;
struct job;

struct fleet_config {
	struct state *state;
	struct store *store;
	unsigned poll_s;  /* longest wait of an agent's poll */
	unsigned stall_s; /* without progress for so long a job is called stalled */
	unsigned away_s;  /* without a word for so long a machine is called away */
	unsigned grace_s; /* so long a renewed secret's former one is good beside it */
	struct pairings_config pairing; /* all but poll_s and event */
};

/* Read machines and unfinished jobs, finish commits that were under way, start the threads. */
int fleet_open(const struct fleet_config *config, struct fleet **ret, struct err *err) MUST_CHECK;
/* Wake all that wait, and let nobody wait any more. */
void fleet_stop(struct fleet *f);
/* After fleet_stop and the last call of anything else. */
void fleet_close(struct fleet *f);

/* Something that a person may want to read later. */
void fleet_event(struct fleet *f, const char *event, const char *machine, const char *job,
		 const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* ---- machines */

struct registration {
	const char *token, *secret, *pairing; /* NULL: none */
	const char *machine;		      /* 32 hex digits */
	const char *name, *agent_version, *address;
	const json_t *inventory; /* an object */
};
#define SECRET_TEXT_SIZE 65
/* -> the new session's secret.  API_FORBIDDEN; API_CONFLICT: by a token, while the machine of that id speaks, and *ret_retry_s when it
 * may be otherwise at the earliest, or there are too many machines; API_RATE_LIMITED with *ret_retry_s. */
int fleet_register(struct fleet *f, const struct registration *reg,
		   char ret_secret[static SECRET_TEXT_SIZE], unsigned *ret_retry_s,
		   struct err *err) MUST_CHECK;
/* What a request has shown. */
struct session_proof {
	char machine[MACHINE_ID_SIZE];
	struct id shown;  /* the hash of the secret */
	uint64_t session; /* which of the machine's sessions */
};
/* Whose session is it?  API_UNAUTHORIZED */
int fleet_authorize(struct fleet *f, const char *secret, const char *address,
		    struct session_proof *ret, struct err *err) MUST_CHECK;
/* Has that session not ended meanwhile, by registering anew or removing the machine?  API_UNAUTHORIZED */
int fleet_authorize_again(struct fleet *f, const struct session_proof *proof,
			  struct err *err) MUST_CHECK;
/* Another secret for the same session.  API_CONFLICT: by one that has been replaced; API_RATE_LIMITED. */
int fleet_renew(struct fleet *f, const struct session_proof *proof,
		char ret_secret[static SECRET_TEXT_SIZE], struct err *err) MUST_CHECK;

/* {"machines": [MACHINE...]} */
int fleet_list_machines(struct fleet *f, json_t **ret, struct err *err) MUST_CHECK;
/* `name`: id, unique prefix of one, or the name of one machine only.  MACHINE with "inventory". */
int fleet_show_machine(struct fleet *f, const char *name, json_t **ret, struct err *err) MUST_CHECK;
int fleet_remove_machine(struct fleet *f, const char *name, struct err *err) MUST_CHECK;
void fleet_count(struct fleet *f, unsigned *ret_machines, unsigned *ret_jobs_running);

/* ---- machines that pair: pairing.h; as long as the fleet */

struct pairings *fleet_pairings(struct fleet *f);
/* {"pairings": [PAIRING...]} */
/* pairing_confirm(), for the machine that `name` means.  API_CONFLICT also when its id is that of a machine with a job, unless it may `replace` it. */
int fleet_confirm_pairing(struct fleet *f, const char *name, const struct pairing_typed *typed,
			  bool replace, json_t **ret, struct err *err) MUST_CHECK;
int fleet_list_pairings(struct fleet *f, json_t **ret, struct err *err) MUST_CHECK;

/* ---- what agents say */

/* Waits for an order, a cancel or the time; `job` is what the agent is busy with, or NULL.  -> {"order", "cancel"} */
int fleet_poll(struct fleet *f, const char *machine, const char *job, json_t **ret,
	       struct err *err) MUST_CHECK;

/* The job `id`, which must be of this kind and the one that `machine` is to do now; it is running from here on.  API_NOT_FOUND,
 * API_CANCELLED, API_CONFLICT (it has ended), API_FORBIDDEN (it is of another kind).  To be released. */
int fleet_acquire(struct fleet *f, const char *machine, const char *id, enum job_kind kind,
		  struct job **ret, struct err *err) MUST_CHECK;
void fleet_release(struct fleet *f, struct job *j);

#define LOG_LINES_MAX 64u
#define LOG_LINE_MAX  500u
struct progress {
	const char *phase;
	uint64_t done, total, data, sent, skipped;
	const json_t *log;	/* array of text or NULL */
	const json_t *begun;	/* array of numbers of disks or NULL; durable on return */
	const json_t *released; /* the same */
	int64_t disk;		/* -1: none */
	const char *bottleneck; /* one of those of docs/protocol.md, or NULL */
	uint64_t unreadable, sick, read_errors;
	const char *rescue_pass; /* the same */
};
int fleet_progress(struct fleet *f, const char *machine, const char *id, const struct progress *p,
		   bool *ret_cancel, struct err *err) MUST_CHECK;
/* Bytes were taken in or given out for a job: it has not stalled. */
void fleet_note_transfer(struct fleet *f, struct job *j);
/* May its agent send a pack more?  It has failed otherwise: API_TOO_LARGE. */
int fleet_check_taken(struct fleet *f, struct job *j, struct err *err) MUST_CHECK;
/* A pack of so many plain bytes was taken in. */
void fleet_note_taken(struct fleet *f, struct job *j, uint64_t bytes);
#define HELD_SIZE 320u
/* Nothing more of it could be taken in, for the reason `why` (a sentence): it is stalled until something is. */
void fleet_note_refusal(struct fleet *f, struct job *j, const char *why);
/* There was no memory for what its agent asked for.  Others' requests pass, so it is stalled only if that goes on. */
void fleet_note_busy(struct fleet *f, struct job *j);
/* Both may be repeated.  `report` an object or NULL. */
int fleet_job_done(struct fleet *f, const char *machine, const char *id, const json_t *report,
		   struct err *err) MUST_CHECK;
int fleet_job_failed(struct fleet *f, const char *machine, const char *id, const char *code,
		     const char *message, const json_t *report, struct err *err) MUST_CHECK;

/* What is fixed about disk `n` of an acquired job.  API_NOT_FOUND */
int job_get_disk(struct fleet *f, struct job *j, uint64_t n, struct job_disk_row *ret,
		 struct err *err) MUST_CHECK;
/* Capture: the index in the making of disk `n`; as long as the job is held.  A disk that was sealed is open again: its agent was
 * restarted, and reads it once more. */
int job_get_partial(struct fleet *f, struct job *j, uint64_t n, struct partial **ret,
		    struct err *err) MUST_CHECK;
/* Capture: the disk is sealed. Durable on return. */
int job_set_sealed(struct fleet *f, struct job *j, uint64_t n, const struct job_disk_row *sealed,
		   struct err *err) MUST_CHECK;
const char *job_id(const struct job *j);

/* ---- what operators say */

/* The body of POST /v1/jobs -> JOB */
int fleet_create_job(struct fleet *f, const json_t *body, json_t **ret, struct err *err) MUST_CHECK;
int fleet_cancel_job(struct fleet *f, const char *id, json_t **ret, struct err *err) MUST_CHECK;
/* JOB; waits at most `wait_s` until its seq is greater than `seq`. */
int fleet_show_job(struct fleet *f, const char *id, uint64_t seq, unsigned wait_s, json_t **ret,
		   struct err *err) MUST_CHECK;
/* {"jobs": [JOB...]}; `machine` as in fleet_show_machine, or NULL; `id`: how it begins, or NULL. */
int fleet_list_jobs(struct fleet *f, const char *machine, const char *state, const char *id,
		    json_t **ret, struct err *err) MUST_CHECK;

/* ---- images */

/* {"images": [IMAGE...]}, IMAGE with "versions": [VERSION...] */
int fleet_list_images(struct fleet *f, json_t **ret, struct err *err) MUST_CHECK;
int fleet_show_image(struct fleet *f, const char *image, json_t **ret, struct err *err) MUST_CHECK;
/* `version` 0: the image with all its versions.  API_CONFLICT while a job uses it. */
int fleet_remove_image(struct fleet *f, const char *image, uint32_t version,
		       struct err *err) MUST_CHECK;
#endif
