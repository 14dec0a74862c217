/* partitions.c - apart, since <sys/mount.h> has a BLOCK_SIZE of its own. */
#include "agent/partitions.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "common/cleanup.h"

void partitions_reread(const char *path)
{
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISBLK(st.st_mode))
		(void)ioctl(fd, BLKRRPART, 0); /* a restart does it too */
}
