/* Records of the kernel's log, in which stand names that firmware, disks and filesystems gave: what drivers asked for, and whether a filesystem was complained of.  And a
 * line of its counters of a disk.
 *
 * The input: records, a zero byte between them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/machine.h"
#include "agent/replay/klog.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_text.h"

static const uint8_t *records;
static size_t left;

/* The next record, as read(2) of /dev/kmsg gives it. */
static ssize_t next_record(int fd, char *buf, size_t size)
{
	size_t n = strnlen((const char *)records, left);

	(void)fd;
	if (left == 0)
		return 0;
	if (n >= size) {
		left = 0;
		return -EINVAL;
	}
	memcpy(buf, records, n);
	records += n + (n < left);
	left -= n + (n < left);
	return n > 0 ? (ssize_t)n : -EPIPE;
}

static void note_all(const uint8_t *data, size_t size)
{
	struct missing_list list = {.len = 0};
	char record[8193];
	ssize_t n;

	records = data;
	left = size;
	while ((n = next_record(0, record, sizeof(record) - 1)) > 0) {
		record[n] = '\0';
		kmsg_note(&list, record);
	}
	if (list.len > MISSING_FIRMWARE_MAX)
		abort();
	for (size_t i = 0; i < list.len; i++) {
		const struct missing_firmware *m = &list.items[i];

		fuzz_check_text(m->file);
		if (m->driver[0] == '\0' || m->file[0] == '\0')
			abort();
		for (size_t k = 0; k < i; k++) {
			if (strcmp(list.items[k].file, m->file) == 0 &&
			    strcmp(list.items[k].device, m->device) == 0)
				abort();
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const devices[] = {"dm-3", "dm-30"};
	static const struct replay_sys sys = {.log_read = next_record};
	char *text = strndup((const char *)data, size);
	struct blk_counters counters;
	struct err err = {0};
	int r;

	if (!text)
		return 0;
	(void)!blk_parse_counters(text, &counters);
	free(text);
	note_all(data, size);
	records = data;
	left = size;
	r = klog_check(&sys, 0, devices, 2, &err);
	if (r == -EUCLEAN || r == -EOVERFLOW)
		fuzz_check_text(err.msg);
	else if (r < 0 && !err.msg[0])
		abort();
	return 0;
}
