/* crc32c.h - CRC-32C (Castagnoli), RFC 3720 appendix B.4: reflected polynomial 0x82f63b78. */
#ifndef AGENT_USAGE_CRC32C_H
#define AGENT_USAGE_CRC32C_H
#include <stddef.h>
#include <stdint.h>

/* Begin with `crc` 0; the result of one piece continues with the next. */
uint32_t crc32c(uint32_t crc, const void *data, size_t size);
/* As if the four bytes at `at` (inside `size`) were zero: how formats leave out the field that holds the checksum. */
uint32_t crc32c_without(const void *data, size_t size, size_t at);
#endif
