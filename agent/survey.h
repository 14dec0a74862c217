/* survey.h - before a capture: what of its disks is in use, so that the rest is neither read nor sent; and the report of it. */
#ifndef AGENT_SURVEY_H
#define AGENT_SURVEY_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/disk.h"
#include "agent/job.h"
#include "agent/used.h"
#include "common/blk.h"
#include "common/json.h"

struct survey_disk {
	/* in */
	const struct disk *disk;
	struct blk *blk;
	/* out */
	struct used used;
	uint64_t used_bytes;
	json_t *report; /* docs/protocol.md "Reports": "map" */
};

struct survey_options {
	bool all_blocks; /* whole, without a look */
	bool may_replay; /* the logs of filesystems, on a copy in memory (replay.h) */
};

/* All disks of one job together: volumes may lie over several of them.   What was decided, and for
 * what is copied whole why, is said in the job.  Whatever keeps a map from being made is no error, but makes the disks whole.
 * -ECANCELED: the job was stopped; -ENOMEM.  Both have their code in the job; survey_done in any case. */
int survey_disks(struct job *job, struct survey_disk *disks, size_t len,
		 const struct survey_options *o, struct err *err) MUST_CHECK;
void survey_done(struct survey_disk *disks, size_t len);
/* What the lists of all disks take. */
uint64_t survey_memory(const struct survey_disk *disks, size_t len);
#endif
