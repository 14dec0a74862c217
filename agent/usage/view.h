/* view.h - bounded access to fields of a structure read from disk, by offset, in either byte order.
 * Sticky like common/bytes.h: what is not inside reads as zero and leaves `bad` set, to be checked once. */
#ifndef AGENT_USAGE_VIEW_H
#define AGENT_USAGE_VIEW_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct view {
	const uint8_t *p;
	size_t size;
	bool bad;
};

static inline struct view view_of(const void *p, size_t size)
{
	return (struct view){.p = p, .size = size};
}

/* `size` bytes at `at` in place (valid as long as the buffer), or NULL when they are not there. */
static inline const uint8_t *view_bytes(struct view *v, size_t at, size_t size)
{
	if (at > v->size || size > v->size - at) {
		v->bad = true;
		return NULL;
	}
	return v->p + at;
}

static inline uint8_t view_u8(struct view *v, size_t at)
{
	const uint8_t *p = view_bytes(v, at, 1);

	return p ? *p : 0;
}

/* `size` <= 8 bytes as a number, the least significant first or last. */
static inline uint64_t view_le(struct view *v, size_t at, size_t size)
{
	const uint8_t *p = view_bytes(v, at, size);
	uint64_t n = 0;

	for (size_t i = size; p && i-- > 0;)
		n = n << 8 | p[i];
	return n;
}

static inline uint64_t view_be(struct view *v, size_t at, size_t size)
{
	const uint8_t *p = view_bytes(v, at, size);
	uint64_t n = 0;

	for (size_t i = 0; p && i < size; i++)
		n = n << 8 | p[i];
	return n;
}

static inline uint16_t view_le16(struct view *v, size_t at)
{
	return (uint16_t)view_le(v, at, 2);
}
static inline uint32_t view_le32(struct view *v, size_t at)
{
	return (uint32_t)view_le(v, at, 4);
}
static inline uint64_t view_le64(struct view *v, size_t at)
{
	return view_le(v, at, 8);
}
static inline uint16_t view_be16(struct view *v, size_t at)
{
	return (uint16_t)view_be(v, at, 2);
}
static inline uint32_t view_be32(struct view *v, size_t at)
{
	return (uint32_t)view_be(v, at, 4);
}
static inline uint64_t view_be64(struct view *v, size_t at)
{
	return view_be(v, at, 8);
}

/* Fuzzing takes every checksum for right, to get behind it. */
static inline bool checksum_is_right(uint64_t computed, uint64_t said)
{
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
	(void)computed;
	(void)said;
	return true;
#else
	return computed == said;
#endif
}

/* Are these very bytes there?  False, and not bad, when they are outside. */
static inline bool view_is(const struct view *v, size_t at, const void *bytes, size_t size)
{
	return at <= v->size && size <= v->size - at && memcmp(v->p + at, bytes, size) == 0;
}
#endif
