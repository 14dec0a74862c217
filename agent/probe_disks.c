/* probe_disks.c - all disks side by side, none waited for longer than the time-out.
 *
 * A read that hangs in the kernel cannot be interrupted, so a job is owned by two, its thread and the one who waits, and freed by the
 * last of them: the waiter can walk away. */
#include "agent/probe.h"

#include <blkid/blkid.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define FILES (2 * DEVICES_MAX + 256)

struct job {
	struct disk disk; /* a copy of what the probe reads; owns nothing */
	probe_fn *probe;
	pthread_mutex_t lock;
	pthread_cond_t is_over;
	unsigned owners; /* this and what follows: under `lock` */
	bool is_done;
	struct contents result;
};

static void job_leave(struct job *j)
{
	unsigned left;

	(void)pthread_mutex_lock(&j->lock);
	left = --j->owners;
	(void)pthread_mutex_unlock(&j->lock);
	if (left > 0)
		return;
	contents_done(&j->result);
	(void)pthread_cond_destroy(&j->is_over);
	(void)pthread_mutex_destroy(&j->lock);
	free(j);
}

static void *job_run(void *arg)
{
	struct job *j = arg;
	struct contents found = {0};
	struct err err;

	if (j->probe(&j->disk, &found, &err) < 0)
		(void)text_clean(found.error, sizeof(found.error), err.msg, sizeof(err.msg));
	(void)pthread_mutex_lock(&j->lock);
	j->result = found;
	j->is_done = true;
	(void)pthread_cond_signal(&j->is_over);
	(void)pthread_mutex_unlock(&j->lock);
	job_leave(j);
	return NULL;
}

/* NULL: it could not be started. */
static struct job *job_start(const struct disk *d, probe_fn *probe)
{
	struct job *j = calloc(1, sizeof(*j));
	pthread_t thread;

	if (!j)
		return NULL;
	memcpy(j->disk.path, d->path, sizeof(j->disk.path));
	j->disk.kind = d->kind;
	j->disk.size = d->size;
	j->disk.sector_size = d->sector_size;
	j->disk.physical_sector_size = d->physical_sector_size;
	j->probe = probe;
	j->owners = 2;
	(void)pthread_mutex_init(&j->lock, NULL);
	(void)pthread_cond_init(&j->is_over, NULL);
	if (pthread_create(&thread, NULL, job_run, j) != 0) {
		j->owners = 1;
		job_leave(j);
		return NULL;
	}
	(void)pthread_detach(thread);
	return j;
}

static void job_wait(struct job *j, const struct timespec *until, unsigned timeout_ms,
		     struct contents *ret)
{
	int r = 0;

	(void)pthread_mutex_lock(&j->lock);
	while (!j->is_done && r == 0)
		r = pthread_cond_clockwait(&j->is_over, &j->lock, CLOCK_MONOTONIC, until);
	if (j->is_done) {
		*ret = j->result;
		j->result = (struct contents){0};
	} else {
		(void)snprintf(ret->error, sizeof(ret->error),
			       "the disk did not answer within %u seconds",
			       (timeout_ms + 999) / 1000);
	}
	(void)pthread_mutex_unlock(&j->lock);
	job_leave(j);
}

/* Two for each disk at the same time. */
static void allow_files(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_cur >= FILES)
		return;
	files.rlim_cur = files.rlim_max < FILES ? files.rlim_max : FILES;
	(void)setrlimit(RLIMIT_NOFILE, &files);
}

void probe_disks(struct disk_list *l, probe_fn *probe, unsigned timeout_ms)
{
	struct job *jobs[DEVICES_MAX];
	struct timespec until;

	allow_files();
	blkid_init_debug(0); /* sets a global: before there are threads */
	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += timeout_ms % 1000 * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	for (size_t i = 0; i < l->len; i++)
		jobs[i] = job_start(&l->disks[i], probe);
	for (size_t i = 0; i < l->len; i++) {
		struct contents *c = &l->disks[i].contents;

		if (jobs[i])
			job_wait(jobs[i], &until, timeout_ms, c);
		else
			(void)snprintf(c->error, sizeof(c->error), "no thread to look at it with");
	}
}
