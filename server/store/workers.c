/* workers.c - a queue of those who wait; each task lies on the stack of its thread. */
#include "server/store/workers.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct task {
	struct task *next;
	workers_fn fn;
	void *arg;
	struct err *err;
	int result;
	bool is_over;
	pthread_cond_t over;
};

struct workers {
	pthread_t threads[WORKERS_MAX];
	unsigned len;
	pthread_mutex_t lock; /* over what follows, and over tasks */
	pthread_cond_t wake;
	struct task *first, **last;
	bool stop;
};

static void *work(void *arg)
{
	struct workers *w = arg;

	(void)pthread_mutex_lock(&w->lock);
	for (;;) {
		struct task *t = w->first;

		if (!t && w->stop)
			break;
		if (!t) {
			(void)pthread_cond_wait(&w->wake, &w->lock);
			continue;
		}
		w->first = t->next;
		if (!w->first)
			w->last = &w->first;
		(void)pthread_mutex_unlock(&w->lock);
		t->result = t->fn(t->arg, t->err);
		(void)pthread_mutex_lock(&w->lock);
		t->is_over = true;
		(void)pthread_cond_signal(&t->over);
	}
	(void)pthread_mutex_unlock(&w->lock);
	return NULL;
}

static unsigned usual_len(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	if (n < 1)
		n = 1;
	return n > (long)WORKERS_MAX / 2 ? WORKERS_MAX : (unsigned)n * 2;
}

int workers_start(unsigned len, struct workers **ret, struct err *err)
{
	struct workers *w = calloc(1, sizeof(*w));
	unsigned wanted = len > 0 ? len : usual_len();
	int r = 0;

	if (!w)
		return err_set(err, -ENOMEM, "start threads: out of memory");
	(void)pthread_mutex_init(&w->lock, NULL);
	(void)pthread_cond_init(&w->wake, NULL);
	w->last = &w->first;
	while (w->len < wanted && r == 0) {
		r = pthread_create(&w->threads[w->len], NULL, work, w);
		w->len += r == 0;
	}
	if (w->len == 0) { /* fewer than wanted are slower, and no more than that */
		workers_stop(w);
		return err_set(err, -r, "start a thread: %s", strerrordesc_np(r));
	}
	*ret = w;
	return 0;
}

void workers_stop(struct workers *w)
{
	if (!w)
		return;
	(void)pthread_mutex_lock(&w->lock);
	w->stop = true;
	(void)pthread_cond_broadcast(&w->wake);
	(void)pthread_mutex_unlock(&w->lock);
	for (unsigned i = 0; i < w->len; i++)
		(void)pthread_join(w->threads[i], NULL);
	(void)pthread_cond_destroy(&w->wake);
	(void)pthread_mutex_destroy(&w->lock);
	free(w);
}

int workers_run(struct workers *w, workers_fn fn, void *arg, struct err *err)
{
	struct task t = {.fn = fn, .arg = arg, .err = err};

	(void)pthread_cond_init(&t.over, NULL);
	(void)pthread_mutex_lock(&w->lock);
	*w->last = &t;
	/* cppcheck-suppress autoVariables ; it is out of the queue before this returns */
	w->last = &t.next;
	(void)pthread_cond_signal(&w->wake);
	while (!t.is_over)
		(void)pthread_cond_wait(&t.over, &w->lock);
	(void)pthread_mutex_unlock(&w->lock);
	(void)pthread_cond_destroy(&t.over);
	return t.result;
}
