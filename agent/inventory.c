#include "agent/inventory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "agent/enumerate.h"
#include "agent/probe.h"
#include "common/cleanup.h"

static void read_arch(const struct sysroot *r, char *ret, size_t size)
{
	struct utsname u;

	if (r->is_live && uname(&u) == 0)
		(void)text_clean(ret, size, u.machine, sizeof(u.machine));
	else
		(void)sysroot_text(r, ret, size, "proc/sys/kernel/arch");
}

static void read_machine(const struct sysroot *r, const char *id, struct inventory *ret)
{
	read_arch(r, ret->arch, sizeof(ret->arch));
	firmware_read(r, &ret->firmware);
	smbios_read(r, &ret->smbios);
	cpu_read(r, &ret->cpu);
	ret->memory = memory_read(r);
	hypervisor_read(r, &ret->smbios, &ret->hypervisor);
	nics_read(r, &ret->nics);
	ret->unclaimed_len = pci_read(r, ret->unclaimed, &ret->warnings);
	ret->is_unsettled = unsettled_read(r, &ret->warnings);
	if (r->is_live)
		kmsg_read(r, &ret->warnings);
	ret->machine_id_source = machine_id_find(&ret->smbios, &ret->nics, id, ret->machine_id);
	if (!ret->machine_id_source) {
		warnings_add(&ret->warnings,
			     "nothing identifies this machine (no SMBIOS UUID, no network card): "
			     "give it an id with --id or hoist.id=");
	}
}

static int read_disks(const struct sysroot *r, const struct inventory_options *o,
		      struct disk_list *ret, struct err *err)
{
	unsigned timeout = o->probe_timeout_ms ? o->probe_timeout_ms : PROBE_TIMEOUT_MS;
	int n = 0;

	if (o->disks_len == 0)
		n = enumerate_disks(r, ret, err);
	for (size_t i = 0; n == 0 && i < o->disks_len; i++)
		n = disk_file_add(ret, o->disks[i], err);
	if (n < 0)
		return n;
	probe_disks(ret, probe_disk, timeout);
	disk_list_settle(ret);
	if (ret->len <= DISKS_MAX)
		return 0;
	return err_set(
		err, -E2BIG,
		"list the disks: there are %zu disks, and %u at most are listed; let the machine "
		"see fewer",
		ret->len, DISKS_MAX);
}

/* Firmware RAID whose members are seen instead of the volumes that the system on them knows. */
static void warn_of_firmware_raid(struct inventory *i)
{
	for (size_t n = 0; n < i->disks.len; n++) {
		const struct disk *d = &i->disks.disks[n];
		const char *type = d->contents.content.type;
		size_t len = strlen(type);

		if (len > 12 && strcmp(type + len - 12, "_raid_member") == 0 &&
		    strcmp(type, "linux_raid_member") != 0) {
			warnings_add(&i->warnings,
				     "%s is a member of a firmware RAID (%s): it is copied as a "
				     "single disk",
				     d->name, type);
		}
	}
}

/* Nobody asks for the list of what is no disk. */
static void warn_of_no_size(struct inventory *i)
{
	for (size_t n = 0; n < i->disks.skipped_len; n++) {
		const struct skipped *s = &i->disks.skipped[n];

		if (strcmp(s->reason, DISK_NO_SIZE) != 0)
			continue;
		warnings_add(&i->warnings,
			     "%s is NOT AMONG THE DISKS, and no job has it: %s; it may have died "
			     "or be locked, or its sectors be of a size that Linux does not read "
			     "(520 bytes): look at it",
			     s->name, s->text);
	}
}

/* A disk that a card with an initiator of its own has logged in to is one like any other. */
static bool has_iscsi_disk(const struct disk_list *l)
{
	for (size_t n = 0; n < l->len; n++) {
		if (strcmp(l->disks[n].bus.transport, "iscsi") == 0)
			return true;
	}
	return false;
}

int inventory_collect(const struct inventory_options *o, struct inventory *ret, struct err *err)
{
	CLEANUP(sysroot_done) struct sysroot r = {.fd = -1};
	int n = sysroot_open(o->sysroot, &r, err);

	if (n < 0)
		return n;
	memset(ret, 0, sizeof(*ret));
	read_machine(&r, o->id, ret);
	n = read_disks(&r, o, &ret->disks, err);
	if (n < 0) {
		inventory_done(ret);
		return n;
	}
	warn_of_no_size(ret);
	warn_of_firmware_raid(ret);
	ibft_read(&r, has_iscsi_disk(&ret->disks), &ret->warnings);
	return 0;
}

void inventory_done(struct inventory *i)
{
	nic_list_done(&i->nics);
	disk_list_done(&i->disks);
	warnings_done(&i->warnings);
}

void inventory_freep(struct inventory **i)
{
	if (*i)
		inventory_done(*i);
	free(*i);
	*i = NULL;
}

const struct disk *inventory_find_disk(const struct inventory *i, const char *id)
{
	for (size_t n = 0; n < i->disks.len; n++) {
		if (strcmp(i->disks.disks[n].id, id) == 0)
			return &i->disks.disks[n];
	}
	return NULL;
}
