/* rate.h - how fast something went, for reports. */
#ifndef COMMON_RATE_H
#define COMMON_RATE_H
#include <stdint.h>

/* Bytes a second, rounded down; of what took no time, as if it had taken a millisecond.  INT64_MAX: that or more. */
static inline uint64_t rate_of(uint64_t bytes, uint64_t ms)
{
	uint64_t whole, rest;

	ms = ms > 0 ? ms : 1;
	if (__builtin_mul_overflow(bytes / ms, (uint64_t)1000, &whole) ||
	    __builtin_mul_overflow(bytes % ms, (uint64_t)1000, &rest) ||
	    __builtin_add_overflow(whole, rest / ms, &whole))
		return INT64_MAX;
	return whole < INT64_MAX ? whole : INT64_MAX;
}
#endif
