/* bytes.h - bounded little-endian reader and writer over a caller's buffer.
 * Both are sticky: after the first access out of bounds `bad` stays true, reads give zeros and writes
 * do nothing, so that a decoder checks once at the end. */
#ifndef COMMON_BYTES_H
#define COMMON_BYTES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reader {
	const uint8_t *p; /* next byte */
	size_t left;	  /* bytes not yet read */
	bool bad;
};

void reader_init(struct reader *r, const void *data, size_t size);
uint8_t reader_u8(struct reader *r);
uint16_t reader_u16(struct reader *r);
uint32_t reader_u32(struct reader *r);
uint64_t reader_u64(struct reader *r);
/* `size` bytes in place (valid as long as the buffer), or NULL when they are not there. */
const uint8_t *reader_bytes(struct reader *r, size_t size);

struct writer {
	uint8_t *p; /* next byte */
	size_t left;
	size_t size; /* bytes written */
	bool bad;
};

void writer_init(struct writer *w, void *buf, size_t size);
void writer_u8(struct writer *w, uint8_t v);
void writer_u16(struct writer *w, uint16_t v);
void writer_u32(struct writer *w, uint32_t v);
void writer_u64(struct writer *w, uint64_t v);
void writer_bytes(struct writer *w, const void *data, size_t size);

/* True if all `size` bytes are zero; size may be 0. */
bool bytes_are_zero(const void *data, size_t size);
#endif
