#include "server/access/audit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/log.h"
#include "common/text.h"
#include "server/access/address.h"
#include "server/api_error.h"
#include "server/rate.h"

#define FIELD_SIZE 201

/* But for guesses (below): of one address 30, then one in ten seconds; of all 200, then one in two seconds. */
static const struct rate_limits refusals = {30, 100, 200, 500};

struct audit {
	struct state *state;
	pthread_mutex_t lock; /* what follows */
	struct rate rate;
	uint64_t left_out; /* since the last one that was recorded */
};

static uint64_t now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

struct audit *audit_new(struct state *s)
{
	struct audit *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->state = s;
	rate_init(&a->rate, &refusals, now_ms());
	(void)pthread_mutex_init(&a->lock, NULL);
	return a;
}

void audit_free(struct audit *a)
{
	if (!a)
		return;
	(void)pthread_mutex_destroy(&a->lock);
	free(a);
}

/* Within the quotes of a field of the log. */
static void for_log(const char *text, char ret[static FIELD_SIZE])
{
	(void)snprintf(ret, FIELD_SIZE, "%s", text);
	for (char *p = ret; *p; p++) {
		if (*p == '"' || *p == '\\')
			*p = '\'';
	}
}

static void write_row(struct audit *a, const struct audit_row *row)
{
	char object[FIELD_SIZE];
	struct err err;

	for_log(row->object, object);
	log_event(LOG_INFO, "audit",
		  "who=%s credential=%s peer=%s action=%s object=\"%s\" result=%s",
		  *row->who ? row->who : "-", *row->credential ? row->credential : "-",
		  row->address, row->action, object, row->result);
	if (state_add_audit(a->state, row, &err) < 0)
		log_event(LOG_ERROR, "audit_failed", "error=\"%s\"", err.msg);
}

/* May this refusal be recorded?  If so, with how many before it that were not. */
static bool admit(struct audit *a, const char *address, uint64_t *ret_left_out)
{
	uint8_t key[16];
	bool yes;

	address_key(address, key);
	(void)pthread_mutex_lock(&a->lock);
	yes = rate_allow(&a->rate, key, now_ms());
	*ret_left_out = a->left_out;
	a->left_out = yes ? 0 : a->left_out + 1;
	(void)pthread_mutex_unlock(&a->lock);
	return yes;
}

/* A wrong password for a name that there is.  Those are recorded always: how many there may be is bounded where passwords are looked at
 * (access.c), and the noise of other refusals is not to hide them. */
static bool is_guess(const struct audit *a, const struct audit_row *row)
{
	struct operator_row o;
	struct err err;
	bool yes;

	if (strcmp(row->result, api_code_name(API_WRONG_PASSWORD)) != 0)
		return false;
	yes = state_get_operator(a->state, *row->who ? row->who : row->object, &o, &err) != -ENOENT;
	explicit_bzero(&o, sizeof(o));
	return yes;
}

void audit_add(struct audit *a, const struct audit_row *row)
{
	char who[FIELD_SIZE], object[FIELD_SIZE], text[64];
	struct audit_row r = *row;
	struct audit_row more = {.refused = true,
				 .who = "",
				 .credential = "",
				 .address = "",
				 .action = "refused",
				 .object = text,
				 .result = "left_out"};
	uint64_t left_out = 0;

	if (row->refused && !is_guess(a, row) && !admit(a, row->address, &left_out))
		return;
	(void)text_clean(who, sizeof(who), row->who, strlen(row->who));
	(void)text_clean(object, sizeof(object), row->object, strlen(row->object));
	r.who = who;
	r.object = object;
	r.at = more.at = time(NULL);
	if (left_out > 0) {
		(void)snprintf(text, sizeof(text), "%llu before this",
			       (unsigned long long)left_out);
		write_row(a, &more);
	}
	write_row(a, &r);
}
