/* The kernel's time limits of a disk: lowered where they are longer, never raised, and as before at the end. */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/timeouts.h"
#include "tests/unit/tap.h"

static char dir[] = "/var/tmp/hoist-test-timeouts-XXXXXX";

static void put(const char *path, const char *text)
{
	char full[256];
	FILE *f;

	for (const char *p = strchr(path, '/'); p; p = strchr(p + 1, '/')) {
		(void)snprintf(full, sizeof(full), "%s/%.*s", dir, (int)(p - path), path);
		(void)mkdir(full, 0700);
	}
	(void)snprintf(full, sizeof(full), "%s/%s", dir, path);
	f = fopen(full, "we");
	if (!f || fputs(text, f) < 0 || fclose(f) != 0)
		abort();
}

static bool has(const struct sysroot *r, const char *path, uint64_t want)
{
	uint64_t n = 0;

	return sysroot_u64(r, &n, "%s", path) && n == want;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

int main(void)
{
	struct timeouts t;
	struct sysroot r;
	struct err err;

	if (!mkdtemp(dir))
		abort();
	put("sys/block/sda/device/timeout", "30\n");
	put("sys/block/sda/device/eh_timeout", "10\n");
	put("sys/block/sda/queue/io_timeout", "30000\n");
	put("sys/block/sdb/device/timeout", "5\n");
	put("sys/block/nvme0n1/queue/io_timeout", "30000\n");
	ok(sysroot_open(dir, &r, &err) == 0, "a machine");
	ok(timeouts_lower(&r, "sda", &t) && has(&r, "sys/block/sda/device/timeout", TIMEOUT_S) &&
		   has(&r, "sys/block/sda/device/eh_timeout", TIMEOUT_EH_S) &&
		   has(&r, "sys/block/sda/queue/io_timeout", 30000),
	   "a SCSI disk's are lowered");
	timeouts_restore(&r, &t);
	ok(has(&r, "sys/block/sda/device/timeout", 30) &&
		   has(&r, "sys/block/sda/device/eh_timeout", 10),
	   "and are as before");
	ok(!timeouts_lower(&r, "sdb", &t) && has(&r, "sys/block/sdb/device/timeout", 5),
	   "a shorter one is left alone");
	timeouts_restore(&r, &t);
	ok(timeouts_lower(&r, "nvme0n1", &t) &&
		   has(&r, "sys/block/nvme0n1/queue/io_timeout", TIMEOUT_S * 1000ull),
	   "that of NVMe is lowered");
	timeouts_restore(&r, &t);
	ok(has(&r, "sys/block/nvme0n1/queue/io_timeout", 30000), "and is as before");
	ok(!timeouts_lower(&r, "vda", &t), "a disk that has none");
	sysroot_done(&r);
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread */
	ok(nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0, "cleaned up");
	return done();
}
