/* SMBIOS texts, the machine's id, and the other pure parts of the inventory. */
#include "agent/machine.h"

#include <string.h>

#include "agent/enumerate.h"
#include "tests/unit/tap.h"

static void test_placeholders(void)
{
	static const char *const bad[] = {
		"",
		"To Be Filled By O.E.M.",
		"to be filled by o.e.m. by more",
		"Default string",
		"System Serial Number",
		"0000000000",
		"........",
		"FFFFFFFF",
		"0123456789",
		"None",
		"N/A",
		"Not Specified",
		"Unknown",
		"OEM",
		"System Product Name",
		"Chassis Serial Number",
		"INVALID",
	};
	static const char *const good[] = {
		"7XJ4KQ2",	   "PowerEdge R740", "Unknown Worlds", "None of these",
		"VMware-42 1a 2b", "PF0123456789",   "Noname 3000",    "OEMaster",
	};
	bool all = true;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		if (!smbios_is_placeholder(bad[i])) {
			all = false;
			printf("# %s\n", bad[i]);
		}
	}
	ok(all, "what vendors write when they have nothing to say");
	all = true;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		if (smbios_is_placeholder(good[i])) {
			all = false;
			printf("# %s\n", good[i]);
		}
	}
	ok(all, "names and numbers are none of that");
}

static void test_uuids(void)
{
	static const char *const bad[] = {
		"",
		"00000000-0000-0000-0000-000000000000",
		"FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
		"fefefefe-fefe-fefe-fefe-fefefefefefe",
		"03000200-0400-0500-0006-000700080009",
		"00020003-0004-0005-0006-000700080009",
		"4C4C4544-0000-2010-8020-80C04F202020",
		"4c4c4544-0058-4a10-8034-b7c04f4b513",
		"4c4c4544-0058-4a10-8034-b7c04f4b51322",
		"4c4c4544-0058-4a10-8034-b7c04f4b513x",
		"4c4c454400058-4a10-8034-b7c04f4b5132",
		"Not Settable",
	};
	bool all = true;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		if (smbios_uuid_is_sane(bad[i])) {
			all = false;
			printf("# %s\n", bad[i]);
		}
	}
	ok(all, "UUIDs that many machines share, or that are none");
	ok(smbios_uuid_is_sane("4c4c4544-0058-4a10-8034-b7c04f4b5132") &&
		   smbios_uuid_is_sane("4C4C4544-0058-4A10-8034-B7C04F4B5132"),
	   "a sane UUID, in either case");
}

static void test_machine_id(void)
{
	struct smbios s = {.uuid = "4c4c4544-0058-4a10-8034-b7c04f4b5132", .serial = "7XJ4KQ2"};
	struct smbios none = {0};
	struct nic nics[] = {
		{.name = "eth0", .permanent_mac = "90:b1:1c:2a:3b:4d", .bus = "pci"},
		{.name = "eth1", .permanent_mac = "90:b1:1c:2a:3b:4c", .bus = "pci"},
		{.name = "eth2",
		 .permanent_mac = "02:00:00:00:00:01",
		 .bus = "pci",
		 .is_virtual_function = true},
		{.name = "eth3", .permanent_mac = "00:e0:4c:00:00:01", .bus = "usb"},
		{.name = "eth4", .mac = "02:00:00:00:00:09", .bus = "pci"},
	};
	struct nic_list all = {nics, 5}, no_nics = {0}, usb = {nics + 3, 1};
	char id[MACHINE_ID_LEN + 1], other[MACHINE_ID_LEN + 1];

	/* By `printf 'hoist-machine-1\0…' | b3sum`, cut at 32 digits. */
	ok(strcmp(machine_id_find(&s, &all, NULL, id), "smbios") == 0 &&
		   strcmp(id, "bdbd76eebd7bc65fdf81a7860c4a29d7") == 0,
	   "by SMBIOS UUID and serial number");
	ok(strcmp(machine_id_find(&none, &all, NULL, id), "mac") == 0 &&
		   strcmp(id, "d819726303d69e574b7dc7a5b3c3681c") == 0,
	   "by the permanent addresses of built-in cards, in order");
	nics[0] = nics[1];
	(void)snprintf(nics[1].permanent_mac, 18, "%s", "90:b1:1c:2a:3b:4d");
	ok(strcmp(machine_id_find(&none, &all, NULL, other), "mac") == 0 && strcmp(id, other) == 0,
	   "in whatever order they are found");
	ok(strcmp(machine_id_find(&none, &usb, NULL, other), "mac") == 0 && strcmp(id, other) != 0,
	   "USB cards only when there are no others");
	ok(strcmp(machine_id_find(&s, &all, "test-1", id), "given") == 0 &&
		   strcmp(id, "534ad6ac993775cf3383c90ec886802b") == 0,
	   "a text that was given is hashed");
	ok(strcmp(machine_id_find(&s, &all, "0123456789ABCDEF0123456789abcdef", id), "given") ==
			   0 &&
		   strcmp(id, "0123456789abcdef0123456789abcdef") == 0,
	   "an id that was given is taken");
	ok(machine_id_find(&none, &no_nics, NULL, id) == NULL && id[0] == '\0',
	   "nothing gives nothing");
}

