/* timeouts.c - /sys/block/DISK/device/timeout and eh_timeout, in seconds, are those of SCSI and ATA disks (Documentation/ABI/testing/sysfs-block-device,
 * drivers/scsi/scsi_sysfs.c); queue/io_timeout, in milliseconds, that of NVMe (Documentation/ABI/stable/sysfs-block).  Of a SCSI disk the two are one. */
#include "agent/timeouts.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"

static bool put(const struct sysroot *r, const char *sysname, const char *file, uint64_t value)
{
	char path[256], text[24];
	int len = snprintf(text, sizeof(text), "%" PRIu64 "\n", value);

	(void)snprintf(path, sizeof(path), "sys/block/%s/%s", sysname, file);
	CLEANUP_CLOSE int fd = openat(r->fd, path, O_WRONLY | O_CLOEXEC);

	return fd >= 0 && write(fd, text, (size_t)len) == len;
}

/* *ret_was is set only when it was lowered. */
static bool lower(const struct sysroot *r, const char *sysname, const char *file, uint64_t to,
		  uint64_t *ret_was)
{
	uint64_t was;

	if (!sysroot_u64(r, &was, "sys/block/%s/%s", sysname, file) || was <= to ||
	    !put(r, sysname, file, to))
		return false;
	*ret_was = was;
	return true;
}

bool timeouts_lower(const struct sysroot *r, const char *sysname, struct timeouts *ret)
{
	*ret = (struct timeouts){0};
	if (strlen(sysname) >= sizeof(ret->sysname))
		return false;
	memcpy(ret->sysname, sysname, strlen(sysname) + 1);
	(void)lower(r, sysname, "device/eh_timeout", TIMEOUT_EH_S, &ret->eh_s);
	if (!lower(r, sysname, "device/timeout", TIMEOUT_S, &ret->command_s))
		(void)lower(r, sysname, "queue/io_timeout", TIMEOUT_S * 1000, &ret->queue_ms);
	return ret->command_s > 0 || ret->eh_s > 0 || ret->queue_ms > 0;
}

void timeouts_restore(const struct sysroot *r, struct timeouts *t)
{
	if (t->command_s > 0)
		(void)put(r, t->sysname, "device/timeout", t->command_s);
	if (t->eh_s > 0)
		(void)put(r, t->sysname, "device/eh_timeout", t->eh_s);
	if (t->queue_ms > 0)
		(void)put(r, t->sysname, "queue/io_timeout", t->queue_ms);
	*t = (struct timeouts){0};
}
