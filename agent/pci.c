/* pci.c - controllers that hide disks or networks: those that no driver has taken, and those whose firmware setting puts disks out of sight. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/machine.h"
#include "common/cleanup.h"

#define WIRELESS "wireless network controller"
#define LOOK_FOR "look for another port or card, or a medium with its driver (hoist iso --add)"
#define TO_AHCI	 "in the firmware setup, set the SATA or storage mode from RAID (Intel RST) to AHCI"

/* pci_ids.h and the PCI Code and ID Assignment Specification, 1.1, 1.2 and so on: all that disks or networks can hang on. */
static const char *class_text(unsigned class)
{
	static const struct {
		unsigned class;
		const char *text;
	} classes[] = {
		{0x0100, "SCSI controller"},
		{0x0101, "IDE controller"},
		{0x0104, "RAID controller"},
		{0x0105, "ATA controller"},
		{0x0106, "SATA controller"},
		{0x0107, "SAS controller"},
		{0x0108, "NVMe controller"},
		{0x0109, "UFS controller"},
		{0x0200, "Ethernet controller"},
		{0x0201, "Token Ring controller"},
		{0x0202, "FDDI controller"},
		{0x0203, "ATM controller"},
		{0x0204, "ISDN controller"},
		{0x0207, "InfiniBand controller"},
		{0x0208, "network fabric controller"},
		{0x0280, "other network controller"},
		{0x0805, "SD card controller"},
		{0x0c04, "Fibre Channel controller"},
		{0x0d20, WIRELESS},
		{0x0d21, WIRELESS},
		{0x0d80, WIRELESS},
	};

	for (size_t i = 0; i < sizeof(classes) / sizeof(*classes); i++) {
		if (classes[i].class == class)
			return classes[i].text;
	}
	return class >> 8 == 1	 ? "storage controller"
	       : class >> 8 == 2 ? "network controller"
				 : NULL;
}

/* Most wireless cards are of class "other". */
static bool is_wireless(unsigned class, const char *name)
{
	static const char *const words[] = {"wireless", "wi-fi", "wifi", "wlan", "802.11"};

	for (size_t i = 0; class == 0x0280 && i < sizeof(words) / sizeof(*words); i++) {
		if (strcasestr(name, words[i]))
			return true;
	}
	return class >> 8 == 0x0d;
}

static unsigned read_hex(const struct sysroot *r, const char *slot, const char *name)
{
	char text[16];

	if (!sysroot_text(r, text, sizeof(text), "sys/bus/pci/devices/%s/%s", slot, name))
		return 0;
	return (unsigned)strtoul(text, NULL, 16);
}

/* Intel Volume Management Device: drivers/pci/controller/vmd.c, vmd_ids */
static bool is_vmd(unsigned vendor, unsigned device)
{
	static const unsigned ids[] = {0x201d, 0x28c0, 0x467f, 0x4c3d, 0xa77f,
				       0x7d0b, 0xad0b, 0x9a0b, 0xb06f, 0xb60b};

	for (size_t i = 0; i < sizeof(ids) / sizeof(*ids); i++) {
		if (vendor == 0x8086 && device == ids[i])
			return true;
	}
	return false;
}

/* Does a disk or CD drive hang on this SATA controller?  SLOT/ataN/hostN/targetN:0:0 */
static bool has_drive(const struct sysroot *r, const char *slot)
{
	CLEANUP_NAMES struct name_list ports = {0};

	sysroot_list(r, &ports, "sys/bus/pci/devices/%s", slot);
	for (size_t i = 0; i < ports.len; i++) {
		CLEANUP_NAMES struct name_list hosts = {0};

		if (strncmp(ports.names[i], "ata", 3) != 0)
			continue;
		sysroot_list(r, &hosts, "sys/bus/pci/devices/%s/%s", slot, ports.names[i]);
		for (size_t j = 0; j < hosts.len; j++) {
			CLEANUP_NAMES struct name_list targets = {0};

			if (strncmp(hosts.names[j], "host", 4) != 0)
				continue;
			sysroot_list(r, &targets, "sys/bus/pci/devices/%s/%s/%s", slot,
				     ports.names[i], hosts.names[j]);
			for (size_t k = 0; k < targets.len; k++) {
				if (strncmp(targets.names[k], "target", 6) == 0)
					return true;
			}
		}
	}
	return false;
}

/* A SATA controller that the firmware has set to RAID; some models then give their disks to nobody but Intel's own driver. */
static bool is_intel_raid(unsigned vendor, unsigned class)
{
	return vendor == 0x8086 && class == 0x0104;
}

