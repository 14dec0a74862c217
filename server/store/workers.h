/* workers.h - the threads that verify and write what peers send, apart from those of the connections: however many send at once, only so
 * much is decompressed, hashed and held in memory at one time; the others wait their turn.
 *
 * What is sent to peers is not their work: it waits for the memory of answers, which slow peers may hold, and would keep them from the rest. */
#ifndef SERVER_STORE_WORKERS_H
#define SERVER_STORE_WORKERS_H
#include "common/err.h"

#define WORKERS_MAX 32u

struct workers;
typedef int (*workers_fn)(void *arg, struct err *err);

/* `len`: 1 to WORKERS_MAX; 0: two for each processor, so that one computes while the other waits for the disk. */
int workers_start(unsigned len, struct workers **ret, struct err *err) MUST_CHECK;
/* Nobody may be waiting in workers_run.  NULL is fine. */
void workers_stop(struct workers *w);
/* Has one of them call `fn`, first come, first served, and waits for its result.  Not from within `fn`: with all of them waiting
 * none would be left. */
int workers_run(struct workers *w, workers_fn fn, void *arg, struct err *err) MUST_CHECK;
#endif
