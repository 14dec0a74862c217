/* wire.h - the binary bodies of docs/protocol.md between agent and server, both ways.  Pure. */
#ifndef AGENT_WIRE_H
#define AGENT_WIRE_H
#include <stddef.h>
#include <stdint.h>

#include "agent/job.h"
#include "agent/peer.h"
#include "common/bytes.h"
#include "common/codec.h"
#include "common/err.h"
#include "common/json.h"
#include "common/limits.h"

#define WIRE_RUN_SIZE	44u /* first window (8), count (4), node id (32) */
#define WIRE_CHUNK_SIZE 40u /* window (8), id (32) */

/* What a registration is answered with. */
#define WIRE_SECRET_MAX 128u
#define WIRE_POLL_MAX	30u
#define WIRE_RENEW_MAX	86400u
struct wire_registered {
	const char *secret; /* borrowed from the JSON */
	unsigned poll_s;
	unsigned renew_s; /* 0: never */
};
/* {"machine", "secret", "poll_s"?, "renew_s"?}, for the machine that asked.  -EPROTO. */
int wire_registered_decode(const json_t *json, const char *machine_id, struct wire_registered *ret,
			   struct err *err) MUST_CHECK;

/* The best codec that the answer to GET /v1/info names; zlib, which every server takes, when it has no list of them. */
enum codec wire_codec_decode(const json_t *info);

/* len × WIRE_RUN_SIZE bytes into `buf`. */
void wire_encode_runs(const struct peer_run *w, size_t len, uint8_t *buf);
/* len × WIRE_CHUNK_SIZE bytes into `buf`. */
void wire_encode_chunks(const struct peer_chunk *w, size_t len, uint8_t *buf);

static inline size_t wire_bits_size(size_t len)
{
	return (len + 7) / 8;
}
static inline bool wire_bit(const uint8_t *bits, size_t i)
{
	return (bits[i / 8] >> (i % 8)) & 1;
}

/* What an answer to get_nodes can have. */
#define WIRE_NODES_MAX (NODES_GET_MAX * (8u + NODE_SIZE_MAX))
/* The next of (count (4), size (4), node), of windows of which `left` are still to come.  -EPROTO. */
int wire_next_node(struct reader *r, uint64_t left, uint32_t *ret_count, struct peer_bytes *ret,
		   struct err *err) MUST_CHECK;
/* The next of (size (4), object), of `min` to `max` bytes.  -EPROTO. */
int wire_next(struct reader *r, uint32_t min, uint32_t max, struct peer_bytes *ret,
	      struct err *err) MUST_CHECK;

/* The most that an answer to get_chunks can have: `len` chunks of `plain` bytes together, in as many packs. */
size_t wire_chunks_max(size_t len, uint64_t plain);

/* {"root", "sector_size", …}; NULL: out of memory. */
json_t *wire_finish_encode(const struct peer_finish *f);
/* {"missing", "root"}: ascending, apart, inside `windows`; either something is missing or `root` is the one that was sent.  -EPROTO, -ENOMEM. */
int wire_finished_decode(const json_t *json, uint64_t windows, const struct id *root,
			 struct peer_finished *ret, struct err *err) MUST_CHECK;

/* {"phase", "disk", "done", "total", "data", "sent", "skipped", "bottleneck"}; NULL: out of memory. */
json_t *wire_progress_encode(const struct job_progress *p);
#endif
