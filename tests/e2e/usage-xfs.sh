#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# XFS: the map is what xfs_db calls used, what it leaves out nobody misses, and a log that has to be replayed is noticed.
. "$(dirname "$0")/../lib/own-mounts.sh"
. "$(dirname "$0")/../lib/tap.sh"
. "$TOP/tests/lib/usage.sh"
requires mkfs.xfs xfs_db xfs_repair partclone.xfs

SRC=$TAP_TMP/src
IMG=$TAP_TMP/disk.img
MNT=$TAP_TMP/mnt
mkdir "$SRC" "$MNT"
fill "$SRC" 2 600 1500
cleanup_fn sh -c "! mountpoint -q '$MNT' || umount '$MNT'"
can_mount=
truncate -s 320M "$IMG"
mkfs.xfs -q -f "$IMG"
if [ "$(id -u)" = 0 ] && mount -o loop "$IMG" "$MNT" 2>/dev/null; then
	can_mount=yes
	umount "$MNT"
fi

# What xfs_db calls free, turned round.  The trees' reserve (AGFL) is free as well in version 5, where it has a checksum.
xfs_db_used()
{
	local count ag commands=()
	count=$(xfs_db -r -c 'sb 0' -c 'p agcount' "$1" | sed 's/.*= //')
	for ((ag = 0; ag < count; ag++)); do
		commands+=(-c "agf $ag" -c 'p seqno flfirst fllast flcount' -c "agfl $ag" -c 'p bno')
	done
	xfs_db -r -c 'sb 0' -c 'p blocksize dblocks agblocks versionnum' "${commands[@]}" -c 'freesp -d' "$1" | perl -e '
		my (%sb, @free);
		while (<STDIN>) {
			$sb{$1} = $2 if /^(\w+) = (\w+)/;
			if (/^bno\[/ && hex($sb{versionnum}) % 16 == 5) {
				my %bno = /(\d+):(\d+)/g;
				my ($size) = /^bno\[0-(\d+)\]/;
				push @free, [$sb{seqno} * $sb{agblocks} + $bno{($sb{flfirst} + $_) % ($size + 1)}, 1] for 0 .. $sb{flcount} - 1;
			}
			push @free, [$1 * $sb{agblocks} + $2, $3] if /^\s*(\d+)\s+(\d+)\s+(\d+)\s*$/;
		}
		my $at = 0;
		for my $f (sort { $a->[0] <=> $b->[0] } @free) {
			printf "%d %d\n", $at * $sb{blocksize}, ($f->[0] - $at) * $sb{blocksize} if $f->[0] > $at;
			$at = $f->[0] + $f->[1];
		}
		printf "%d %d\n", $at * $sb{blocksize}, ($sb{dblocks} - $at) * $sb{blocksize} if $sb{dblocks} > $at;'
}

# What happens to a filesystem: files come and go.
live()
{
	cp -r "$SRC" "$MNT/a" && cp -r "$SRC" "$MNT/b" && sync -f "$MNT" || return
	yes STALE-DATA-OF-A-DELETED-FILE | head -c 1000000 >"$MNT/doomed"
	truncate -s 50M "$MNT/sparse"
	printf 'far out' | dd of="$MNT/sparse" bs=1 seek=40000000 conv=notrunc status=none
	fallocate -l 3M "$MNT/reserved"
	cp --reflink=auto "$MNT/b/d1"/* "$MNT/" 2>/dev/null
	sync -f "$MNT"
	rm -r "$MNT/a" "$MNT/doomed"
	for i in {1..500}; do echo "$i" >"$MNT/small.$i"; done
	sync -f "$MNT"
}

check_kept()
{
	rm -f "$TAP_TMP/kept.img"
	if [ "$1" = v5 ]; then
		keep_hard "$IMG" "$TAP_TMP/kept.img"
	else
		keep "$IMG" "$TAP_TMP/kept.img"
	fi
	ok "$1: xfs_repair finds no fault in what is kept" xfs_repair -n "$TAP_TMP/kept.img"
	nok "$1: no stale data in it" grep -qa STALE-DATA "$TAP_TMP/kept.img"
}

while read -r name options; do
	rm -f "$IMG"
	truncate -s 320M "$IMG"
	# shellcheck disable=SC2086
	ok "$name: made" mkfs.xfs -q -f -L "label" -m uuid=11111111-2222-3333-4444-555555555555 $options "$IMG"
	map "$IMG"
	is_map xfs "$name, new: mapped"
	is "$(get '.partitions[0] | .label + " " + .uuid')" 'label 11111111-2222-3333-4444-555555555555' "$name: label and UUID"
	if [ -z "$can_mount" ] || ! mount -o loop "$IMG" "$MNT" 2>/dev/null; then
		skip 9 "$name cannot be mounted here"
		continue
	fi
	ok "$name: lived in" live
	cp --sparse=always "$IMG" "$TAP_TMP/torn.img"
	sums "$MNT"
	umount "$MNT"
	map "$IMG"
	is_map xfs "$name: mapped"
	xfs_db_used "$IMG" >"$PEER"
	like_peer "$name"
	check_kept "$name"
	mount -o loop,ro "$TAP_TMP/kept.img" "$MNT"
	ok "$name: every file is as it was" sh -c "cd '$MNT' && sha256sum --quiet -c '$TAP_TMP/sums'"
	umount "$MNT"
	sum=$(sha256sum <"$TAP_TMP/torn.img")
	map "$TAP_TMP/torn.img"
	is_raw 'not unmounted cleanly: its log has to be replayed' "$name, torn off"
	is "$(sha256sum <"$TAP_TMP/torn.img")" "$sum" "$name, torn off: the image is untouched"
done <<-END
	v5
	v5-everything -m reflink=1,rmapbt=1,finobt=1,inobtcount=1,bigtime=1 -i nrext64=1
	v5-1k -b size=1024
	v5-4k-sectors -s size=4096
	v5-stripes -d agcount=2,su=64k,sw=4 -l size=64m,sunit=128
	v4-new -m crc=0
END
if [ -n "$can_mount" ]; then
	peer xfs "$IMG"
	like_peer 'by partclone'
else
	skip 2 'cannot mount XFS'
fi

# Version 4, which new kernels do not mount: with files from the start.
{
	printf 'x\n0 0\nd--755 0 0\n'
	find "$SRC" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort | while read -r d; do
		echo "$d d--755 0 0"
		find "$SRC/$d" -type f -printf '%f ---644 0 0 %p\n'
		echo '$'
	done
	echo '$'
} >"$TAP_TMP/proto"
v4()
{
	rm -f "$IMG"
	truncate -s 320M "$IMG"
	# shellcheck disable=SC2086
	mkfs.xfs -q -f -m crc=0 -p "$TAP_TMP/proto" $1 "$IMG" 2>/dev/null
}
while read -r name options; do
	ok "$name: made" v4 "$options"
	map "$IMG"
	is_map xfs "$name: mapped"
	xfs_db_used "$IMG" >"$PEER"
	like_peer "$name"
	check_kept "$name"
done <<-END
	v4
	v4-4k-sectors -s size=4096
	v4-512-blocks -b size=512 -n size=4096
	v4-log-v1 -l version=1 -i attr=1,projid32bit=0
END
peer xfs "$IMG"
like_peer 'v4 by partclone'

# Another UUID, as a clone gets one: that of the superblock and of the log, while all other metadata keep the first.
rm -f "$IMG"
truncate -s 320M "$IMG"
mkfs.xfs -q -f -p "$TAP_TMP/proto" "$IMG"
ok 'new UUID: given' xfs_admin -U 11111111-2222-3333-4444-555555555555 "$IMG"
map "$IMG"
is_map xfs 'new UUID: mapped'
is "$(get '.partitions[0].uuid')" 11111111-2222-3333-4444-555555555555 'new UUID: shown'
if [ -n "$can_mount" ]; then
	mount -o loop "$IMG" "$MNT"
	cp -r "$SRC" "$MNT/more"
	sync -f "$MNT"
	cp --sparse=always "$IMG" "$TAP_TMP/torn.img"
	umount "$MNT"
	map "$IMG"
	is_map xfs 'new UUID: mapped when it was used'
	map "$TAP_TMP/torn.img"
	is_raw 'not unmounted cleanly: its log has to be replayed' 'new UUID, torn off'
else
	skip 2 'cannot mount XFS'
fi
xfs_db_used "$IMG" >"$PEER"
map "$IMG"
like_peer 'new UUID'
check_kept 'new UUID'

# --- doubt means raw
poke() { printf '%b' "$2" | dd of="$IMG" bs=1 seek="$1" conv=notrunc status=none; }
again() { cp --sparse=always "$TAP_TMP/good.img" "$IMG"; }
set_super() { xfs_db -x -c 'sb 0' -c "write -d $1 $2" "$IMG" >/dev/null 2>&1; }
field() { xfs_db -r -c "$1" -c "p $2" "$IMG" | sed 's/^.* = //'; }

for version in 5 4; do
	rm -f "$IMG"
	truncate -s 320M "$IMG"
	if [ $version = 5 ]; then
		mkfs.xfs -q -f -p "$TAP_TMP/proto" "$IMG"
	else
		v4 ''
	fi
	cp --sparse=always "$IMG" "$TAP_TMP/good.img"
	map "$IMG"
	is_map xfs "v$version: good before it is damaged"
	is "$(get .copied)" "$(get '.partitions[0].used')" '... and all that is copied is used'
	sector=$(field 'sb 0' sectsize)
	bno=$(field 'agf 0' bnoroot)
	log=$(field 'sb 0' logstart)
	log=$(((log >> $(field 'sb 0' agblklog)) * $(field 'sb 0' agblocks) + (log & ((1 << $(field 'sb 0' agblklog)) - 1))))

	poke 88 '\x00\x00\x00\x09'
	map "$IMG"
	is_raw 'contradicts itself|checksum of its superblock' "v$version: number of groups"
	again
	poke 84 '\x00\x00\x40\x00'
	map "$IMG"
	is_raw '.' "v$version: size of groups"
	again
	poke $((sector + 52)) '\x00\x00\x00\x07'
	map "$IMG"
	is_raw 'checksum of the header of group 0|does not add up' "v$version: count of free blocks"
	again
	poke $((sector + 16)) '\x00\x00\x01\x07'
	map "$IMG"
	is_raw 'checksum of the header of group 0|is something else' "v$version: pointer to the tree"
	again
	poke $((bno * 4096 + (version == 5 ? 56 : 16))) '\x00\x00\x00\x40'
	map "$IMG"
	is_raw 'checksum of a block of its free space|does not add up' "v$version: place of free space"
	again
	poke $((bno * 4096 + (version == 5 ? 60 : 20))) '\x00\x00\x00\x01'
	map "$IMG"
	is_raw 'checksum of a block of its free space|does not add up' "v$version: length of free space"
	again
	poke $((log * 4096 + 512 + 9)) '\x00'
	map "$IMG"
	is_raw 'its log has to be replayed' "v$version: no unmount record"
	again
	poke $((log * 4096)) '\x00\x00\x00\x00'
	map "$IMG"
	is_raw 'its log' "v$version: no record at all"
	again
	truncate -s 200M "$IMG"
	map "$IMG"
	is_raw 'larger than the space' "v$version: truncated"
	again
done

rm -f "$IMG"
truncate -s 320M "$IMG"
mkfs.xfs -q -f "$IMG"
cp --sparse=always "$IMG" "$TAP_TMP/good.img"
while read -r what field value; do
	again
	set_super "$field" "$value"
	map "$IMG"
	is_raw "$what" "$field = $value"
done <<-END
	needs?.*repair features_incompat 0x1b
	features features_incompat 0x8000000b
	features features_ro_compat 0x8000000f
	features features_log_incompat 1
	real-time rblocks 100
	being.made inprogress 1
	version versionnum 0xb4a6
END
again
truncate -s 330M "$IMG"
printf 'beyond' | dd of="$IMG" bs=1 seek=$((329 << 20)) conv=notrunc status=none
map "$IMG"
is "$(get '.extents[-1] | add')" $((330 << 20)) 'what lies after the filesystem is kept'
done_testing
