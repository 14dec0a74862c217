#include "common/beacon.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "common/bytes.h"

#define MAGIC	  "HOIST"
#define VERSION_1 1u

enum field {
	FIELD_PADDING = 0,
	FIELD_MACHINE = 1,
	FIELD_VERSION = 2,
	FIELD_NAME = 3,
	FIELD_KEY = 16,
	FIELD_PORT = 17,
};

/* Which fields a datagram of each type must carry, as bits. */
#define BIT(f)	   (1u << (f))
#define HELLO_MUST (BIT(FIELD_MACHINE) | BIT(FIELD_VERSION) | BIT(FIELD_NAME))
#define HERE_MUST  (BIT(FIELD_VERSION) | BIT(FIELD_NAME) | BIT(FIELD_KEY) | BIT(FIELD_PORT))

static bool is_printable(const uint8_t *text, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (text[i] < 0x20 || text[i] > 0x7e)
			return false;
	}
	return true;
}

static void write_field(struct writer *w, enum field type, const void *data, size_t size)
{
	writer_u16(w, (uint16_t)type);
	writer_u16(w, (uint16_t)size);
	writer_bytes(w, data, size);
}

/* False if the text is empty, too long or not printable. */
static bool write_text(struct writer *w, enum field type, const char *text, size_t max)
{
	size_t len = strnlen(text, max + 1);

	if (len < 1 || len > max || !is_printable((const uint8_t *)text, len))
		return false;
	write_field(w, type, text, len);
	return true;
}

size_t beacon_encode(const struct beacon *b, uint8_t *buf)
{
	struct writer w;

	writer_init(&w, buf, BEACON_SIZE_MAX);
	writer_bytes(&w, MAGIC, 5);
	writer_u8(&w, VERSION_1);
	writer_u8(&w, (uint8_t)b->type);
	writer_u8(&w, 0);
	writer_bytes(&w, b->nonce, sizeof(b->nonce));
	if (!write_text(&w, FIELD_VERSION, b->version, sizeof(b->version) - 1) ||
	    !write_text(&w, FIELD_NAME, b->name, sizeof(b->name) - 1))
		return 0;
	if (b->type == BEACON_HELLO) {
		static const uint8_t zeros[BEACON_HELLO_MIN];

		write_field(&w, FIELD_MACHINE, b->machine, sizeof(b->machine));
		if (w.size + 4 < BEACON_HELLO_MIN)
			write_field(&w, FIELD_PADDING, zeros, BEACON_HELLO_MIN - w.size - 4);
	} else {
		uint8_t port[2] = {(uint8_t)b->port, (uint8_t)(b->port >> 8)};

		if (b->port == 0)
			return 0;
		write_field(&w, FIELD_KEY, b->key, sizeof(b->key));
		write_field(&w, FIELD_PORT, port, sizeof(port));
	}
	return w.bad ? 0 : w.size;
}

static int copy_exact(void *ret, size_t want, const uint8_t *value, size_t size, struct err *err)
{
	if (size != want) {
		return err_set(err, -EPROTO, "datagram: a field has %zu bytes instead of %zu", size,
			       want);
	}
	memcpy(ret, value, size);
	return 0;
}

static int copy_text(char *ret, size_t max, const uint8_t *value, size_t size, struct err *err)
{
	if (size < 1 || size > max || !is_printable(value, size)) {
		return err_set(err, -EPROTO,
			       "datagram: a text is empty, longer than %zu bytes or not printable",
			       max);
	}
	memcpy(ret, value, size);
	ret[size] = '\0';
	return 0;
}

static int decode_field(struct beacon *b, unsigned type, const uint8_t *value, size_t size,
			struct err *err)
{
	switch (type) {
	case FIELD_MACHINE:
		return copy_exact(b->machine, sizeof(b->machine), value, size, err);
	case FIELD_VERSION:
		return copy_text(b->version, sizeof(b->version) - 1, value, size, err);
	case FIELD_NAME:
		return copy_text(b->name, sizeof(b->name) - 1, value, size, err);
	case FIELD_KEY:
		return copy_exact(b->key, sizeof(b->key), value, size, err);
	case FIELD_PORT:
		if (size != 2 || (value[0] == 0 && value[1] == 0))
			return err_set(err, -EPROTO, "datagram: the port is not in 1..65535");
		b->port = (uint16_t)(value[0] | value[1] << 8);
		return 0;
	default:
		return 0; /* padding, and what later versions may add */
	}
}

static int decode_fields(struct reader *r, struct beacon *b, struct err *err)
{
	unsigned must = b->type == BEACON_HELLO ? HELLO_MUST : HERE_MUST;
	unsigned seen = 0;

	while (r->left > 0) {
		unsigned type = reader_u16(r);
		size_t size = reader_u16(r);
		const uint8_t *value = reader_bytes(r, size);
		int result;

		if (r->bad)
			return err_set(err, -EPROTO, "datagram: a field is cut off");
		if (type < 32 && seen & BIT(type))
			return err_set(err, -EPROTO, "datagram: field %u stands twice", type);
		if (type < 32)
			seen |= BIT(type);
		result = decode_field(b, type, value, size, err);
		if (result < 0)
			return result;
	}
	if ((seen & must) != must)
		return err_set(err, -EPROTO, "datagram: a field is missing");
	return 0;
}

int beacon_decode(const void *data, size_t size, struct beacon *ret, struct err *err)
{
	struct beacon b = {0};
	struct reader r;
	const uint8_t *magic, *nonce;
	unsigned version, type, reserved;
	int result;

	if (size > BEACON_SIZE_MAX) {
		return err_set(err, -EPROTO, "datagram: %zu bytes are more than %u", size,
			       BEACON_SIZE_MAX);
	}
	reader_init(&r, data, size);
	magic = reader_bytes(&r, 5);
	version = reader_u8(&r);
	type = reader_u8(&r);
	reserved = reader_u8(&r);
	nonce = reader_bytes(&r, sizeof(b.nonce));
	if (r.bad || memcmp(magic, MAGIC, 5) != 0)
		return err_set(err, -EPROTO, "datagram: not one of ours");
	if (version != VERSION_1)
		return err_set(err, -EPROTO, "datagram: version %u is not spoken here", version);
	if ((type != BEACON_HELLO && type != BEACON_HERE) || reserved != 0)
		return err_set(err, -EPROTO, "datagram: type %u is not known", type);
	if (type == BEACON_HELLO && size < BEACON_HELLO_MIN) {
		return err_set(err, -EPROTO, "datagram: a hello of %zu bytes is shorter than %u",
			       size, BEACON_HELLO_MIN);
	}
	b.type = (enum beacon_type)type;
	memcpy(b.nonce, nonce, sizeof(b.nonce));
	result = decode_fields(&r, &b, err);
	if (result < 0)
		return result;
	*ret = b;
	return 0;
}
