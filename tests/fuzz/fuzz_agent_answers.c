/* What a server answers an agent in JSON: to the registration, about its codecs, to a finished disk, to a pairing; orders are fuzz_message's. */
#include <stdlib.h>
#include <string.h>

#include "agent/pair_wire.h"
#include "agent/wire.h"
#include "common/cleanup.h"
#include "common/limits.h"
#include "tests/fuzz/fuzz.h"

#define MACHINE "0000000000000000000000000000000a"
#define WINDOWS 1000u

static void check_registered(const json_t *j)
{
	struct wire_registered x;
	struct err err;

	if (wire_registered_decode(j, MACHINE, &x, &err) == 0 &&
	    (strlen(x.secret) < 16 || strlen(x.secret) > WIRE_SECRET_MAX || x.poll_s < 1 ||
	     x.poll_s > WIRE_POLL_MAX))
		abort();
}

static void check_finished(const json_t *j)
{
	struct peer_finished f = {0};
	struct id root = {{1}};
	struct err err;
	uint64_t from = 0;

	if (wire_finished_decode(j, WINDOWS, &root, &f, &err) < 0)
		return;
	for (size_t i = 0; i < f.missing_len; i++) {
		if (f.missing[i].first < from || f.missing[i].count == 0 ||
		    f.missing[i].first >= WINDOWS ||
		    f.missing[i].count > WINDOWS - f.missing[i].first)
			abort();
		from = f.missing[i].first + f.missing[i].count;
	}
	peer_finished_done(&f);
}

static void check_pair(const json_t *j)
{
	struct pair_begun b;
	struct pair_status status;
	struct err err;

	if (pair_begun_decode(j, &b, &err) == 0) {
		if (strlen(b.ticket) != PAIR_TICKET_SIZE - 1 || b.life_s < 1 || b.life_s > 86400)
			abort();
		for (const char *p = b.name; *p; p++) {
			if (*p <= 0x20 || *p > 0x7e)
				abort();
		}
	}
	if (pair_status_decode(j, &status, &err) == 0 &&
	    ((unsigned)status.state > PAIR_ENDED || status.proof >= PAIRING_CODES))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP_JSON json_t *j = NULL;
	struct err err;

	if (json_parse((const char *)data, size, JSON_BIG_MAX, &j, &err) < 0)
		return 0;
	check_registered(j);
	check_finished(j);
	check_pair(j);
	if ((unsigned)wire_codec_decode(j) >= CODEC_COUNT)
		abort();
	return 0;
}
