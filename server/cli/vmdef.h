/* vmdef.h - an empty VM into which an image fits, as a hypervisor wants it told.  cmd_vmdef.c finds out what it needs; one function for
 * each format writes it down. */
#ifndef SERVER_CLI_VMDEF_H
#define SERVER_CLI_VMDEF_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/limits.h"

#define VMDEF_NICS_MAX	8u
#define VMDEF_MAC_SIZE	18
#define VMDEF_UUID_SIZE 37

enum vm_type { VM_HVM, VM_PV, VM_PVH };

struct vm_disk {
	uint64_t size; /* bytes */
	uint64_t sector_size;
};

struct vm_def {
	enum vm_type type;
	const char *name;
	char uuid[VMDEF_UUID_SIZE]; /* by which the machine is known: the same before and after */
	const char *origin; /* of the image, a line for people, without control characters */
	uint64_t memory;    /* MiB */
	uint64_t vcpus;
	bool uefi, secure_boot;
	bool from_disk; /* it has received its image */
	struct vm_disk disks[JOB_DISKS_MAX];
	size_t disks_len;
	char macs[VMDEF_NICS_MAX][VMDEF_MAC_SIZE];
	size_t macs_len;
	/* On the host of the VM; without quotation marks, commas and control characters. */
	const char *bridge, *folder, *medium, *kernel, *ramdisk;
};

/* As xl.cfg(5) of Xen 4.11 and later describes it. */
void vmdef_print_xl(const struct vm_def *v, FILE *f);
#endif
