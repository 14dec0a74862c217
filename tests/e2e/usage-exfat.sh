#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# exFAT: the map is what partclone calls used, what it leaves out nobody misses, and damage is noticed.
. "$(dirname "$0")/../lib/tap.sh"
. "$TOP/tests/lib/usage.sh"
requires mkfs.exfat fsck.exfat mount.exfat-fuse partclone.exfat

SRC=$TAP_TMP/src
IMG=$TAP_TMP/disk.img
MNT=$TAP_TMP/mnt
mkdir "$SRC" "$MNT"
fill "$SRC" 5 400
mkdir "$TAP_TMP/many"
fill "$TAP_TMP/many" 5 0 1600
loop=
cleanup_fn sh -c "! mountpoint -q '$MNT' || umount '$MNT'"
requires_root
losetup -f >/dev/null 2>&1 || skip_all 'needs loop devices'

make()
{
	rm -f "$IMG"
	truncate -s "$1" "$IMG"
	mkfs.exfat -L 'Größe' "${@:2}" "$IMG" >/dev/null 2>&1
}
# mount.exfat-fuse goes on writing after umount, until it ends.
attach()
{
	loop=$(losetup -f --show "$IMG") || return
	mount.exfat-fuse -d "$loop" "$MNT" ${1:+-o "$1"} >/dev/null 2>&1 &
	exfat_pid=$!
	wait_for 20 sh -c "mountpoint -q '$MNT' || ! kill -0 $exfat_pid" && mountpoint -q "$MNT"
}
detach() { umount "$MNT" && wait "$exfat_pid" && losetup -d "$loop"; }
live()
{
	cp -r "$SRC" "$MNT/a" && cp -r "$SRC" "$MNT/b" && cp -r "$TAP_TMP/many" "$MNT" || return
	rm -r "$MNT"/a/d? && cp -r "$SRC" "$MNT/c" || return
	# last: ends of clusters keep what was there before
	yes STALE-DATA-OF-A-DELETED-FILE | head -c 1000000 >"$MNT/doomed"
	rm "$MNT/doomed"
}

make 64M
attach || skip_all 'cannot mount exFAT by FUSE'
detach

while read -r name size options; do
	# shellcheck disable=SC2086
	ok "$name: made" make "$size" $options
	map "$IMG"
	is_map exfat "$name, new: mapped"
	attach
	ok "$name: lived in" live
	sums "$MNT"
	detach
	sum=$(sha256sum <"$IMG")
	map "$IMG"
	is_map exfat "$name: mapped"
	is "$(get '.partitions[0].label')" 'Größe' "$name: label"
	like "$(get '.partitions[0].uuid')" '^[0-9A-F]{4}-[0-9A-F]{4}$' "$name: serial number"
	peer exfat "$IMG"
	like_peer "$name"
	keep_hard "$IMG" "$TAP_TMP/kept.img"
	ok "$name: fsck.exfat finds no fault in what is kept" fsck.exfat -n "$TAP_TMP/kept.img"
	nok "$name: no stale data in it" grep -qa STALE-DATA "$TAP_TMP/kept.img"
	is "$(sha256sum <"$IMG")" "$sum" "$name: the image is untouched"
	cp --sparse=always "$IMG" "$TAP_TMP/good.img"
	mv "$TAP_TMP/kept.img" "$IMG"
	attach ro
	ok "$name: every file is as it was" sh -c "cd '$MNT' && sha256sum --quiet -c '$TAP_TMP/sums'"
	detach
done <<-END
	clusters-of-32k 200M -c 32K
	clusters-of-128k 500M -c 128K
	clusters-of-4k 64M -c 4K
END

# --- doubt means raw
poke() { printf '%b' "$2" | dd of="$IMG" bs=1 seek="$1" conv=notrunc status=none; }
again() { cp --sparse=always "$TAP_TMP/good.img" "$IMG"; }
at() { od -An -tu4 -j "$1" -N 4 "$IMG" | tr -d ' '; }
again
map "$IMG"
is_map exfat 'good before it is damaged'
is "$(get .copied)" "$(get '.partitions[0].used')" '... and all that is copied is used'
heap=$(($(at 88) * 512))
root=$((heap + ($(at 96) - 2) * 4096))
poke 106 '\x02'
map "$IMG"
is_raw 'marked dirty' 'dirty'
again
poke 109 '\x04'
map "$IMG"
is_raw 'checksum of its boot region|contradicts' 'cluster size'
again
poke 88 '\x01'
map "$IMG"
is_raw 'checksum of its boot region|contradicts' 'start of the clusters'
again
poke 92 '\x01'
map "$IMG"
is_raw 'checksum of its boot region|contradicts' 'number of clusters'
again
truncate -s 32M "$IMG"
map "$IMG"
is_raw 'larger than the space' 'truncated'
# the bitmap is the first thing in the heap
again
poke $((heap + 200)) '\x00'
map "$IMG"
is_raw 'bitmap calls (free|used)' 'a hole in the bitmap'
again
offset=$(grep -abo 'b' <(dd if="$IMG" bs=1 skip=$root count=4096 status=none | tr '\205' b | tr -c b .) | head -n1 | cut -d: -f1)
poke $((root + offset + 5)) '\x7f'
map "$IMG"
is_raw 'checksum of an entry' 'an entry of a folder'
again
truncate -s 70M "$IMG"
map "$IMG"
is "$(get '.extents[-1] | add')" $((70 << 20)) 'what lies after the filesystem is kept'
done_testing
