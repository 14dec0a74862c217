/* session.c - one lock over the state; registering is done by whichever connection first finds it necessary, outside the lock.
 *
 * `generation` counts the changes of place and secret: a connection that fails looks whether it has used what still holds. */
#include "agent/session.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/clock.h"
#include "agent/wire.h"
#include "common/cleanup.h"
#include "common/id.h"

#define PLACES_MAX    8u     /* a server with so many addresses */
#define REPEAT_MS     60000u /* the same trouble is mentioned again after that */
#define OTHER_MS      10000u /* and another one */
#define RENEW_AGAIN_S 60u    /* after a renewal that failed */
#define RENEW_WHOLE_S 30u    /* longer it may not take: others wait to be sent */

struct session {
	struct session_setup setup; /* strings are heap; fixed */
	pthread_mutex_t lock;	    /* over all below */
	struct http_target target;  /* url "" while unknown; secret "" or the one last given */
	unsigned generation;
	bool failed;			  /* there, at target.url */
	char home[URL_MAX];		  /* where to begin: never forgotten; or ""; fixed */
	char places[PLACES_MAX][URL_MAX]; /* that were offered and are to be tried after it */
	size_t places_len;
	bool registered, registering; /* or renewing */
	uint64_t renew_ms;	      /* when it is time for another secret; 0: never */
	bool ready;		      /* up, and registered */
	json_t *inventory;
	unsigned poll_s;
	bool up;
	char trouble[512];   /* what was said last of what is in the way */
	uint64_t trouble_ms; /* and when; 0: never */
};

static void free_secret(const char *text)
{
	if (text)
		explicit_bzero((char *)text, strlen(text));
	free((char *)text);
}

static char *secret_path(const struct session *s, const char *suffix)
{
	char *path = NULL;

	if (asprintf(&path, "%s/%s%s", s->setup.state_dir, SESSION_SECRET_NAME, suffix) < 0)
		return NULL;
	return path;
}

bool session_has_secret(const char *state_dir)
{
	CLEANUP_FREE char *path = NULL;

	if (state_dir && asprintf(&path, "%s/" SESSION_SECRET_NAME, state_dir) < 0)
		path = NULL;
	return path && access(path, R_OK) == 0;
}

static void load_secret(struct session *s)
{
	CLEANUP_FREE char *path = s->setup.state_dir ? secret_path(s, "") : NULL;
	CLEANUP_CLOSE int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
	char text[WIRE_SECRET_MAX + 1];
	ssize_t n = fd < 0 ? -1 : read(fd, text, WIRE_SECRET_MAX);

	if (n <= 0)
		return; /* none kept, or not readable: the token serves */
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	(void)snprintf(s->target.secret, sizeof(s->target.secret), "%s", text);
	explicit_bzero(text, sizeof(text));
}

/* Best effort: without it a restart needs the token. */
static void save_secret(const struct session *s, const char *secret)
{
	CLEANUP_FREE char *path = secret_path(s, ""), *temporary = secret_path(s, ".new");
	CLEANUP_CLOSE int fd = -1;
	size_t n = strlen(secret);

	if (!path || !temporary)
		return;
	(void)mkdir(s->setup.state_dir, 0700);
	(void)unlink(temporary);
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || write(fd, secret, n) != (ssize_t)n || fsync(fd) < 0 ||
	    rename(temporary, path) < 0) {
		char line[300];

		(void)snprintf(line, sizeof(line),
			       "the session's secret cannot be kept in '%s': %s", path,
			       strerrordesc_np(errno));
		s->setup.say(s->setup.ctx, line);
	}
}

static bool copy_setup(struct session *s, const struct session_setup *from)
{
	s->setup = *from;
	s->setup.url = NULL;
	s->setup.pin = NULL;
	s->setup.machine_id = strdup(from->machine_id);
	s->setup.name = strdup(from->name);
	s->setup.token = from->token ? strdup(from->token) : NULL;
	s->setup.pairing = from->pairing ? strdup(from->pairing) : NULL;
	s->setup.state_dir = from->state_dir ? strdup(from->state_dir) : NULL;
	return s->setup.machine_id && s->setup.name && (!from->token || s->setup.token) &&
	       (!from->pairing || s->setup.pairing) && (!from->state_dir || s->setup.state_dir);
}

