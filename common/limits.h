/* limits.h - the numbers of docs/formats.md and docs/protocol.md in one place. */
#ifndef COMMON_LIMITS_H
#define COMMON_LIMITS_H
#include <stdint.h>

#define BLOCK_SIZE    4096u
#define WINDOW_SIZE   (4u << 20)
#define GROUP_WINDOWS 256u
#define CHUNK_MIN     8192u /* where a cut may first fall */
#define CHUNK_MAX     131072u
#define DISK_SIZE_MIN 512ull
#define DISK_SIZE_MAX (64ull << 40)
#define EXTENTS_MAX   65536u /* unreadable extents of a disk */

#define NODE_ENTRIES_MAX 1024u /* WINDOW_SIZE / BLOCK_SIZE */
#define NODE_SIZE_MIN	 16u
#define NODE_SIZE_MAX	 (12u + NODE_ENTRIES_MAX * 36u)

#define PACK_COUNT_MAX 4096u
#define PACK_PLAIN_MAX (8u << 20)
#define PACK_PLAIN_AIM (1u << 20)
#define PACK_HEADER    20u
#define PACK_ENTRY     36u
#define PACK_SIZE_MAX  (PACK_HEADER + PACK_COUNT_MAX * PACK_ENTRY + PACK_PLAIN_MAX)

#define JOB_DISKS_MAX	 32u
#define LACK_IDS_MAX	 4096u
#define WINDOWS_PUT_MAX	 4096u
#define CHUNKS_PLAIN_MAX (16u << 20)
#define WINDOWS_RUN_MAX	 GROUP_WINDOWS /* windows in an entry of one put */
#define NODES_ASK_MAX	 4096u	       /* windows */
#define NODES_GET_MAX	 16u	       /* entries in the answer */
#define CHUNKS_GET_MAX	 4096u	       /* ids in one request */
#define MISSING_MAX	 4096u
#define JSON_BIG_MAX	 (4u << 20)
#define JSON_MAX	 (256u << 10)
#define JSON_VALUES_MAX	 524288u /* values, and opening brackets, in one document */
#define NAME_MAX_LEN	 64u	 /* image, machine, server names */
#define REASON_MAX	 511u	 /* bytes of the sentence of a job that has failed */

#define HOIST_PORT 4647 /* TCP and UDP */
#define BOOT_PORT  4648 /* TCP: boot files */

static inline uint64_t window_count(uint64_t disk_size)
{
	return disk_size / WINDOW_SIZE + (disk_size % WINDOW_SIZE != 0);
}
static inline uint64_t group_count(uint64_t disk_size)
{
	uint64_t windows = window_count(disk_size);

	return windows / GROUP_WINDOWS + (windows % GROUP_WINDOWS != 0);
}
/* Windows of group `g` of a disk; g < group_count(disk_size). */
static inline uint32_t group_length(uint64_t disk_size, uint64_t g)
{
	uint64_t left = window_count(disk_size) - g * GROUP_WINDOWS;

	return left < GROUP_WINDOWS ? (uint32_t)left : GROUP_WINDOWS;
}
/* Bytes of window `i` of a disk; i < window_count(disk_size). */
static inline uint32_t window_length(uint64_t disk_size, uint64_t i)
{
	uint64_t left = disk_size - i * WINDOW_SIZE;

	return left < WINDOW_SIZE ? (uint32_t)left : WINDOW_SIZE;
}
#endif
