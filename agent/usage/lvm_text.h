/* lvm_text.h - the text in which LVM2 keeps its metadata: sections in braces, "key = value", values that are numbers, strings or lists of
 * these, and comments from '#' to the end of the line. */
#ifndef AGENT_USAGE_LVM_TEXT_H
#define AGENT_USAGE_LVM_TEXT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#define LVM_TEXT_NODES_MAX (1u << 20)

enum lvm_kind { LVM_SECTION, LVM_NUMBER, LVM_STRING, LVM_LIST };

/* A section or a value; in a list the values have no name.  Texts are in the caller's buffer, not terminated; strings without their quotes
 * and with backslashes as they are. */
struct lvm_node {
	enum lvm_kind kind;
	const char *name;
	uint32_t name_len;
	uint32_t text_len;
	const char *text;
	uint64_t number;
	uint32_t first; /* index of the first child of a section or list, 0: none */
	uint32_t next;	/* index of the next sibling, 0: none */
};

struct lvm_text {
	struct lvm_node *nodes; /* heap; nodes[0] is a section that holds all */
	size_t len, cap;
};

/* `text` must outlive the result.  -EUCLEAN with the line; -ENOMEM. */
int lvm_text_parse(const char *text, size_t size, struct lvm_text *ret, struct err *err) MUST_CHECK;
void lvm_text_done(struct lvm_text *t);

static inline const struct lvm_node *lvm_first(const struct lvm_text *t, const struct lvm_node *n)
{
	return n->first ? &t->nodes[n->first] : NULL;
}
static inline const struct lvm_node *lvm_next(const struct lvm_text *t, const struct lvm_node *n)
{
	return n->next ? &t->nodes[n->next] : NULL;
}
/* The child of that name and kind, or NULL; `n` may be NULL. */
const struct lvm_node *lvm_get(const struct lvm_text *t, const struct lvm_node *n, const char *name,
			       enum lvm_kind kind);
/* A number that must be there and at most `max`.  -EUCLEAN. */
int lvm_get_number(const struct lvm_text *t, const struct lvm_node *n, const char *name,
		   uint64_t max, uint64_t *ret, struct err *err) MUST_CHECK;
/* Is it a string with that content? */
bool lvm_is(const struct lvm_node *n, const char *text);
#endif
