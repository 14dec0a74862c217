/* usage_scatter.c - usage_scatter IMAGE: make an ext4 that is new look like one that is half full and as scattered as can be.
 *
 * Written into the bitmaps themselves, one group after the other, with their checksums and counts: libext2fs would hold the bitmaps of all
 * groups at once.  The blocks belong to no file, which only e2fsck looks at. */
#include <ext2fs/ext2fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define METADATA_MAX \
	16384u /* blocks at the start of a group that hold no data: with flex_bg, those of 16 groups */

static void must(errcode_t e, const char *what)
{
	if (e == 0)
		return;
	(void)fprintf(stderr, "usage_scatter: %s: %s\n", what, error_message(e));
	exit(1); /* NOLINT(concurrency-mt-unsafe): there is one thread */
}

/* From METADATA_MAX on pieces of 1 to 4 blocks with 1 to 200 free ones between them. */
static void scatter(unsigned char *bitmap, unsigned len)
{
	unsigned long long x = 1;

	for (unsigned i = METADATA_MAX; i < len; i++) {
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		for (unsigned n = (unsigned)(x >> 33 & 3); n > 0 && i < len; n--)
			ext2fs_set_bit(i++, bitmap);
		if (i < len)
			ext2fs_set_bit(i, bitmap);
		i += 1 + (unsigned)((x >> 40) % 200);
	}
}

static unsigned count_free(const unsigned char *bitmap, unsigned len)
{
	unsigned free = 0;

	for (unsigned i = 0; i < len; i++)
		free += !ext2fs_test_bit((int)i, bitmap);
	return free;
}

/* Of a group in which nothing was allocated yet. */
static void make_pattern(unsigned char *bitmap, unsigned len, unsigned size)
{
	memset(bitmap, 0, size);
	memset(bitmap, 0xff, METADATA_MAX / 8);
	scatter(bitmap, len);
	for (unsigned i = len; i < 8 * size; i++)
		ext2fs_set_bit((int)i, bitmap);
}

static void scatter_group(ext2_filsys fs, dgrp_t g, unsigned char *bitmap,
			  const unsigned char *pattern, unsigned pattern_free)
{
	unsigned len = (unsigned)ext2fs_group_blocks_count(fs, g), free = pattern_free;
	unsigned before = ext2fs_bg_free_blocks_count(fs, g);

	if (ext2fs_bg_flags_test(fs, g, EXT2_BG_BLOCK_UNINIT)) {
		ext2fs_bg_flags_clear(fs, g, EXT2_BG_BLOCK_UNINIT);
		memcpy(bitmap, pattern, fs->blocksize);
	} else {
		must(io_channel_read_blk64(fs->io, ext2fs_block_bitmap_loc(fs, g), 1, bitmap),
		     "read");
		scatter(bitmap, len);
		free = count_free(bitmap, len);
	}
	must(io_channel_write_blk64(fs->io, ext2fs_block_bitmap_loc(fs, g), 1, bitmap), "write");
	ext2fs_bg_free_blocks_count_set(fs, g, free);
	must(ext2fs_block_bitmap_csum_set(fs, g, (char *)bitmap,
					  (int)(fs->super->s_clusters_per_group / 8)),
	     "checksum");
	ext2fs_group_desc_csum_set(fs, g);
	ext2fs_free_blocks_count_add(fs->super, (blk64_t)free - before);
}

int main(int argc, char **argv)
{
	ext2_filsys fs = NULL;
	unsigned char *bitmap, *pattern;
	unsigned len, free_len;

	if (argc != 2)
		return 2;
	must(ext2fs_open(argv[1], EXT2_FLAG_RW | EXT2_FLAG_64BITS, 0, 0, unix_io_manager, &fs),
	     argv[1]);
	len = fs->super->s_blocks_per_group;
	bitmap = malloc(fs->blocksize);
	pattern = malloc(fs->blocksize);
	if (!bitmap || !pattern)
		return 1;
	make_pattern(pattern, len, fs->blocksize);
	free_len = count_free(pattern, len);
	/* the last one may be shorter: it stays as it is */
	for (dgrp_t g = 0; g + 1 < fs->group_desc_count; g++)
		scatter_group(fs, g, bitmap, pattern, free_len);
	free(pattern);
	free(bitmap);
	ext2fs_mark_super_dirty(fs);
	must(ext2fs_close_free(&fs), "close");
	return 0;
}
