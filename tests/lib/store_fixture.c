#include "tests/lib/store_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/node.h"

char fixture_dir[64];
char fixture_data[80];

/* In memory where there is such a folder: the tests make thousands of checkpoints. */
void fixture_begin(void)
{
	bool is_fast = access("/dev/shm", W_OK) == 0;

	(void)snprintf(fixture_dir, sizeof(fixture_dir), "%s/hoist-test-store-XXXXXX",
		       is_fast ? "/dev/shm" : "/var/tmp");
	if (!mkdtemp(fixture_dir))
		abort();
	(void)snprintf(fixture_data, sizeof(fixture_data), "%s/data", fixture_dir);
}

void fixture_end(void)
{
	tree_remove(fixture_dir);
}

struct store *fixture_open_at(const char *path, bool rebuild)
{
	const struct store_options o = {.rebuild = rebuild,
					.no_thread = true,
					.interval_ms = 1000,
					.packs_max = 1000,
					.recent_max = 40};
	struct store *s = NULL;
	struct err err = {0};

	if (store_open_options(path, &o, &s, &err) < 0) {
		printf("# %s\n", err.msg);
		abort();
	}
	return s;
}

struct store *fixture_open(bool rebuild)
{
	return fixture_open_at(fixture_data, rebuild);
}

static int tell(int r, const struct err *err)
{
	if (r < 0)
		printf("# %s\n", err->msg);
	return r;
}

int fixture_put(struct store *s, const struct sample_pack *p)
{
	struct err err = {0};

	return tell(store_put_pack(s, &p->id, p->data, p->size, &err), &err);
}

bool fixture_put_all(struct store *s, const struct sample *x)
{
	for (size_t i = 0; i < x->packs_len; i++)
		if (fixture_put(s, &x->packs[i]) < 0)
			return false;
	return true;
}

size_t fixture_count_lacking(struct store *s, enum pack_kind kind, const struct id *ids, size_t len)
{
	uint8_t *bits = calloc(len / 8 + 1, 1);
	struct err err = {0};
	size_t n = 0;

	if (!bits || store_lacks(s, kind, ids, len, bits, &err) < 0)
		abort();
	for (size_t i = 0; i < len; i++)
		n += bits[i / 8] >> (i % 8) & 1;
	free(bits);
	return n;
}

size_t fixture_lacks(struct store *s, const struct sample *x)
{
	return fixture_count_lacking(s, PACK_CHUNKS, x->chunks, x->chunks_len) +
	       fixture_count_lacking(s, PACK_NODES, x->nodes, x->windows);
}

struct got {
	const struct sample *x;
	uint8_t *seen; /* times, by chunk of the disk */
	size_t packs, strangers;
};

static void note(struct got *g, const struct id *id)
{
	for (uint32_t i = 0; i < g->x->chunks_len; i++) {
		if (id_equal(&g->x->chunks[i], id)) {
			g->seen[i]++;
			return;
		}
	}
	g->strangers++;
}

static int take_pack(void *arg, const void *data, size_t size, struct err *err)
{
	struct got *g = arg;
	struct codec_ctx *ctx = codec_ctx_new();
	struct pack p = {0};
	uint8_t *plain = malloc(PACK_PLAIN_MAX);

	if (pack_decode(data, size, &p, err) < 0 || pack_decompress(&p, ctx, plain, err) < 0 ||
	    pack_verify(&p, plain, err) < 0)
		abort();
	for (uint32_t i = 0; i < p.count; i++)
		note(g, &p.entries[i].id);
	g->packs++;
	free(plain);
	pack_done(&p);
	codec_ctx_free(ctx);
	return 0;
}

int fixture_get(struct store *s, const struct sample *x, uint32_t first, uint32_t last,
		size_t *ret_packs)
{
	struct got g = {.x = x, .seen = calloc(x->chunks_len + 1, 1)};
	struct err err = {0};
	int r = tell(store_get_chunks(s, x->chunks + first, last - first, take_pack, &g, &err),
		     &err);

	for (uint32_t i = 0; r == 0 && i < x->chunks_len; i++)
		if (g.seen[i] != (i >= first && i < last))
			r = -EPROTO;
	if (r == 0 && g.strangers > 0)
		r = -EPROTO;
	if (ret_packs)
		*ret_packs = g.packs;
	free(g.seen);
	return r;
}

int fixture_get_nodes(struct store *s, const struct sample *x)
{
	struct node *n = malloc(sizeof(*n));
	uint8_t *buf = malloc(NODE_SIZE_MAX);
	int r = 0;

	for (uint32_t w = 0; r == 0 && w < x->windows; w++) {
		struct err err = {0};
		struct id id;

		r = tell(store_get_node(s, &x->nodes[w], n, &err), &err);
		if (r < 0)
			break;
		id = id_of(buf, node_encode(n, buf));
		r = id_equal(&id, &x->nodes[w]) ? 0 : -EPROTO;
	}
	free(n);
	free(buf);
	return r;
}

int fixture_seal(struct store *s, const struct sample *x, const char *key)
{
	const struct index_info info = {.geometry = x->geometry};
	struct seal_result result = {0};
	struct partial *p = NULL;
	struct err err = {0};
	int r = tell(partial_open(s, key, x->geometry.size, &p, &err), &err);

	for (uint32_t w = 0; r == 0 && w < x->windows; w++)
		r = tell(partial_set_one(p, w, &x->nodes[w], &err), &err);
	if (r == 0)
		r = tell(partial_seal(p, &info, &x->root, &result, &err), &err);
	if (r == 0 && (result.missing_len > 0 || result.data_bytes != x->data_bytes))
		r = -EPROTO;
	seal_result_done(&result);
	partial_close(p);
	return r;
}

bool fixture_holds_invariant(struct store *s, const struct sample *x)
{
	uint32_t per_window = x->chunks_len / x->windows;

	for (uint32_t w = 0; w < x->windows; w++) {
		uint32_t first = w * per_window;

		if (fixture_count_lacking(s, PACK_NODES, &x->nodes[w], 1) != 0)
			continue;
		if (fixture_count_lacking(s, PACK_CHUNKS, x->chunks + first, per_window) != 0 ||
		    fixture_get(s, x, first, first + per_window, NULL) < 0)
			return false;
	}
	return true;
}

const char *fixture_pack_path(const struct id *id)
{
	static char path[256];
	char text[ID_TEXT_SIZE];

	id_to_text(id, text);
	(void)snprintf(path, sizeof(path), "%s/store/packs/%.2s/%s", fixture_data, text, text);
	return path;
}
