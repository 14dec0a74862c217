#include "agent/usage/lvm_text.h"

#include <stdlib.h>
#include <string.h>

#include "agent/usage/scan.h"
#include "common/grow.h"

#define DEPTH_MAX 8u

struct parser {
	const char *p, *end;
	unsigned line;
	struct lvm_text *t;
};

static int wrong(const struct parser *p, struct err *err)
{
	return doubt(err, "line %u of the LVM metadata cannot be understood", p->line);
}

static void skip_space(struct parser *p)
{
	while (p->p < p->end) {
		if (*p->p == '#') {
			while (p->p < p->end && *p->p != '\n')
				p->p++;
		} else if (*p->p == '\n') {
			p->line++;
			p->p++;
		} else if (*p->p == ' ' || *p->p == '\t' || *p->p == '\r') {
			p->p++;
		} else {
			break;
		}
	}
}

static bool take(struct parser *p, char c)
{
	skip_space(p);
	if (p->p >= p->end || *p->p != c)
		return false;
	p->p++;
	return true;
}

static bool is_name(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("_.+-/", c));
}

/* `err` says it. */
static uint32_t refuse(int code)
{
	(void)code;
	return 0;
}

/* A new node at the end of its parent's children; `*last` is the one before (0: none).  0 when it fails. */
static uint32_t add(struct parser *p, uint32_t parent, uint32_t *last, struct err *err)
{
	struct lvm_text *t = p->t;
	struct lvm_node *nodes;

	if (t->len >= LVM_TEXT_NODES_MAX)
		return refuse(doubt(err, "the LVM metadata are too large"));
	nodes = grow(t->nodes, t->len, &t->cap, sizeof(*nodes));
	if (!nodes)
		return refuse(err_set(err, -ENOMEM, "out of memory"));
	t->nodes = nodes;
	t->nodes[t->len] = (struct lvm_node){0};
	if (t->len > 0) {
		if (*last) {
			t->nodes[*last].next = (uint32_t)t->len;
		} else {
			t->nodes[parent].first = (uint32_t)t->len;
		}
	}
	*last = (uint32_t)t->len;
	return (uint32_t)t->len++;
}

static int parse_string(struct parser *p, struct lvm_node *n, struct err *err)
{
	const char *start = ++p->p;

	/* over several lines at times: descriptions quote the command that was given */
	while (p->p < p->end && *p->p != '"') {
		p->line += *p->p == '\n';
		p->p += *p->p == '\\' && p->p + 1 < p->end ? 2 : 1;
	}
	if (p->p >= p->end || *p->p != '"')
		return wrong(p, err);
	n->kind = LVM_STRING;
	n->text = start;
	n->text_len = (uint32_t)(p->p++ - start);
	return 0;
}

static int parse_number(struct parser *p, struct lvm_node *n, struct err *err)
{
	bool has_digits = false;

	n->kind = LVM_NUMBER;
	for (; p->p < p->end && *p->p >= '0' && *p->p <= '9'; p->p++) {
		has_digits = true;
		if (__builtin_mul_overflow(n->number, 10u, &n->number) ||
		    __builtin_add_overflow(n->number, (uint64_t)(*p->p - '0'), &n->number))
			return wrong(p, err);
	}
	return has_digits ? 0 : wrong(p, err);
}

/* A number or a string into node `i`. */
static int parse_scalar(struct parser *p, uint32_t i, struct err *err)
{
	skip_space(p);
	if (p->p < p->end && *p->p == '"')
		return parse_string(p, &p->t->nodes[i], err);
	return parse_number(p, &p->t->nodes[i], err);
}

static int parse_list(struct parser *p, uint32_t i, struct err *err)
{
	uint32_t last = 0;

	p->t->nodes[i].kind = LVM_LIST;
	if (take(p, ']'))
		return 0;
	for (;;) {
		uint32_t value = add(p, i, &last, err);
		int r = value ? parse_scalar(p, value, err) : err->code;

		if (r < 0)
			return r;
		if (take(p, ']'))
			return 0;
		if (!take(p, ','))
			return wrong(p, err);
	}
}

/* The inside of section `i`, up to and including its brace, or the end of the text at depth 0. */
static int parse_section(struct parser *p, uint32_t i, unsigned depth, struct err *err)
{
	uint32_t last = 0;

	p->t->nodes[i].kind = LVM_SECTION;
	if (depth > DEPTH_MAX)
		return wrong(p, err);
	for (;;) {
		const char *name;
		uint32_t child;
		int r;

		if (depth > 0 && take(p, '}'))
			return 0;
		skip_space(p);
		/* what is left of an older text in the ring begins with a NUL */
		if (depth == 0 && (p->p == p->end || *p->p == '\0'))
			return 0;
		for (name = p->p; p->p < p->end && is_name(*p->p); p->p++)
			;
		if (p->p == name)
			return wrong(p, err);
		child = add(p, i, &last, err);
		if (child == 0)
			return err->code;
		p->t->nodes[child].name = name;
		p->t->nodes[child].name_len = (uint32_t)(p->p - name);
		if (take(p, '{')) {
			r = parse_section(p, child, depth + 1, err);
		} else if (!take(p, '=')) {
			r = wrong(p, err);
		} else if (take(p, '[')) {
			r = parse_list(p, child, err);
		} else {
			r = parse_scalar(p, child, err);
		}
		if (r < 0)
			return r;
	}
}

int lvm_text_parse(const char *text, size_t size, struct lvm_text *ret, struct err *err)
{
	struct lvm_text t = {0};
	struct parser p = {text, text + size, 1, &t};
	uint32_t last = 0;
	int r = 0;

	err->code = 0;
	(void)add(&p, 0, &last, err);
	r = !t.nodes ? err->code : parse_section(&p, 0, 0, err);
	if (r < 0) {
		lvm_text_done(&t);
		return r;
	}
	*ret = t;
	return 0;
}

void lvm_text_done(struct lvm_text *t)
{
	free(t->nodes);
	*t = (struct lvm_text){0};
}

const struct lvm_node *lvm_get(const struct lvm_text *t, const struct lvm_node *n, const char *name,
			       enum lvm_kind kind)
{
	size_t len = strlen(name);

	for (n = n ? lvm_first(t, n) : NULL; n; n = lvm_next(t, n)) {
		if (n->kind == kind && n->name_len == len && memcmp(n->name, name, len) == 0)
			return n;
	}
	return NULL;
}

int lvm_get_number(const struct lvm_text *t, const struct lvm_node *n, const char *name,
		   uint64_t max, uint64_t *ret, struct err *err)
{
	const struct lvm_node *value = lvm_get(t, n, name, LVM_NUMBER);

	if (!value || value->number > max)
		return doubt(err, "the LVM metadata have no proper %s", name);
	*ret = value->number;
	return 0;
}

bool lvm_is(const struct lvm_node *n, const char *text)
{
	return n && n->kind == LVM_STRING && n->text_len == strlen(text) &&
	       memcmp(n->text, text, n->text_len) == 0;
}
