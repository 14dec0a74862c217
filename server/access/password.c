#include "server/access/password.h"

#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/cond.h"
#include "server/api_error.h"

#define AT_ONCE	  2u /* hashes */
#define WAITING	  16u
#define OF_ONE	  2u /* waiting, from one address */
#define WAIT_S	  10
#define NOBODY	  "nobody's password"
#define OUT_OF_IT "The server is busy with other passwords; try again."

_Static_assert(PASSWORD_HASH_SIZE >= crypto_pwhash_STRBYTES, "a hash fits");

const struct password_cost password_cost_usual = {64u << 20, 3};

struct waiter {
	struct waiter *next;
	const uint8_t *address; /* NULL: of one who is in */
};

struct passwords {
	struct password_cost cost;
	char nobody[PASSWORD_HASH_SIZE];
	pthread_mutex_t lock; /* what follows */
	pthread_cond_t free;
	unsigned running;
	struct waiter *waiting;
	bool stopping;
};

static int make_hash(const struct password_cost *cost, const char *password, char *ret)
{
	return crypto_pwhash_str_alg(ret, password, strlen(password), cost->passes, cost->memory,
				     crypto_pwhash_ALG_ARGON2ID13);
}

struct passwords *passwords_new(const struct password_cost *cost)
{
	struct passwords *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->cost = *cost;
	(void)pthread_mutex_init(&p->lock, NULL);
	cond_init(&p->free);
	if (sodium_init() < 0 || make_hash(cost, NOBODY, p->nobody) != 0) {
		passwords_free(p);
		return NULL;
	}
	return p;
}

void passwords_free(struct passwords *p)
{
	if (!p)
		return;
	(void)pthread_cond_destroy(&p->free);
	(void)pthread_mutex_destroy(&p->lock);
	free(p);
}

void passwords_stop(struct passwords *p)
{
	(void)pthread_mutex_lock(&p->lock);
	p->stopping = true;
	(void)pthread_cond_broadcast(&p->free);
	(void)pthread_mutex_unlock(&p->lock);
}

/* ---- few at one time */

/* May one more wait?  The lock is held. */
static bool has_place(const struct passwords *p, const uint8_t *address)
{
	unsigned all = 0, same = 0;

	for (const struct waiter *w = p->waiting; w; w = w->next) {
		all++;
		same += address && w->address && memcmp(w->address, address, 16) == 0;
	}
	return all < WAITING && same < OF_ONE;
}

/* The lock is held, and let go meanwhile. */
static void wait_turn(struct passwords *p, const uint8_t *address)
{
	struct waiter me = {p->waiting, address}, **w = &p->waiting;
	struct timespec until;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += WAIT_S;
	/* cppcheck-suppress autoVariables ; it leaves the list before it returns */
	p->waiting = &me;
	while (p->running >= AT_ONCE && !p->stopping) {
		if (pthread_cond_timedwait(&p->free, &p->lock, &until) == ETIMEDOUT)
			break;
	}
	while (*w != &me)
		w = &(*w)->next;
	*w = me.next;
}

/* `address` NULL: an operator who is in. */
static bool enter(struct passwords *p, const uint8_t *address)
{
	bool got;

	(void)pthread_mutex_lock(&p->lock);
	if (p->running >= AT_ONCE && has_place(p, address))
		wait_turn(p, address);
	got = p->running < AT_ONCE && !p->stopping;
	p->running += got;
	(void)pthread_mutex_unlock(&p->lock);
	return got;
}

static void leave(struct passwords *p)
{
	(void)pthread_mutex_lock(&p->lock);
	p->running--;
	(void)pthread_cond_signal(&p->free);
	(void)pthread_mutex_unlock(&p->lock);
}

/* ---- one */

int password_check(const char *name, const char *password, struct err *err)
{
	size_t n = strlen(password);

	if (n < PASSWORD_MIN || n > PASSWORD_MAX)
		return err_set(err, -EINVAL, "A password has %u to %u bytes.", PASSWORD_MIN,
			       PASSWORD_MAX);
	if (strcasecmp(name, password) == 0)
		return err_set(err, -EINVAL, "A password is not the name itself.");
	return 0;
}

int password_hash(struct passwords *p, const char *password, char ret[static PASSWORD_HASH_SIZE],
		  struct err *err)
{
	int r;

	if (!enter(p, NULL))
		return err_set(err, API_BUSY, OUT_OF_IT);
	r = make_hash(&p->cost, password, ret);
	leave(p);
	return r == 0 ? 0 : err_set(err, -ENOMEM, "The server is out of memory; ask again.");
}

int password_verify(struct passwords *p, const char *hash, const char *password,
		    const uint8_t address[static 16], struct err *err)
{
	bool same;

	if (!enter(p, address))
		return err_set(err, API_BUSY, OUT_OF_IT);
	errno = 0;
	same = crypto_pwhash_str_verify(hash ? hash : p->nobody, password, strlen(password)) == 0;
	leave(p);
	if (!same && errno == ENOMEM)
		return err_set(err, -ENOMEM, "The server is out of memory; ask again.");
	return hash && same;
}

bool password_is_dated(const struct passwords *p, const char *hash)
{
	return crypto_pwhash_str_needs_rehash(hash, p->cost.passes, p->cost.memory) != 0;
}
