/* partitions.h - let the kernel look at a disk's partition table again. */
#ifndef AGENT_PARTITIONS_H
#define AGENT_PARTITIONS_H
/* Best effort: nothing for a plain file, and not while a partition is in use. */
void partitions_reread(const char *path);
#endif
