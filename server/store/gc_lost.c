/* gc_lost.c - what is not there of images that are taken for whole.  gc goes through all that is in use before it says so: one after the other, an operator
 * would have to verify an image and start gc again for each that shares the chunk which was lost. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "server/store/gc.h"
#include "server/store/internal.h"

#define GC_LOST_MAX 65536u
#define NAMES_SIZE  200u

void gc_lost_done(struct gc_lost *l)
{
	free(l->nodes);
	free(l->flaws);
}

static int out_of_memory(struct err *err)
{
	return err_set(err, -ENOMEM, "gc: out of memory");
}

int gc_lose_node(struct gc *g, const struct id *node, struct err *err)
{
	struct gc_lost *l = &g->lost;

	if (l->nodes_len == GC_LOST_MAX)
		return 0;
	if (l->nodes_len == l->nodes_cap) {
		size_t cap = l->nodes_cap ? l->nodes_cap * 2 : 64;
		struct id *p = reallocarray(l->nodes, cap, sizeof(*p));

		if (!p)
			return out_of_memory(err);
		l->nodes = p;
		l->nodes_cap = cap;
	}
	l->nodes[l->nodes_len++] = *node;
	return 0;
}

static int make_flaws(struct gc *g, struct err *err)
{
	if (!g->lost.flaws)
		g->lost.flaws = calloc(g->roots_len + 1, 1);
	return g->lost.flaws ? 0 : out_of_memory(err);
}

int gc_lose_index(struct gc *g, const struct err *why, struct err *err)
{
	int r = make_flaws(g, err);

	if (r < 0)
		return r;
	g->lost.flaws[g->root - g->roots] |= GC_LOST_INDEX;
	if (g->lost.index.code == 0)
		g->lost.index = *why;
	return 0;
}

/* ---- whose is it? */

static int id_compare(const void *a, const void *b)
{
	return memcmp(a, b, ID_SIZE);
}

struct search {
	const struct gc_lost *lost;
	bool found;
};

static int look_for(void *arg, uint64_t first, const struct id *ids, size_t len, struct err *err)
{
	struct search *x = arg;
	const struct gc_lost *l = x->lost;

	(void)first;
	(void)err;
	for (size_t i = 0; i < len && !x->found; i++)
		x->found = bsearch(&ids[i], l->nodes, l->nodes_len, ID_SIZE, id_compare) != NULL;
	return 0;
}

/* Goes through their indexes once more: seldom, in a gc that then ends. */
static int blame_roots(struct gc *g, struct err *err)
{
	struct gc_lost *l = &g->lost;
	int r = make_flaws(g, err);

	if (r < 0 || l->nodes_len == 0)
		return r;
	qsort(l->nodes, l->nodes_len, sizeof(*l->nodes), id_compare);
	for (size_t i = 0; r == 0 && i < g->roots_len; i++) {
		struct search x = {.lost = l};
		struct err ignored;

		if (g->roots[i].may_lack || (l->flaws[i] & GC_LOST_INDEX))
			continue;
		if (upkeep_each_node(g->s, &g->roots[i].id, look_for, &x, &ignored) == 0 && x.found)
			l->flaws[i] |= GC_LOST_NODES;
		r = progress_add(&g->progress, 0, err);
	}
	return r;
}

/* ---- saying it */

static void write_line(const struct gc_root *root, uint8_t flaw, FILE *f)
{
	char index[ID_TEXT_SIZE], manifest[ID_TEXT_SIZE];

	id_to_text(&root->id, index);
	id_to_text(&root->manifest, manifest);
	(void)fputs(root->of, f);
	if (!id_is_zero(&root->manifest))
		(void)fprintf(f, " (manifests/%s.json)", manifest);
	if (flaw & GC_LOST_INDEX)
		(void)fprintf(f, ": the index %s of a disk is lost\n", index);
	else
		(void)fputs(": nodes or chunks are lost\n", f);
}

/* Of an image with several disks that have lost the same, one. */
static bool is_said(const struct gc *g, size_t i)
{
	return i > 0 && g->lost.flaws[i] == GC_LOST_NODES &&
	       g->lost.flaws[i - 1] == GC_LOST_NODES &&
	       strcmp(g->roots[i - 1].of, g->roots[i].of) == 0;
}

/* A line for each into the result; the first ones into `ret_names`. */
static int write_lines(struct gc *g, char ret_names[static NAMES_SIZE], size_t *ret_len,
		       struct err *err)
{
	size_t size = 0, len = 0, said = 0, used = 0;
	FILE *f = open_memstream(&g->result.damage, &size);

	if (!f)
		return out_of_memory(err);
	ret_names[0] = '\0';
	for (size_t i = 0; i < g->roots_len; i++) {
		const char *of = g->roots[i].of;

		if (g->lost.flaws[i] == 0 || is_said(g, i))
			continue;
		write_line(&g->roots[i], g->lost.flaws[i], f);
		if (said == len++ && used + strlen(of) + 2 < NAMES_SIZE - 32) {
			used += (size_t)snprintf(ret_names + used, NAMES_SIZE - used, "%s%s",
						 said ? "; " : "", of);
			said++;
		}
	}
	if (len > said)
		(void)snprintf(ret_names + used, NAMES_SIZE - used, " and %zu more", len - said);
	*ret_len = len;
	return fclose(f) != 0 ? out_of_memory(err) : 0; /* memory */
}

/* The first one: what is to be done differs. */
static int say_index(const struct gc *g, size_t len, struct err *err)
{
	const struct gc_root *root = g->roots;
	char manifest[ID_TEXT_SIZE], more[64] = "";
	bool is_of_manifest;

	while (!(g->lost.flaws[root - g->roots] & GC_LOST_INDEX))
		root++;
	is_of_manifest = !id_is_zero(&root->manifest);
	id_to_text(&root->manifest, manifest);
	if (len > 1)
		(void)snprintf(more, sizeof(more), " (so have %zu more: see the report)", len - 1);
	return err_set(err, -EBADMSG,
		       "nothing was removed: %s%s%s%s has lost the index of a disk%s: %s%sput it "
		       "back from a backup (%.150s)",
		       root->of, is_of_manifest ? ", manifest " : "",
		       is_of_manifest ? manifest : "", is_of_manifest ? "," : "", more,
		       root->remedy ? root->remedy : "", root->remedy ? ", or " : "",
		       g->lost.index.msg);
}

static int say_nodes(const struct gc *g, const char *names, size_t len, struct err *err)
{
	char text[ID_TEXT_SIZE];

	id_to_text(&g->lost.nodes[0], text);
	return err_set(
		err, -EBADMSG,
		"nothing was removed: %s, %s in use, %s lost node %s or a chunk of it; it may be "
		"that only the object index has, so start the server with --rebuild-index; if "
		"that does not help, verify %s: gc does without what is known to be lost",
		len > 0 ? names : "an image", len > 1 ? "all" : "which is",
		len > 1 ? "have" : "has", text, len > 1 ? "each of them" : "it");
}

int gc_check_lost(struct gc *g, struct err *err)
{
	char names[NAMES_SIZE] = "";
	size_t len = 0;
	int r;

	if (g->lost.nodes_len == 0 && g->lost.index.code == 0)
		return 0;
	r = gc_check_readable(g, err);
	if (r == 0)
		r = gc_check_index(g, err);
	if (r < 0)
		return r; /* that explains it */
	r = blame_roots(g, err);
	if (r == 0)
		r = write_lines(g, names, &len, err);
	if (r < 0)
		return r;
	return g->lost.index.code ? say_index(g, len, err) : say_nodes(g, names, len, err);
}
