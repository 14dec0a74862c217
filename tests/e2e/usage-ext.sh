#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# ext2, ext3, ext4 in all their forms: the map is what partclone or dumpe2fs say, and what it leaves out nobody misses.
. "$(dirname "$0")/../lib/own-mounts.sh"
. "$(dirname "$0")/../lib/tap.sh"
. "$TOP/tests/lib/usage.sh"
requires mke2fs debugfs dumpe2fs e2fsck tune2fs partclone.extfs

SRC=$TAP_TMP/src
IMG=$TAP_TMP/disk.img
mkdir "$SRC"
fill "$SRC" 1 700 1600
echo "STALE-DATA-OF-A-DELETED-FILE" >"$SRC/marker"
yes "$(cat "$SRC/marker")" | head -n 200 >"$SRC/doomed"
rm "$SRC/marker"
find "$SRC" -name '*7' -printf 'rm "/%P"\n' >"$TAP_TMP/rm"
echo 'rm "/doomed"' >>"$TAP_TMP/rm"
cp -r "$SRC" "$TAP_TMP/want"
find "$TAP_TMP/want" -type f -name '*7' -delete
rm "$TAP_TMP/want/doomed"
mkdir "$TAP_TMP/want/lost+found"

# make SIZE OPTION...: a filesystem with files, some of them deleted again
make()
{
	rm -f "$IMG"
	truncate -s "$1" "$IMG"
	shift
	mke2fs -q -F -d "$SRC" "$@" "$IMG" && debugfs -w -f "$TAP_TMP/rm" "$IMG" >/dev/null 2>&1
}

dump() { rm -rf "$2"; mkdir "$2" && debugfs -R "rdump / $2" "$1" >/dev/null 2>&1; }

check_kept()
{
	local want=$TAP_TMP/want
	if [ "$1" = ext4-inline_data ]; then # files of less than 60 bytes come out of debugfs with 60
		want=$TAP_TMP/own
		dump "$IMG" "$want"
	fi
	keep_hard "$IMG" "$TAP_TMP/kept.img"
	is "$(e2fsck -fn "$TAP_TMP/kept.img" 2>/dev/null | sed 's/^.*[/]//')" "$(e2fsck -fn "$IMG" 2>/dev/null | sed 's/^.*[/]//;s/^disk/kept/')" \
		"$1: e2fsck says of what is kept what it says of the source"
	nok "$1: no stale data in it" grep -qa STALE-DATA "$TAP_TMP/kept.img"
	dump "$TAP_TMP/kept.img" "$TAP_TMP/out"
	ok "$1: every file is as it was" diff -r "$want" "$TAP_TMP/out"
	ok "$1: ... and there are files" test "$(find "$TAP_TMP/out" -type f | wc -l)" -gt 2000
}

# NAME CONTENT SIZE OPTION...
while read -r name content size options; do
	# shellcheck disable=SC2086
	ok "$name: made" make "$size" $options
	sum=$(sha256sum <"$IMG")
	map "$IMG"
	is_map "$content" "$name: mapped"
	case $name in
	ext[234] | *-meta_bg) # partclone takes its time
		peer extfs "$IMG"
		like_peer "$name"
		;;
	esac
	dumpe2fs_used "$IMG" >"$PEER"
	like_peer "$name, by dumpe2fs"
	check_kept "$name"
	is "$(sha256sum <"$IMG")" "$sum" "$name: the image is untouched"
done <<-END
	ext2 ext2 80M -t ext2
	ext2-1k ext2 64M -t ext2 -b 1024
	ext2-rev0-features ext2 64M -t ext2 -O none
	ext2-meta_bg ext2 80M -t ext2 -b 1024 -O meta_bg,^resize_inode
	ext3 ext3 80M -t ext3
	ext4 ext4 150M -t ext4
	ext4-no-64bit ext4 80M -t ext4 -O ^64bit
	ext4-no-csum ext4 80M -t ext4 -O ^metadata_csum
	ext4-uninit_bg ext4 150M -t ext4 -O ^metadata_csum,uninit_bg
	ext4-bigalloc ext4 250M -b 4096 -t ext4 -O bigalloc -C 65536
	ext4-bigalloc-1k ext4 80M -t ext4 -b 1024 -O bigalloc,^metadata_csum -C 16384
	ext4-no-flex_bg ext4 150M -t ext4 -O ^flex_bg
	ext4-meta_bg ext4 150M -t ext4 -b 1024 -O meta_bg,^resize_inode
	ext4-sparse_super2 ext4 150M -t ext4 -O sparse_super2
	ext4-inline_data ext4 80M -t ext4 -O inline_data
	ext4-extents-ea ext4 80M -t ext4 -O ea_inode,large_dir -I 512
	ext4-no-journal ext4 80M -t ext4 -O ^has_journal
	ext4-quota ext4 80M -t ext4 -O quota,project
END

# A filesystem that is smaller than its space: the rest is nobody's to give away.
make 80M -t ext4
truncate -s 90M "$IMG"
printf 'beyond' | dd of="$IMG" bs=1 seek=$((89 << 20)) conv=notrunc status=none
map "$IMG"
is "$(get '.extents[-1] | add')" $((90 << 20)) 'what lies after the filesystem is kept'

