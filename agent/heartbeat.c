/* heartbeat.c - two threads: one waits for the server, which may be away for an hour, the other goes on telling the person. */
#include "agent/heartbeat.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "agent/wire.h"
#include "common/cleanup.h"
#include "common/cond.h"
#include "common/text.h"

#define SHOW_MS 500u

struct heartbeat {
	struct job *job;
	struct console *console;
	struct link *link;
	unsigned interval_ms;
	pthread_t post, show;
	pthread_mutex_t lock; /* over stop */
	pthread_cond_t wake;
	bool stop;
};

/* False when it is time to end. */
static bool pause_ms(struct heartbeat *h, unsigned ms)
{
	struct timespec until;
	bool stop;
	int r = 0;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	(void)pthread_mutex_lock(&h->lock);
	while (!h->stop && r == 0)
		r = pthread_cond_timedwait(&h->wake, &h->lock, &until);
	stop = h->stop;
	(void)pthread_mutex_unlock(&h->lock);
	return !stop;
}

/* Lines that are waiting. */
static json_t *take_lines(struct job *job)
{
	json_t *lines = json_array();

	for (unsigned i = 0; lines && i < JOB_LINES_MAX; i++) {
		CLEANUP_FREE char *line = job_take_line(job);
		char clean[JOB_LINE_SIZE + 1];

		if (!line)
			break;
		(void)text_clean(clean, sizeof(clean), line, strlen(line));
		(void)json_array_append_new(lines, json_string(clean));
	}
	return lines;
}

static void untake_lines(struct job *job, const json_t *lines)
{
	for (size_t i = json_array_size(lines); i > 0; i--) {
		const char *line = json_string_value(json_array_get(lines, i - 1));

		if (line)
			job_untake_line(job, line);
	}
}

bool heartbeat_is_over(const struct http_answer *a)
{
	return strcmp(a->error.code, "cancelled") == 0 || strcmp(a->error.code, "not_found") == 0 ||
	       strcmp(a->error.code, "conflict") == 0;
}

int heartbeat_send(struct link *l, struct job *job, struct err *err)
{
	struct job_progress p = job_get_progress(job);
	CLEANUP_JSON json_t *body = wire_progress_encode(&p);
	CLEANUP_JSON json_t *answer = NULL;
	char path[96];
	struct http_call call = {"POST", path, body, 0};
	struct http_answer a;
	bool cancel = false;
	int r;

	if (!body || json_object_set_new(body, "log", take_lines(job)) < 0)
		return err_set(err, -ENOMEM, "out of memory");
	(void)snprintf(path, sizeof(path), "/v1/agent/jobs/%s/progress", job->id);
	r = link_json(l, &call, &answer, &a, err);
	if (r == -EREMOTEIO && heartbeat_is_over(&a)) {
		cancel = true;
		r = 0;
	} else if (r == 0) {
		r = json_opt_bool(answer, "cancel", &cancel, err);
	} else if (r != -EREMOTEIO) { /* that was an answer, and would be the same again */
		untake_lines(job, json_object_get(body, "log"));
	}
	if (cancel)
		job_stop(job, JOB_CANCELLED);
	return r;
}

static void *post(void *arg)
{
	struct heartbeat *h = arg;
	struct err err;

	do {
		if (heartbeat_send(h->link, h->job, &err) < 0 && err.code != -ECANCELED)
			console_say(h->console, "progress could not be told: %s", err.msg);
	} while (pause_ms(h, h->interval_ms));
	return NULL;
}

static void *show(void *arg)
{
	struct heartbeat *h = arg;

	while (pause_ms(h, SHOW_MS)) {
		struct job_progress p = job_get_progress(h->job);

		console_progress(h->console, &p);
	}
	return NULL;
}

static void wake(struct heartbeat *h)
{
	(void)pthread_mutex_lock(&h->lock);
	h->stop = true;
	(void)pthread_cond_broadcast(&h->wake);
	(void)pthread_mutex_unlock(&h->lock);
	link_interrupt(h->link);
}

static void heartbeat_free(struct heartbeat *h)
{
	link_free(h->link);
	(void)pthread_cond_destroy(&h->wake);
	(void)pthread_mutex_destroy(&h->lock);
	free(h);
}

static int start_threads(struct heartbeat *h)
{
	int r = pthread_create(&h->post, NULL, post, h);

	if (r != 0)
		return -r;
	r = pthread_create(&h->show, NULL, show, h);
	if (r != 0) {
		wake(h);
		(void)pthread_join(h->post, NULL);
	}
	return -r;
}

int heartbeat_start(struct session *s, struct job *job, struct console *console,
		    unsigned interval_ms, struct heartbeat **ret, struct err *err)
{
	struct heartbeat *h = calloc(1, sizeof(*h));
	int r = -ENOMEM;

	if (!h)
		return err_set(err, -ENOMEM, "out of memory");
	h->job = job;
	h->console = console;
	h->interval_ms = interval_ms;
	(void)pthread_mutex_init(&h->lock, NULL);
	cond_init(&h->wake);
	h->link = link_new(s);
	if (h->link)
		r = start_threads(h);
	if (r < 0) {
		heartbeat_free(h);
		return err_set(err, r, "start a thread: %s", strerrordesc_np(-r));
	}
	*ret = h;
	return 0;
}

void heartbeat_stop(struct heartbeat *h)
{
	if (!h)
		return;
	wake(h);
	(void)pthread_join(h->post, NULL);
	(void)pthread_join(h->show, NULL);
	heartbeat_free(h);
}
