/* ext_io.h - libext2fs reads a volume. */
#ifndef AGENT_USAGE_EXT_IO_H
#define AGENT_USAGE_EXT_IO_H
#include <ext2fs/ext2fs.h>

#include "agent/usage/volume.h"

/* Open the filesystem on `v`, for reading only; `v` must outlive it.  Close with ext2fs_close_free.  -EUCLEAN with what libext2fs says. */
int ext_io_open(struct volume *v, ext2_filsys *ret, struct err *err) MUST_CHECK;
#endif
