/* signature.c - content that is read whole, by name.  The places and bytes are those that libblkid, the formats' own specifications and their
 * drivers in Linux look for; all are long enough not to be there by chance, so that minix with its two bytes is not among them. */
#include <string.h>

#include "agent/usage/formats.h"

#define FROM_END(n) (-(int64_t)(n))

struct signature {
	const char *name; /* as libblkid calls it */
	int64_t at;	  /* bytes from the start; negative: from the end */
	const char *bytes;
	uint8_t size;
	uint16_t unit; /* the end that is meant is that of the last whole unit of so many bytes */
};

#define SIGNATURE_OF_UNITS(name, at, text, unit)               \
	{                                                      \
		(name), (at), (text), sizeof(text) - 1, (unit) \
	}
#define SIGNATURE(name, at, text) SIGNATURE_OF_UNITS(name, at, text, 1)

static const struct signature signatures[] = {
	SIGNATURE("crypto_LUKS", 0, "LUKS\xba\xbe"),
	/* the second header of version 2, when the first is gone; it may be at any of these */
	SIGNATURE("crypto_LUKS", 16 << 10, "SKUL\xba\xbe"),
	SIGNATURE("crypto_LUKS", 32 << 10, "SKUL\xba\xbe"),
	SIGNATURE("crypto_LUKS", 64 << 10, "SKUL\xba\xbe"),
	SIGNATURE("crypto_LUKS", 128 << 10, "SKUL\xba\xbe"),
	SIGNATURE("crypto_LUKS", 256 << 10, "SKUL\xba\xbe"),
	SIGNATURE("crypto_LUKS", 512 << 10, "SKUL\xba\xbe"),
	SIGNATURE("crypto_LUKS", 1 << 20, "SKUL\xba\xbe"),
	SIGNATURE("crypto_LUKS", 2 << 20, "SKUL\xba\xbe"),
	SIGNATURE("crypto_LUKS", 4 << 20, "SKUL\xba\xbe"),
	SIGNATURE("BitLocker", 3, "-FVE-FS-"),
	/* BitLocker To Go, and on exFAT: a FAT32 boot sector with the GUID of a metadata block */
	SIGNATURE("BitLocker", 424,
		  "\x3b\xd6\x67\x49\x29\x2e\xd8\x4a\x83\x99\xf6\xa3\x39\xe3\xd0\x01"),
	SIGNATURE("ReFS", 0, "\x00\x00\x00ReFS\x00"),
	SIGNATURE("apfs", 32, "NXSB"),
	SIGNATURE("VMFS_volume_member", 1 << 20, "\x0d\xd0\x01\xc0"),
	SIGNATURE("VMFS", 2 << 20, "\x5e\xf1\xab\x2f"),
	SIGNATURE("VMFS", 18 << 20, "\x5e\xf1\xab\x2f"),
	/* the first pair, "version", of the nvlist in the first two ZFS labels; and an uberblock of hosts of either byte order */
	SIGNATURE("zfs_member", (16 << 10) + 20, "\x00\x00\x00\x07version\x00"),
	SIGNATURE("zfs_member", (272 << 10) + 20, "\x00\x00\x00\x07version\x00"),
	SIGNATURE("zfs_member", 128 << 10, "\x0c\xb1\xba\x00\x00\x00\x00\x00"),
	SIGNATURE("zfs_member", 128 << 10, "\x00\x00\x00\x00\x00\xba\xb1\x0c"),
	SIGNATURE("hfs", 1024, "BD\x00\x03"),
	SIGNATURE("hfsplus", 1024, "H+\x00\x04"),
	SIGNATURE("hfsplus", 1024, "HX\x00\x05"),
	SIGNATURE("f2fs", 1024, "\x10\x20\xf5\xf2"),
	SIGNATURE("erofs", 1024, "\xe2\xe1\xf5\xe0"),
	SIGNATURE("reiserfs", (64 << 10) + 52, "ReIsErFs"),
	SIGNATURE("reiserfs", (64 << 10) + 52, "ReIsEr2Fs"),
	SIGNATURE("reiserfs", (64 << 10) + 52, "ReIsEr3Fs"),
	SIGNATURE("reiserfs", (8 << 10) + 52, "ReIsErFs"),
	SIGNATURE("reiser4", 64 << 10, "ReIsEr4"),
	SIGNATURE("jfs", 32 << 10, "JFS1"),
	SIGNATURE("squashfs", 0, "hsqs"),
	SIGNATURE("iso9660", (32 << 10) + 1, "CD001"),
	SIGNATURE("udf", (32 << 10) + 1, "BEA01"),
	SIGNATURE("ufs", 8192 + 1372, "\x54\x19\x01\x00"),
	SIGNATURE("ufs", 8192 + 1372, "\x00\x01\x19\x54"),
	SIGNATURE("ufs", (64 << 10) + 1372, "\x19\x01\x54\x19"),
	SIGNATURE("ufs", (64 << 10) + 1372, "\x19\x54\x01\x19"),
	SIGNATURE("bsd", 512, "\x57\x45\x56\x82"),
	SIGNATURE("solaris", 512 + 12, "\xee\xde\x0d\x60"), /* the slices inside a partition */
	/* revision 2.0, which the magic alone (two bytes) is too short without */
	SIGNATURE("nilfs2", 1024, "\x02\x00\x00\x00\x00\x00\x34\x34"),
	SIGNATURE("gfs2", 64 << 10, "\x01\x16\x19\x70\x00\x00\x00\x01"),
	SIGNATURE("ocfs2", 1 << 10, "OCFSV2"),
	SIGNATURE("ocfs2", 2 << 10, "OCFSV2"),
	SIGNATURE("ocfs2", 4 << 10, "OCFSV2"),
	SIGNATURE("ocfs2", 8 << 10, "OCFSV2"),
	SIGNATURE("bcache", 4096 + 24,
		  "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"),
	SIGNATURE("bcachefs", 4096 + 24,
		  "\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef"),
	SIGNATURE("LVM1_member", 0, "HM\x01\x00"),
	SIGNATURE("LVM1_member", 0, "HM\x02\x00"),
	SIGNATURE("DM_snapshot_cow", 0, "SnAp"),
	SIGNATURE("DM_integrity", 0, "integrt\x00"),
	SIGNATURE("DM_verity_hash", 0, "verity\x00\x00"),
	SIGNATURE("vdo", 0, "dmvdo001"),
	SIGNATURE("stratis", 512 + 4, "!Stra0tis\x86\xff\x02^\x41rh"),
	SIGNATURE("Storage Spaces", 4096, "SPACEDB "),
	SIGNATURE("LDM", 6 * 512, "PRIVHEAD"),
	SIGNATURE("LDM", FROM_END(512), "PRIVHEAD"),
	SIGNATURE("oracleasm", 32, "ORCLDISK"),
	SIGNATURE("ceph_bluestore", 0, "bluestore block device"),
	SIGNATURE("befs", 512 + 32, "1SFB"),
	SIGNATURE("nss", 4096, "SPB5"),
	SIGNATURE("isw_raid_member", FROM_END(1024), "Intel Raid ISM Cfg Sig. "),
	SIGNATURE("isw_raid_member", FROM_END(8192), "Intel Raid ISM Cfg Sig. "),
	SIGNATURE("ddf_raid_member", FROM_END(512), "\xde\x11\xde\x11"),
	SIGNATURE("ddf_raid_member", FROM_END(512), "\x11\xde\x11\xde"),
	SIGNATURE("ddf_raid_member", FROM_END(257 * 512), "\xde\x11\xde\x11"),
	SIGNATURE("ddf_raid_member", FROM_END(257 * 512), "\x11\xde\x11\xde"),
	SIGNATURE("nvidia_raid_member", FROM_END(1024), "NVIDIA"),
	SIGNATURE("jmicron_raid_member", FROM_END(512), "JM\x01\x00"),
	SIGNATURE("lsi_mega_raid_member", FROM_END(512), "$XIDE$"),
	SIGNATURE("hpt45x_raid_member", FROM_END(11 * 512), "\xf3\x16\x78\x5a"),
	SIGNATURE("hpt37x_raid_member", 4608 + 32, "\xf0\x16\x78\x5a"),
	SIGNATURE("hpt37x_raid_member", 4608 + 32, "\xfd\x16\x78\x5a"),
	SIGNATURE("adaptec_raid_member", FROM_END(512), "\x37\xfc\x4d\x1e"),
	SIGNATURE("silicon_medley_raid_member", FROM_END(512 - 0x60), "\x00\x00\x00\x2f"),
	SIGNATURE("promise_fasttrack_raid_member", FROM_END(63 * 512), "Promise Technology, Inc."),
	/* The filesystem on it has a map, but may be mounted at the other end: that has written blocks here of which no log tells yet, and will send again
	 * only what changed since.  Versions 8.3, 8.4 and 9. */
	SIGNATURE_OF_UNITS("drbd", FROM_END(4096 - 60), "\x83\x74\x02\x6b", 4096),
	SIGNATURE_OF_UNITS("drbd", FROM_END(4096 - 60), "\x83\x74\x02\x6c", 4096),
	SIGNATURE_OF_UNITS("drbd", FROM_END(4096 - 60), "\x83\x74\x02\x6d", 4096),
};

