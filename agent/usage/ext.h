/* ext.h - shared by the parts of the ext2/3/4 reader. */
#ifndef AGENT_USAGE_EXT_H
#define AGENT_USAGE_EXT_H
#include "agent/usage/ext_io.h"

/* The block bitmap has been marked; it has no checksum.  So go through all files: what one of them uses and the bitmap calls free shows
 * that the bitmap is wrong.  0 when there is no such thing. */
int ext_walk(ext2_filsys fs, struct volume *v, struct err *err) MUST_CHECK;
#endif