static void test_vpd(void)
{
	static const unsigned char serial[] = {0,   0x80, 0,   8,   ' ', 'A', 'B',
					       '1', '2',  ' ', ' ', ' ', 'X'};
	unsigned char ata[572] = {0, 0x89, 2, 56};
	static const char model[40] = "TS0400MN00531-4V01 7                    ";
	char text[TEXT_SIZE] = "untouched";

	ok(vpd_serial(serial, sizeof(serial), text, sizeof(text)) && strcmp(text, "AB12") == 0,
	   "a serial number, trimmed and no longer than its page says");
	ok(vpd_serial(serial, 7, text, sizeof(text)) && strcmp(text, "AB") == 0,
	   "a page cut short");
	ok(!vpd_serial(serial, 3, text, sizeof(text)) && !vpd_serial(ata, 572, text, sizeof(text)),
	   "no such page");
	memcpy(ata + 60 + 54, model, sizeof(model));
	ok(vpd_ata_model(ata, sizeof(ata), text, sizeof(text)) &&
		   strcmp(text, "ST4000NM0035-1V4107") == 0,
	   "a model with its bytes swapped");
	ok(!vpd_ata_model(ata, 150, text, sizeof(text)) &&
		   !vpd_ata_model(serial, sizeof(serial), text, sizeof(text)),
	   "no such page, or cut short");
}

static void test_missing_firmware(void)
{
	static const struct {
		const char *record, *driver, *device, *file;
	} cases[] = {
		{"4,612,5123456,-;e100 0000:00:04.0: Direct firmware load for e100/d101m_ucode.bin failed with error -2\n SUBSYSTEM=pci\n DEVICE=+pci:0000:00:04.0\n",
		 "e100", "0000:00:04.0", "e100/d101m_ucode.bin"},
		{"3,700,6,-;bnx2 0000:03:00.0: firmware: failed to load bnx2/bnx2-mips-09-6.2.1b.fw (-2)\n",
		 "bnx2", "0000:03:00.0", "bnx2/bnx2-mips-09-6.2.1b.fw"},
		{"6,1,2,-;platform regulatory.0: firmware: failed to load regulatory.db (-2)\n",
		 "platform", "regulatory.0", "regulatory.db"},
	};
	static const char *const others[] = {
		"",
		"6,1,2,-",
		"6,1,2,-;",
		"6,1,2,-;e100: Intel(R) PRO/100 Network Driver\n",
		"6,1,2,-;firmware: failed to load \n",
		"6,1,2,-;a b: firmware: failed to load \n",
		"6,1,2,-;Direct firmware load for x failed\n",
		"12,1,2,-;somebody writes: firmware: failed to load x\n",
	};
	struct missing_list l = {.len = 0};
	struct missing_firmware m;
	bool good = true;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		ok(kmsg_missing_firmware(cases[i].record, &m) &&
			   strcmp(m.driver, cases[i].driver) == 0 &&
			   strcmp(m.device, cases[i].device) == 0 &&
			   strcmp(m.file, cases[i].file) == 0,
		   cases[i].file);
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
		if (kmsg_missing_firmware(others[i], &m)) {
			good = false;
			printf("# %s\n", others[i]);
		}
	}
	ok(good, "other records say nothing of firmware");
	for (size_t i = 0; i < 2 * MISSING_FIRMWARE_MAX; i++) /* again and again the same */
		kmsg_note(&l, cases[i % 3].record);
	ok(l.len == 3, "each file once");
	kmsg_note(
		&l,
		"6,9,9,-;bnx2 0000:03:00.1: firmware: direct-loading firmware bnx2/bnx2-mips-09-6.2.1b.fw\n");
	kmsg_note(
		&l,
		"12,9,9,-;bnx2 0000:03:00.0: firmware: direct-loading firmware bnx2/bnx2-mips-09-6.2.1b.fw\n");
	kmsg_note(&l, "6,9,9,-;firmware: direct-loading firmware \n");
	ok(l.len == 3, "found by another device, or by a program: still missing");
	kmsg_note(
		&l,
		"6,9,9,-;bnx2 0000:03:00.0: firmware: direct-loading firmware bnx2/bnx2-mips-09-6.2.1b.fw\n");
	ok(l.len == 2 && strcmp(l.items[0].driver, "bnx2") != 0 &&
		   strcmp(l.items[1].driver, "bnx2") != 0,
	   "a file that is found after all is not missing");
}

static uint8_t *put16(uint8_t *table, size_t at, unsigned v)
{
	table[at] = (uint8_t)v;
	table[at + 1] = (uint8_t)(v >> 8);
	return table;
}

static void test_ibft(void)
{
	static const char iqn[] = "iqn.2026-11.test.hoist:boot";
	uint8_t table[256] = "iBFT";
	char name[TEXT_SIZE];

	(void)put16(table, 4, 200);
	(void)put16(table, 60, 72); /* targets */
	(void)put16(table, 64, 130);
	table[72] = table[130] = 4;
	table[130 + 5] = 3; /* valid, and chosen; the first is not */
	memcpy(table + 170, iqn, sizeof(iqn) - 1);
	(void)put16(table, 130 + 34, sizeof(iqn) - 1);
	(void)put16(table, 130 + 36, 170);
	ok(ibft_target(table, sizeof(table), name) && strcmp(name, iqn) == 0,
	   "the target that the firmware's table names");
	ok(ibft_target(table, 197, name) && !ibft_target(table, 196, name) && name[0] == '\0',
	   "none where the table is cut off");
	for (size_t size = 0; size < 197; size++) {
		if (ibft_target(table, size, name))
			ok(false, "a name out of less than there is");
	}
	ok(!ibft_target(put16(table, 4, 196), sizeof(table), name), "or says that it ends before");
	(void)put16(table, 4, 200);
	ok(!ibft_target(put16(table, 130 + 36, 65535), sizeof(table), name) &&
		   !ibft_target(put16(table, 64, 65535), sizeof(table), name),
	   "or names places outside it");
}

int main(void)
{
	test_ibft();
	test_placeholders();
	test_uuids();
	test_machine_id();
	test_vpd();
	test_missing_firmware();
	return done();
}
