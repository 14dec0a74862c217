/* rescue.h - a disk with places that cannot be read: all else first, then what can be saved around them, the easy before the hard.
 *
 * Sweeps: workers read window by window.  One that fails is put off; where several fail in a row more and more are leapt over, unread, for a
 * later sweep.  When nothing else is left of the disk, rescue_work reads the windows put off in passes (rescue_passes.c), down to the logical
 * sector; rescue_read then hands them out, with zeros for what is lost, and that is on the source's list of the unreadable.
 *
 * The time that reads take which fail, or are slow in the passes, is limited, for a window and for the disk; after it, what was leapt over is still read from its front
 * and from its end as far as no read fails, and the rest is given up untried.  A window that had been read, and that the server has lost since, is
 * read again as far, too.
 * A disk that is gone, or has died, is told from one with bad places: what could be read before is then read once more.  Thread-safe. */
#ifndef AGENT_RESCUE_H
#define AGENT_RESCUE_H
#include <stdbool.h>
#include <stdint.h>

#include "agent/job.h"
#include "agent/source.h"
#include "common/root.h"

#define RESCUE_TIME_S	   7200u /* of a disk */
#define RESCUE_AREA_TIME_S 300u	 /* of a window */
#define RESCUE_RETRIES	   1u

struct rescue_options {
	uint64_t total_ms, area_ms;
	unsigned retries; /* of each sector that is bad after all passes */
	size_t windows; /* so many in memory at once, at least 1; those beyond are saved after them */
	void (*on_sick)(void *ctx); /* once, when the first read has failed; may be NULL */
	/* Is the disk still there?  Or NULL. */
	int (*check)(void *ctx, struct err *err);
	void *ctx;
};
void rescue_options_init(struct rescue_options *o);

struct rescue;

/* NULL: out of memory.  `source` and `job` must outlive it. */
struct rescue *rescue_new(struct source *source, struct job *job,
			  const struct rescue_options *options) MUST_CHECK;
void rescue_free(struct rescue *r);
static inline void rescue_freep(struct rescue **r)
{
	rescue_free(*r);
}

/* Move the beginning of `w` past windows that are put off, and cut it before the next such; count 0: they all are, first is behind them. */
void rescue_skip(struct rescue *r, struct window_range *w);

/* It was put off; `*ret_leap` more windows had better not be tried in this sweep. */
#define RESCUE_LATER 1
/* Read window `w` of `size` bytes, as source_read, or hand out what rescue_work has saved of it.  RESCUE_LATER; -ENXIO: the disk is gone or dead. */
int rescue_read(struct rescue *r, struct ring *ring, uint8_t *buf, uint64_t w, uint32_t size,
		uint64_t *ret_leap, struct err *err) MUST_CHECK;

/* Is any window put off and not yet worked on? */
bool rescue_is_due(struct rescue *r);
/* Is anything of what rescue_work has saved not handed out yet? */
bool rescue_has_saved(struct rescue *r);
/* Is there no time left for trying? */
bool rescue_is_over(struct rescue *r);
/* These windows are not to be tried any more: put them off, unread. */
int rescue_put_off(struct rescue *r, const struct window_range *w) MUST_CHECK;
/* Window `w`, which is put off, was read before: it is tried once more whether there is time left or not, until a read fails.  -ENOMEM. */
int rescue_again(struct rescue *r, uint64_t w) MUST_CHECK;
/* All passes over the first of those put off, as many as options->windows: they are no longer put off.  To be called while no other thread reads.
 * -ENXIO: the disk is gone or dead; -EIO: no read of it has ever succeeded; -ECANCELED; -ENOMEM; -EFBIG. */
int rescue_work(struct rescue *r, struct err *err) MUST_CHECK;
#endif
