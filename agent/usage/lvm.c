/* lvm.c - LVM2 physical volumes: lib/format_text/layout.h and lib/label/label.h of LVM2.
 *
 * A label in one of the first four sectors, with the volume's header behind it, names the areas that hold metadata: one at the start, perhaps
 * one more at the end.  Each begins with a header that names the place of the present text in the ring that the rest of the area is.  Label, header
 * and text have checksums.  All of it, and what else is outside of the extents, is in use. */
#include "agent/usage/lvm.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#define SECTOR	      512u
#define LABEL_SECTORS 4u
#define CRC_START     0xf597a6cfu
#define AREA_MAGIC    " LVM2 x[5A%r0N*>"
#define AREA_HEADER   512u
#define AREAS_MAX     8u
#define TEXT_MAX      (16u << 20)
#define IGNORED	      1u /* an area of metadata that is not kept up */
#define PV_USED	      1u

/* CRC-32 with another start and no inversion. */
static uint32_t lvm_crc(const void *data, size_t size)
{
	return ~(uint32_t)crc32(~CRC_START, data, (uInt)size);
}

/* The sector with the label; 1 if found. */
static int find_label(struct volume *v, uint8_t sector[static SECTOR], struct err *err)
{
	for (uint64_t i = 0; i < LABEL_SECTORS && (i + 1) * SECTOR <= volume_size(v); i++) {
		int r = volume_read(v, sector, SECTOR, i * SECTOR, err);

		if (r < 0)
			return r;
		if (memcmp(sector, "LABELONE", 8) == 0 && memcmp(sector + 24, "LVM2 001", 8) == 0)
			return 1;
	}
	return 0;
}

static int lvm_probe(struct volume *v, struct usage_part *part, struct err *err)
{
	uint8_t sector[SECTOR];
	struct view s = view_of(sector, sizeof(sector));
	uint32_t header;
	const uint8_t *id;
	int r = find_label(v, sector, err);

	if (r <= 0)
		return r;
	part->content = "LVM2_member";
	header = view_le32(&s, 20);
	id = view_bytes(&s, header, LVM_ID_SIZE);
	if (id) {
		(void)snprintf(part->uuid, sizeof(part->uuid), "%.6s-%.4s-%.4s-%.4s-%.4s-%.4s-%.6s",
			       (const char *)id, (const char *)id + 6, (const char *)id + 10,
			       (const char *)id + 14, (const char *)id + 18, (const char *)id + 22,
			       (const char *)id + 26);
	}
	if (!id || strspn(part->uuid, "0123456789abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ!#-") != strlen(part->uuid))
		part->uuid[0] = '\0';
	return 1;
}

static void pv_free(void *state)
{
	struct lvm_pv *pv = state;

	lvm_text_done(&pv->metadata);
	free(pv->text);
	free(pv);
}

/* An area of metadata. */
struct area_place {
	uint64_t offset, size;
};

/* Lists of places end with one that is zero. */
static size_t read_places(struct view *s, size_t *at, struct area_place *ret)
{
	size_t len = 0;

	for (;;) {
		struct area_place a = {view_le64(s, *at), view_le64(s, *at + 8)};

		*at += 16;
		if (s->bad || a.offset == 0)
			return len;
		if (len < AREAS_MAX)
			ret[len] = a;
		len++;
	}
}

static int read_header(struct volume *v, struct lvm_pv *pv, struct area_place *ret_areas,
		       size_t *ret_len, struct err *err)
{
	struct area_place data[AREAS_MAX];
	uint8_t sector[SECTOR];
	struct view s = view_of(sector, sizeof(sector));
	const uint8_t *id;
	size_t at, data_len;
	int r = find_label(v, sector, err);

	if (r < 0)
		return r;
	if (r == 0 || !checksum_is_right(lvm_crc(sector + 20, SECTOR - 20), view_le32(&s, 16)))
		return doubt(err, "the checksum of its LVM label is wrong");
	at = view_le32(&s, 20);
	id = view_bytes(&s, at, LVM_ID_SIZE);
	if (!id)
		return doubt(err, "its LVM label cannot be understood");
	memcpy(pv->id, id, LVM_ID_SIZE);
	pv->size = view_le64(&s, at + LVM_ID_SIZE);
	at += LVM_ID_SIZE + 8;
	data_len = read_places(&s, &at, data);
	*ret_len = read_places(&s, &at, ret_areas);
	/* the header's extension, with a version; older ones have zeros there */
	pv->is_used = view_le32(&s, at) != 0 && (view_le32(&s, at + 4) & PV_USED);
	if (s.bad || data_len != 1 || *ret_len > AREAS_MAX)
		return doubt(err, "its LVM label cannot be understood");
	pv->data_offset = data[0].offset;
	if (pv->size > volume_size(v) || pv->data_offset > pv->size)
		return doubt(err, "the LVM physical volume is larger than the space it is in");
	for (size_t i = 0; i < *ret_len; i++) {
		if (ret_areas[i].offset > volume_size(v) ||
		    ret_areas[i].size > volume_size(v) - ret_areas[i].offset ||
		    ret_areas[i].size <= AREA_HEADER)
			return doubt(err, "its LVM metadata are outside the space it is in");
	}
	return 0;
}

