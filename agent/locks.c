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
#include <sys/uio.h>
#include <unistd.h>

#include "agent/config.h"
#include "common/cleanup.h"

#define LINE_SIZE (20 + DISK_ID_SIZE)
#define LIST_MAX  (64u << 10) /* more is not read: config_read_file */
#define ALL	  "all\n"

enum state { STATE_NEW, STATE_LOCKED, STATE_SOURCE };

static int append(const char *list, const char *line, struct err *err)
{
	CLEANUP_CLOSE int fd = open(list, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	/* Behind half a line, where there was no room once. */
	const struct iovec parts[] = {{.iov_base = (char *)"\n", .iov_len = 1},
				      {.iov_base = (char *)line, .iov_len = strlen(line)}};

	if (fd >= 0)
		errno = ENOSPC; /* a short write sets none */
	if (fd < 0 || writev(fd, parts, 2) != (ssize_t)(strlen(line) + 1))
		return err_set(err, -errno, "write '%s': %m", list);
	return 0;
}

static void disk_line(char line[static LINE_SIZE], const char *word, uint64_t number)
{
	(void)snprintf(line, LINE_SIZE, "%s %" PRIu64 "\n", word, number);
}

/* A disk that went away and came back has another number, but its name by what it is.  False: it has none, only a place. */
static bool name_line(char line[static LINE_SIZE], const struct disk *d)
{
	(void)snprintf(line, LINE_SIZE, "source-id %s\n", d->id);
	return d->id[0] && strncmp(d->id, "path:", 5) != 0;
}

/* The text of the list; "" while there is none. */
static int read_list(const char *list, char **ret, struct err *err)
{
	size_t size = 0;
	int r = access(list, F_OK) == 0 ? config_read_file(list, ret, &size, err) : 0;

	if (r == 0 && !*ret && !(*ret = strdup("")))
		return err_set(err, -ENOMEM, "out of memory");
	if (r == 0 && size >= LIST_MAX)
		return err_set(err, -EFBIG, "'%s' has become too long: restart this machine", list);
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

static int append_new(const char *list, const char *text, const char *line, struct err *err)
{
	return has_line(text, line) ? 0 : append(list, line, err);
}

static int open_disk(const char *path, int *ret_fd, uint64_t *ret_number, struct err *err)
{
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	__u64 number = 0;

	if (fd < 0 || ioctl(fd, BLKGETDISKSEQ, &number) < 0)
		return err_set(err, -errno, "set '%s' read-only: %m", path);
	*ret_fd = take_fd(&fd);
	*ret_number = number;
	return 0;
}

static enum state state_of_number(const char *text, uint64_t number)
{
	char line[LINE_SIZE];

	disk_line(line, "source", number);
	if (has_line(text, line))
		return STATE_SOURCE;
	disk_line(line, "lock", number);
	return has_line(text, line) ? STATE_LOCKED : STATE_NEW;
}

/* A disk is a source if it was one by this or another path, or under another number. */
static enum state state_of(const char *text, const struct disk *d, uint64_t number)
{
	int folder = (int)(strrchr(d->path, '/') - d->path);
	char line[LINE_SIZE];

	if (name_line(line, d) && has_line(text, line))
		return STATE_SOURCE;
	for (size_t i = 0; i < d->paths.len; i++) {
		CLEANUP_CLOSE int fd = -1;
		char path[PATH_MAX];
		uint64_t other = 0;
		struct err none;

		(void)snprintf(path, sizeof(path), "%.*s/%s", folder, d->path, d->paths.names[i]);
		if (open_disk(path, &fd, &other, &none) == 0 &&
		    state_of_number(text, other) == STATE_SOURCE)
			return STATE_SOURCE;
	}
	return state_of_number(text, number);
}

static int apply_to(const char *list, const char *text, struct disk *d, struct err *err)
{
	CLEANUP_CLOSE int fd = -1;
	const int on = 1;
	uint64_t number = 0;
	enum state state;
	char line[LINE_SIZE];
	int r = open_disk(d->path, &fd, &number, err);

	if (r < 0)
		return r;
	state = state_of(text, d, number);
	if (state == STATE_LOCKED)
		d->is_read_only = false;
	if (state == STATE_LOCKED || (state == STATE_NEW && d->is_read_only))
		return 0;
	d->is_read_only = state == STATE_SOURCE; /* whoever lifted its lock meanwhile */
	if (ioctl(fd, BLKROSET, &on) < 0)
		return err_set(err, -errno, "set '%s' read-only: %m", d->path);
	disk_line(line, "lock", number);
	return state == STATE_SOURCE ? 0 : append(list, line, err);
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

const char *locks_consequence(const char *list)
{
	return locks_are_all(list) ? "those with a key are let in by SSH all the same"
				   : "SSH lets nobody in before that has worked once";
}

int locks_keep(const char *list, const struct disk *d, struct err *err)
{
	CLEANUP_CLOSE int fd = -1;
	CLEANUP_FREE char *text = NULL;
	char line[LINE_SIZE];
	uint64_t number = 0;
	int r;

	if (!list || d->kind == DISK_FILE)
		return 0;
	r = open_disk(d->path, &fd, &number, err);
	if (r == 0)
		r = read_list(list, &text, err);
	disk_line(line, "source", number);
	if (r == 0)
		r = append_new(list, text, line, err);
	if (r == 0 && name_line(line, d))
		r = append_new(list, text, line, err);
	return r;
}
