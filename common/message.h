/* message.h - the JSON messages between agent and server that both ends must agree on, docs/protocol.md.
 * Building and validating only; everything else about them is the caller's. */
#ifndef COMMON_MESSAGE_H
#define COMMON_MESSAGE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/id.h"
#include "common/index.h"
#include "common/json.h"

#define DISK_ID_MAX 128 /* [A-Za-z0-9:._-]+, docs/inventory.md */
#define JOB_ID_SIZE 17	/* 16 hex digits and NUL */

enum job_kind { JOB_CAPTURE, JOB_RESTORE, JOB_VERIFY, JOB_GC };
enum end_action { END_STAY, END_REBOOT, END_POWEROFF };
const char *job_kind_name(enum job_kind k);
const char *end_action_name(enum end_action e);
/* -EPROTO for any other word */
int job_kind_from_name(const char *name, enum job_kind *ret, struct err *err) MUST_CHECK;
int end_action_from_name(const char *name, enum end_action *ret, struct err *err) MUST_CHECK;

/* [A-Za-z0-9][A-Za-z0-9._-]{0,63}: image and server names */
bool name_is_valid(const char *name);
bool disk_id_is_valid(const char *id);

/* One disk of an order. */
struct order_disk {
	char disk[DISK_ID_MAX + 1]; /* on the machine that gets the order */
	uint64_t size;		    /* as inventoried */
	/* restore only */
	bool overwrite, begun;
	struct id fingerprint; /* of the target when ordered */
	char source_disk[DISK_ID_MAX + 1];
	struct geometry source;
	struct id root;
	uint64_t data_bytes;
	struct extent *unreadable; /* heap */
	size_t unreadable_len;
};

/* How much a capture is to try on places that cannot be read; each -1: as the agent does when nothing is said. */
#define RESCUE_SECONDS_MAX (30u * 86400u)
#define RESCUE_RETRIES_MAX 100u
struct rescue_wish {
	int64_t seconds;      /* on a disk: 0 to RESCUE_SECONDS_MAX */
	int64_t area_seconds; /* on 4 MiB of it: the same */
	int64_t retries;      /* 0 to RESCUE_RETRIES_MAX */
};
#define RESCUE_WISH_NONE ((struct rescue_wish){-1, -1, -1})
/* `options` may have a member "rescue"; NULL: it has not.  -EPROTO. */
int rescue_wish_decode(const json_t *options, struct rescue_wish *ret, struct err *err) MUST_CHECK;
/* Adds the member "rescue" if there is anything in it.  -1: out of memory. */
int rescue_wish_encode(const struct rescue_wish *w, json_t *options) MUST_CHECK;

struct order {
	char job[JOB_ID_SIZE];
	enum job_kind kind; /* JOB_CAPTURE or JOB_RESTORE */
	enum end_action end;
	int level;		   /* capture: 0 = the agent's choice, 1..19 */
	bool all_blocks;	   /* capture: also what is not in use */
	struct rescue_wish rescue; /* capture */
	uint32_t disks_len;
	struct order_disk *disks; /* heap; "n" of the wire is the place in this array */
};

void order_done(struct order *o);
/* Every field validated: -EPROTO with which; -ENOMEM. */
int order_decode(const json_t *json, struct order *ret, struct err *err) MUST_CHECK;
/* NULL: out of memory. */
json_t *order_encode(const struct order *o);

/* [[offset, length], …] both ways; validated against the disk. */
int extents_from_json(const json_t *array, uint64_t disk_size, struct extent **ret, size_t *ret_len,
		      struct err *err) MUST_CHECK;
json_t *extents_to_json(const struct extent *e, size_t len);

/* {"error": {"code", "message"}} of an answer; false if it has no such shape.  Truncates. */
struct api_error {
	char code[32];
	char message[512];
};
bool api_error_decode(const char *text, size_t size, struct api_error *ret);
#endif
