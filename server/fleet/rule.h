/* rule.h - the job of an enrolment token: what a machine is told to do as soon as the token has let it in (protocol.md, TOKEN).
 *
 *	capture			into the image NAME-ID, of the machine's name and first 8 digits of its id
 *	capture=IMAGE
 *	restore=IMAGE		its latest version then
 *	restore=IMAGE@VERSION
 *
 * The rule is the server's: of what a machine says only name and id count, and they name no image but one of its own. */
#ifndef SERVER_FLEET_RULE_H
#define SERVER_FLEET_RULE_H
#include <jansson.h>

#include "common/limits.h"
#include "common/message.h"

struct rule {
	enum job_kind kind;
	char image[NAME_MAX_LEN + 1]; /* "": of the machine's name and id */
	uint32_t version;	      /* 0: the latest */
};

/* API_BAD_REQUEST. */
int rule_parse(const char *text, struct rule *ret, struct err *err) MUST_CHECK;
/* The body of a POST /v1/jobs for that machine; NULL: out of memory. */
json_t *rule_job(const struct rule *r, const char *machine, const char *name);
#endif
