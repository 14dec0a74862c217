/* api_rig.h - the server without its sockets: a byte string is a row of requests, and each goes through router, parser and handler.
 *
 * There are three machines: A has a capture to do, B a restore, C nothing; what one row does is forgotten before the next, save for the
 * objects in the store.  No request may be answered with 500 or 503: nothing is damaged, and nothing lacks. */
#ifndef TESTS_LIB_API_RIG_H
#define TESTS_LIB_API_RIG_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A request:
 *	0	number of the route
 *	1	bits 0-1 who asks (A, B, C, A); 2-3 the first part of the path that varies: the asker's job, A's, B's, a line of the body;
 *		4-5 the second one: "0", "1", the id of the body, a line of the body; 6 a line of the body is the query
 *	2	size of what follows (2, little-endian)
 *	4	the lines spoken of, each with its newline, and the body
 * With `operators` the routes of operators too. */
void api_rig_run(const uint8_t *data, size_t size, bool operators);
#endif
