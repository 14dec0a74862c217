#include "server/store/marks.h"

#include <errno.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "server/store/internal.h"

#define ROWS 1024

/* The list of packs, and the bits that each takes. */
static int read_packs(struct marks *m, struct db_reader *reader, struct err *err)
{
	CLEANUP_FREE struct pack_row *rows = malloc(ROWS * sizeof(*rows));
	uint32_t from = 1, next = 0;
	uint64_t bits = 0;
	size_t n = ROWS;

	if (!rows)
		return err_set(err, -ENOMEM, "out of memory");
	while (n == ROWS) {
		int r = db_packs_from(reader, from, rows, ROWS, &n, err);

		if (r < 0)
			return r;
		for (size_t i = 0; i < n && rows[i].num < m->len; i++) {
			while (next <= rows[i].num)
				m->first[next++] = bits;
			bits += rows[i].count;
			m->kinds[rows[i].num] = (uint8_t)rows[i].kind;
			m->plain[rows[i].num] = rows[i].plain;
			m->sizes[rows[i].num] = rows[i].size;
			from = rows[i].num + 1;
		}
		if (n > 0 && rows[n - 1].num >= m->len)
			break;
	}
	while (next <= m->len)
		m->first[next++] = bits;
	return 0;
}

int marks_init(struct marks *m, struct store *s, struct err *err)
{
	struct db_reader *reader;
	int r;

	*m = (struct marks){0};
	(void)pthread_mutex_lock(&s->lock);
	m->len = s->next_pack;
	(void)pthread_mutex_unlock(&s->lock);
	m->first = calloc((size_t)m->len + 1, sizeof(*m->first));
	m->bytes = calloc(m->len, sizeof(*m->bytes));
	m->kinds = calloc(m->len, sizeof(*m->kinds));
	m->plain = calloc(m->len, sizeof(*m->plain));
	m->sizes = calloc(m->len, sizeof(*m->sizes));
	if (!m->first || !m->bytes || !m->kinds || !m->plain || !m->sizes) {
		marks_done(m);
		return err_set(err, -ENOMEM, "out of memory for %u packs", s->next_pack);
	}
	r = db_reader_get(&s->db, &reader, err);
	if (r == 0) {
		r = read_packs(m, reader, err);
		db_reader_put(&s->db, reader);
	}
	if (r == 0) {
		m->bits = calloc(m->first[m->len] / 8 + 1, 1);
		r = m->bits ? 0 : err_set(err, -ENOMEM, "out of memory for the objects in use");
	}
	if (r < 0)
		marks_done(m);
	return r;
}

void marks_done(struct marks *m)
{
	free(m->first);
	free(m->bits);
	free(m->bytes);
	free(m->kinds);
	free(m->plain);
	free(m->sizes);
	*m = (struct marks){0};
}

bool marks_add(struct marks *m, const struct place *p)
{
	uint64_t bit = m->first[p->pack] + p->slot;
	uint8_t mask = (uint8_t)(1u << (bit % 8));

	if (m->bits[bit / 8] & mask)
		return false;
	m->bits[bit / 8] |= mask;
	m->bytes[p->pack] += p->length;
	return true;
}

void marks_remove(struct marks *m, const struct place *p)
{
	uint64_t bit = m->first[p->pack] + p->slot;
	uint8_t mask = (uint8_t)(1u << (bit % 8));

	if (!(m->bits[bit / 8] & mask))
		return;
	m->bits[bit / 8] &= (uint8_t)~mask;
	m->bytes[p->pack] -= p->length;
}
