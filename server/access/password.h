/* password.h - passwords, hashed with Argon2id (libsodium; docs/adr/0009).
 *
 * A hash takes tens of MiB and a tenth of a second, so few are made at one time, and few wait: whoever knocks without end gets
 * API_BUSY and takes no more than that. */
#ifndef SERVER_ACCESS_PASSWORD_H
#define SERVER_ACCESS_PASSWORD_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "server/state/state.h"

#define PASSWORD_MIN 10u /* bytes */
#define PASSWORD_MAX 128u

struct password_cost {
	size_t memory;	 /* bytes */
	unsigned passes; /* over it */
};
/* RFC 9106, the second recommended choice: 64 MiB, three passes. */
extern const struct password_cost password_cost_usual;

struct passwords;
/* NULL: no memory, or no random numbers. */
struct passwords *passwords_new(const struct password_cost *cost);
void passwords_free(struct passwords *p);
/* Those that wait get API_BUSY. */
void passwords_stop(struct passwords *p);

/* Long enough, not too long, not the name: -EINVAL with the sentence. */
int password_check(const char *name, const char *password, struct err *err) MUST_CHECK;
int password_hash(struct passwords *p, const char *password, char ret[static PASSWORD_HASH_SIZE],
		  struct err *err) MUST_CHECK;
/* 1 it is this one, 0 it is not, API_BUSY.  `hash` NULL: nobody's, which takes as long.  Few of one `address` (address_key()) wait. */
int password_verify(struct passwords *p, const char *hash, const char *password,
		    const uint8_t address[static 16], struct err *err) MUST_CHECK;
/* Was it made at another cost than new ones are? */
bool password_is_dated(const struct passwords *p, const char *hash);
#endif
