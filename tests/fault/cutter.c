// SPDX-License-Identifier: GPL-3.0-or-later
/* cutter.so - LD_PRELOAD for a server that uses GnuTLS: of each kind of request whose path begins with $CUT_PATH the first $CUT_COUNT lose their
 * connection (RST), each in another way, beginning with the way $CUT_FIRST:
 *
 *	0 head		as soon as its head has come; nobody sees it
 *	1 body		within its body; where there is no more of that, at its answer
 *	2 answer	when it has been dealt with, before the answer
 *	3 in-answer	within the answer
 *
 * $CUT_LOG has a line "METHOD PATH WAY" for each that was cut, with {} for ids, which make no kind of their own. */
/* The C library's names of its own parameters are reserved ones.
 * NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum way { AT_HEAD, IN_BODY, BEFORE_ANSWER, IN_ANSWER, WAYS, NO_WAY = WAYS };
static const char *const way_names[] = {"head", "body", "answer", "in-answer"};

#define KINDS	   64
#define FDS	   4096
#define NAME_SIZE  200
#define PULL_ERROR (-110) /* GNUTLS_E_PREMATURE_TERMINATION */
#define PUSH_ERROR (-53)

struct kind {
	char name[NAME_SIZE];
	unsigned long met;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* over what follows */
static const char *cut_path, *log_path;
static unsigned long first, count;
static struct kind kinds[KINDS];
static unsigned kinds_len;
static struct {
	const struct kind *kind;
	enum way way;
} doom[FDS]; /* by descriptor: of the request that the connection has under way */

__attribute__((constructor)) static void start(void)
{
	/* NOLINTBEGIN(concurrency-mt-unsafe): before any thread */
	const char *f = getenv("CUT_FIRST"), *c = getenv("CUT_COUNT");

	cut_path = getenv("CUT_PATH");
	log_path = getenv("CUT_LOG");
	/* NOLINTEND(concurrency-mt-unsafe) */
	first = f ? strtoul(f, NULL, 10) : 0;
	count = c && cut_path && log_path ? strtoul(c, NULL, 10) : 0;
}

static int fd_of(void *session)
{
	static int (*inner)(void *);
	int fd;

	if (!inner)
		*(void **)&inner = dlsym(RTLD_NEXT, "gnutls_transport_get_int");
	fd = inner(session);
	return fd >= 0 && fd < FDS ? fd : FDS - 1;
}

/* "POST /v1/agent/jobs/12ab/lack?kind=node HTTP/1.1" -> "POST /v1/agent/jobs/{}/lack".  False: no head of a request. */
static bool kind_name(const char *head, size_t size, char ret[static NAME_SIZE])
{
	static const char *const methods[] = {"GET /", "PUT /", "POST /", "DELETE /"};
	static const char *const before_id[] = {"/jobs/", "/packs/", "/disks/"};
	const char *end = head + size, *p = head;
	bool is_head = false;
	size_t n = 0;

	for (unsigned i = 0; i < 4; i++)
		is_head |= size > strlen(methods[i]) &&
			   strncmp(head, methods[i], strlen(methods[i])) == 0;
	if (!is_head)
		return false;
	while (p < end && *p != ' ')
		ret[n++] = *p++;
	ret[n++] = *p++;
	while (p < end && *p != ' ' && *p != '?' && *p != '\r' && n < NAME_SIZE - 4) {
		ret[n++] = *p++;
		for (unsigned i = 0; i < 3; i++) {
			size_t len = strlen(before_id[i]);

			if (n < len || strncmp(ret + n - len, before_id[i], len) != 0)
				continue;
			ret[n++] = '{';
			ret[n++] = '}';
			while (p < end && *p != '/' && *p != ' ' && *p != '?')
				p++;
		}
	}
	ret[n] = '\0';
	return true;
}

/* With the lock. */
static struct kind *kind_of(const char *name)
{
	for (unsigned i = 0; i < kinds_len; i++)
		if (strcmp(kinds[i].name, name) == 0)
			return &kinds[i];
	if (kinds_len == KINDS)
		abort();
	(void)snprintf(kinds[kinds_len].name, NAME_SIZE, "%s", name);
	return &kinds[kinds_len++];
}

/* With the lock: what is to befall this request. */
static void meet(int fd, const char *name)
{
	struct kind *k;

	doom[fd].way = NO_WAY;
	if (count == 0 || strncmp(strchr(name, '/'), cut_path, strlen(cut_path)) != 0)
		return;
	k = kind_of(name);
	doom[fd].kind = k;
	if (k->met < count)
		doom[fd].way = (enum way)((first + k->met) % WAYS);
	k->met++;
}

/* With the lock. */
static void reset(int fd, enum way way)
{
	static const struct sockaddr none = {.sa_family = AF_UNSPEC};
	char line[NAME_SIZE + 20];
	int n = snprintf(line, sizeof(line), "%s %s\n", doom[fd].kind->name, way_names[way]);
	int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (log < 0 || write(log, line, (size_t)n) != n)
		abort();
	(void)close(log);
	doom[fd].way = NO_WAY;
	if (connect(fd, &none, sizeof(none)) < 0) /* which sends a reset */
		abort();
}

ssize_t gnutls_record_recv(void *session, void *data, size_t size)
{
	static ssize_t (*inner)(void *, void *, size_t);
	char name[NAME_SIZE];
	bool is_cut = false;
	ssize_t n;
	int fd;

	if (!inner)
		*(void **)&inner = dlsym(RTLD_NEXT, "gnutls_record_recv");
	n = inner(session, data, size);
	if (n <= 0)
		return n;
	fd = fd_of(session);
	(void)pthread_mutex_lock(&lock);
	if (kind_name(data, (size_t)n, name)) {
		meet(fd, name);
		is_cut = doom[fd].way == AT_HEAD;
		if (is_cut)
			reset(fd, AT_HEAD);
	} else if (doom[fd].kind && doom[fd].way == IN_BODY) {
		is_cut = true;
		reset(fd, IN_BODY);
	}
	(void)pthread_mutex_unlock(&lock);
	return is_cut ? PULL_ERROR : n;
}

ssize_t gnutls_record_send(void *session, const void *data, size_t size)
{
	static ssize_t (*inner)(void *, const void *, size_t);
	static int (*uncork)(void *, unsigned);
	bool is_interim = size > 12 && memcmp(data, "HTTP/1.1 100", 12) == 0, is_cut;
	int fd = fd_of(session);

	if (!inner) {
		*(void **)&uncork = dlsym(RTLD_NEXT, "gnutls_record_uncork");
		*(void **)&inner = dlsym(RTLD_NEXT, "gnutls_record_send");
	}
	(void)pthread_mutex_lock(&lock);
	is_cut = !is_interim && doom[fd].kind && doom[fd].way != NO_WAY;
	if (is_cut && doom[fd].way == IN_ANSWER && inner(session, data, (size + 1) / 2) > 0) {
		(void)uncork(session, 0);
		reset(fd, IN_ANSWER);
	} else if (is_cut) {
		reset(fd, BEFORE_ANSWER);
	}
	(void)pthread_mutex_unlock(&lock);
	return is_cut ? PUSH_ERROR : inner(session, data, size);
}
/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
