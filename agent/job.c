/* job.c - one lock over little things; what happens often (windows) takes it once a window. */
#include "agent/job.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/clock.h"
#include "agent/peer.h"
#include "common/cleanup.h"

const char *job_phase_name(enum job_phase p)
{
	static const char *const names[] = {"check", "capture", "restore", "verify", "finish"};

	return names[p];
}

const char *rescue_pass_name(enum rescue_pass p)
{
	static const char *const names[] = {NULL, "copy", "trim", "scrape", "retry"};

	return names[p];
}

void job_init(struct job *j, const char *id)
{
	memset(j, 0, sizeof(*j));
	(void)snprintf(j->id, sizeof(j->id), "%s", id);
	(void)pthread_mutex_init(&j->lock, NULL);
	meter_init(&j->meter);
}

void job_done(struct job *j)
{
	for (size_t i = 0; i < JOB_LINES_MAX; i++)
		free(j->lines[i]);
	meter_done(&j->meter);
	(void)pthread_mutex_destroy(&j->lock);
}

void job_stop(struct job *j, enum job_stop why)
{
	int goes_on = JOB_GOES_ON;

	(void)atomic_compare_exchange_strong(&j->stop, &goes_on, why);
	job_interrupt(j);
}

int job_check(const struct job *j, struct err *err)
{
	switch ((enum job_stop)atomic_load(&j->stop)) {
	case JOB_GOES_ON:
		return 0;
	case JOB_CANCELLED:
		return err_set(err, -ECANCELED, "the job was cancelled");
	case JOB_QUIT:
		break;
	}
	return err_set(err, -ECANCELED, "the agent was told to end");
}

void job_interrupt(struct job *j)
{
	(void)pthread_mutex_lock(&j->lock);
	for (size_t i = 0; i < j->peers_len; i++)
		j->peers[i]->ops->interrupt(j->peers[i]);
	(void)pthread_mutex_unlock(&j->lock);
}

void job_set_peers(struct job *j, struct peer *const *peers, size_t len)
{
	assert(len <= JOB_PEERS_MAX);
	(void)pthread_mutex_lock(&j->lock);
	for (size_t i = 0; i < len; i++)
		j->peers[i] = peers[i];
	j->peers_len = len;
	(void)pthread_mutex_unlock(&j->lock);
	if (job_is_stopped(j))
		job_interrupt(j);
}

int job_blame(struct job *j, const char *code, int r)
{
	if (r >= 0 || r == -ECANCELED)
		return r;
	(void)pthread_mutex_lock(&j->lock);
	if (j->code[0] == '\0')
		(void)snprintf(j->code, sizeof(j->code), "%s", code);
	(void)pthread_mutex_unlock(&j->lock);
	return r;
}

void job_get_code(struct job *j, char ret[static JOB_CODE_SIZE])
{
	(void)pthread_mutex_lock(&j->lock);
	memcpy(ret, j->code, JOB_CODE_SIZE);
	(void)pthread_mutex_unlock(&j->lock);
}

static void keep_line(struct job *j, const char *line)
{
	char *copy = strdup(line);

	if (!copy)
		return; /* it was shown; the server does without */
	(void)pthread_mutex_lock(&j->lock);
	if (j->lines_len == JOB_LINES_MAX) {
		free(j->lines[j->lines_first]);
		j->lines[j->lines_first] = NULL;
		j->lines_first = (j->lines_first + 1) % JOB_LINES_MAX;
		j->lines_len--;
		j->lines_dropped++;
	}
	j->lines[(j->lines_first + j->lines_len) % JOB_LINES_MAX] = copy;
	j->lines_len++;
	(void)pthread_mutex_unlock(&j->lock);
}

void job_say(struct job *j, const char *fmt, ...)
{
	char line[JOB_LINE_SIZE + 1];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (j->on_line)
		j->on_line(j->ctx, line);
	keep_line(j, line);
}

char *job_take_line(struct job *j)
{
	char *line = NULL;

	(void)pthread_mutex_lock(&j->lock);
	if (j->lines_dropped > 0 && asprintf(&line, "(%llu lines were dropped)",
					     (unsigned long long)j->lines_dropped) >= 0) {
		j->lines_dropped = 0;
	} else if (j->lines_len > 0) {
		line = j->lines[j->lines_first];
		j->lines[j->lines_first] = NULL;
		j->lines_first = (j->lines_first + 1) % JOB_LINES_MAX;
		j->lines_len--;
	}
	(void)pthread_mutex_unlock(&j->lock);
	return line;
}

