/* pci.c - controllers that hide disks or networks: those that no driver has taken, and those whose firmware setting puts disks out of sight. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/machine.h"
#include "common/cleanup.h"

/* pci_ids.h and the PCI Code and ID Assignment Specification, 1.1 and 1.2 */
static const char *class_text(unsigned class)
{
	switch (class) {
	case 0x0100:
		return "SCSI controller";
	case 0x0101:
		return "IDE controller";
	case 0x0104:
		return "RAID controller";
	case 0x0106:
		return "SATA controller";
	case 0x0107:
		return "SAS controller";
	case 0x0108:
		return "NVMe controller";
	case 0x0200:
		return "Ethernet controller";
	case 0x0207:
		return "InfiniBand controller";
	default:
		return class >> 8 == 1 ? "storage controller" : NULL;
	}
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

static void look_at(const struct sysroot *r, const char *slot, struct unclaimed *u,
		    struct warnings *w, bool *ret_is_unclaimed)
{
	unsigned class = read_hex(r, slot, "class") >> 8;
	unsigned vendor = read_hex(r, slot, "vendor");
	unsigned device = read_hex(r, slot, "device");
	const char *text = class_text(class);
	char driver[64];
	uint64_t remapped = 0;

	*ret_is_unclaimed = false;
	/* drivers/ata/ahci.c: NVMe disks that the firmware hides behind the SATA controller */
	if (sysroot_u64(r, &remapped, "sys/bus/pci/devices/%s/remapped_nvme", slot) &&
	    remapped > 0) {
		warnings_add(
			w,
			"%u NVMe disk(s) are hidden behind the SATA controller %s: in the "
			"firmware setup, set the SATA or storage mode from RAID (Intel RST) to AHCI",
			(unsigned)remapped, slot);
	}
	if (!text)
		return;
	if (sysroot_link_name(r, driver, sizeof(driver), "sys/bus/pci/devices/%s/driver", slot)) {
		if (is_intel_raid(vendor, class) && strcmp(driver, "ahci") == 0 && remapped == 0 &&
		    !has_drive(r, slot)) {
			warnings_add(
				w,
				"the Intel RAID controller %s shows no disk: if there is one, "
				"set the SATA or storage mode from RAID (Intel RST) to AHCI in "
				"the firmware setup",
				slot);
		}
		return;
	}
	*ret_is_unclaimed = true;
	(void)text_clean(u->slot, sizeof(u->slot), slot, strlen(slot));
	(void)snprintf(u->id, sizeof(u->id), "%04x:%04x", vendor & 0xffff, device & 0xffff);
	(void)snprintf(u->class, sizeof(u->class), "%04x", class & 0xffff);
	if (is_vmd(vendor, device)) {
		(void)snprintf(u->text, sizeof(u->text), "Intel VMD without its driver");
		warnings_add(
			w,
			"disks behind Intel VMD (%s) are not seen: in the firmware setup, turn "
			"VMD (or RAID / Intel RST) off",
			slot);
	} else {
		(void)snprintf(u->text, sizeof(u->text), "%s without a driver", text);
		if (is_intel_raid(vendor, class)) {
			warnings_add(w,
				     "disks behind the Intel RAID controller %s are not seen: in "
				     "the firmware setup, set the SATA or storage mode from RAID "
				     "(Intel RST) to AHCI",
				     slot);
		}
	}
}

size_t pci_read(const struct sysroot *r, struct unclaimed ret[static UNCLAIMED_MAX],
		struct warnings *w)
{
	CLEANUP(pci_names_done) struct pci_names names = {0};
	CLEANUP_NAMES struct name_list slots = {0};
	size_t len = 0;

	sysroot_list(r, &slots, "sys/bus/pci/devices");
	for (size_t i = 0; i < slots.len && len < UNCLAIMED_MAX; i++) {
		bool is_unclaimed;

		look_at(r, slots.names[i], &ret[len], w, &is_unclaimed);
		if (is_unclaimed)
			(void)pci_name(&names, r, ret[len].id, ret[len].name);
		len += is_unclaimed;
	}
	return len;
}
