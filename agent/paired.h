/* paired.h - the server that this machine was paired with, kept in the state folder beside the session's secret, so that an agent that
 * is started again need not pair again. */
#ifndef AGENT_PAIRED_H
#define AGENT_PAIRED_H
#include <stdbool.h>

#include "common/http.h"

/* Fills url and pin; false: there is none, or it makes no sense. */
bool paired_load(const char *state_dir, struct http_target *ret);
/* The secret that a server before this one gave is removed.  A negative errno, with the sentence: the pairing holds, but is not kept. */
int paired_save(const char *state_dir, const struct http_target *t, struct err *err) MUST_CHECK;
/* Also the session's secret that belongs to it. */
void paired_forget(const char *state_dir);
#endif
