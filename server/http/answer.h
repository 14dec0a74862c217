/* answer.h - from a call whose answer is filled to the response on the wire. */
#ifndef SERVER_HTTP_ANSWER_H
#define SERVER_HTTP_ANSWER_H
#include <microhttpd.h>

#include "server/http/call.h"

/* Queue the answer.  What it holds (parts, a stream) moves out of the call.  MHD_NO ends the connection: out of memory, the request may be
 * repeated. */
enum MHD_Result answer_send(struct call *c);

/* The header Range over `size` bytes.  False: none, or not one range "bytes=A-[B]" within them: all is sent. */
bool answer_range(const char *text, uint64_t size, uint64_t *ret_offset, uint64_t *ret_size);
#endif
