/* scan.c - looking into places: what is there, and what of it is in use. */
#include "agent/usage/scan.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "agent/usage/content.h"
#include "common/bytes.h"
#include "common/grow.h"
#include "common/text.h"

void doubt_say(struct err *err, const char *fmt, ...)
{
	va_list ap;

	err->code = -EUCLEAN;
	va_start(ap, fmt);
	(void)vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
	va_end(ap);
}

void place_set_raw(struct place *p, const char *fmt, ...)
{
	va_list ap;

	p->part.how = USAGE_RAW;
	p->part.used = p->part.size;
	p->part.is_replayed = false;
	va_start(ap, fmt);
	(void)vsnprintf(p->part.why, sizeof(p->part.why), fmt, ap);
	va_end(ap);
	if (p->volume)
		volume_mark_all(p->volume);
}

static bool grow_places(struct scan *s)
{
	struct place **places =
		grow(s->places, s->places_len, &s->places_cap, sizeof(struct place *));

	if (places)
		s->places = places;
	return places;
}

struct place *scan_add(struct scan *s, enum place_kind kind, struct volume *take_volume,
		       struct place *parent, struct err *err)
{
	struct place *p = NULL;

	if (s->places_len >= SCAN_PLACES_MAX) {
		(void)err_set(err, -E2BIG, "more than %u partitions and volumes", SCAN_PLACES_MAX);
	} else if (!grow_places(s) || !(p = calloc(1, sizeof(*p)))) {
		s->is_failed = true;
		(void)err_set(err, -ENOMEM, "out of memory");
	}
	if (!p) {
		volume_free(take_volume);
		return NULL;
	}
	p->kind = kind;
	p->volume = take_volume;
	p->parent = parent;
	p->depth = parent ? parent->depth + 1 : 0;
	p->part.content = "unknown";
	p->part.size = take_volume ? volume_size(take_volume) : 0;
	s->places[s->places_len++] = p;
	return p;
}

/* A part of what `parent` is. */
static struct place *add_part(struct scan *s, enum place_kind kind, struct place *parent,
			      const struct table_entry *e, struct err *err)
{
	struct volume *v = NULL;
	struct place *p;
	char name[32];

	(void)snprintf(name, sizeof(name), "partition %u", e->number);
	if (!e->is_extended &&
	    volume_new_slice(name, parent->volume, e->offset, e->size, &v, err) < 0) {
		s->is_failed = true;
		return NULL;
	}
	p = scan_add(s, kind, v, parent, err);
	if (!p)
		return NULL;
	p->part.number = e->number;
	p->part.offset = e->offset;
	p->part.size = e->size;
	if (parent->part.name[0] != '\0' && kind == PLACE_PARTITION)
		(void)snprintf(p->part.name, sizeof(p->part.name), "%.100s/%u", parent->part.name,
			       e->number);
	return p;
}

static int add_partition(struct scan *s, struct place *disk, const struct table *t,
			 const struct table_entry *e, struct err *err)
{
	struct place *p = add_part(s, PLACE_PARTITION, disk, e, err);

	if (!p)
		return err->code;
	p->is_boot = e->is_boot;
	if (e->raw_why)
		(void)snprintf(p->raw_why, sizeof(p->raw_why), "%s", e->raw_why);
	if (e->is_extended) {
		p->part.content = "extended";
		p->part.how = USAGE_HEADER;
		for (size_t i = 0; i < t->own_len; i++)
			p->part.used += t->own[i].length;
		p->part.copied = p->part.used;
		part_set_why(&p->part, "it holds the table of the logical partitions");
	}
	return 0;
}

/* A space outside all partitions. */
static int add_area(struct scan *s, struct place *disk, uint64_t offset, uint64_t end,
		    const char *in_use, struct err *err)
{
	struct table_entry e = {.offset = offset, .size = end - offset};
	struct place *p;

	if (offset >= end)
		return 0;
	p = add_part(s, PLACE_AREA, disk, &e, err);
	if (!p)
		return err->code;
	(void)snprintf(p->part.name, sizeof(p->part.name), "unpartitioned");
	p->part.content = "";
	if (in_use)
		place_set_raw(p, "%s", in_use);
	else
		p->is_spare = true;
	return 0;
}

/* What is after the last partition. */
static int add_tail(struct scan *s, struct place *disk, uint64_t offset, const char *in_use,
		    struct err *err)
{
	uint64_t end = volume_size(disk->volume);
	int r;

