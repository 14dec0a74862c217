/* capture.h - one disk to the server: read, cut, ask, pack, send; docs/protocol.md "Capture". */
#ifndef AGENT_CAPTURE_H
#define AGENT_CAPTURE_H
#include <stdint.h>

#include "agent/job.h"
#include "agent/level.h"
#include "agent/peer.h"
#include "agent/rescue.h"
#include "agent/source.h"
#include "common/codec.h"

#define CAPTURE_SENDERS_MAX 4u

/* Threads that only send, each by its own connection, beside so many workers. */
static inline unsigned capture_senders(unsigned workers)
{
	return workers < CAPTURE_SENDERS_MAX ? workers : CAPTURE_SENDERS_MAX;
}
/* What one worker needs when it compresses at that level, its share of senders and of packs on their way included: for whoever divides the memory. */
uint64_t capture_worker_memory(enum codec codec, int level);

struct capture_setup {
	struct job *job;
	uint32_t disk; /* its place in the order */
	struct source *source;
	struct peer *const *peers; /* one a worker, then one a sender (capture_senders) */
	unsigned workers;
	enum codec codec;
	struct level *level;
	struct rescue_options rescue;
};

struct capture_result {
	struct id root;
	uint64_t data_bytes; /* chunks before deduplication */
	unsigned
		passes; /* 1, or more when the server named windows that it had lost; of rescue they are not counted */
};

/* Until the server has sealed the disk.  Progress is counted in job, in bytes that are in use; unreadable places stay in the source.
 * Every error has a code in the job (job_blame): -ECANCELED, those of struct peer, source_read and rescue.h. */
int capture_disk(const struct capture_setup *setup, struct capture_result *ret,
		 struct err *err) MUST_CHECK;
#endif
