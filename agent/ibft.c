/* ibft.c - the iSCSI Boot Firmware Table (Microsoft, iBFT 1.03): firmware, or the boot code of a network card, tells the system from which disk of the
 * network the machine starts.  Who started from there and sees no disk here is to know why.
 *
 * Offsets: a header of ACPI's shape, 48 bytes; the control structure, which has those of two targets at 60 and 64; a target has its flags at 5,
 * the length of its name at 34 and the name's place at 36. */
#include <string.h>

#include "agent/machine.h"
#include "common/bytes.h"

#define TABLE_MAX	  4096u
#define LENGTH_AT	  4u
#define TARGETS_AT	  60u
#define TARGETS		  2u
#define TARGET_ID	  4u
#define TARGET_FLAGS_AT	  5u
#define TARGET_FLAG_VALID 1u
#define TARGET_NAME_AT	  34u

static struct reader at(const uint8_t *table, size_t size, size_t offset)
{
	struct reader r;

	reader_init(&r, table, size);
	(void)reader_bytes(&r, offset);
	return r;
}

static bool name_of(const uint8_t *table, size_t size, size_t target, char *ret, size_t ret_size)
{
	struct reader id = at(table, size, target),
		      flags = at(table, size, target + TARGET_FLAGS_AT),
		      name = at(table, size, target + TARGET_NAME_AT);
	size_t length = reader_u16(&name), place = reader_u16(&name);
	struct reader text = at(table, size, place);
	const uint8_t *p = reader_bytes(&text, length);

	if (reader_u8(&id) != TARGET_ID || !(reader_u8(&flags) & TARGET_FLAG_VALID) || id.bad ||
	    flags.bad || name.bad || text.bad || !p || length == 0)
		return false;
	return text_clean(ret, ret_size, p, length) > 0;
}

bool ibft_target(const uint8_t *table, size_t size, char ret[static TEXT_SIZE])
{
	struct reader length = at(table, size, LENGTH_AT), targets = at(table, size, TARGETS_AT);
	uint32_t whole = reader_u32(&length);

	ret[0] = '\0';
	size = whole < size ? whole : size;
	for (unsigned i = 0; i < TARGETS && !length.bad; i++) {
		size_t target = reader_u16(&targets);

		(void)reader_u16(&targets); /* of its card */
		if (target && !targets.bad && name_of(table, size, target, ret, TEXT_SIZE))
			return true;
	}
	return false;
}

void ibft_read(const struct sysroot *r, struct warnings *w)
{
	uint8_t table[TABLE_MAX];
	char name[TEXT_SIZE];
	ssize_t n = sysroot_read(r, table, sizeof(table), "sys/firmware/acpi/tables/iBFT");

	if (n < 0)
		n = sysroot_read(r, table, sizeof(table), "sys/firmware/acpi/tables/IBFT");
	if (n < 0)
		return;
	warnings_add(w,
		     "the firmware has an iSCSI disk for this machine (iBFT), which is not listed: "
		     "there is no iSCSI initiator here; capture it with hoist-agent on a system "
		     "that is logged in to it%s%s",
		     ibft_target(table, (size_t)n, name) ? ": " : "", name);
}
