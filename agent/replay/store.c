#include "agent/replay/store.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "agent/replay/replay.h"

#define CONTROL	      "/dev/loop-control"
#define MISC_MAJOR    10u  /* <linux/major.h> */
#define CONTROL_MINOR 237u /* LOOP_CTRL_MINOR in include/linux/miscdevice.h */
#define TRIES	      8u   /* somebody else may take the free device before us */

int store_limit(const struct replay_sys *sys, uint64_t size, uint64_t max, uint64_t *ret,
		struct err *err)
{
	uint64_t free = 0;
	uint64_t limit;
	int r = sys->memory_free(&free);

	if (r < 0)
		return err_set(err, r, "it is not known how much memory is free: %s",
			       strerrordesc_np(-r));
	limit = free / REPLAY_MEMORY_SHARE;
	if (max != 0 && limit > max)
		limit = max;
	if (limit < REPLAY_MEMORY_MIN && limit < size) {
		return err_set(err, -ENOMEM,
			       "there is too little memory for a copy: of %" PRIu64
			       " MiB that are free it may take %" PRIu64 ", and needs %llu",
			       free >> 20, limit >> 20, REPLAY_MEMORY_MIN >> 20);
	}
	/* more than the filesystem and a little is never written */
	if (limit > size + REPLAY_MEMORY_MIN)
		limit = size + REPLAY_MEMORY_MIN;
	*ret = limit / 4096 * 4096;
	return 0;
}

/* Bind the file to a loop device that is free. */
static int bind_file(struct store *s, int control, char *path, size_t size)
{
	struct loop_config config = {
		.fd = (uint32_t)s->file,
		.info = {.lo_flags = LO_FLAGS_AUTOCLEAR},
	};
	int r = -EBUSY;

	for (unsigned i = 0; r == -EBUSY && i < TRIES; i++) {
		int number = s->sys->ioctl(control, LOOP_CTL_GET_FREE, NULL);

		if (number < 0)
			return number;
		(void)snprintf(path, size, "/dev/loop%d", number);
		r = s->sys->open(path, O_RDWR);
		if (r < 0)
			return r;
		s->loop = r;
		r = s->sys->ioctl(s->loop, LOOP_CONFIGURE, &config);
		if (r < 0) {
			(void)s->sys->close(s->loop);
			s->loop = -1;
		}
	}
	return r < 0 ? r : s->sys->number(path, &s->major, &s->minor);
}

int store_init(struct store *s, const struct replay_sys *sys, uint64_t size, struct err *err)
{
	char path[32] = CONTROL;
	int control;
	int r = sys->make_node(CONTROL, MISC_MAJOR, CONTROL_MINOR);

	*s = (struct store){.sys = sys, .file = -1, .loop = -1};
	if (r == 0)
		r = sys->open(CONTROL, O_RDWR);
	control = r;
	if (r >= 0) {
		r = sys->memory_file(size);
		if (r >= 0) {
			s->file = r;
			r = bind_file(s, control, path, sizeof(path));
		}
		(void)sys->close(control);
	}
	if (r >= 0)
		return 0;
	store_done(s);
	return err_set(err, r, "there is no device for a copy in memory ('%s': %s)", path,
		       strerrordesc_np(-r));
}

void store_done(struct store *s)
{
	if (s->loop >= 0)
		(void)s->sys->close(s->loop);
	if (s->file >= 0)
		(void)s->sys->close(s->file);
	s->loop = -1;
	s->file = -1;
}
