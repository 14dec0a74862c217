/* work.h - carry out one order, from the first look at the disks to the report. */
#ifndef AGENT_WORK_H
#define AGENT_WORK_H
#include "agent/config.h"
#include "agent/inventory.h"
#include "agent/job.h"
#include "agent/session.h"
#include "common/codec.h"
#include "common/json.h"
#include "common/limits.h"
#include "common/message.h"

struct work {
	const struct config *config;
	struct session *session;
	enum codec codec; /* that the server takes */
	const struct order *order;
	struct job *job;
	struct inventory *inventory; /* as it is now */
	json_t *disks;		     /* the report's; filled by work_capture, work_restore */
	json_t *levels;		     /* the report's, of a capture; or NULL */
	/* for the sentence about what is intact */
	bool has_written, was_begun; /* `was_begun`: before */
	bool has_compared;	     /* a target that may be whole */
	/* for the rates: from, and onto, the disks */
	uint64_t read_bytes, written_bytes;
};

enum outcome_kind { OUTCOME_DONE, OUTCOME_FAILED, OUTCOME_CANCELLED, OUTCOME_QUIT };

struct outcome {
	enum outcome_kind kind;
	char code[JOB_CODE_SIZE];     /* failed */
	char message[REASON_MAX + 1]; /* clean UTF-8 */
	uint64_t
		unreadable; /* bytes of the disks that are zeros in the image since they could not be read */
	json_t *report; /* NULL when out of memory */
};

/* `job` has been initialised for `order`. */
void work_run(struct work *w, struct outcome *ret);

/* ---- for work_capture.c and work_restore.c */

/* How many workers of that size there is reason and memory for, `aside` bytes put aside; 0: there is no room for one. */
unsigned work_count_workers(const struct work *w, uint64_t worker_size, uint64_t aside);
/* The same; none is -E2BIG with the sentence. */
int work_need_workers(struct work *w, uint64_t worker_size, uint64_t aside, unsigned *ret,
		      struct err *err) MUST_CHECK;

/* `len` connections, which are interrupted when the job stops. */
struct crew_peers {
	struct peer *peers[JOB_PEERS_MAX];
	unsigned len;
};
int work_open_peers(struct work *w, unsigned len, struct crew_peers *ret,
		    struct err *err) MUST_CHECK;
/* Beside `workers` of them, how many buffers of `size` there is room for; at least 1, at most `max`. */
size_t work_count_spare(const struct work *w, uint64_t worker_size, unsigned workers,
			uint64_t aside, uint64_t size, size_t max);
void work_close_peers(struct work *w, struct crew_peers *p);

int work_capture(struct work *w, struct err *err) MUST_CHECK;
int work_restore(struct work *w, struct err *err) MUST_CHECK;
#endif
