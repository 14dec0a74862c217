/* iso_archive.h - what of an archive of modules and firmware is of use to a medium: docs/formats-added.md */
#ifndef SERVER_CLI_ISO_ARCHIVE_H
#define SERVER_CLI_ISO_ARCHIVE_H
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#define ISO_ARCHIVE_FILES     10000u
#define ISO_ARCHIVE_SIZE_MAX  (256u << 20) /* of all files together */
#define ISO_ARCHIVE_PATH_SIZE 512u

struct iso_archive_file {
	char *path; /* in the live image */
	unsigned mode;
	uint8_t *data; /* of a link, where it leads */
	size_t size;
	size_t first; /* of the hard links to one file, its index; else its own */
};

struct iso_archive {
	struct iso_archive_file *files; /* heap */
	size_t len;
	uint64_t size;
	const char *release; /* not owned */
};

/* Those of the archive in the file `path`, sorted by their paths; `s`: its release is the kernel of the medium, all else is 0.
 * -EINVAL: there is something in it that a medium cannot use. */
int iso_archive_read(const char *path, struct iso_archive *s, struct err *err) MUST_CHECK;
void iso_archive_done(struct iso_archive *s);
#endif