	if (in_use || end - offset <= USAGE_TAIL_MAX)
		return add_area(s, disk, offset, end, in_use ? in_use : "after the last partition",
				err);
	r = add_area(s, disk, offset, offset + USAGE_GAP_MAX, "right after the last partition",
		     err);
	if (r == 0 && end - USAGE_TAIL_MAX > offset + USAGE_GAP_MAX)
		r = add_area(s, disk, offset + USAGE_GAP_MAX, end - USAGE_TAIL_MAX, NULL, err);
	if (r == 0) {
		r = add_area(s, disk,
			     end - USAGE_TAIL_MAX > offset + USAGE_GAP_MAX ? end - USAGE_TAIL_MAX
									   : offset + USAGE_GAP_MAX,
			     end, "the end of the disk", err);
	}
	return r;
}

static int add_areas(struct scan *s, struct place *disk, const struct table *t, struct err *err)
{
	const char *doubtful = t->is_sane ? NULL : t->why;
	uint64_t end = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < t->len; i++) {
		const struct table_entry *e = &t->entries[i];
		const char *why = doubtful;
		uint64_t gap;

		if (e->is_extended)
			continue;
		gap = e->offset - end;
		if (end == 0) {
			why = "before the first partition: table and boot code";
		} else if (!why && gap <= USAGE_GAP_MAX) {
			why = "a small space between partitions";
		}
		r = add_area(s, disk, end, e->offset, why, err);
		end = e->offset + e->size;
	}
	if (r == 0 && end == 0) {
		uint64_t whole = volume_size(disk->volume);

		end = USAGE_GAP_MAX < whole ? USAGE_GAP_MAX : whole;
		r = add_area(s, disk, 0, end, "table and boot code", err);
	}
	return r < 0 ? r : add_tail(s, disk, end, doubtful, err);
}

static void look_table(struct scan *s, struct place *p, const struct table *t)
{
	struct err err;
	int r = 0;

	p->table = t->name;
	if (p->is_logical && !p->volume->guest)
		p->volume->guest = p->volume;
	p->part.content = t->name;
	p->part.how = USAGE_MAP;
	part_set_why(&p->part, "partition table%s%s", t->is_sane ? "" : ": ", t->why);
	for (size_t i = 0; i < t->own_len; i++)
		volume_mark(p->volume, t->own[i].offset, t->own[i].length);
	for (size_t i = 0; r == 0 && i < t->len; i++)
		r = add_partition(s, p, t, &t->entries[i], &err);
	if (r == 0)
		r = add_areas(s, p, t, &err);
	if (r < 0)
		place_set_raw(p, "%s", err.msg);
}

static bool is_asleep(const struct scan *s)
{
	for (size_t i = 0; i < s->places_len; i++) {
		if (strcmp(s->places[i]->part.content, "swsuspend") == 0)
			return true;
	}
	return false;
}

void scan_settle_doubts(struct scan *s)
{
	bool asleep = is_asleep(s);

	for (size_t i = 0; i < s->places_len; i++) {
		struct place *p = s->places[i];
		bool is_container = p->state || p->table || p->kind == PLACE_AREA;

		if (p->volume)
			volume_see_torn(p->volume);
		if (!p->volume || p->part.how == USAGE_RAW)
			continue;
		if (p->volume->is_torn || volume_is_torn_in_use(p->volume)) {
			place_set_raw(p, "its copies differ, as those of a mirror do not");
		} else if (p->part.is_replayed && p->volume->is_on_torn) {
			place_set_raw(p, "its log was replayed on one copy of a mirror, and its "
					 "copies differ");
		} else if (asleep && !is_container) {
			place_set_raw(p, "a Linux is hibernated on these disks, and goes on with "
					 "what it has of them in memory");
		} else if (p->volume->guest && p->volume->guest->is_unclean && !is_container) {
			place_set_raw(p, "it is on the disk of a virtual machine that was not shut "
					 "down, and that goes on with what it has of it in memory "
					 "if it was saved");
		}
	}
}

/* What only its log keeps from being mapped is mapped by way of a replay, if there is one.  The message in `err` says why it has to be; it
 * then says why it could not. */
static int look_replayed(struct scan *s, struct place *p, struct err *err)
{
	CLEANUP(runs_done) struct runs runs;
	CLEANUP_FREE struct usage_piece *pieces = calloc(USAGE_PIECES_MAX, sizeof(*pieces));
	struct usage_unclean u = {p->part.content, volume_size(p->volume),
				  p->volume->blk.sector_size, pieces, 0};
	struct err first = *err;
	int r;

	runs_init(&runs, USAGE_REPLAY_RUNS_MAX);
	if (!pieces)
		return err_set(err, -ENOMEM, "out of memory");
	r = volume_find_pieces(p->volume, pieces, USAGE_PIECES_MAX, &u.pieces_len, err);
	if (r == 0)
		r = s->options->replay(s->options->replay_ctx, &u, &runs, err);
	if (r == 0 && runs.is_failed)
		r = err_set(err, -ENOMEM, "out of memory");
	if (r < 0)
		return err_prefix(err, "%.200s, and could not be", first.msg);
	runs_sort(&runs);
	p->part.used = 0;
	for (size_t i = 0; i < runs.len; i++) {
		p->part.used += runs.items[i].length;
		volume_mark(p->volume, runs.items[i].offset, runs.items[i].length);
	}
	p->part.is_replayed = true;
	part_set_why(&p->part, "%.200s; it was, on a copy in memory", first.msg);
	return 0;
}