void job_untake_line(struct job *j, const char *line)
{
	char *copy = strdup(line);

	(void)pthread_mutex_lock(&j->lock);
	if (copy && j->lines_len < JOB_LINES_MAX) {
		j->lines_first = (j->lines_first + JOB_LINES_MAX - 1) % JOB_LINES_MAX;
		j->lines[j->lines_first] = TAKE_PTR(copy);
		j->lines_len++;
	} else {
		j->lines_dropped++;
	}
	(void)pthread_mutex_unlock(&j->lock);
	free(copy);
}

/* What there is of the present phase goes into its span.  The lock is held. */
static void settle_span(struct job *j, struct job_span spans[static JOB_PHASES], uint64_t now_ms)
{
	struct job_span *s = &spans[j->progress.phase];

	if (!s->was)
		return;
	s->ms += now_ms - j->phase_ms;
	s->done = j->progress.done;
}

static void go_to_phase(struct job *j, enum job_phase phase, uint64_t done, uint64_t total)
{
	uint64_t now_ms = clock_ms();

	(void)pthread_mutex_lock(&j->lock);
	settle_span(j, j->spans, now_ms);
	j->spans[phase].was = true;
	j->phase_ms = now_ms;
	j->progress.phase = phase;
	j->progress.done = done;
	j->progress.total = total;
	(void)pthread_mutex_unlock(&j->lock);
}

void job_start_phase(struct job *j, enum job_phase phase, uint64_t total)
{
	go_to_phase(j, phase, 0, total);
}

void job_resume_phase(struct job *j, const struct job_progress *was)
{
	go_to_phase(j, was->phase, was->done, was->total);
}

void job_get_spans(struct job *j, struct job_span ret[static JOB_PHASES])
{
	(void)pthread_mutex_lock(&j->lock);
	memcpy(ret, j->spans, sizeof(j->spans));
	settle_span(j, ret, clock_ms());
	(void)pthread_mutex_unlock(&j->lock);
}

void job_set_disk(struct job *j, uint32_t disk)
{
	(void)pthread_mutex_lock(&j->lock);
	j->progress.disk = disk;
	(void)pthread_mutex_unlock(&j->lock);
}

void job_set_skipped(struct job *j, uint64_t skipped)
{
	(void)pthread_mutex_lock(&j->lock);
	j->progress.skipped = skipped;
	(void)pthread_mutex_unlock(&j->lock);
}

void job_add(struct job *j, uint64_t done, uint64_t data, uint64_t sent)
{
	(void)pthread_mutex_lock(&j->lock);
	j->progress.done += done;
	j->progress.data += data;
	j->progress.sent += sent;
	(void)pthread_mutex_unlock(&j->lock);
}

void job_add_looked(struct job *j, uint64_t size)
{
	(void)pthread_mutex_lock(&j->lock);
	if (j->progress.phase == PHASE_CHECK)
		j->progress.done += size;
	(void)pthread_mutex_unlock(&j->lock);
}

void job_take_back(struct job *j, uint64_t done)
{
	(void)pthread_mutex_lock(&j->lock);
	j->progress.done -= done < j->progress.done ? done : j->progress.done;
	(void)pthread_mutex_unlock(&j->lock);
}

void job_add_sick(struct job *j, uint64_t size)
{
	(void)pthread_mutex_lock(&j->lock);
	j->progress.sick += size;
	(void)pthread_mutex_unlock(&j->lock);
}

void job_set_rescue(struct job *j, enum rescue_pass pass, uint64_t sick)
{
	(void)pthread_mutex_lock(&j->lock);
	j->progress.rescue_pass = pass;
	j->progress.sick = sick;
	(void)pthread_mutex_unlock(&j->lock);
}

void job_take_sick(struct job *j, uint64_t size)
{
	(void)pthread_mutex_lock(&j->lock);
	j->progress.sick -= size < j->progress.sick ? size : j->progress.sick;
	(void)pthread_mutex_unlock(&j->lock);
}

void job_add_unreadable(struct job *j, uint64_t size)
{
	(void)pthread_mutex_lock(&j->lock);
	j->progress.unreadable += size;
	(void)pthread_mutex_unlock(&j->lock);
}

void job_count_error(struct job *j)
{
	(void)pthread_mutex_lock(&j->lock);
	j->progress.read_errors++;
	(void)pthread_mutex_unlock(&j->lock);
}

struct job_progress job_get_progress(struct job *j)
{
	struct job_progress p;

	(void)pthread_mutex_lock(&j->lock);
	p = j->progress;
	(void)pthread_mutex_unlock(&j->lock);
	p.bottleneck = meter_bottleneck(&j->meter, clock_us());
	return p;
}
