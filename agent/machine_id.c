#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "agent/machine.h"
#include "common/blake3.h"
#include "common/id.h"

#define DOMAIN "hoist-machine-1"

static void hash_text(struct blake3 *h, const char *text)
{
	blake3_update(h, text, strlen(text) + 1);
}

static void finish(const struct blake3 *h, char ret[static MACHINE_ID_LEN + 1])
{
	uint8_t hash[BLAKE3_OUT_SIZE];

	blake3_final(h, hash);
	hex_encode(hash, MACHINE_ID_LEN / 2, ret);
}

static bool is_id(const char *text)
{
	size_t n = strspn(text, "0123456789abcdefABCDEF");

	return n == MACHINE_ID_LEN && text[n] == '\0';
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Addresses that stay with the machine: of its own NICs before those that are plugged in. */
static size_t find_macs(const struct nic_list *l, bool usb, const char *ret[static NICS_MAX])
{
	size_t len = 0;

	for (size_t i = 0; i < l->len; i++) {
		const struct nic *n = &l->nics[i];

		if (n->permanent_mac[0] && !n->is_virtual_function &&
		    usb == (n->bus && strcmp(n->bus, "usb") == 0))
			ret[len++] = n->permanent_mac;
	}
	qsort(ret, len, sizeof(*ret), by_text);
	return len;
}

const char *machine_id_find(const struct smbios *s, const struct nic_list *nics, const char *given,
			    char ret[static MACHINE_ID_LEN + 1])
{
	const char *macs[NICS_MAX], *source = NULL;
	struct blake3 h;

	ret[0] = '\0';
	blake3_init(&h);
	hash_text(&h, DOMAIN);
	if (given && is_id(given)) {
		for (size_t i = 0; i <= MACHINE_ID_LEN; i++)
			ret[i] = (char)tolower((unsigned char)given[i]);
		return "given";
	}
	if (given) {
		source = "given";
		hash_text(&h, source);
		hash_text(&h, given);
	} else if (s->uuid[0]) {
		source = "smbios";
		hash_text(&h, source);
		hash_text(&h, s->uuid);
		hash_text(&h, s->serial);
	} else {
		size_t len = find_macs(nics, false, macs);

		if (len == 0)
			len = find_macs(nics, true, macs);
		if (len == 0)
			return NULL;
		source = "mac";
		hash_text(&h, source);
		for (size_t i = 0; i < len; i++)
			hash_text(&h, macs[i]);
	}
	finish(&h, ret);
	return source;
}
