/* media.h - the folder of boot files that the server hands out (docs/protocol.md "Media"), with settings written into them on their way.
 *
 * Any number of threads.  Nothing in the folder is changed; it may be changed by others at any time. */
#ifndef SERVER_MEDIA_MEDIA_H
#define SERVER_MEDIA_MEDIA_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"
#include "common/json.h"

#define MEDIA_NAME_MAX	 128u /* of a file or a folder */
#define MEDIA_LISTED_MAX 256u

struct media;
/* -errno when `dir` is no folder that can be read. */
int media_open(const char *dir, struct media **ret, struct err *err) MUST_CHECK;
void media_close(struct media *m);

/* Every file: "hoist.iso", "grub/grub.cfg".  `fn` returns 0 to go on. */
int media_each(struct media *m,
	       int (*fn)(void *arg, const char *name, uint64_t size, bool takes_settings),
	       void *arg, struct err *err) MUST_CHECK;

/* A file as it is now, whatever becomes of its name.  One thread. */
struct media_file;
/* `folder`: NULL for one directly in the folder.  API_NOT_FOUND: no such file, or no name of one. */
int media_file_open(struct media *m, const char *folder, const char *name, struct media_file **ret,
		    struct err *err) MUST_CHECK;
void media_file_free(void *file);
uint64_t media_file_size(const struct media_file *f);
/* Is there a place for settings in it? */
bool media_file_takes_settings(const struct media_file *f);
/* The settings in it, as of medium_settings.h.  -EPROTO: damaged. */
int media_file_settings(const struct media_file *f, json_t *settings, struct err *err) MUST_CHECK;
/* What is read from now on has these instead.  -E2BIG: they do not fit. */
int media_file_set(struct media_file *f, const json_t *settings, struct err *err) MUST_CHECK;
/* As of struct call_stream. */
ssize_t media_file_read(void *file, uint64_t at, char *buf, size_t max);
#endif
