/* store_fixture.h - a store in a folder of its own, and the questions that tests ask it. */
#ifndef TESTS_LIB_STORE_FIXTURE_H
#define TESTS_LIB_STORE_FIXTURE_H
#include <stdbool.h>
#include <stddef.h>

#include "server/store/internal.h"
#include "tests/lib/sample.h"

extern char fixture_dir[64];  /* made by fixture_begin */
extern char fixture_data[80]; /* the data directory in it, not there at first */

void fixture_begin(void);
void fixture_end(void);
/* Without the checkpoint thread.  Aborts when it cannot be opened. */
struct store *fixture_open(bool rebuild);
struct store *fixture_open_at(const char *path, bool rebuild);

/* Each prints what went wrong as a TAP comment. */
int fixture_put(struct store *s, const struct sample_pack *p);
bool fixture_put_all(struct store *s, const struct sample *x);
size_t fixture_count_lacking(struct store *s, enum pack_kind kind, const struct id *ids,
			     size_t len);
/* Chunks and nodes of the sample that are not there. */
size_t fixture_lacks(struct store *s, const struct sample *x);
/* Ask for chunks `first` to `last` - 1 and expect exactly these, each once; errors: the negative errno, -EPROTO when
 * something else came.  `ret_packs` may be NULL. */
int fixture_get(struct store *s, const struct sample *x, uint32_t first, uint32_t last,
		size_t *ret_packs);
/* All nodes, as they were. */
int fixture_get_nodes(struct store *s, const struct sample *x);
/* Put all, set all windows, seal. */
int fixture_seal(struct store *s, const struct sample *x, const char *key);
/* What the server promises: of a node that is there, all chunks are there, and can be read. */
bool fixture_holds_invariant(struct store *s, const struct sample *x);
/* Where the pack's file is; the text is overwritten by the next call. */
const char *fixture_pack_path(const struct id *id);
#endif