int session_new(const struct session_setup *setup, struct session **ret, struct err *err)
{
	struct session *s = calloc(1, sizeof(*s));
	int r = 0;

	if (!s)
		return err_set(err, -ENOMEM, "out of memory");
	(void)pthread_mutex_init(&s->lock, NULL);
	s->poll_s = WIRE_POLL_MAX;
	if (!copy_setup(s, setup))
		r = err_set(err, -ENOMEM, "out of memory");
	if (r == 0)
		r = http_target_set_pin(&s->target, setup->pin, err);
	if (r == 0 && setup->url)
		r = http_target_set_url(&s->target, setup->url, err);
	if (r < 0) {
		session_free(s);
		return r;
	}
	(void)snprintf(s->home, sizeof(s->home), "%s", s->target.url);
	if (!setup->pairing) /* a kept one is another server's then */
		load_secret(s);
	*ret = s;
	return 0;
}

void session_free(struct session *s)
{
	if (!s)
		return;
	json_decref(s->inventory);
	free((char *)s->setup.machine_id);
	free((char *)s->setup.name);
	free_secret(s->setup.token);
	free_secret(s->setup.pairing);
	free((char *)s->setup.state_dir);
	explicit_bzero(&s->target, sizeof(s->target));
	(void)pthread_mutex_destroy(&s->lock);
	free(s);
}

void session_set_inventory(struct session *s, json_t *take_inventory)
{
	json_t *old;

	(void)pthread_mutex_lock(&s->lock);
	old = s->inventory;
	s->inventory = take_inventory;
	(void)pthread_mutex_unlock(&s->lock);
	json_decref(old);
}

/* To another place.  The lock is held. */
static void move_to(struct session *s, const char *url)
{
	(void)snprintf(s->target.url, sizeof(s->target.url), "%s", url);
	s->failed = false;
	s->generation++;
}

static void say_moved(struct session *s, const char *url)
{
	char line[URL_MAX + 40];

	(void)snprintf(line, sizeof(line), "%s %s",
		       strcmp(url, s->home) == 0 ? "trying the server again at"
						 : "the server answers from",
		       url);
	s->setup.say(s->setup.ctx, line);
}

/* For later, if there is room.  The lock is held. */
static void remember(struct session *s, const char *url)
{
	for (size_t i = 0; i < s->places_len; i++) {
		if (strcmp(s->places[i], url) == 0)
			return;
	}
	if (s->places_len < PLACES_MAX)
		(void)snprintf(s->places[s->places_len++], URL_MAX, "%s", url);
}

/* A server answers from several addresses, and not each need be one by which it can be reached: they are tried in turn. */
void session_offer(struct session *s, const char *url)
{
	struct http_target t;
	struct err err;
	bool moved = false;

	if (http_target_set_url(&t, url, &err) < 0)
		return; /* we made it ourselves from an address */
	(void)pthread_mutex_lock(&s->lock);
	if (!s->up && strcmp(s->target.url, t.url) != 0) {
		moved = s->failed || !s->target.url[0];
		if (moved)
			move_to(s, t.url);
		else
			remember(s, t.url);
	}
	(void)pthread_mutex_unlock(&s->lock);
	if (moved)
		say_moved(s, t.url);
}

bool session_is_at(struct session *s, const char *url)
{
	bool is_there;

	(void)pthread_mutex_lock(&s->lock);
	is_there = strcmp(s->target.url, url) == 0;
	(void)pthread_mutex_unlock(&s->lock);
	return is_there;
}

void session_expire(struct session *s)
{
	(void)pthread_mutex_lock(&s->lock);
	s->registered = false;
	s->generation++;
	(void)pthread_mutex_unlock(&s->lock);
}

void session_refused(struct session *s, unsigned generation)
{
	(void)pthread_mutex_lock(&s->lock);
	if (s->generation == generation)
		s->registered = false;
	(void)pthread_mutex_unlock(&s->lock);
}

