/* cond.h - conditions whose timed waits follow the monotonic clock: a wait does not end, or last for years, because somebody sets the time. */
#ifndef COMMON_COND_H
#define COMMON_COND_H
#include <pthread.h>
#include <time.h>

/* For pthread_cond_timedwait() until a time of CLOCK_MONOTONIC. */
static inline void cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(cond, &attr);
	(void)pthread_condattr_destroy(&attr);
}
#endif
