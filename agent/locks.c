/* The lock comes before its line: should the agent die in between, the disk counts as one that was read-only before, which is refused as a target, and never
 * as one that may be written to. */
#include "agent/locks.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "agent/config.h"
#include "common/cleanup.h"

#define LINE_SIZE 40
#define ALL	  "all\n"

enum state { STATE_NEW, STATE_LOCKED, STATE_SOURCE };

static int append(const char *list, const char *line, struct err *err)
{
	CLEANUP_CLOSE int fd = open(list, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	ssize_t size = (ssize_t)strlen(line);

	if (fd < 0 || write(fd, line, (size_t)size) != size)
		return err_set(err, errno ? -errno : -EIO, "write '%s': %m", list);
	return 0;
}

static int append_disk(const char *list, const char *word, uint64_t number, struct err *err)
{
	char line[LINE_SIZE];

	(void)snprintf(line, sizeof(line), "%s %" PRIu64 "\n", word, number);
	return append(list, line, err);
}

/* The text of the list; "" while there is none. */
static int read_list(const char *list, char **ret, struct err *err)
{
	size_t size;
	int r = access(list, F_OK) == 0 ? config_read_file(list, ret, &size, err) : 0;

	if (r == 0 && !*ret && !(*ret = strdup("")))
		return err_set(err, -ENOMEM, "out of memory");
	return r;
}

static bool has_line(const char *text, const char *line)
{
	size_t size = strlen(line);

	while (text && strncmp(text, line, size) != 0) {
		text = strchr(text, '\n');
		text += text ? 1 : 0;
	}
	return text;
}

static enum state state_of(const char *text, uint64_t number)
{
	char line[LINE_SIZE];

	(void)snprintf(line, sizeof(line), "source %" PRIu64 "\n", number);
	if (has_line(text, line))
		return STATE_SOURCE;
	(void)snprintf(line, sizeof(line), "lock %" PRIu64 "\n", number);
	return has_line(text, line) ? STATE_LOCKED : STATE_NEW;
}

static int open_disk(const struct disk *d, int *ret_fd, uint64_t *ret_number, struct err *err)
{
	CLEANUP_CLOSE int fd = open(d->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	__u64 number = 0;

	if (fd < 0 || ioctl(fd, BLKGETDISKSEQ, &number) < 0)
		return err_set(err, -errno, "set '%s' read-only: %m", d->path);
	*ret_fd = take_fd(&fd);
	*ret_number = number;
	return 0;
}

static int apply_to(const char *list, const char *text, struct disk *d, struct err *err)
{
	CLEANUP_CLOSE int fd = -1;
	const int on = 1;
	uint64_t number = 0;
	enum state state;
	int r = open_disk(d, &fd, &number, err);

	if (r < 0)
		return r;
	state = state_of(text, number);
	if (state == STATE_LOCKED)
		d->is_read_only = false;
	if (state != STATE_NEW || d->is_read_only)
		return 0;
	if (ioctl(fd, BLKROSET, &on) < 0)
		return err_set(err, -errno, "set '%s' read-only: %m", d->path);
	return append_disk(list, "lock", number, err);
}

/* Then there is nothing to lock. */
static bool is_gone(int r)
{
	return r == -ENOENT || r == -ENXIO || r == -ENODEV || r == -ENOMEDIUM;
}

int locks_apply(const char *list, struct disk_list *disks, struct err *err)
{
	CLEANUP_FREE char *text = NULL;
	int r = list ? read_list(list, &text, err) : 0, first = r;

	for (size_t i = 0; list && r == 0 && i < disks->len; i++) {
		struct err one = {0};
		int bad = disks->disks[i].kind == DISK_FILE
				  ? 0
				  : apply_to(list, text, &disks->disks[i], &one);

		if (bad < 0 && !is_gone(bad) && first == 0) {
			first = bad;
			*err = one;
		}
	}
	if (list && first == 0 && !has_line(text, ALL))
		first = append(list, ALL, err);
	return first;
}

bool locks_are_all(const char *list)
{
	CLEANUP_FREE char *text = NULL;
	struct err err;

	return read_list(list, &text, &err) == 0 && has_line(text, ALL);
}

int locks_keep(const char *list, const struct disk *d, struct err *err)
{
	CLEANUP_CLOSE int fd = -1;
	uint64_t number = 0;
	int r = list && d->kind != DISK_FILE ? open_disk(d, &fd, &number, err) : 0;

	return r == 0 && fd >= 0 ? append_disk(list, "source", number, err) : r;
}
