#include <string.h>

#include "common/bytes.h"
#include "common/id.h"
#include "tests/unit/tap.h"

static void test_reader(void)
{
	static const uint8_t data[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0xff};
	struct reader r;

	reader_init(&r, data, sizeof(data));
	ok(reader_u8(&r) == 1, "u8");
	ok(reader_u16(&r) == 0x0302, "u16 is little-endian, at an odd address");
	ok(reader_u32(&r) == 0x07060504, "u32");
	ok(reader_u64(&r) == 0x0f0e0d0c0b0a0908, "u64");
	ok(reader_bytes(&r, 0) != NULL && !r.bad, "no bytes can always be had");
	ok(reader_u16(&r) == 0 && r.bad, "past the end: zero, and bad");
	ok(reader_u8(&r) == 0 && r.bad, "bad stays, though one byte was left");
}

static void test_writer(void)
{
	uint8_t buf[16], copy[16];
	struct writer w;
	struct reader r;

	memset(buf, 0x55, sizeof(buf));
	writer_init(&w, buf, 15);
	writer_u8(&w, 0xab);
	writer_u16(&w, 0xcdef);
	writer_u32(&w, 0xdeadbeef);
	writer_u64(&w, 0x0123456789abcdef);
	ok(w.size == 15 && !w.bad, "fills the buffer");
	memcpy(copy, buf, sizeof(buf));
	writer_u8(&w, 1);
	ok(w.bad && memcmp(copy, buf, sizeof(buf)) == 0, "past the end nothing is written");
	reader_init(&r, buf, 15);
	ok(reader_u8(&r) == 0xab && reader_u16(&r) == 0xcdef && reader_u32(&r) == 0xdeadbeef &&
		   reader_u64(&r) == 0x0123456789abcdef,
	   "reads what was written");
}

static void test_zero(void)
{
	uint8_t buf[5000] = {0};
	bool good = true;

	ok(bytes_are_zero(buf, 0) && bytes_are_zero(buf, 1) && bytes_are_zero(buf, sizeof(buf)),
	   "zeros");
	for (size_t i = 0; i < sizeof(buf); i++) {
		buf[i] = 1;
		good &= !bytes_are_zero(buf, sizeof(buf)) && !bytes_are_zero(buf, i + 1) &&
			bytes_are_zero(buf, i);
		buf[i] = 0;
	}
	ok(good, "one byte anywhere shows, one behind the end does not");
}

static void test_id_text(void)
{
	struct id a, b;
	char text[ID_TEXT_SIZE];

	for (size_t i = 0; i < ID_SIZE; i++)
		a.b[i] = (uint8_t)(i * 9);
	id_to_text(&a, text);
	ok(strlen(text) == 64 && id_from_text(text, &b) && id_equal(&a, &b), "id to text and back");
	text[63] = 'G';
	ok(!id_from_text(text, &b), "no hex digit: refused");
	text[63] = 'A';
	ok(!id_from_text(text, &b), "upper case: refused, an id has one spelling");
	text[63] = '\0';
	ok(!id_from_text(text, &b), "63 digits: refused");
	ok(id_equal(&a, &b), "output untouched on failure");
	ok(!hex_decode("0g", &b, 1) && !hex_decode("001", &b, 1) && !hex_decode("0", &b, 1),
	   "hex of other shape");
}

int main(void)
{
	test_reader();
	test_writer();
	test_zero();
	test_id_text();
	return done();
}