static const char *describe(const char *id, const char *name, const char *slot,
			    char ret[static PCI_TEXT_SIZE])
{
	char shown[PCI_TEXT_SIZE - 64];

	(void)text_clean(shown, sizeof(shown), name, strlen(name));
	(void)snprintf(ret, PCI_TEXT_SIZE, "PCI device %.9s%s%s at %.15s", id, shown[0] ? ", " : "",
		       shown, slot);
	return ret;
}

const char *unclaimed_describe(const struct unclaimed *u, char ret[static PCI_TEXT_SIZE])
{
	return describe(u->id, u->name, u->slot, ret);
}

bool pci_describe(struct pci_names *names, const struct sysroot *r, const char *slot,
		  char ret[static PCI_TEXT_SIZE])
{
	unsigned vendor = read_hex(r, slot, "vendor"), device = read_hex(r, slot, "device");
	char id[16], name[TEXT_SIZE];

	/* the slot may be anything that a log says */
	if (vendor == 0 || slot[strspn(slot, "0123456789abcdef:.")] != '\0')
		return false;
	(void)snprintf(id, sizeof(id), "%04x:%04x", vendor & 0xffff, device & 0xffff);
	(void)pci_name(names, r, id, name);
	(void)describe(id, name, slot, ret);
	return true;
}

static void name_it(struct unclaimed *u, const struct sysroot *r, const char *slot,
		    struct pci_names *names)
{
	(void)text_clean(u->slot, sizeof(u->slot), slot, strlen(slot));
	(void)snprintf(u->id, sizeof(u->id), "%04x:%04x", read_hex(r, slot, "vendor") & 0xffff,
		       read_hex(r, slot, "device") & 0xffff);
	(void)pci_name(names, r, u->id, u->name);
}

/* Of a controller that no driver has taken: what it is, and what to do. */
static void judge(struct unclaimed *u, unsigned vendor, unsigned device, unsigned class)
{
	u->advice = LOOK_FOR;
	if (is_vmd(vendor, device)) {
		(void)snprintf(u->text, sizeof(u->text), "Intel VMD without its driver");
		u->advice =
			"in the firmware setup, turn VMD (or RAID / Intel RST) off, or look for a "
			"medium with its driver (hoist iso --add)";
		return;
	}
	if (is_wireless(class, u->name)) {
		(void)snprintf(u->text, sizeof(u->text), WIRELESS " without a driver");
		u->advice = "wireless networks are not supported: use a cable";
		return;
	}
	(void)snprintf(u->text, sizeof(u->text), "%s without a driver", class_text(class));
	if (is_intel_raid(vendor, class))
		u->advice = TO_AHCI ", or look for a medium with its driver (hoist iso --add)";
}

static bool look_at(const struct sysroot *r, const char *slot, struct pci_names *names,
		    struct unclaimed *u, struct warnings *w)
{
	unsigned class = read_hex(r, slot, "class") >> 8;
	unsigned vendor = read_hex(r, slot, "vendor");
	char driver[64], text[PCI_TEXT_SIZE];
	uint64_t remapped = 0;

	*u = (struct unclaimed){.advice = NULL};
	/* drivers/ata/ahci.c: NVMe disks that the firmware hides behind the SATA controller */
	if (sysroot_u64(r, &remapped, "sys/bus/pci/devices/%s/remapped_nvme", slot) &&
	    remapped > 0) {
		name_it(u, r, slot, names);
		(void)snprintf(u->class, sizeof(u->class), "0108");
		(void)snprintf(u->text, sizeof(u->text),
			       "%u NVMe disk(s) hidden behind this SATA controller",
			       (unsigned)remapped);
		u->advice = TO_AHCI;
		return true;
	}
	if (!class_text(class))
		return false;
	if (!sysroot_link_name(r, driver, sizeof(driver), "sys/bus/pci/devices/%s/driver", slot)) {
		name_it(u, r, slot, names);
		(void)snprintf(u->class, sizeof(u->class), "%04x", class & 0xffff);
		judge(u, vendor, read_hex(r, slot, "device"), class);
		return true;
	}
	if (is_intel_raid(vendor, class) && strcmp(driver, "ahci") == 0 && !has_drive(r, slot) &&
	    pci_describe(names, r, slot, text)) {
		warnings_add(w, "%s: this Intel RAID controller shows no disk: if there is one, %s",
			     text, TO_AHCI);
	}
	return false;
}

size_t pci_read(const struct sysroot *r, struct unclaimed ret[static UNCLAIMED_MAX],
		struct warnings *w)
{
	CLEANUP(pci_names_done) struct pci_names names = {0};
	CLEANUP_NAMES struct name_list slots = {0};
	size_t len = 0;

	sysroot_list(r, &slots, "sys/bus/pci/devices");
	for (size_t i = 0; i < slots.len && len < UNCLAIMED_MAX; i++)
		len += look_at(r, slots.names[i], &names, &ret[len], w);
	return len;
}
