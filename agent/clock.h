/* clock.h - time that nobody sets back. */
#ifndef AGENT_CLOCK_H
#define AGENT_CLOCK_H
#include <stdint.h>
#include <time.h>

/* Milliseconds and microseconds since some moment before the program began. */
static inline uint64_t clock_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}
static inline uint64_t clock_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}
#endif
