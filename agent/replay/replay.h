/* replay.h - the map of a filesystem that was not unmounted: its log is replayed by the kernel, on a copy in memory.
 *
 * The source is never written.  The device mapper makes a device that reads from it and keeps what is written in memory (dm-snapshot; its
 * store is a loop device over memory that no file name leads to).  The kernel's own driver brings that device up read-only, which replays the log; it is
 * never attached to any folder, so that nothing on it can be opened.  Then our own reader takes the map from that device.
 *
 * What a capture needs is more: it copies the disk as it is, and the kernel will replay the log again on what was restored.  So in use are what
 * is after the replay, what was before it as far as can be told, and the log.  That this suffices is tried out: a third device reads as zeros
 * where nothing is in use, just as the restored disk will, and the replay on that one must give the same map.  */
#ifndef AGENT_REPLAY_REPLAY_H
#define AGENT_REPLAY_REPLAY_H
#include "agent/usage/runs.h"
#include "agent/usage/usage.h"

struct replay_sys;

/* Which share of the memory that is free a copy may take, and the least that makes sense. */
#define REPLAY_MEMORY_SHARE 4u
#define REPLAY_MEMORY_MIN   (16ull << 20)

struct replay {
	const struct replay_sys *sys; /* NULL: the real one */
	uint64_t memory_max;	      /* bytes; 0: a quarter of what is free */
	/* What is being done, for the person; may be NULL. */
	void (*say)(void *ctx, const char *line);
	void *say_ctx;
};

/* A usage_replay_fn; `ctx` is a struct replay.  The disks must be block devices that are locked read-only.  One at a time in the whole system.
 * Memory beside the copy: that of one usage_map.
 * Blocks for as long as the kernel takes.  On return nothing of it is left, save that a device may go a little later when somebody else has it open. */
int replay_run(void *ctx, const struct usage_unclean *u, struct runs *ret,
	       struct err *err) MUST_CHECK;
#endif
