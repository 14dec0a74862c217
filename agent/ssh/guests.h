/* guests.h - who may log in: the keys in a text of settings, which is hostile until it was looked at. */
#ifndef AGENT_SSH_GUESTS_H
#define AGENT_SSH_GUESTS_H
#include <stddef.h>

#include "common/err.h"
#include "common/ssh_key.h"

struct guests {
	struct ssh_key keys[SSH_KEYS_MAX];
	size_t len;
};

/* `bad` is told of each line that is wrong, which is passed over.  -EPROTO: the text is no text; -ENOMEM. */
int guests_load(const char *text, size_t size, struct guests *ret,
		void (*bad)(void *ctx, const char *line), void *ctx, struct err *err) MUST_CHECK;
/* For the SSH server: HOME/.ssh/authorized_keys, with these keys alone, each without the right to forward anything. */
int guests_write(const struct guests *g, const char *home, struct err *err) MUST_CHECK;
#endif
