/* store.h - the image store: packs, the object index over them, disk indexes, manifests, checkpoints.
 * Layout and guarantees: docs/formats.md "The store".  Knows nothing of jobs, machines or HTTP.
 *
 * All functions may be called from many threads at once; no lock is held across file I/O other than where
 * said.  This header is the seam for a second implementation (S3): nothing here is about files.
 *
 * Errors everywhere: -ENOSPC the store is full, -EIO the storage failed, -ENOMEM; further ones where named. */
#ifndef SERVER_STORE_STORE_H
#define SERVER_STORE_STORE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/id.h"
#include "common/index.h"
#include "common/node.h"
#include "common/pack.h"

struct store;

/* Open or create DIR/store and DIR/jobs.  Takes in or puts into quarantine the packs that no checkpoint covered;
 * starts the checkpoint thread.  `rebuild`: forget the object index and read it anew from all packs, each decoded
 * and hashed.  -EBUSY: another server has it; -EPROTO: not a store, or of a later version; -EUCLEAN: the object
 * index is damaged and wants `rebuild`. */
int store_open(const char *dir, bool rebuild, struct store **ret, struct err *err) MUST_CHECK;
/* Makes a last checkpoint. */
void store_close(struct store *s);

/* What store_open found; valid until store_close. */
struct store_start {
	bool clean;	   /* the last one closed it; else all packs were compared with the index */
	uint64_t taken_in; /* packs that no checkpoint had covered, verified */
	uint64_t quarantined; /* packs that were not what they should be */
	uint64_t dropped;     /* node packs of which no node had all its chunks */
	uint64_t lost;	      /* packs in the index that are not there any more */
	bool index_is_bad; /* rows of the index were damaged, now or before: it wants `rebuild`; until then nothing is removed */
};
const struct store_start *store_start(const struct store *s);

/* ---- objects */

/* bit i of `ret_bits` (len bits, LSB first) = 1: the object is not there as `kind`.  An object in quarantine
 * or not readable any more is not there. */
int store_lacks(struct store *s, enum pack_kind kind, const struct id *ids, size_t len,
		uint8_t *ret_bits, struct err *err) MUST_CHECK;

/* Take in one pack that a peer sent: decode, decompress, hash everything first.  Idempotent.
 * -EBADMSG: it is not what it says, or not `expected`; -ENODATA: a node's chunk is not there or has another length.
 * It also brings the bad news of a checkpoint that failed in the background (-EIO, -ENOSPC): what that checkpoint
 * could not make durable is not said to be there any more. */
int store_put_pack(struct store *s, const struct id *expected, const void *data, size_t size,
		   struct err *err) MUST_CHECK;

/* How often, since it was opened, all that was taken in became durable, and how often all that was not yet was dropped: it is to be sent again. */
void store_count_checkpoints(struct store *s, uint64_t *ret_durable, uint64_t *ret_dropped);

/* -ENOENT: not there; -EBADMSG: there, but damaged (it is then no longer said to be there). */
int store_get_node(struct store *s, const struct id *id, struct node *ret,
		   struct err *err) MUST_CHECK;

/* Packs that hold exactly the given chunks, each once, in an order that reads well: as stored where a whole
 * pack was asked for, made anew otherwise.  Each is handed to `emit`; a return < 0 ends it and is returned.
 * -ENOENT / -EBADMSG as above. */
typedef int (*store_emit_fn)(void *arg, const void *pack, size_t size, struct err *err);
int store_get_chunks(struct store *s, const struct id *ids, size_t len, store_emit_fn emit,
		     void *arg, struct err *err) MUST_CHECK;

/* ---- a disk's index while it is captured: survives the process; made durable by checkpoints */

struct partial;
/* `key`: [A-Za-z0-9.-]+, e.g. "<job>.<n>", not beginning with a dot; opened again, it is as it was left.
 * -EBUSY: it is open; -EINVAL: not a key, or it was begun with another disk size. */
int partial_open(struct store *s, const char *key, uint64_t disk_size, struct partial **ret,
		 struct err *err) MUST_CHECK;
void partial_close(struct partial *p);
/* The nodes of a partial, open or not, are safe from store_gc until this, and so is the index that was sealed from it (as
 * long as the process lives).  So: call it when the caller's own state names the root, or the job is given up; and
 * seal again, after a restart, what that state does not name.  Closed first. */
void partial_remove(struct store *s, const char *key);
/* The nodes of windows, one for each run of them.  -EINVAL: outside the disk, of another length, or more than WINDOWS_RUN_MAX in a run; -ENODATA:
 * a node is not in the store.  Nothing is set then. */
int partial_set(struct partial *p, const struct window_range *windows, const struct id *nodes,
		size_t len, struct err *err) MUST_CHECK;
static inline MUST_CHECK int partial_set_one(struct partial *p, uint64_t window,
					     const struct id *node, struct err *err)
{
	struct window_range w = {window, 1};

	return partial_set(p, &w, node, 1, err);
}

/* What a disk's index says beside the list of nodes. */
struct index_info {
	struct geometry geometry;
	struct extent *unreadable; /* heap */
	size_t unreadable_len;
	struct id root; /* of what was read: hashed, by store_index_info */
};
void index_info_done(struct index_info *i);
struct seal_result {
	struct window_range *missing; /* heap; NULL when nothing is missing */
	size_t missing_len;	      /* at most MISSING_MAX */
	uint64_t
		data_bytes; /* of all chunks in it; this and the next only when nothing is missing */
	struct id root;	    /* of the node ids that the index was written with */
};
void seal_result_done(struct seal_result *r);
/* Checkpoint; then either name the windows that are not known, or whose node is gone or has not the window's
 * length, or, with nothing missing, write the index, durably; its root is `expected`.
 * -ESTALE: the root would be another one; nothing is written.  -EINVAL: `info` is not possible, or of another size. */
