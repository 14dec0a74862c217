/* internal.h - what the parts of the store share.  Not for anybody outside server/store.
 *
 * The index has layers: a generation in memory (two while a checkpoint runs) holds what came since the last checkpoint; another one, `recent`,
 * what came before that and lies in objects.db unsorted; the rest is in the tables of objects.db.  `alive` has the last word: an object is there if the pack that it is found in is alive.  So a pack is taken
 * away, with all its objects, by clearing one bit; the rows follow.
 *
 * Locks, in the order in which they are taken:
 *   write_lock    the writer of objects.db: checkpoints, gc's sweeps
 *   folder_locks  by the first byte of a pack's id: rename into place with its registration, quarantine and removal;
 *                 so that a pack that is sent again is not mistaken for the damaged one of the same name; so of indexes, by their roots
 *   lock          everything in memory; never held across I/O */
#ifndef SERVER_STORE_INTERNAL_H
#define SERVER_STORE_INTERNAL_H
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/codec.h"
#include "common/pack.h"
#include "server/store/db.h"
#include "server/store/files.h"
#include "server/store/store.h"

#define STORE_FOLDERS	  256
#define STORE_FOLDER_SIZE 16 /* of the text "packs/xx" */

/* ---- what no checkpoint covered yet (generation.c) */

struct fresh_object {
	struct id id;
	struct place place; /* pack 0: an empty slot of the table */
	enum pack_kind kind;
};

struct fresh_pack {
	struct pack_row row;
	int fd; /* that it was written through: the one that a failed write-back shows on */
	bool is_synced;
};

struct generation {
	struct fresh_object *table; /* open addressing, a power of two */
	size_t cap, len;
	struct fresh_pack *packs; /* numbers ascend */
	size_t packs_cap, packs_len;
	bool has_late; /* a start would not find some of the objects: only the next checkpoint saves them from being forgotten */
};

/* Room for `objects` and one pack more, so that the adds that follow cannot fail.  -ENOMEM */
int generation_reserve(struct generation *g, size_t objects, uint64_t seed,
		       struct err *err) MUST_CHECK;
void generation_add(struct generation *g, uint64_t seed, const struct fresh_object *o);
const struct fresh_object *generation_find(const struct generation *g, uint64_t seed,
					   enum pack_kind kind, const struct id *id);
const struct fresh_pack *generation_pack(const struct generation *g, uint32_t num);
const struct fresh_pack *generation_pack_by_id(const struct generation *g, const struct id *id);
/* Closes its descriptors too. */
void generation_done(struct generation *g);
/* Bytes that it takes in memory. */
size_t generation_memory(const struct generation *g);
/* The objects of `from` go into `to`, which has room for them; its packs are forgotten. */
void generation_absorb(struct generation *to, struct generation *from, uint64_t seed);
/* What is in `from` goes into `to` (and wins); `from` is empty then.  On -ENOMEM nothing happened. */
int generation_merge(struct generation *to, struct generation *from, uint64_t seed,
		     struct err *err) MUST_CHECK;

/* ---- the store */

struct store_options {
	bool rebuild;
	bool no_thread; /* checkpoints only when asked for */
	uint32_t interval_ms;
	uint32_t recent_max; /* objects; 0: the usual */
	uint32_t packs_max;  /* a checkpoint is due when this many packs wait */
	files_fault_fn fault;
	void *fault_arg;
};

/* Memory that a request works in; pooled, for fresh pages and codec contexts cost more than the work. */
struct scratch {
	struct codec_ctx *codec;
	uint8_t *plain;
	size_t plain_size;
	struct pack_builder *builder; /* NULL until asked for */
	struct scratch *next;
};

struct marks;
struct collector;
struct workers;

/* A root that was sealed from a partial: its index stays.  When the partial was removed, or sealed many times since, it is over, but while
 * store_gc runs it stays in the list: gc asked for the roots in use before. */
