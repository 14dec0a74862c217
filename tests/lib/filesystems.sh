# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Filesystems that have lived: thousands of files, many deleted whose data still lies about.  After tap.sh; each kind has the same functions.
#
#	fs_sources			makes $FS_KEPT (2,000 files) and $FS_DOOMED (700, of $FS_STALE)
#	fs_make_KIND FILE SIZE [OPTION...]	a filesystem with both, then without the doomed ones
#	fs_age_KIND FILE		every tenth of the kept ones is deleted too
#	fs_check_KIND FILE		its own checker finds no fault
#	fs_sums_KIND FILE		checksums of all its files, sorted; fails when that cannot be told here
#	fs_has_stale FILE...		does any of it hold what was deleted?
#
# Kinds: ext, xfs, swap, none (no filesystem at all).
FS_STALE=STALE-DATA-OF-A-DELETED-FILE
FS_KEPT=$TAP_TMP/kept
FS_DOOMED=$TAP_TMP/doomed
FS_MNT=$TAP_TMP/mnt
mkdir -p "$FS_MNT"
cleanup_fn sh -c "! mountpoint -q '$FS_MNT' || umount '$FS_MNT'"

fs_sources()
{
	mkdir "$FS_KEPT" "$FS_DOOMED" && perl -e '
		my ($kept, $doomed, $stale) = @ARGV;
		srand(7);
		sub write_file { open my $f, ">", $_[0] or die "$_[0]: $!"; print $f $_[1]; close $f or die; }
		for my $i (0 .. 1999) {
			my $size = rand() < 0.97 ? int(rand(6000)) : int(rand(300000));
			my $line = "file $i, " . int(rand(1e9)) . "\n";
			mkdir "$kept/d" . $i % 20;
			write_file("$kept/d" . $i % 20 . "/f$i", substr($line x (1 + $size / length $line), 0, $size));
		}
		write_file("$doomed/s$_", "$stale $_\n" x int(rand(900))) for 0 .. 699;' "$FS_KEPT" "$FS_DOOMED" "$FS_STALE"
}
fs_has_stale() { grep -qa "$FS_STALE" "$@"; }
fs_sum_dir() { (cd "$1" && find . -type f -print0 | sort -z | xargs -0r sha256sum); }
fs_new() { rm -f "$1" && truncate -s "$2" "$1"; }
fs_mount() { [ "$(id -u)" = 0 ] && mount -o "$2" "$1" "$FS_MNT" 2>/dev/null; }
# Files copied in with names that come round, so that deleted and kept ones lie side by side.
fs_populate()
{
	cp -r "$FS_KEPT" "$FS_MNT/kept" && cp -r "$FS_DOOMED" "$FS_MNT/doomed" && cp -r "$FS_KEPT/d3" "$FS_MNT/late" &&
		sync -f "$FS_MNT" && rm -r "$FS_MNT/doomed" && umount "$FS_MNT"
}
fs_age_mounted() { find "$FS_MNT" -type f -name '*7' -delete && umount "$FS_MNT"; }
fs_sums_mounted() { fs_sum_dir "$FS_MNT" && umount "$FS_MNT"; }

# ---- ext2, ext3, ext4: without mounting

fs_make_ext()
{
	local all=$TAP_TMP/all
	[ -d "$all" ] || { mkdir "$all" && cp -r "$FS_KEPT" "$FS_DOOMED" "$all"; } || return
	fs_new "$1" "$2" && mke2fs -q -F -d "$all" "${@:3}" "$1" &&
		(cd "$all" && find doomed -type f -printf 'rm "/%p"\n') >"$TAP_TMP/rm" && debugfs -w -f "$TAP_TMP/rm" "$1" >/dev/null 2>&1
}
fs_age_ext()
{
	(cd "$TAP_TMP/all" && find kept -type f -name '*7' -printf 'rm "/%p"\n') >"$TAP_TMP/rm" && debugfs -w -f "$TAP_TMP/rm" "$1" >/dev/null 2>&1
}
fs_check_ext() { e2fsck -fn "$1"; }
fs_sums_ext()
{
	rm -rf "$TAP_TMP/dump" && mkdir "$TAP_TMP/dump" && debugfs -R "rdump / $TAP_TMP/dump" "$1" >/dev/null 2>&1 && fs_sum_dir "$TAP_TMP/dump"
}

# ---- XFS: by the kernel; a version that it does not mount is made from a list of files; then what xfs_db calls free is filled

fs_make_xfs()
{
	fs_new "$1" "$2" && mkfs.xfs -q "${@:3}" "$1" || return
	if fs_mount "$1" loop; then
		fs_populate
		return
	fi
	{
		printf 'x\n0 0\nd--755 0 0\n'
		find "$FS_KEPT" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort | while read -r d; do
			echo "$d d--755 0 0"
			find "$FS_KEPT/$d" -type f -printf '%f ---644 0 0 %p\n'
			echo '$'
		done
		echo '$'
	} >"$TAP_TMP/proto"
	mkfs.xfs -q -f -p "$TAP_TMP/proto" "${@:3}" "$1" 2>/dev/null &&
		xfs_db -r -c 'sb 0' -c 'p blocksize agblocks' -c 'freesp -d' "$1" | perl -e '
			open my $f, "+<:raw", $ARGV[0] or die;
			while (<STDIN>) {
				$sb{$1} = $2 if /^(\w+) = (\d+)/;
				/^\s*(\d+)\s+(\d+)\s+(\d+)\s*$/ && $3 > 15 or next; # single blocks may be the reserve of its trees
				my $length = $3 * $sb{blocksize};
				seek $f, ($1 * $sb{agblocks} + $2) * $sb{blocksize}, 0;
				print $f substr("$ARGV[1]\n" x (1 + ($length < 1 << 20 ? $length : 1 << 20) / length $ARGV[1]), 0, $length) or die;
			}' "$1" "$FS_STALE"
}
fs_age_xfs() { fs_mount "$1" loop && fs_age_mounted; }
fs_check_xfs() { xfs_repair -n "$1"; }
fs_sums_xfs() { fs_mount "$1" loop,ro && fs_sums_mounted; }

# ---- swap: full of what once was in memory

fs_make_swap()
{
	fs_new "$1" "$2" && yes "$FS_STALE" | head -c "$2" | dd of="$1" bs=64K conv=notrunc iflag=fullblock status=none &&
		mkswap -f -L swap0 "${@:3}" "$1" >/dev/null 2>&1
}
fs_age_swap() { return 1; }
fs_check_swap() { [ "$(blkid -p -s TYPE -o value "$1")" = swap ]; }
fs_sums_swap() { blkid -p -s UUID -s LABEL -o value "$1"; }

# ---- nothing that anybody knows

fs_make_none() { fs_new "$1" "$2" && openssl enc -aes-128-ctr -K 0 -iv 0 -in /dev/zero 2>/dev/null | head -c "$2" | dd of="$1" conv=notrunc status=none; }
fs_age_none() { return 1; }
fs_check_none() { :; }
fs_sums_none() { sha256sum <"$1"; }
