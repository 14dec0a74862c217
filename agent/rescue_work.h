/* rescue_work.h - between rescue.c and rescue_passes.c only. */
#ifndef AGENT_RESCUE_WORK_H
#define AGENT_RESCUE_WORK_H
#include "agent/meter.h"
#include "agent/rescue.h"

/* What is known of a sector. */
enum sector {
	SECTOR_DONE, /* read, or not in use */
	SECTOR_UNTRIED,
	SECTOR_UNTRIMMED, /* one of these could not be read */
	SECTOR_UNSCRAPED, /* the same, between two that are bad */
	SECTOR_BAD,	  /* could not be read alone */
	SECTOR_LOST,	  /* the same, and is not tried again */
};

/* A window that is being saved, or is and waits to be taken. */
struct patient {
	uint64_t offset;
	uint32_t size, sectors;
	uint8_t *buf;	/* WINDOW_SIZE; free sectors are zeros */
	uint8_t *state; /* enum sector of each */
	uint64_t used_ms;
	bool was_read; /* before; and no read of it has failed now */
};

struct rescue {
	struct source *source;
	struct job *job;
	struct rescue_options options;
	uint32_t sector_size;

	pthread_mutex_t lock;	  /* over all below */
	struct extents sick;	  /* windows put off, as bytes of the disk */
	struct extents again;	  /* windows of which rescue_again told */
	struct patient *patients; /* options.windows places; those without a buffer are free */
	size_t waiting;		  /* patients */
	unsigned failures;	  /* in a row */
	uint64_t leap;		  /* windows */
	uint64_t total_ms;	  /* spent */
	uint64_t counted_ms;	  /* until then, by clock_ms: reads at the same time cost once */
	uint64_t area_ms;	  /* what a window may take now */
	uint64_t batch_end_ms;	  /* rescue_work ends when total_ms is that much */
	bool is_sick;		  /* options.on_sick was called */
#define RESCUE_GOOD 8u
	uint64_t good[RESCUE_GOOD]; /* places that were read, at random */
	uint64_t good_len, random;
};

#define RESCUE_SLOW_MS 3000u
/* (rescue_alive.c) A read has ended that began at `start_ms`, by clock_ms.  Error: the disk is gone or dead. */
int rescue_note_failure(struct rescue *r, uint64_t offset, uint64_t start_ms,
			struct err *err) MUST_CHECK;
/* True: it was slow.  That counts only in the passes, which end when their time is over.  What is read of the whole disk is read however slow all of it is, and
 * would leave no time for the first bad place. */
bool rescue_note_success(struct rescue *r, uint64_t offset, uint64_t start_ms, bool is_saving);
/* Is the disk there, and does it give what it gave before?  `offset`: where it failed. */
int rescue_check_alive(struct rescue *r, uint64_t offset, struct err *err) MUST_CHECK;

/* All passes over `len` patients whose sectors are in their first state.  What cannot be read is SECTOR_BAD, or whatever it was when time ran out. */
int rescue_passes(struct rescue *r, struct patient *const *p, size_t len,
		  struct err *err) MUST_CHECK;
#endif
