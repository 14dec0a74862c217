/* enumerate.h - which block devices are disks, and which disk each is: docs/inventory.md "Which block devices are disks".
 * Reads sysfs only; what is on a disk is probe.h's matter. */
#ifndef AGENT_ENUMERATE_H
#define AGENT_ENUMERATE_H
#include "agent/disk.h"
#include "agent/sysroot.h"
#include "common/err.h"

/* Disks without contents and ids, unsorted.  `ret` is zeroed.  -ENOMEM. */
int enumerate_disks(const struct sysroot *r, struct disk_list *ret, struct err *err) MUST_CHECK;

/* SCSI vital product data: page 0x80 (unit serial number) and the model in page 0x89 (ATA information, SAT-3 12.4.2), as sysfs
 * has them.  false when the page is not one, or is empty. */
bool vpd_serial(const void *page, size_t size, char *ret, size_t ret_size);
bool vpd_ata_model(const void *page, size_t size, char *ret, size_t ret_size);
#endif
