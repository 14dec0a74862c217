/* memory.h - whose the memory is in which bodies and answers lie.
 *
 * It is counted apart for what is received and sent, and for JSON once it is parsed, and nobody can have all of it:
 *
 *	of each kind						bodies	documents
 *	those who have shown no secret (strangers), together	1/8	1/2
 *		one address of theirs				1/32	3/8
 *	machines and operators, together			7/8	1/2
 *		one address of theirs				1/2	3/8
 *		one machine or operator				1/8	1/4
 *
 * Bodies of up to MEMORY_SMALL bytes, which is all that operators send and most of what agents say, do not ask here at all: there can be no more of
 * them than there are connections.  Where there is no room for a body, what has been coming or going for a while gives way, of somebody who has
 * more than who asks would have: its connection is ended.  So slow ones keep nobody out, however many machines and addresses they come from.
 * Thread-safe. */
#ifndef SERVER_HTTP_MEMORY_H
#define SERVER_HTTP_MEMORY_H
#include <stdbool.h>
#include <stdint.h>

#include "common/id.h"

#define MEMORY_SMALL 8192u

enum memory_kind { MEMORY_BODIES, MEMORY_DOCUMENTS, MEMORY_KINDS };

struct memory;
struct connection;
struct connections;

/* What one request has.  Zeroed, then filled down to `connection` before the first memory_take. */
struct memory_share {
	uint8_t address[16]; /* server/access/address.h */
	struct id who;	     /* machine or operator */
	bool is_stranger;    /* has shown no secret; `who` says nothing then */
	struct connection *connection;

	/* ---- of memory.c */
	struct memory_share *prev, *next;
	uint64_t bytes[MEMORY_KINDS];
	uint64_t moving_ms; /* since when it is being received or sent; 0: it is not */
	bool is_listed, is_ended;
};

/* Pools of `max` bytes each.  NULL: out of memory. */
struct memory *memory_new(uint64_t max, struct connections *connections);
void memory_free(struct memory *m);

/* `bytes` more, and `wait_s` to wait for others to finish.  What is more than a share goes when it is alone in it. */
bool memory_take(struct memory *m, struct memory_share *s, enum memory_kind kind, uint64_t bytes,
		 unsigned wait_s);
/* It is received or sent from now on; or no longer. */
void memory_moves(struct memory *m, struct memory_share *s, bool moves);
/* All that it has; returns how much that was.  Before its connection is closed. */
uint64_t memory_give(struct memory *m, struct memory_share *s);
#endif