struct sealed {
	struct sealed *next;
	struct id root;
	bool is_over;
	char key[]; /* of the partial */
};

struct store {
	struct files files;
	int lock_fd, jobs_fd;
	char *jobs_name; /* for messages */
	struct db db;
	struct store_start start;
	struct store_options options;
	uint64_t seed; /* of hash tables: peers choose ids */

	pthread_mutex_t write_lock;
	pthread_mutex_t folder_locks[STORE_FOLDERS];
	uint64_t partial_round;		     /* write_lock */
	pthread_mutex_t lock;		     /* guards all below */
	struct generation current, previous; /* previous: is being made durable */
	struct generation
		recent; /* objects only: in objects.db as they came; changed with write_lock held too */
	uint32_t next_pack;
	uint8_t *alive;		  /* a bit for each pack number below alive_cap */
	uint8_t *unreadable_bits; /* as long: those that are not since they could not be read */
	uint32_t alive_cap;
	uint32_t *dropped; /* numbers of packs whose rows are to go at the next checkpoint */
	size_t dropped_len, dropped_cap;
	uint64_t unreadable; /* how many those are */
	uint64_t losses;     /* counts damage and failed checkpoints */
	uint64_t durable,
		drops;	   /* count checkpoints that made packs durable, and that dropped them */
	uint64_t bad_rows; /* counts rows of objects whose sum was wrong */
	uint64_t epoch;	   /* counts losses: what was found before may not be there after */
	bool is_suspect;   /* chunks were lost: a node is there only if all its chunks are */
	bool is_suspect_saved;
	bool is_index_bad; /* of what was recent, at this start or an earlier one, rows had a wrong sum */
	bool must_compare;  /* the next start shall compare the packs with the index */
	bool is_recovering; /* in store_open */
	bool is_making_index; /* then too: no index says which packs were durable, so none is given up */
	struct store_stat stat;	     /* free_bytes is not kept */
	struct collector *collector; /* store_gc runs */
	bool is_upkeep;		     /* store_gc or store_verify runs */
	struct partial *partials;
	struct sealed *sealed;
	struct err failure; /* of a checkpoint, not yet told to anybody */

	/* the checkpoint thread */
	pthread_t thread;
	bool has_thread, is_stopping, is_due;
	pthread_cond_t wake, room, upkeep_over;

	struct workers *workers; /* verify and write what comes in */
	pthread_mutex_t scratch_lock;
	struct scratch *scratch;
	struct cache *cache;
};

static inline void store_folder_path(char ret[static STORE_FOLDER_SIZE], unsigned i)
{
	(void)snprintf(ret, STORE_FOLDER_SIZE, "packs/%02x", i & 0xff);
}

int store_open_options(const char *dir, const struct store_options *o, struct store **ret,
		       struct err *err) MUST_CHECK;

struct scratch *scratch_get(struct store *s); /* NULL: out of memory */
void scratch_put(struct store *s, struct scratch *c);
/* At least `size` bytes, whose content is undefined.  NULL: out of memory. */
uint8_t *scratch_plain(struct scratch *c, size_t size);
/* Of chunks.  NULL: out of memory. */
struct pack_builder *scratch_builder(struct scratch *c);

/* ---- objects.c */

/* Where each object is (pack 0: not there).  What is found while store_gc runs stays. */
int objects_find(struct store *s, enum pack_kind kind, const struct id *ids, size_t len,
		 struct place *ret, struct err *err) MUST_CHECK;
/* With s->lock held. */
bool objects_pack_is_alive(const struct store *s, uint32_t num);
int objects_set_alive(struct store *s, uint32_t num, struct err *err) MUST_CHECK;
void objects_clear_alive(struct store *s, uint32_t num);
/* Some object is not where it was said to be: from now on nodes are looked into before they count as there. */
void objects_note_loss(struct store *s);
/* It is gone for good: counts it out, its row goes at the next checkpoint. */
void objects_drop_pack(struct store *s, const struct pack_row *row);
/* Without the lock. */
/* ret->num = 0: no pack of this number (id) is alive. */
int objects_pack(struct store *s, uint32_t num, struct pack_row *ret, struct err *err) MUST_CHECK;
int objects_pack_by_id(struct store *s, const struct id *id, struct pack_row *ret,
		       struct err *err) MUST_CHECK;
