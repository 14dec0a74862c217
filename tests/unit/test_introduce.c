/* What a machine's console says of the hardware that it does not reach: the machine of tests/fixtures/sysroot/smart-array. */
#include "agent/introduce.h"

#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "tests/lib/sample.h"
#include "tests/unit/tap.h"

static char dir[] = "/var/tmp/hoist-test-introduce-XXXXXX";

static bool unpack(const char *tree)
{
	const char *const argv[] = {"tests/fixtures/sysroot/tree", "unpack", tree, dir, NULL};
	int status = -1;
	pid_t pid;

	return posix_spawn(&pid, argv[0], NULL, NULL, (char *const *)argv, environ) == 0 &&
	       waitpid(pid, &status, 0) == pid && status == 0;
}

/* What firmware its drivers lacked, by the kernel's log. */
static void lack_firmware(struct inventory *i)
{
	struct missing_list l = {.len = 0};
	struct sysroot r;
	struct err err;

	kmsg_note(&l, "3,700,6,-;bnx2 0000:04:00.1: firmware: failed to load bnx2/mips.fw (-2)\n");
	kmsg_note(&l, "3,701,6,-;r8152 2-1:1.0: Direct firmware load for rtl_nic/a.fw failed\n");
	kmsg_note(&l, "3,702,6,-;wild ../../x: Direct firmware load for b.fw failed\n");
	if (sysroot_open(dir, &r, &err) < 0)
		abort();
	kmsg_warn(&l, &r, &i->warnings);
	sysroot_done(&r);
}

static char *console_text(const struct inventory *i)
{
	char path[64], *devices[] = {path}, *text = calloc(1, 65536);
	const struct setting_list list = {.items = devices, .len = 1};
	struct console *c;
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/console", dir);
	f = fopen(path, "w+e");
	c = console_new(&list);
	if (!f || !c || !text)
		abort();
	introduce_machine(i, "box", c);
	console_free(c);
	(void)!fread(text, 1, 65535, f);
	(void)fclose(f);
	return text;
}

static void test_sentences(const char *text)
{
	static const char *const sentences[] = {
		"machine 'box'",
		"disk cciss/c0d0, 68.3 GiB, serial:HP_LOGICAL_VOLUME:600508B1001031393938303530300002",
		"network card eno2, 3c:4a:92:00:00:02",
		"PCI device 8086:2826, Intel Corporation C600/X79 SATA RAID Controller at 0000:00:0c.0: "
		"this Intel RAID controller shows no disk: if there is one, in the firmware setup, set "
		"the SATA or storage mode from RAID (Intel RST) to AHCI",
		"PCI device 8086:a282, Intel Corporation at 0000:00:0d.0: RAID controller without a "
		"driver, so what hangs on it is not seen; in the firmware setup, set the SATA or "
		"storage mode from RAID (Intel RST) to AHCI, or look for a medium with its driver "
		"(hoist iso --add)",
		"PCI device 8086:201d, Intel Corporation at 0000:00:0e.0: Intel VMD without its driver, "
		"so what hangs on it is not seen; in the firmware setup, turn VMD (or RAID / Intel "
		"RST) off, or look for a medium with its driver (hoist iso --add)",
		"PCI device 8086:2822, Intel Corporation at 0000:00:17.0: 2 NVMe disk(s) hidden "
		"behind this SATA controller, so what hangs on it is not seen; in the firmware setup, "
		"set the SATA or storage mode from RAID (Intel RST) to AHCI",
		"PCI device 14e4:1639, Broadcom Inc. and subsidiaries NetXtreme II BCM5709 Gigabit "
		"Ethernet at 0000:04:00.0: Ethernet controller without a driver, so what hangs on it "
		"is not seen; look for another port or card, or a medium with its driver (hoist iso "
		"--add)",
		"PCI device 8086:24fd, Intel Corporation Wireless 8265 / 8275 at 0000:05:00.0: "
		"wireless network controller without a driver, so what hangs on it is not seen; "
		"wireless networks are not supported: use a cable",
		"PCI device 1cf0:0001 at 0000:05:01.0: other network controller without a driver, so",
		"PCI device 1077:2532, QLogic Corp. ISP2532-based 8Gb Fibre Channel to PCI Express HBA "
		"at 0000:05:02.0: Fibre Channel controller without a driver, so",
		"PCI device 104c:803c, Texas Instruments PCIxx12 SDA Standard Compliant SD Host "
		"Controller at 0000:05:03.0: SD card controller without a driver, so",
		"PCI device 1cf0:0002 at 0000:05:04.0: wireless network controller without a driver, so",
		"PCI device 1cf0:0003 at 0000:05:05.0: Token Ring controller without a driver, so",
		"the driver bnx2 asked for the firmware file 'bnx2/mips.fw' for PCI device 14e4:1639, "
		"Broadcom Inc. and subsidiaries NetXtreme II BCM5709 Gigabit Ethernet at 0000:04:00.1, "
		"and this medium has not got it: the device may not work; use another port or card, or "
		"a medium with that file (hoist iso --add)",
		"'rtl_nic/a.fw' for the device 2-1:1.0, and this medium",
		"'b.fw' for the device ../../x, and this medium",
	};

	for (size_t i = 0; i < sizeof(sentences) / sizeof(*sentences); i++) {
		const char *at = strstr(text, sentences[i]);

		ok(at && !strstr(at + 1, sentences[i]), sentences[i]);
	}
	ok(!strstr(text, "0000:05:06.0"), "Bluetooth is nothing that disks or networks hang on");
}

int main(void)
{
	CLEANUP_FREE struct inventory *i = calloc(1, sizeof(*i));
	CLEANUP_FREE char *text = NULL;
	struct inventory_options o = {.sysroot = dir};
	struct err err = {0};

	if (!i || !mkdtemp(dir))
		abort();
	ok(unpack("tests/fixtures/sysroot/smart-array.tree"), "a machine");
	if (!ok(inventory_collect(&o, i, &err) == 0, "its inventory"))
		return done();
	lack_firmware(i);
	text = console_text(i);
	test_sentences(text);
	inventory_done(i);
	tree_remove(dir);
	return done();
}