/* `size` bytes at `offset` of the ring, which begins after the area's header. */
static int read_ring(struct volume *v, const struct area_place *a, uint64_t offset, uint64_t size,
		     char *buf, struct err *err)
{
	uint64_t first = a->size - offset < size ? a->size - offset : size;
	int r = volume_read(v, buf, first, a->offset + offset, err);

	if (r == 0 && first < size)
		r = volume_read(v, buf + first, size - first, a->offset + AREA_HEADER, err);
	return r;
}

/* The text of an area, NUL-terminated on the heap; NULL when it has none.  `*ret_ignored`: it has none that counts. */
static int read_text(struct volume *v, const struct area_place *a, char **ret, bool *ret_ignored,
		     struct err *err)
{
	uint8_t header[AREA_HEADER];
	struct view h = view_of(header, sizeof(header));
	CLEANUP_FREE char *text = NULL;
	uint64_t offset, size;
	int r = volume_read(v, header, sizeof(header), a->offset, err);

	*ret = NULL;
	if (r < 0)
		return r;
	if (!checksum_is_right(lvm_crc(header + 4, AREA_HEADER - 4), view_le32(&h, 0)) ||
	    !view_is(&h, 4, AREA_MAGIC, 16) || view_le32(&h, 20) != 1 ||
	    view_le64(&h, 24) != a->offset || view_le64(&h, 32) != a->size)
		return doubt(err, "the checksum of its LVM metadata's header is wrong");
	offset = view_le64(&h, 40);
	size = view_le64(&h, 48);
	*ret_ignored = view_le32(&h, 60) & IGNORED;
	if (offset == 0 || *ret_ignored)
		return 0;
	if (view_le64(&h, 64) != 0)
		return doubt(err, "its LVM metadata were being changed");
	if (offset < AREA_HEADER || offset >= a->size || size == 0 || size > TEXT_MAX ||
	    size > a->size - AREA_HEADER)
		return doubt(err, "its LVM metadata are outside of their area");
	text = malloc(size + 1);
	if (!text)
		return err_set(err, -ENOMEM, "out of memory");
	r = read_ring(v, a, offset, size, text, err);
	if (r < 0)
		return r;
	text[size] = '\0';
	if (!checksum_is_right(lvm_crc(text, size), view_le32(&h, 56)))
		return doubt(err, "the checksum of its LVM metadata is wrong");
	*ret = TAKE_PTR(text);
	return 0;
}

const struct lvm_node *lvm_group_section(const struct lvm_text *t)
{
	const struct lvm_node *n = t->nodes ? lvm_first(t, &t->nodes[0]) : NULL;

	while (n && n->kind != LVM_SECTION)
		n = lvm_next(t, n);
	return n;
}

/* Keep the first text; of others only see that they are of the same change. */
static int take_text(struct lvm_pv *pv, char **take_text, struct err *err)
{
	CLEANUP(lvm_text_done) struct lvm_text t = {0};
	const struct lvm_node *seqno;
	int r = lvm_text_parse(*take_text, strlen(*take_text), &t, err);

	if (r < 0)
		return r;
	seqno = lvm_get(&t, lvm_group_section(&t), "seqno", LVM_NUMBER);
	if (!seqno)
		return doubt(err, "its LVM metadata have no number");
	if (pv->text && seqno->number != pv->seqno)
		return doubt(err, "the copies of its LVM metadata differ");
	if (pv->text)
		return 0;
	pv->seqno = seqno->number;
	pv->text = TAKE_PTR(*take_text);
	pv->metadata = t;
	t = (struct lvm_text){0};
	return 0;
}

static int read_metadata(struct volume *v, struct lvm_pv *pv, struct err *err)
{
	struct area_place areas[AREAS_MAX];
	size_t len;
	int r = read_header(v, pv, areas, &len, err);

	for (size_t i = 0; r == 0 && i < len; i++) {
		CLEANUP_FREE char *text = NULL;
		bool is_ignored = false;

		volume_mark(v, areas[i].offset, areas[i].size);
		r = read_text(v, &areas[i], &text, &is_ignored, err);
		pv->has_area = pv->has_area || !is_ignored;
		if (r == 0 && text)
			r = take_text(pv, &text, err);
	}
	volume_mark(v, 0, pv->data_offset);
	volume_mark(v, pv->size, UINT64_MAX);
	return r;
}

struct lvm_pv *lvm_pv_of(const struct place *p)
{
	return p->free_state == pv_free ? p->state : NULL;
}

static int lvm_map(struct scan *s, struct place *p, struct err *err)
{
	struct lvm_pv *pv = calloc(1, sizeof(*pv));
	int r;

	(void)s;
	if (!pv)
		return err_set(err, -ENOMEM, "out of memory");
	r = read_metadata(p->volume, pv, err);
	if (r < 0) {
		pv_free(pv);
		return r;
	}
	p->state = pv;
	p->free_state = pv_free;
	return 0;
}

const struct format format_lvm = {.name = "LVM", .probe = lvm_probe, .map = lvm_map};
