/* The pairing code: vectors (docs/protocol.md "Pairing", made with b3sum), no digit likelier than another, what it depends on. */
#include "common/pairing.h"

#include <string.h>

#include "common/id.h"
#include "tests/unit/tap.h"

static struct pairing_facts facts(void)
{
	struct pairing_facts f = {.name = "web1"};

	for (unsigned i = 0; i < sizeof(f.machine); i++)
		f.machine[i] = (uint8_t)i;
	memset(f.key, 0x11, sizeof(f.key));
	memset(f.agent_random, 0x22, sizeof(f.agent_random));
	memset(f.server_random, 0x33, sizeof(f.server_random));
	return f;
}

static void vectors(void)
{
	struct pairing_facts f = facts();
	char long_name[65], hex[65];
	uint8_t c[PAIRING_COMMITMENT_SIZE];

	pairing_commit(f.machine, f.agent_random, c);
	hex_encode(c, sizeof(c), hex);
	ok(strcmp(hex, "c8025a9b55de7e1b04f4319503df3ac82d45c9130ec26afaee2397fd982f1a69") == 0,
	   "commitment");
	ok(pairing_code(&f) == 477533, "code");
	memset(f.agent_random, 0, sizeof(f.agent_random));
	f.agent_random[0] = 67;
	ok(pairing_code(&f) == 7049, "a code that begins with zeros");
	memset(f.agent_random, 0x22, sizeof(f.agent_random));
	memset(f.machine, 0xff, sizeof(f.machine));
	memset(f.key, 0, sizeof(f.key));
	f.name = "a";
	ok(pairing_code(&f) == 264542, "a short name");
	memset(long_name, 'x', 64);
	long_name[64] = '\0';
	f.name = long_name;
	ok(pairing_code(&f) == 382285, "a long name");
}

/* Every bit of every input counts. */
static void depends_on_all(void)
{
	static const struct {
		const char *what;
		size_t offset, size;
	} parts[] = {
		{"machine", offsetof(struct pairing_facts, machine), 16},
		{"key", offsetof(struct pairing_facts, key), 32},
		{"agent's random", offsetof(struct pairing_facts, agent_random), 32},
		{"server's random", offsetof(struct pairing_facts, server_random), 32},
	};
	struct pairing_facts f = facts();
	uint32_t code = pairing_code(&f);
	unsigned same = 0;

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		for (size_t bit = 0; bit < parts[i].size * 8; bit++) {
			uint8_t *p = (uint8_t *)&f + parts[i].offset + bit / 8;

			*p ^= (uint8_t)(1u << bit % 8);
			same += pairing_code(&f) == code;
			*p ^= (uint8_t)(1u << bit % 8);
		}
	}
	f.name = "web2";
	same += pairing_code(&f) == code;
	ok(same == 0, "no bit of the inputs can be changed without another code");
}

/* chi squared of `len` counts that should be equal */
static double chi(const unsigned *counts, size_t len, double each)
{
	double sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += ((double)counts[i] - each) * ((double)counts[i] - each) / each;
	return sum;
}

static void uniform(void)
{
	enum { N = 200000 };
	unsigned digits[6][10] = {{0}}, buckets[100] = {0};
	struct pairing_facts f = facts();
	double worst = 0;

	for (uint32_t i = 0; i < N; i++) {
		uint32_t code;

		memcpy(f.server_random, &i, sizeof(i));
		code = pairing_code(&f);
		buckets[code / 10000]++;
		for (unsigned d = 0; d < 6; d++, code /= 10)
			digits[d][code % 10]++;
	}
	for (unsigned d = 0; d < 6; d++) {
		double x = chi(digits[d], 10, N / 10.0);

		worst = x > worst ? x : worst;
	}
	/* fixed inputs: it cannot fail by chance; 33.7 is the 10^-4 quantile with 9 degrees of freedom, 161 with 99 */
	ok(worst < 33.7, "each digit is as likely as another in each place");
	ok(chi(buckets, 100, N / 100.0) < 161, "and each hundredth of the codes");
}

static void texts(void)
{
	static const char *const bad[] = {"",	      "12345",	   "1234567",	   "48291a",
					  "4829 13x", "+482913",   "４８２９１３", "482.913",
					  " - ",      "482913482", "-48291"};
	char text[PAIRING_TEXT_SIZE];
	uint32_t code = 7;
	bool taken = false;

	ok(strcmp(pairing_code_text(482913, text), "482 913") == 0, "two groups");
	ok(strcmp(pairing_code_text(7, text), "000 007") == 0, "with leading zeros");
	ok(pairing_code_from_text("482913", &code) && code == 482913, "six digits");
	ok(pairing_code_from_text(" 000 007 ", &code) && code == 7, "in groups");
	ok(pairing_code_from_text("482-913", &code) && code == 482913, "or with a dash");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		taken = taken || pairing_code_from_text(bad[i], &code);
	ok(!taken && code == 482913, "nothing else is a code");
}

int main(void)
{
	vectors();
	depends_on_all();
	uniform();
	texts();
	return done();
}
