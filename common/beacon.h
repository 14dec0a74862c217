/* beacon.h - the discovery datagram, docs/formats.md "Datagram".  Encoding and decoding only. */
#ifndef COMMON_BEACON_H
#define COMMON_BEACON_H
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#define BEACON_SIZE_MAX	 1200u
#define BEACON_HELLO_MIN 512u
#define BEACON_GROUP	 "ff12::4647"

enum beacon_type { BEACON_HELLO = 1, BEACON_HERE = 2 };

struct beacon {
	enum beacon_type type;
	uint8_t nonce[16];
	uint8_t machine[16]; /* hello */
	char version[33];    /* printable ASCII */
	char name[65];
	uint8_t key[32]; /* here: SHA-256 of the server's SubjectPublicKeyInfo */
	uint16_t port;	 /* here */
};

/* Returns the size written to `buf` (BEACON_SIZE_MAX bytes), or 0 if a field is not allowed. */
size_t beacon_encode(const struct beacon *b, uint8_t *buf);
/* -EPROTO with the reason (also for a version we do not speak). */
int beacon_decode(const void *data, size_t size, struct beacon *ret, struct err *err) MUST_CHECK;
#endif
