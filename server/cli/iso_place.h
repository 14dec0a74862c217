/* iso_place.h - where archives are added to a medium: /boot/added.img on an ISO, or that file alone.  docs/formats-added.md */
#ifndef SERVER_CLI_ISO_PLACE_H
#define SERVER_CLI_ISO_PLACE_H
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#define ISO_PLACE_START	       2048u	    /* behind the marker */
#define ISO_PLACE_MAX	       (512u << 20) /* bytes of added.img */
#define ISO_PLACE_RELEASE_SIZE 65

struct iso_place {
	uint64_t offset; /* of added.img in the file or disk */
	uint64_t size;	 /* of it, from ISO_PLACE_START to ISO_PLACE_MAX */
	uint64_t record; /* of its directory record, 0: there is no ISO around it */
	uint64_t end;	 /* of the ISO */
	char release[ISO_PLACE_RELEASE_SIZE];
};

/* -EPROTO: an ISO that is longer than its file, as when a download broke off or is under way.  What is no ISO is whole. */
int iso_check_whole(int fd, struct err *err) MUST_CHECK;
/* -ENOENT none, -EEXIST more than one, -EPROTO an ISO that is not as scripts/mkiso makes it; -errno of reading. */
int iso_place_find(int fd, struct iso_place *ret, struct err *err) MUST_CHECK;
/* What is behind the marker, heap; `ret_size` may be 0. */
int iso_place_read(int fd, const struct iso_place *p, uint8_t **ret, size_t *ret_size,
		   struct err *err) MUST_CHECK;
/* Replace it by these bytes; the ISO becomes longer if it has to, which a disk cannot. */
int iso_place_write(int fd, const struct iso_place *p, const void *data, size_t size,
		    struct err *err) MUST_CHECK;
/* All of it.  Negative errno. */
int write_full(int fd, const void *data, size_t size, uint64_t offset) MUST_CHECK;
#endif