int partial_seal(struct partial *p, const struct index_info *info, const struct id *expected,
		 struct seal_result *ret, struct err *err) MUST_CHECK;

/* ---- sealed indexes */

/* -ENOENT, -EBADMSG */
int store_index_info(struct store *s, const struct id *root, struct index_info *ret,
		     struct err *err) MUST_CHECK;
/* Are all nodes that it names there, durably, and their chunks as far as any were lost?  -ENODATA: no; -ENOENT, -EBADMSG */
int store_index_check(struct store *s, const struct id *root, struct err *err) MUST_CHECK;
/* Node ids of windows first .. first + count - 1; -EINVAL outside. */
int store_index_nodes(struct store *s, const struct id *root, uint64_t first, uint32_t count,
		      struct id *ret_ids, struct err *err) MUST_CHECK;

/* ---- manifests: opaque bytes here */

/* Checkpoint, then write durably. */
int store_put_manifest(struct store *s, const void *data, size_t size, struct id *ret_id,
		       struct err *err) MUST_CHECK;
/* NUL-terminated heap.  -ENOENT, -EBADMSG */
int store_get_manifest(struct store *s, const struct id *id, char **ret, size_t *ret_size,
		       struct err *err) MUST_CHECK;
int store_remove_manifest(struct store *s, const struct id *id, struct err *err) MUST_CHECK;
/* The ids of all of them, damaged or not.  `fn` < 0 ends it. */
typedef int (*store_manifest_fn)(void *arg, const struct id *id, struct err *err);
int store_each_manifest(struct store *s, store_manifest_fn fn, void *arg,
			struct err *err) MUST_CHECK;
/* The bytes of those in quarantine, of which nothing is certain.  What of these cannot be read is left out. */
typedef int (*store_damaged_fn)(void *arg, const char *data, size_t size, struct err *err);
int store_each_damaged_manifest(struct store *s, store_damaged_fn fn, void *arg,
				struct err *err) MUST_CHECK;

/* ---- upkeep */

/* All that was acknowledged is durable on return. */
int store_checkpoint(struct store *s, struct err *err) MUST_CHECK;

/* `fn`, called now and then: progress in bytes; true cancels (-ECANCELED). */
typedef bool (*store_progress_fn)(void *arg, uint64_t done, uint64_t total);

/* Read and hash again all that `root` names: index, nodes, chunks, each pack once.  What is damaged goes into
 * quarantine and is no longer said to be there (so that the next capture sends it again); nodes that lost a chunk likewise.
 * -EUCLEAN: it is the object index that is damaged: store_open with `rebuild`.
 * `ret_damage`: heap, lines of text, one a damage, NULL when there is none; `ret_damaged` counts damaged or missing objects. */
int store_verify(struct store *s, const struct id *root, store_progress_fn fn, void *arg,
		 uint64_t *ret_damaged, char **ret_damage, struct err *err) MUST_CHECK;

/* The roots in use, asked for once, after store_gc began to keep what is put or asked for: heap. */
struct gc_root {
	struct id id;
	bool may_lack; /* what is lost of it is known, or will be asked for again; of another one nothing may be */
	bool may_lack_index; /* also that its index is not there: nothing can be had of it any more */
	struct id manifest; /* that names it; zero: none */
	char of[112];	    /* what needs it, for a sentence */
	const char *
		remedy; /* static: what to do about it when its index is lost, for a sentence; or NULL */
};
typedef int (*store_roots_fn)(void *arg, struct gc_root **ret_roots, size_t *ret_len,
			      struct err *err);

/* One of store_verify and store_gc runs at a time; the other waits, and can be cancelled meanwhile.
 *
 * Remove what none of the roots names, nor any partial: whole packs where nothing in them is used; packs used by
 * less than half are written anew.  Safe against captures that run meanwhile (what was put or asked for since
 * the start of the call, or in a partial, stays), and against being killed.  Indexes not among the roots are removed.
 * -EBADMSG: something in use is not there, or a node that is was found damaged and is in quarantine now: nothing was removed; verify the images.
 * Also -EBADMSG, or -EIO: a pack in use turned out damaged, or cannot be read, when all that nobody needs had been removed; the counts are set.
 * `ret->damage` then says of which: it is set on failure too, unlike the rest.
 * -EUCLEAN: rows of the object index are damaged, so what is in use is not known: nothing was removed; store_open with `rebuild`. */
struct gc_result {
	uint64_t packs_removed, packs_rewritten, objects_removed;
	uint64_t bytes_freed;
	char *damage; /* heap, lines of text; or NULL */
};
int store_gc(struct store *s, store_roots_fn roots, store_progress_fn fn, void *arg,
	     struct gc_result *ret, struct err *err) MUST_CHECK;

struct store_stat {
	uint64_t packs, objects, bytes; /* bytes: of packs on disk */
	uint64_t free_bytes;		/* of the filesystem */
};
int store_stat(struct store *s, struct store_stat *ret, struct err *err) MUST_CHECK;

/* What the store keeps in memory so as to be fast, in bytes.  Each fills by and by and has a bound: `index` 32 MiB for the writer and 4 for each of DB_READERS,
 * `recent` some 60 MB (docs/adr/0001). */
struct store_memory {
	uint64_t packs;	  /* decompressed lately; 64 MiB */
	uint64_t index;	  /* pages of objects.db, and of whatever else SQLite has open */
	uint64_t recent;  /* objects that are not in the tables of objects.db yet */
	uint64_t working; /* buffers that no request uses just now; of 16 packs at most */
};
void store_memory(struct store *s, struct store_memory *ret);
#endif
