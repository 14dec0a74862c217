#include "agent/peer.h"

#include <errno.h>

#include "agent/job.h"

int peer_blame(const struct peer *p, struct job *job, int r)
{
	if (r >= 0)
		return r;
	switch (-r) {
	case EREMOTEIO:
		return job_blame(job, p->code, r);
	case ESTALE:
		return job_blame(job, "incomplete", r);
	case EBADMSG:
		return job_blame(job, "store_damaged", r);
	default:
		return job_blame(job, "internal", r);
	}
}
