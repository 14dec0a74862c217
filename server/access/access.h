/* access.h - operators: their passwords, sessions and tokens.  docs/protocol.md "Operators".
 *
 * What is shown is looked up in the state at each request, so that what was ended there is worth nothing from that moment on.
 * All functions may be called from any thread; errors are those of server/api_error.h. */
#ifndef SERVER_ACCESS_ACCESS_H
#define SERVER_ACCESS_ACCESS_H
#include "common/err.h"
#include "server/access/caller.h"
#include "server/access/password.h"

struct access;

struct access_config {
	struct state *state; /* outlives it */
	struct password_cost cost;
	struct id file_hash; /* BLAKE3 of what is in operator.token */
	unsigned session_idle_s, session_life_s;
};

int access_open(const struct access_config *config, struct access **ret,
		struct err *err) MUST_CHECK;
/* Nobody waits for a password any more. */
void access_stop(struct access *a);
void access_close(struct access *a);

/* Who shows `secret`?  API_UNAUTHORIZED */
int access_authorize(struct access *a, const char *secret, struct caller *ret,
		     struct err *err) MUST_CHECK;

#define ACCESS_SECRET_SIZE 65
struct access_grant {
	struct credential_row row;
	char secret[ACCESS_SECRET_SIZE]; /* nowhere else, and not again */
};
void access_grant_done(struct access_grant *g);

/* A session.  API_WRONG_PASSWORD, API_RATE_LIMITED, API_BUSY; -ESTALE: role or password were changed meanwhile */
int access_login(struct access *a, const char *name, const char *password, const char *address,
		 struct access_grant *ret, struct err *err) MUST_CHECK;
/* The caller's own: needs the old one, and ends all sessions.  Errors as of access_login(). */
int access_change_password(struct access *a, const struct caller *who, const char *old,
			   const char *password, const char *address, struct err *err) MUST_CHECK;
/* A token of `row`'s operator, name, role and address.  API_RATE_LIMITED */
int access_add_token(struct access *a, const struct credential_row *row, int64_t expires_s,
		     struct access_grant *ret, struct err *err) MUST_CHECK;

/* May he order one more thing?  The audit log, which is to hold it, keeps so many only.  API_RATE_LIMITED */
int access_count_action(struct access *a, const struct caller *who, struct err *err) MUST_CHECK;

/* `who` asks for it (NULL: nobody in particular), and must be who he was when the password's hash has been made: API_UNAUTHORIZED */
int access_add_operator(struct access *a, const struct caller *who, const char *name,
			enum role role, const char *password, struct err *err) MUST_CHECK;
/* ROLE_NONE, NULL: as it is. */
int access_change_operator(struct access *a, const struct caller *who, const char *name,
			   enum role role, const char *password, struct err *err) MUST_CHECK;
#endif
