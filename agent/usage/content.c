/* content.c - what is there, as each copy of a mirror has it.
 *
 * The copies of a sound RAID 1 differ where nothing is in use: what was there before an array that was made with --assume-clean, what a disk
 * gives back of blocks that were trimmed, what was swapped out while it changed.  But to look for a signature is to read the place where it would be, in use or not.
 *
 * So this is the one time that copies may differ: the place is looked at as each of them has it, one after the other, and all have to show the same
 * content, and no partition table.  The map of that content is then read only from what all copies have alike (volume.c): it is the map
 * that each copy would have, looked at alone.  Where they differed must turn out to be free (scan_settle_doubts), or the halves may have gone ways of their own. */
#include "agent/usage/content.h"

#include <string.h>

#include "agent/usage/formats.h"
#include "agent/usage/md.h"

struct found {
	struct usage_part part;
	const struct format *format;
	struct table table;
};

static int look(struct volume *v, struct found *f, struct err *err)
{
	int r = formats_find(v, &f->part, &f->format, err);

	if (r == 0 && !(f->format == &format_md && md_hides_content(v)))
		r = table_read(v, &f->table, err);
	return r;
}

static bool is_same(const struct found *a, const struct found *b)
{
	return a->format == b->format && strcmp(a->part.content, b->part.content) == 0 &&
	       strcmp(a->part.uuid, b->part.uuid) == 0 && strcmp(a->part.label, b->part.label) == 0;
}

/* Do the other copies show what the first one does: content, and no table? */
static bool others_show(struct scan *s, const struct place *p, const struct found *first)
{
	bool good = true;

	for (s->glance.copy = 1; good && s->glance.copy < s->glance.copies; s->glance.copy++) {
		struct found f = {.part = p->part};
		struct err ignored;

		good = look(p->volume, &f, &ignored) == 0 && is_same(&f, first);
		table_done(&f.table);
	}
	return good;
}

int content_find(struct scan *s, struct place *p, const struct format **ret_format,
		 struct table *ret_table, struct err *err)
{
	struct found f = {.part = p->part};
	int r;

	s->glance.is_on = true;
	s->glance.is_torn = false;
	s->glance.copy = 0;
	r = look(p->volume, &f, err);
	if (s->glance.is_torn && (r > 0 || (r == 0 && !others_show(s, p, &f)))) {
		table_done(&f.table);
		f = (struct found){.part = p->part};
		s->glance.is_on = false; /* so that it meets with what differs, as a map would */
		r = look(p->volume, &f, err);
		if (r >= 0)
			r = doubt(err, "its copies differ, as those of a mirror do not");
	}
	s->glance.is_on = false;
	if (r < 0)
		table_done(&f.table);
	p->part = f.part;
	*ret_format = f.format;
	*ret_table = f.table;
	return r;
}