uint64_t objects_epoch(struct store *s);
/* The same of packs that could not be read too; by the id, unless that is NULL. */
int objects_pack_kept(struct store *s, uint32_t num, const struct id *id, struct pack_row *ret,
		      struct err *err) MUST_CHECK;
int objects_find_kept(struct store *s, enum pack_kind kind, const struct id *id, struct place *ret,
		      struct err *err) MUST_CHECK;
/* Of nodes: with all their chunks.  (objects_find relies on the index; this one looks closer when chunks were lost.) */
int objects_find_nodes(struct store *s, const struct id *ids, size_t len, struct place *ret,
		       struct err *err) MUST_CHECK;
/* Are all chunks of a node there, with their lengths?  Else -ENODATA and the sentence which is not. */
int objects_check_node(struct store *s, const struct node *n, struct err *err) MUST_CHECK;

/* ---- unreadable.c: packs that the medium did not give back */

/* With s->lock held.  Alive, or may be again: its rows stay. */
bool objects_pack_is_kept(const struct store *s, uint32_t num);
/* With s->lock held, of a pack that has just been cleared. */
void unreadable_add(struct store *s, uint32_t num);
/* Without the lock. */
uint64_t unreadable_count(struct store *s);
/* An object is not there: is that since its pack could not be read?  0: no.  Else that is tried again: -EAGAIN when it can be read now, or -EIO. */
int unreadable_blame(struct store *s, enum pack_kind kind, const struct id *id,
		     struct err *err) MUST_CHECK;
/* Of objects that were not found: has one of those packs any of them? */
int unreadable_has_object(struct store *s, enum pack_kind kind, const struct id *ids,
			  const struct place *found, size_t len, bool *ret,
			  struct err *err) MUST_CHECK;
/* Is there one of this id? */
int unreadable_has(struct store *s, const struct id *id, bool *ret, struct err *err) MUST_CHECK;
/* Try all of them again, until the first that still cannot be read: -EIO. */
int unreadable_retry(struct store *s, struct err *err) MUST_CHECK;

/* ---- pack_file.c: packs in the folder */

struct loaded {
	struct loaded *next; /* the cache's */
	unsigned users;	     /* the cache's */
	struct pack_row row;
	struct pack pack;
	uint8_t *file;	  /* row.size bytes; heap */
	uint8_t *plain;	  /* row.plain bytes, NULL unless asked for; heap */
	uint8_t *checked; /* a bit for each slot whose hash was seen to be right; with plain */
};
void loaded_free(struct loaded *l);

enum load_how {
	LOAD_FILE,  /* the bytes; the table decoded */
	LOAD_HASH,  /* and they hash to the pack's id */
	LOAD_PLAIN, /* LOAD_FILE, and the body decompressed */
	LOAD_ALL, /* LOAD_HASH and LOAD_PLAIN, and each object hashed: of what the medium has, not the page cache */
};
/* -EBADMSG: damaged or gone; it is in quarantine then and not alive any more.  -EAGAIN: it was removed meanwhile, look
 * its objects up again.  -EIO: it cannot be read; until the next start it is not alive. */
int pack_load(struct store *s, uint32_t num, enum load_how how, struct loaded **ret,
	      struct err *err) MUST_CHECK;
/* The object of a slot, hashed once, in a pack that was loaded with its plain bytes; errors as pack_load. */
int pack_object(struct store *s, struct loaded *l, uint32_t slot, const struct id *id,
		const uint8_t **ret, struct err *err) MUST_CHECK;
