/* end.c - reboot(2) itself, not init: disks are flushed, and nothing else on the live image is worth waiting for. */
#include "agent/end.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/cdrom.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <unistd.h>

#include "common/cleanup.h"

#define DRIVES	      16
#define ISO_VOLUME_ID (32768 + 40) /* ECMA-119 8.4.7: the primary volume descriptor, sector 16 */
#define OUR_VOLUME_ID "HOIST"
/* The live image copies what is said to screen and serial line once a second, and somebody may be reading. */
#define LAST_WORDS_S 3

/* Best effort: with the CD left in, the machine may boot it once more, and the server has nothing for it to do.  Was there one? */
static bool eject_own_cd(struct console *console)
{
	bool is_out = false;

	for (int i = 0; i < DRIVES; i++) {
		char path[32], id[sizeof(OUR_VOLUME_ID) - 1];
		CLEANUP_CLOSE int fd = -1;

		(void)snprintf(path, sizeof(path), "/dev/sr%d", i);
		fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0 || pread(fd, id, sizeof(id), ISO_VOLUME_ID) != (ssize_t)sizeof(id) ||
		    memcmp(id, OUR_VOLUME_ID, sizeof(id)) != 0)
			continue;
		(void)ioctl(fd, CDROM_LOCKDOOR, 0);
		if (ioctl(fd, CDROMEJECT, 0) == 0) {
			is_out = true;
			continue;
		}
		console_say(console, "the CD in %s could not be ejected: %s", path,
			    strerrordesc_np(errno));
	}
	return is_out;
}

void end_boot_medium(bool may_eject, struct console *console)
{
	console_say(console, may_eject && eject_own_cd(console)
				     ? "all of the live image is in memory: the CD was ejected"
				     : "all of the live image is in memory: a medium that it was "
				       "started from can be removed");
}

void end_machine(enum end_action end, bool is_image, struct console *console)
{
	const char *what = end == END_REBOOT ? "restarts" : "switches itself off";

	if (end == END_STAY)
		return;
	if (!is_image) {
		console_say(console, "this is not the live image, or else the machine %s now",
			    what);
		return;
	}
	console_say(console, "the machine %s in %d seconds", what, LAST_WORDS_S);
	sync();
	if (end == END_REBOOT)
		(void)eject_own_cd(console);
	(void)sleep(LAST_WORDS_S); /* NOLINT(concurrency-mt-unsafe): no timer signals here */
	(void)reboot(end == END_REBOOT ? RB_AUTOBOOT : RB_POWER_OFF);
	console_say(console, "that failed: %s", strerrordesc_np(errno));
}
