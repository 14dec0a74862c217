/* inventory.h - all that is known of this machine: docs/inventory.md. */
#ifndef AGENT_INVENTORY_H
#define AGENT_INVENTORY_H
#include <jansson.h>
#include <stdio.h>

#include "agent/disk.h"
#include "agent/machine.h"
#include "common/err.h"
#include "common/setting.h"

struct inventory_options {
	const char *sysroot; /* NULL: this machine */
	const char *id;	     /* text of --id, or NULL */
	char *const *
		disks; /* FILE[,sector=N][,name=NAME][,ro]: these files instead of the machine's disks */
	size_t disks_len;
	unsigned probe_timeout_ms; /* per disk; 0: the usual */
};

struct inventory {
	char machine_id[MACHINE_ID_LEN + 1]; /* "" when nothing identifies the machine */
	const char *machine_id_source;	     /* static, or NULL */
	char arch[32];
	struct firmware firmware;
	struct smbios smbios;
	struct cpu cpu;
	uint64_t memory;
	struct hypervisor hypervisor;
	struct nic_list nics;
	struct disk_list disks;
	struct unclaimed unclaimed[UNCLAIMED_MAX];
	size_t unclaimed_len;
	bool is_unsettled; /* drivers are still busy: disks may be missing */
	struct warnings warnings;
};

/* Blocks until all disks have answered or the time-out is over.  Errors: a sysroot that is none, a --disk that is wrong or not there, -ENOMEM.
 * About 64 KiB: allocate it rather than put it on a thread's stack. */
int inventory_collect(const struct inventory_options *o, struct inventory *ret,
		      struct err *err) MUST_CHECK;
void inventory_done(struct inventory *i);
/* One on the heap; it is NULL then. */
void inventory_freep(struct inventory **i);

/* NULL when there is none. */
const struct disk *inventory_find_disk(const struct inventory *i, const char *id);

/* NULL: out of memory. */
json_t *inventory_to_json(const struct inventory *i);
/* For a person, in 80 columns. */
void inventory_print(const struct inventory *i, FILE *f);

/* One --disk.  The file's size and sector size are checked; nothing is read of it. */
int disk_file_add(struct disk_list *l, const char *text, struct err *err) MUST_CHECK;

/* What only shows once all were probed: the boot medium and second paths are taken out, arrays get their UUID, all are
 * sorted and named. */
void disk_list_settle(struct disk_list *l);

/* hoist-agent inventory */
int inventory_main(int argc, char **argv);
/* Its options. */
extern const struct setting_table inventory_table;
#endif
