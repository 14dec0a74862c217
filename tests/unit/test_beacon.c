#include <errno.h>
#include <string.h>

#include "common/beacon.h"
#include "tests/unit/tap.h"

static struct beacon hello(void)
{
	struct beacon b = {.type = BEACON_HELLO, .version = "0.1.0", .name = "web1"};

	memset(b.nonce, 7, sizeof(b.nonce));
	memset(b.machine, 9, sizeof(b.machine));
	return b;
}

static struct beacon here(void)
{
	struct beacon b = {.type = BEACON_HERE, .version = "0.1.0", .name = "lift", .port = 4647};

	memset(b.key, 3, sizeof(b.key));
	return b;
}

static void test_round_trip(void)
{
	struct beacon a = hello(), b = here(), back;
	uint8_t buf[BEACON_SIZE_MAX];
	struct err err;
	size_t size = beacon_encode(&a, buf), answer;

	ok(size >= BEACON_HELLO_MIN && beacon_decode(buf, size, &back, &err) == 0 &&
		   memcmp(&a, &back, sizeof(a)) == 0,
	   "hello");
	answer = beacon_encode(&b, buf);
	ok(answer > 0 && answer <= size, "an answer is not longer than its hello");
	ok(beacon_decode(buf, answer, &back, &err) == 0 && memcmp(&b, &back, sizeof(b)) == 0,
	   "here");
}

static void test_not_encoded(void)
{
	struct beacon a = hello(), b = here();
	uint8_t buf[BEACON_SIZE_MAX];

	a.name[0] = '\0';
	ok(beacon_encode(&a, buf) == 0, "empty name");
	a.name[0] = '\n';
	ok(beacon_encode(&a, buf) == 0, "name not printable");
	b.port = 0;
	ok(beacon_encode(&b, buf) == 0, "no port");
}

static void test_hostile(void)
{
	struct beacon b = here(), back = {.port = 77};
	uint8_t buf[BEACON_SIZE_MAX + 1] = {0};
	struct err err = {0};
	size_t size = beacon_encode(&b, buf);
	bool refused = true;

	for (size_t i = 0; i < size; i++)
		refused &= beacon_decode(buf, i, &back, &err) == -EPROTO;
	ok(refused && back.port == 77, "cut off anywhere: refused, output untouched");
	for (size_t i = 0; i < 8; i++) {
		buf[i] ^= 0x40;
		refused &= beacon_decode(buf, size, &back, &err) == -EPROTO;
		buf[i] ^= 0x40;
	}
	ok(refused, "magic, version, type, reserved");
	buf[6] = BEACON_HELLO;
	ok(beacon_decode(buf, size, &back, &err) == -EPROTO && strstr(err.msg, "shorter") != NULL,
	   "a short hello: refused");
	buf[6] = BEACON_HERE;
	memcpy(buf + size, "\x11\0\x02\0\x01\0", 6);
	ok(beacon_decode(buf, size + 6, &back, &err) == -EPROTO && strstr(err.msg, "twice") != NULL,
	   "a field twice: refused");
	memcpy(buf + size, "\x63\0\x02\0\x01\0", 6);
	ok(beacon_decode(buf, size + 6, &back, &err) == 0, "an unknown field: skipped");
	ok(beacon_decode(buf, sizeof(buf), &back, &err) == -EPROTO, "too long: refused");
	buf[24 + 4] = '\x1b';
	ok(beacon_decode(buf, size, &back, &err) == -EPROTO, "an escape in a text: refused");
}

int main(void)
{
	test_round_trip();
	test_not_encoded();
	test_hostile();
	return done();
}
