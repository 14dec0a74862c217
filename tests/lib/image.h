/* image.h - disks made of a few sectors: what fuzzing mutates, and copies of real disks that damage is done to.
 *
 * Encoding, little-endian: disks u8 (1..IMAGE_DISKS_MAX; otherwise taken modulo), then for each disk its size in sectors u32 (modulo
 * IMAGE_SECTORS_MAX, at least 1), then records: sector u32 (its top bits, see IMAGE_DISK_SHIFT, the disk), 512 bytes.  A record that is cut
 * short is filled with zeros, one outside its disk left out, of two for one sector the later one counts.  All other sectors are zeros. */
#ifndef TESTS_LIB_IMAGE_H
#define TESTS_LIB_IMAGE_H
#include "common/blk.h"

#define IMAGE_DISKS_MAX	  3u
#define IMAGE_DISK_SHIFT  30
#define IMAGE_SECTORS_MAX (1u << 26)
#define IMAGE_SECTOR	  512u

/* The disks, IMAGE_DISKS_MAX at most; returns how many, 0 when `size` is too small or memory is out.  `data` must outlive them. */
size_t image_decode(const uint8_t *data, size_t size, struct blk *ret[static IMAGE_DISKS_MAX]);

/* A view of a disk in which bytes can be changed without touching it, that knows what has been read of it.  NULL: out of memory.  `inner` is not owned. */
struct blk *image_overlay_new(struct blk *inner) MUST_CHECK;
/* Forget all changes. */
void image_overlay_reset(struct blk *b);
/* Put `size` bytes at `offset`; inside the disk and not across a sector's end (asserted). */
void image_overlay_poke(struct blk *b, uint64_t offset, const void *bytes, size_t size);
/* From here on the disk ends there. */
void image_overlay_cut(struct blk *b, uint64_t size);
/* The sectors that have been read since it was made, ascending, each once; heap, NULL when none or out of memory. */
uint64_t *image_overlay_reads(struct blk *b, size_t *ret_len);
#endif