# --- doubt means raw
make 64M -t ext4
cp "$IMG" "$TAP_TMP/good.img"
again() { cp "$TAP_TMP/good.img" "$IMG"; }

debugfs -w -R 'feature needs_recovery' "$IMG" >/dev/null 2>&1
map "$IMG"
is_raw 'journal has to be replayed' 'needs_recovery'
again
debugfs -w -R 'set_super_value state 0' "$IMG" >/dev/null 2>&1
map "$IMG"
is_raw 'not unmounted cleanly' 'state not clean'
again
debugfs -w -R 'set_super_value state 3' "$IMG" >/dev/null 2>&1
map "$IMG"
is_raw 'errors were found' 'errors recorded'
again
debugfs -w -R 'set_super_value free_blocks_count 1000' "$IMG" >/dev/null 2>&1
map "$IMG"
is_raw 'free clusters where its superblock says' 'wrong count in the superblock'
again
debugfs -w -R 'set_super_value feature_incompat 0x800002c2' "$IMG" >/dev/null 2>&1
map "$IMG"
is_raw 'feature' 'unknown incompatible feature'
again
debugfs -w -R 'set_super_value feature_ro_compat 0x10046b' "$IMG" >/dev/null 2>&1
map "$IMG"
is_raw 'feature' 'unknown read-only feature'
again
printf '\xff' | dd of="$IMG" bs=1 seek=$((1024 + 0x3fc)) conv=notrunc status=none
map "$IMG"
is_raw 'checksum' 'superblock checksum'
again
at=$(dumpe2fs "$IMG" 2>/dev/null | sed -n 's/^  Block bitmap at \([0-9]*\) .*/\1/p' | head -n1)
bs=$(dumpe2fs -h "$IMG" 2>/dev/null | sed -n 's/^Block size: *//p')
printf '\x0f' | dd of="$IMG" bs=1 seek=$((at * bs + 600)) conv=notrunc status=none
map "$IMG"
is_raw 'checksum of the block bitmap of group 0' 'bitmap checksum'
truncate -s 40M "$IMG"
map "$IMG"
is_raw 'larger than the space' 'truncated'
again
mkswap "$TAP_TMP/swap.img" >/dev/null 2>&1 || { truncate -s 1M "$TAP_TMP/swap.img"; mkswap "$TAP_TMP/swap.img" >/dev/null 2>&1; }
dd if="$TAP_TMP/swap.img" of="$IMG" bs=1 skip=4086 seek=4086 count=10 conv=notrunc status=none
map "$IMG"
is_raw 'signatures of (ext4 and swap|swap and ext4)' 'two signatures'

# A bitmap without checksum in which a block of a file is called free, with the counts adding up.
make 100M -t ext2 -b 4096
at=$(dumpe2fs "$IMG" 2>/dev/null | sed -n 's/^  Block bitmap at \([0-9]*\) .*/\1/p' | head -n1)
perl -e '
	open my $f, "+<:raw", $ARGV[0] or die;
	seek $f, $ARGV[1] * 4096, 0;
	read $f, my $map, 4096;
	# a used block and a free one change places
	for my $i (4000 .. 30000) { if (vec($map, $i, 1)) { vec($map, $i, 1) = 0; last; } }
	for my $i (reverse 4000 .. 25000) { if (!vec($map, $i, 1)) { vec($map, $i, 1) = 1; last; } }
	seek $f, $ARGV[1] * 4096, 0;
	print $f $map;' "$IMG" "$at"
map "$IMG"
is_raw 'uses blocks that the block bitmap calls free' 'a file in free space'

# --- the real thing: written, deleted and torn off by the kernel
if [ "$(id -u)" != 0 ] || ! losetup -f >/dev/null 2>&1; then
	skip 1 'needs root and loop devices'
else
	MNT=$TAP_TMP/mnt
	mkdir "$MNT"
	cleanup_fn sh -c "mountpoint -q '$MNT' && umount '$MNT' || true"
	for type in ext2 ext3 ext4; do
		rm -f "$IMG"
		truncate -s 100M "$IMG"
		mke2fs -q -F -t $type "$IMG"
		mount -o loop "$IMG" "$MNT" || { skip 1 "this kernel cannot mount $type"; continue; }
		cp -r "$SRC" "$MNT/a" && cp -r "$SRC" "$MNT/b"
		sync -f "$MNT"
		rm -r "$MNT/a"
		cp -r "$SRC" "$MNT/c"
		sync -f "$MNT"
		cp "$IMG" "$TAP_TMP/torn.img"
		map "$TAP_TMP/torn.img"
		is_raw 'not unmounted cleanly' "$type, torn off"
		umount "$MNT"
		map "$IMG"
		is_map $type "$type, unmounted"
		peer extfs "$IMG"
		like_peer "$type, unmounted"
		keep "$IMG" "$TAP_TMP/kept.img"
		ok "$type: e2fsck finds no fault in what is kept" e2fsck -fn "$TAP_TMP/kept.img"
		mount -o loop,ro "$TAP_TMP/kept.img" "$MNT"
		ok "$type: every file is as it was" diff -r "$SRC" "$MNT/b"
		ok "$type: ... and so is the other half" diff -r "$SRC" "$MNT/c"
		umount "$MNT"
	done
fi
done_testing
