/* id.h - the 32-byte BLAKE3 name of a chunk, node, pack, index (docs/formats.md). */
#ifndef COMMON_ID_H
#define COMMON_ID_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ID_SIZE	     32
#define ID_TEXT_SIZE 65 /* 64 hex digits and NUL */

struct id {
	uint8_t b[ID_SIZE];
};

struct id id_of(const void *data, size_t size);
bool id_equal(const struct id *a, const struct id *b);
/* All zero: "not known yet" in a partial index; no object has it. */
bool id_is_zero(const struct id *a);
void id_to_text(const struct id *a, char ret_text[static ID_TEXT_SIZE]);
/* Exactly 64 lower-case hex digits and NUL; false (ret untouched) otherwise. */
bool id_from_text(const char *text, struct id *ret);

/* Lower-case hex of any bytes; `ret_text` holds 2 * size + 1. */
void hex_encode(const void *data, size_t size, char *ret_text);
/* Exactly 2 * size lower- or upper-case digits and NUL; false otherwise. */
bool hex_decode(const char *text, void *ret, size_t size);
#endif
