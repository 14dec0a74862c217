/* job.h - what all threads of a running job share: how far it is, whether to stop, what went wrong, what to tell.
 * Thread-safe throughout.  Nothing here prints or sends: the session and the console look at it. */
#ifndef AGENT_JOB_H
#define AGENT_JOB_H
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/meter.h"
#include "common/err.h"
#include "common/message.h"

enum job_phase { PHASE_CHECK, PHASE_CAPTURE, PHASE_RESTORE, PHASE_VERIFY, PHASE_FINISH };
#define JOB_PHASES 5u
const char *job_phase_name(enum job_phase p);

/* rescue_passes.c */
enum rescue_pass { RESCUE_NONE, RESCUE_COPY, RESCUE_TRIM, RESCUE_SCRAPE, RESCUE_RETRY };
/* "copy", ...; NULL for RESCUE_NONE. */
const char *rescue_pass_name(enum rescue_pass p);

struct job_progress {
	enum job_phase phase;
	uint32_t disk; /* the one at work, its place in the order */
	uint64_t done; /* bytes of disk in this phase, over all disks; of a capture: bytes in use */
	uint64_t total;	  /* of that many */
	uint64_t data;	  /* bytes of chunks */
	uint64_t sent;	  /* bytes on the wire: bodies sent (capture), received (restore) */
	uint64_t skipped; /* capture: bytes of all disks that are not in use */
	/* Of a capture, over all disks: */
	uint64_t unreadable;  /* bytes in use that were given up */
	uint64_t sick;	      /* bytes in places that failed and are put off, or are being saved */
	uint64_t read_errors; /* reads that failed while there was something to be saved */
	enum rescue_pass rescue_pass; /* that is at work */
	enum meter_place bottleneck;  /* of late; METER_NOWHERE: not known */
};

/* How long a phase took, and how far it came. */
struct job_span {
	bool was; /* there was one */
	uint64_t ms;
	uint64_t done; /* bytes of disk */
};

enum job_stop {
	JOB_GOES_ON,
	JOB_CANCELLED, /* the server said so */
	JOB_QUIT,      /* this program ends; the job does not */
};

#define JOB_LINES_MAX 64u /* kept until sent; the oldest are dropped */
#define JOB_LINE_SIZE 500u
#define JOB_CODE_SIZE 32u
#define JOB_PEERS_MAX 36u /* as many workers as may be asked for, and CAPTURE_SENDERS_MAX */

struct peer;

struct job {
	char id[JOB_ID_SIZE];
	atomic_int stop; /* enum job_stop */
	/* Told of every line at once, from whatever thread; may be NULL. */
	void (*on_line)(void *ctx, const char *line);
	void *ctx;
	struct meter meter; /* of all workers */

	pthread_mutex_t lock; /* over all below */
	struct job_progress progress;
	struct job_span spans[JOB_PHASES]; /* of phases that are over */
	uint64_t phase_ms;		   /* when the present one began, if its span `was` */
	char code[JOB_CODE_SIZE];	   /* why it failed; "" = not yet known */
	char *lines[JOB_LINES_MAX];
	size_t lines_first, lines_len;
	uint64_t lines_dropped;
	struct peer *peers[JOB_PEERS_MAX]; /* interrupted when the job stops */
	size_t peers_len;
};

void job_init(struct job *j, const char *id);
void job_done(struct job *j);

/* End it soon: workers see it between windows, and requests under way are interrupted.  The first reason stays. */
void job_stop(struct job *j, enum job_stop why);
static inline bool job_is_stopped(const struct job *j)
{
	return atomic_load(&j->stop) != JOB_GOES_ON;
}
/* 0, or -ECANCELED with a sentence. */
int job_check(const struct job *j, struct err *err) MUST_CHECK;
/* Interrupt the requests of all workers, without stopping the job: one of them has failed. */
void job_interrupt(struct job *j);

/* The peers that are to be interrupted.  Not taken: to be cleared before they are freed. */
void job_set_peers(struct job *j, struct peer *const *peers, size_t len);

/* The code of docs/protocol.md that `r` is to be reported with, if none was named before.  Returns r; 0 and -ECANCELED name none. */
int job_blame(struct job *j, const char *code, int r);
/* Copies it; "" if none. */
void job_get_code(struct job *j, char ret[static JOB_CODE_SIZE]);

/* A line for the operator, here and at the server. */
void job_say(struct job *j, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The oldest line not yet sent, heap, or NULL. */
char *job_take_line(struct job *j);
/* It could not be sent after all, and is the oldest again.  With several, the last one taken first. */
void job_untake_line(struct job *j, const char *line);

void job_start_phase(struct job *j, enum job_phase phase, uint64_t total);
/* Back to the phase that there was then, as far as that had come. */
void job_resume_phase(struct job *j, const struct job_progress *was);
/* Of all phases, the present one as far as it is. */
void job_get_spans(struct job *j, struct job_span ret[static JOB_PHASES]);
void job_set_disk(struct job *j, uint32_t disk);
void job_set_skipped(struct job *j, uint64_t skipped);
/* Each is added to what there is. */
void job_add(struct job *j, uint64_t done, uint64_t data, uint64_t sent);
/* Bytes that were read to find out what is on the disks: done of the phase `check`, which has no total, and nothing in the others. */
void job_add_looked(struct job *j, uint64_t size);
/* Bytes of disk that are to be done again. */
void job_take_back(struct job *j, uint64_t done);
/* A window of `size` bytes was put off; a pass begins, with so many bytes to be saved; some were; some are lost; a read has failed. */
void job_add_sick(struct job *j, uint64_t size);
void job_set_rescue(struct job *j, enum rescue_pass pass, uint64_t sick);
void job_take_sick(struct job *j, uint64_t size);
void job_add_unreadable(struct job *j, uint64_t size);
void job_count_error(struct job *j);
struct job_progress job_get_progress(struct job *j);
#endif
