#include "common/bytes.h"

#include <string.h>

void reader_init(struct reader *r, const void *data, size_t size)
{
	r->p = data;
	r->left = size;
	r->bad = false;
}

const uint8_t *reader_bytes(struct reader *r, size_t size)
{
	const uint8_t *p = r->p;

	if (r->bad || size > r->left) {
		r->bad = true;
		return NULL;
	}
	if (size > 0)
		r->p += size;
	r->left -= size;
	return p;
}

/* Little-endian integer of `size` bytes, byte by byte: no alignment or endianness is assumed. */
static uint64_t read_le(struct reader *r, size_t size)
{
	const uint8_t *p = reader_bytes(r, size);
	uint64_t v = 0;

	if (p == NULL)
		return 0;
	for (size_t i = size; i-- > 0;)
		v = v << 8 | p[i];
	return v;
}

uint8_t reader_u8(struct reader *r)
{
	return (uint8_t)read_le(r, 1);
}

uint16_t reader_u16(struct reader *r)
{
	return (uint16_t)read_le(r, 2);
}

uint32_t reader_u32(struct reader *r)
{
	return (uint32_t)read_le(r, 4);
}

uint64_t reader_u64(struct reader *r)
{
	return read_le(r, 8);
}

void writer_init(struct writer *w, void *buf, size_t size)
{
	w->p = buf;
	w->left = size;
	w->size = 0;
	w->bad = false;
}

void writer_bytes(struct writer *w, const void *data, size_t size)
{
	if (w->bad || size > w->left) {
		w->bad = true;
		return;
	}
	if (size == 0)
		return;
	memcpy(w->p, data, size);
	w->p += size;
	w->left -= size;
	w->size += size;
}

static void write_le(struct writer *w, uint64_t v, size_t size)
{
	uint8_t b[8];

	for (size_t i = 0; i < size; i++)
		b[i] = (uint8_t)(v >> (8 * i));
	writer_bytes(w, b, size);
}

void writer_u8(struct writer *w, uint8_t v)
{
	write_le(w, v, 1);
}

void writer_u16(struct writer *w, uint16_t v)
{
	write_le(w, v, 2);
}

void writer_u32(struct writer *w, uint32_t v)
{
	write_le(w, v, 4);
}

void writer_u64(struct writer *w, uint64_t v)
{
	write_le(w, v, 8);
}

bool bytes_are_zero(const void *data, size_t size)
{
	const uint8_t *p = data;

	/* The first bytes by hand, so that data which is not zero is told at once; then the buffer
	 * against itself, which the C library does with its widest vectors. */
	for (size_t i = 0; i < 16; i++) {
		if (i == size)
			return true;
		if (p[i] != 0)
			return false;
	}
	return memcmp(p, p + 16, size - 16) == 0;
}
