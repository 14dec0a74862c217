#include "server/fleet/pace.h"

#define MIN_SPAN_MS 500u

void pace_reset(struct pace *p)
{
	*p = (struct pace){0};
}

void pace_add(struct pace *p, uint64_t ms, uint64_t done)
{
	size_t last = (p->next + PACE_SAMPLES - 1) % PACE_SAMPLES;

	if (p->len > 0 && (done < p->samples[last].done || ms < p->samples[last].ms))
		pace_reset(p);
	/* a talkative agent must not make the window shorter */
	if (p->len > 1 && ms - p->samples[last].ms < PACE_WINDOW_MS / PACE_SAMPLES) {
		p->samples[last].done = done;
		return;
	}
	p->samples[p->next].ms = ms;
	p->samples[p->next].done = done;
	p->next = (p->next + 1) % PACE_SAMPLES;
	if (p->len < PACE_SAMPLES)
		p->len++;
}

uint64_t pace_rate(const struct pace *p, uint64_t now_ms)
{
	size_t last = (p->next + PACE_SAMPLES - 1) % PACE_SAMPLES;
	size_t first = last;
	uint64_t span;

	for (size_t i = 1; i < p->len; i++) {
		size_t k = (p->next + PACE_SAMPLES - 1 - i) % PACE_SAMPLES;

		if (now_ms - p->samples[k].ms > PACE_WINDOW_MS)
			break;
		first = k;
	}
	if (p->len < 2 || first == last || now_ms < p->samples[first].ms)
		return 0;
	/* up to now, not to the last sample: an agent that fell silent gets slower */
	span = now_ms - p->samples[first].ms;
	if (span < MIN_SPAN_MS)
		return 0;
	return (p->samples[last].done - p->samples[first].done) * 1000 / span;
}

int64_t pace_eta(uint64_t left, uint64_t rate)
{
	if (left == 0)
		return 0;
	if (rate == 0 || left / rate > INT64_MAX)
		return -1;
	return (int64_t)(left / rate + (left % rate != 0));
}