/* Intel's and others' metadata is in terms of sectors that libblkid takes for 512 bytes; so do we. */
static int matches(struct volume *v, const struct signature *s, struct err *err)
{
	uint64_t back = (uint64_t)-s->at;
	uint64_t at = (uint64_t)s->at;
	uint8_t bytes[32];
	int r;

	if (s->at < 0) {
		uint64_t end = volume_size(v) / s->unit * s->unit;

		if (back > end)
			return 0;
		at = end - back;
	}
	if (at > volume_size(v) || s->size > volume_size(v) - at)
		return 0;
	r = volume_read(v, bytes, s->size, at, err);
	return r < 0 ? r : memcmp(bytes, s->bytes, s->size) == 0;
}

int signatures_find(struct volume *v, bool is_at_end, const char **ret_names, struct err *err)
{
	int n = 0;

	for (size_t i = 0; i < sizeof(signatures) / sizeof(signatures[0]); i++) {
		const struct signature *s = &signatures[i];
		bool is_known = n > 0 && strcmp(ret_names[n - 1], s->name) == 0;
		bool is_out = n == SIGNATURES_MAX || is_known || (is_at_end && s->at >= 0);
		int r = is_out ? 0 : matches(v, s, err);

		if (r < 0)
			return r;
		if (r > 0)
			ret_names[n++] = s->name;
	}
	return n;
}