unsigned session_poll_s(struct session *s)
{
	unsigned n;

	(void)pthread_mutex_lock(&s->lock);
	n = s->poll_s;
	(void)pthread_mutex_unlock(&s->lock);
	return n;
}

bool session_is_registered(struct session *s)
{
	bool registered;

	(void)pthread_mutex_lock(&s->lock);
	registered = s->registered;
	(void)pthread_mutex_unlock(&s->lock);
	return registered;
}

unsigned session_get(struct session *s, struct http_target *ret, bool *ret_registered)
{
	unsigned generation;

	(void)pthread_mutex_lock(&s->lock);
	*ret = s->target;
	*ret_registered = s->registered;
	generation = s->generation;
	(void)pthread_mutex_unlock(&s->lock);
	return generation;
}

/* ---- registering */

/* NULL: out of memory, or there is no inventory yet.  The lock is held. */
static json_t *make_registration(const struct session *s)
{
	return json_pack("{s:s*, s:s*, s:s*, s:s, s:s, s:s, s:O}", "token", s->setup.token,
			 "secret", s->target.secret[0] ? s->target.secret : NULL, "pairing",
			 s->setup.pairing, "machine_id", s->setup.machine_id, "name", s->setup.name,
			 "agent_version", HOIST_VERSION, "inventory", s->inventory);
}

static bool begin_registering(struct session *s, unsigned generation, json_t **ret_body)
{
	bool mine;

	(void)pthread_mutex_lock(&s->lock);
	mine = s->generation == generation && !s->registered && !s->registering;
	*ret_body = mine && s->inventory ? make_registration(s) : NULL;
	s->registering = s->registering || mine;
	(void)pthread_mutex_unlock(&s->lock);
	return mine;
}

/* The lock is held. */
static void take_secret(struct session *s, const struct wire_registered *given)
{
	(void)snprintf(s->target.secret, sizeof(s->target.secret), "%s", given->secret);
	s->renew_ms = given->renew_s ? clock_ms() + given->renew_s * 1000ull : 0;
	s->generation++;
}

static void end_registering(struct session *s, const struct wire_registered *given)
{
	const char *secret = given->secret;

	(void)pthread_mutex_lock(&s->lock);
	s->registering = false;
	if (secret) {
		take_secret(s, given);
		s->registered = true;
		s->poll_s = given->poll_s;
		free_secret(s->setup.pairing); /* it has served */
		s->setup.pairing = NULL;
	}
	(void)pthread_mutex_unlock(&s->lock);
	if (secret && s->setup.state_dir)
		save_secret(s, secret);
}

int session_register(struct session *s, struct http *h, unsigned generation, unsigned *ret_retry_s,
		     struct err *err)
{
	CLEANUP_JSON json_t *body = NULL, *answer = NULL;
	struct http_call call = {"POST", "/v1/agent/register", NULL, 0};
	struct wire_registered given = {NULL, WIRE_POLL_MAX, 0};
	struct http_answer a = {0};
	int r;

	if (!begin_registering(s, generation, &body))
		return -EAGAIN;
	if (!body) {
		r = err_set(err, -ENOMEM, "register: out of memory");
	} else {
		call.body = body;
		http_set_secret(h, "");
		r = http_json(h, &call, &answer, &a, err);
	}
	if (r == 0 && answer)
		r = wire_registered_decode(answer, s->setup.machine_id, &given, err);
	if (r == 0 && !answer)
		r = err_set(err, -EPROTO, "the server's answer to the registration is empty");
	end_registering(s, &given);
	if (r == -EREMOTEIO && strcmp(a.error.code, "forbidden") == 0 && s->setup.is_unknown)
		s->setup.is_unknown(s->setup.ctx);
	*ret_retry_s = a.retry_after_s;
	return r;
}

/* ---- renewing */

