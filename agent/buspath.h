/* buspath.h - from a device's place in sysfs to what it is attached by, and to a name of that place that is the same at every boot.
 *
 * Numbers that the kernel hands out in order of discovery (host3, ata5, usb2, virtio1) never appear in it; what firmware, wiring or
 * the device itself fixes does (PCI addresses, port numbers, SAS addresses, target names). */
#ifndef AGENT_BUSPATH_H
#define AGENT_BUSPATH_H
#include <stdbool.h>

#include "agent/sysroot.h"

#define BUSPATH_SIZE 256

struct buspath {
	char path[BUSPATH_SIZE]; /* "" when the device has no place; [A-Za-z0-9:._-] */
	char pci[16];		 /* address of the last PCI function on the way, or "" */
	const char *
		transport; /* static; a word of docs/inventory.md, or NULL when this place does not tell */
	bool is_usb;
};

/* `device` is the device's canonical sysfs path ("sys/devices/pci0000:00/…"). */
void buspath_find(const struct sysroot *r, const char *device, struct buspath *ret);
#endif