/* The pack turned out damaged: quarantine.  Returns -EBADMSG with `why` and the pack in the sentence (-EAGAIN if it
 * had been removed meanwhile). */
int pack_lose(struct store *s, const struct pack_row *row, const char *why,
	      struct err *err) MUST_CHECK;

/* The files of all packs, be they in the index or not.  `fn` < 0 ends it. */
typedef int (*pack_id_fn)(void *arg, const struct id *id, struct err *err);
int packs_each(struct store *s, pack_id_fn fn, void *arg, struct err *err) MUST_CHECK;

/* ---- cache.c: packs that were decompressed lately */
struct cache *cache_new(size_t bytes);
void cache_free(struct cache *c);
/* As pack_load with LOAD_PLAIN; to be given back. */
int cache_get(struct store *s, uint32_t num, struct loaded **ret, struct err *err) MUST_CHECK;
void cache_put(struct store *s, struct loaded *l);
/* Forget what is not in use. */
void cache_clear(struct store *s);
size_t cache_memory(struct store *s); /* bytes */

/* The node of a place; errors as pack_load. */
int node_load(struct store *s, const struct id *id, const struct place *p, struct node *ret,
	      struct err *err) MUST_CHECK;

/* ---- put.c */

/* Remove the file of a pack that is in no index (any more). */
int pack_remove_unlisted(struct store *s, const struct id *id, struct err *err) MUST_CHECK;

/* Take in a pack whose file is at its final place already: of nodes, those that have all their chunks (-ENODATA:
 * none has), or all of them while the index is being made.  -EBADMSG: damaged. */
int put_existing(struct store *s, const struct id *id, const void *data, size_t size,
		 struct err *err) MUST_CHECK;
/* A pack of objects that are there already, and are to be found in this one from now on. */
int put_instead(struct store *s, const struct id *id, const void *data, size_t size,
		struct err *err) MUST_CHECK;

/* ---- checkpoint.c */
int checkpoint_start(struct store *s, struct err *err) MUST_CHECK;
void checkpoint_stop(struct store *s);
/* Waits while too many packs wait for the checkpoint; tells of one that failed. */
int checkpoint_make_room(struct store *s, struct err *err) MUST_CHECK;
/* Before anybody is told that an object is there, or that a pack was taken in: makes a checkpoint if a kill could make it forgotten. */
int checkpoint_late(struct store *s, struct err *err) MUST_CHECK;
/* A pack was registered (s->lock held). */
void checkpoint_notice(struct store *s);

/* ---- recent.c; with write_lock held */
/* Add to the transaction what is to be recent when it is committed. */
int recent_write(struct store *s, const struct fresh_object *const *objects, size_t len,
		 struct err *err) MUST_CHECK;
/* At the start. */
int recent_load(struct store *s, struct err *err) MUST_CHECK;
/* Into the tables, if there are enough (or `all`). */
int recent_merge(struct store *s, bool all, struct err *err) MUST_CHECK;

/* ---- partial.c */
/* Make durable what was set since the last time.  With write_lock held. */
int partials_sync(struct store *s, struct err *err) MUST_CHECK;
void partials_done(struct store *s);

/* ---- index_file.c */
struct partial;
/* Write the index of a partial whose nodes are all there, if it makes the root `root`; *ret_root is that of what was written. */
int index_file_write(struct partial *p, const struct index_info *info, const struct id *root,
		     struct id *ret_root, struct err *err) MUST_CHECK;
/* Does the file make its root?  -EBADMSG: no, and it is in quarantine now; -ENOENT. */
int index_file_verify(struct store *s, const struct id *root, struct err *err) MUST_CHECK;
/* It is read from the medium next, not from the page cache. */
void index_file_forget(struct store *s, const struct id *root);

/* ---- recover.c */
/* Compare packs/ with the index; take in, quarantine, drop. */
int recover_packs(struct store *s, struct err *err) MUST_CHECK;
#endif