static bool begin_renewing(struct session *s, unsigned generation)
{
	bool mine;

	(void)pthread_mutex_lock(&s->lock);
	mine = s->generation == generation && s->registered && !s->registering &&
	       s->renew_ms != 0 && clock_ms() >= s->renew_ms;
	s->registering = s->registering || mine;
	(void)pthread_mutex_unlock(&s->lock);
	return mine;
}

void session_renew(struct session *s, struct http *h, unsigned generation)
{
	const struct http_request q = {.method = "POST",
				       .path = "/v1/agent/renew",
				       .answer_max = 4096,
				       .whole_s = RENEW_WHOLE_S};
	struct wire_registered given = {NULL, WIRE_POLL_MAX, 0};
	CLEANUP_JSON json_t *answer = NULL;
	struct http_answer a = {0};
	struct err err;
	bool good;

	if (!begin_renewing(s, generation))
		return;
	good = http_do(h, &q, &a, &err) == 0 &&
	       json_parse((const char *)a.data, a.size, a.size, &answer, &err) == 0 &&
	       wire_registered_decode(answer, s->setup.machine_id, &given, &err) == 0;
	if (good &&
	    s->setup.state_dir) /* first: whoever comes after a crash is to know a secret that is good */
		save_secret(s, given.secret);
	(void)pthread_mutex_lock(&s->lock);
	s->registering = false;
	good = good && s->registered; /* else it was refused meanwhile */
	if (good)
		take_secret(s, &given);
	else
		s->renew_ms = clock_ms() + RENEW_AGAIN_S * 1000;
	(void)pthread_mutex_unlock(&s->lock);
	if (good)
		http_set_secret(h, given.secret);
}

/* ---- how it goes */

/* Many connections meet the same trouble in many words (paths, ids): the first is told, others only after a while. */
static bool is_worth_a_line(const struct session *s, bool was_up, const char *message)
{
	uint64_t age = clock_ms() - s->trouble_ms;

	if (was_up || s->trouble_ms == 0 || age >= REPEAT_MS)
		return true;
	return age >= OTHER_MS && strcmp(s->trouble, message) != 0;
}

/* The present place does not answer: to the next one, if there is, or back to where it began: what answers a broadcast need not be a place that can be
 * connected to, and the one of the settings need not hear any.  The lock is held. */
static bool move_on(struct session *s)
{
	const char *next = s->places_len > 0 ? s->places[0] : s->home;

	s->failed = true;
	if (!next[0] || strcmp(next, s->target.url) == 0)
		return false;
	move_to(s, next);
	if (s->places_len > 0)
		memmove(s->places[0], s->places[1], --s->places_len * sizeof(s->places[0]));
	return true;
}

void session_note(struct session *s, const char *url, int r, const char *message)
{
	bool up = r == 0 || r == -EREMOTEIO, moved = false, was_up, was_ready, ready;
	size_t n;
	char line[700] = "", to[URL_MAX];

	(void)pthread_mutex_lock(&s->lock);
	if (strcmp(s->target.url, url) != 0) { /* old news */
		(void)pthread_mutex_unlock(&s->lock);
		return;
	}
	was_up = s->up;
	s->up = up;
	was_ready = s->ready;
	ready = s->ready = up && s->registered;
	if (up && !was_up)
		(void)snprintf(line, sizeof(line), "connected to the server at %s", s->target.url);
	if (r < 0 && is_worth_a_line(s, was_up && !up, message)) {
		(void)snprintf(s->trouble, sizeof(s->trouble), "%s", message);
		s->trouble_ms = clock_ms();
		n = strlen(message);
		(void)snprintf(line, sizeof(line), "%.*s; trying again",
			       (int)(n > 0 && message[n - 1] == '.' ? n - 1 : n), message);
	}
	if (up)
		s->places_len = 0;
	else
		moved = move_on(s);
	(void)snprintf(to, sizeof(to), "%s", s->target.url);
	(void)pthread_mutex_unlock(&s->lock);
	if (line[0])
		s->setup.say(s->setup.ctx, line);
	if (moved)
		say_moved(s, to);
	/* each failure: a success of before may be told after the first of them, by another thread */
	if (!up || !was_up || ready != was_ready)
		s->setup.is_up(s->setup.ctx, up);
}