static void look_content(struct scan *s, struct place *p, const struct format *format)
{
	struct err err;
	int r;

	if (!format && strcmp(p->part.content, "unknown") == 0) {
		place_set_raw(p, "nothing that is known is on it");
		return;
	}
	if (!format) {
		place_set_raw(p, "content of this kind is not looked into");
		return;
	}
	p->part.how = USAGE_MAP;
	r = format->map(s, p, &err);
	if (r == DOUBT_LOG && p->volume->guest) {
		p->volume->guest->is_unclean = true;
		place_set_raw(p,
			      "%.200s, which tells too little of a virtual machine that was saved",
			      err.msg);
		return;
	}
	if (r == DOUBT_LOG && s->options->replay)
		r = look_replayed(s, p, &err);
	if (r < 0)
		place_set_raw(p, "%s", err.msg);
}

static void look(struct scan *s, struct place *p)
{
	CLEANUP(table_done) struct table table = {0};
	const struct format *format = NULL;
	struct err err;
	int r;

	if (p->kind == PLACE_AREA || !p->volume)
		return;
	if (p->raw_why[0] != '\0' || p->is_boot || p->depth > SCAN_DEPTH_MAX) {
		place_set_raw(p, "%s",
			      p->raw_why[0] != '\0' ? p->raw_why
			      : p->is_boot	    ? "boot code"
						    : "too many layers below it");
		return;
	}
	r = content_find(s, p, &format, &table, &err);
	if (r < 0) {
		place_set_raw(p, "%s", err.msg);
	} else if (r > 0 && strcmp(p->part.content, "unknown") != 0) {
		place_set_raw(p, "there are a partition table and signatures of %s on it",
			      p->part.content);
	} else if (r > 0 && p->kind == PLACE_PARTITION) {
		place_set_raw(
			p, "there is a partition table on it, as on the disk of a virtual machine");
	} else if (r > 0) {
		look_table(s, p, &table);
	} else {
		look_content(s, p, format);
	}
}

void scan_look(struct scan *s)
{
	while (s->looked < s->places_len)
		look(s, s->places[s->looked++]);
}

void part_set_why(struct usage_part *part, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(part->why, sizeof(part->why), fmt, ap);
	va_end(ap);
}

void part_set_label(struct usage_part *part, const void *bytes, size_t size)
{
	(void)text_clean(part->label, sizeof(part->label), bytes, size);
}

size_t utf8_of_utf16(uint8_t *ret, size_t size, const uint8_t *bytes, size_t units)
{
	uint8_t *utf8 = ret;
	size_t n = 0;

	for (size_t i = 0; i < units && n + 4 <= size; i++) {
		uint32_t c = (uint32_t)bytes[2 * i] | (uint32_t)bytes[2 * i + 1] << 8;
		uint32_t low =
			i + 1 < units ? (uint32_t)bytes[2 * i + 2] | (uint32_t)bytes[2 * i + 3] << 8
				      : 0;

		if (c == 0)
			break;
		if (c >= 0xd800 && c < 0xdc00 && low >= 0xdc00 && low < 0xe000) {
			c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
			i++;
			utf8[n++] = (uint8_t)(0xf0 | c >> 18);
			utf8[n++] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
			utf8[n++] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
			utf8[n++] = (uint8_t)(0x80 | (c & 0x3f));
		} else if (c >= 0x800) {
			utf8[n++] = (uint8_t)(0xe0 | c >> 12);
			utf8[n++] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
			utf8[n++] = (uint8_t)(0x80 | (c & 0x3f));
		} else if (c >= 0x80) {
			utf8[n++] = (uint8_t)(0xc0 | c >> 6);
			utf8[n++] = (uint8_t)(0x80 | (c & 0x3f));
		} else {
			utf8[n++] = (uint8_t)c;
		}
	}
	return n;
}

void part_set_label_utf16(struct usage_part *part, const uint8_t *bytes, size_t units)
{
	uint8_t utf8[192];

	part_set_label(part, utf8, utf8_of_utf16(utf8, sizeof(utf8), bytes, units));
}

void part_set_uuid(struct usage_part *part, const uint8_t bytes[static 16])
{
	size_t n = 0;

	part->uuid[0] = '\0';
	if (bytes_are_zero(bytes, 16))
		return;
	for (unsigned i = 0; i < 16; i++) {
		n += (size_t)snprintf(part->uuid + n, sizeof(part->uuid) - n, "%s%02x",
				      i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", bytes[i]);
	}
}
