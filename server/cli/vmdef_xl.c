/* vmdef_xl.c - for Xen's xl.
 *
 * HVM: BIOS and UEFI find nothing on an empty disk and go on to the CD; once the image is there they start from it: one definition
 * serves both.  PV and PVH are started with a kernel from outside, and later with a boot loader: two. */
#include <inttypes.h>

#include "server/cli/vmdef.h"

#define CD_LETTER     3u /* hdd */
#define GRUB_PVH      "/usr/lib/grub-xen/grub-i386-xen_pvh.bin"
#define LETTERS	      26u
#define LETTERS_SIZE  3
#define SECTOR_COMMON 512u

static const char *const type_names[] = {"hvm", "pv", "pvh"};

/* "a" to "z", "aa", ...  The emulated disks of an HVM share four places with the CD, which keeps its own. */
static void disk_letters(const struct vm_def *v, size_t number, char ret[static LETTERS_SIZE])
{
	size_t n = number + (v->type == VM_HVM && number >= CD_LETTER);

	if (n < LETTERS) {
		ret[0] = (char)('a' + n);
		ret[1] = '\0';
	} else {
		ret[0] = (char)('a' + n / LETTERS - 1);
		ret[1] = (char)('a' + n % LETTERS);
		ret[2] = '\0';
	}
}

static void print_head(const struct vm_def *v, FILE *f)
{
	char letters[LETTERS_SIZE];

	(void)fprintf(f, "# An empty VM for %s, for xl of Xen 4.11 and later.\n", v->origin);
	if (v->from_disk && v->type != VM_HVM) {
		(void)fprintf(f, "# It starts from its disk, once that has received the image.\n");
	} else {
		(void)fprintf(f, "# Make its disks, then start it; it appears in 'hoist machines' "
				 "and waits for the image:\n#\n");
		for (size_t i = 0; i < v->disks_len; i++) {
			disk_letters(v, i, letters);
			(void)fprintf(f, "#\ttruncate -s %" PRIu64 " '%s/%s-%s.raw'\n",
				      v->disks[i].size, v->folder, v->name, letters);
		}
		if (v->type != VM_HVM)
			(void)fprintf(f, "#\tcat initramfs.img settings.cpio >'%s'\n", v->ramdisk);
		(void)fprintf(f, "#\txl create %s.cfg\n#\n", v->name);
	}
	if (v->type == VM_HVM) {
		(void)fprintf(f, "# While its disk is empty it starts from the medium, later from "
				 "the disk.\n");
	} else if (!v->from_disk) {
		(void)fprintf(f,
			      "# When the image is there the VM ends. Then take the definition "
			      "for its disk: 'hoist vmdef ... --type %s --from-disk'.\n",
			      type_names[v->type]);
	}
	for (size_t i = 0; i < v->disks_len; i++) {
		if (v->disks[i].sector_size == SECTOR_COMMON)
			continue;
		disk_letters(v, i, letters);
		(void)fprintf(f,
			      "# Disk xvd%s had sectors of %" PRIu64
			      " bytes: a file has 512, so give it a block device (phy:) with such "
			      "sectors.\n",
			      letters, v->disks[i].sector_size);
	}
	if (v->secure_boot)
		(void)fprintf(f,
			      "# Secure Boot was on; xl has none, the system starts without it.\n");
	if (v->uefi && v->type != VM_HVM) {
		(void)fprintf(
			f, "# The machine started by UEFI, which this kind of VM has not: its boot "
			   "loader's menu must lie in /boot/grub.\n");
	}
}

static void print_boot(const struct vm_def *v, FILE *f)
{
	if (v->type == VM_HVM) {
		(void)fprintf(f, "firmware = \"%s\"\nboot = \"cd\"\n", v->uefi ? "uefi" : "bios");
	} else if (!v->from_disk) {
		(void)fprintf(
			f,
			"kernel = \"%s\"\nramdisk = \"%s\"\nextra = \"console=hvc0 quiet panic=60\"\n"
			"on_reboot = \"destroy\"\n",
			v->kernel, v->ramdisk);
	} else if (v->type == VM_PV) {
		(void)fprintf(f, "bootloader = \"pygrub\"\n");
	} else {
		(void)fprintf(
			f, "# from Debian's package grub-xen-host; it reads /boot/grub/grub.cfg\n"
			   "kernel = \"" GRUB_PVH "\"\n");
	}
}

static void print_disks(const struct vm_def *v, FILE *f)
{
	char letters[LETTERS_SIZE];

	(void)fprintf(f, "disk = [\n");
	for (size_t i = 0; i < v->disks_len; i++) {
		disk_letters(v, i, letters);
		(void)fprintf(f, "\t\"format=raw,vdev=xvd%s,access=rw,target=%s/%s-%s.raw\",\n",
			      letters, v->folder, v->name, letters);
	}
	if (v->type == VM_HVM)
		(void)fprintf(f, "\t\"format=raw,vdev=hdd,access=ro,devtype=cdrom,target=%s\",\n",
			      v->medium);
	(void)fprintf(f, "]\n");
}

void vmdef_print_xl(const struct vm_def *v, FILE *f)
{
	print_head(v, f);
	(void)fprintf(f, "name = \"%s\"\nuuid = \"%s\"\ntype = \"%s\"\n", v->name, v->uuid,
		      type_names[v->type]);
	print_boot(v, f);
	(void)fprintf(f, "memory = %" PRIu64 "\nvcpus = %" PRIu64 "\n", v->memory, v->vcpus);
	print_disks(v, f);
	(void)fprintf(f, "vif = [\n");
	for (size_t i = 0; i < v->macs_len; i++)
		(void)fprintf(f, "\t\"mac=%s,bridge=%s%s\",\n", v->macs[i], v->bridge,
			      v->type == VM_HVM ? ",model=e1000" : "");
	(void)fprintf(f, "]\n");
	if (v->type == VM_HVM)
		(void)fprintf(f, "serial = \"pty\"\nvga = \"stdvga\"\n");
}
