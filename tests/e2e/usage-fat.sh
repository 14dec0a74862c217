#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# FAT12, FAT16, FAT32: the map is what partclone calls used, what it leaves out nobody misses, and damage is noticed.
. "$(dirname "$0")/../lib/tap.sh"
. "$TOP/tests/lib/usage.sh"
requires mkfs.fat fsck.fat mcopy mdel partclone.fat

SRC=$TAP_TMP/src
IMG=$TAP_TMP/disk.img
mkdir "$SRC"
fill "$SRC" 4 150 2000
yes STALE-DATA-OF-A-DELETED-FILE | head -c 100000 >"$TAP_TMP/doomed"
yes 'some data that stays at the ends of later files' | head -c 50000 >"$TAP_TMP/between"
export MTOOLS_SKIP_CHECK=1

make()
{
	rm -f "$IMG"
	truncate -s "$1" "$IMG"
	mkfs.fat -n 'LABEL' -i 1234ABCD "${@:2}" "$IMG" >/dev/null 2>&1
}
# Files come and go, so that free space is in pieces.  What is to be stale goes last: ends of clusters keep what was there before.
live()
{
	local d i=0
	for d in "$SRC"/d1 "$SRC"/d2 "$SRC"/d3 $1; do
		i=$((i + 1))
		mcopy -s -Q -i "$IMG" "$d" :: && mcopy -Q -i "$IMG" "$TAP_TMP/between" "::B$i" || return
	done
	mdel -i "$IMG" '::B1' '::B2' '::d2/f*' && mcopy -s -Q -i "$IMG" "$SRC/d4" ::d2 &&
		mcopy -Q -i "$IMG" "$TAP_TMP/doomed" ::DOOMED && mdel -i "$IMG" ::B3 ::DOOMED
}
# where the clusters begin
data_offset()
{
	perl -e '
		open my $f, "<:raw", $ARGV[0] or die;
		read $f, my $b, 512;
		my ($size, $reserved, $tables, $root, $short, $long) = unpack "x11 S< x S< C S< x3 S< x12 L<", $b;
		print(($reserved + $tables * ($short || $long)) * $size + $root * 32);' "$IMG"
}
dump() { rm -rf "$2"; mkdir "$2" && mcopy -s -n -m -Q -i "$1" '::*' "$2/" 2>/dev/null; }

while read -r name size options; do
	# shellcheck disable=SC2086
	ok "$name: made" make "$size" $options
	map "$IMG"
	is_map vfat "$name, new: mapped"
	is "$(get '.partitions[0] | .label + " " + .uuid')" 'LABEL 1234-ABCD' "$name: label and serial number"
	ok "$name: lived in" live "$(case $name in *12*) ;; *) echo "$SRC"/d[5-9] "$SRC/small" ;; esac)"
	sum=$(sha256sum <"$IMG")
	map "$IMG"
	is_map vfat "$name: mapped"
	used=$(fsck.fat -n "$IMG" | sed -n 's,.* \([0-9]*\)/[0-9]* clusters$,\1,p')
	cluster=$(($(od -An -tu1 -j 13 -N 1 "$IMG") * $(od -An -tu2 -j 11 -N 2 "$IMG")))
	is $((($(get '.partitions[0].used') - $(data_offset)) / cluster)) "$used" "$name: as many clusters as fsck.fat finds"
	case $name in
	fat16 | fat32) # partclone takes its time, and does not get FAT12 right
		peer fat "$IMG"
		like_peer "$name"
		;;
	esac
	keep_hard "$IMG" "$TAP_TMP/kept.img"
	ok "$name: fsck.fat finds no fault in what is kept" fsck.fat -n "$TAP_TMP/kept.img"
	dump "$IMG" "$TAP_TMP/want"
	dump "$TAP_TMP/kept.img" "$TAP_TMP/out"
	ok "$name: every file is as it was" diff -r "$TAP_TMP/want" "$TAP_TMP/out"
	ok "$name: ... and there are files" test "$(find "$TAP_TMP/out" -type f | wc -l)" -gt "$(case $name in *12*) echo 20 ;; *) echo 2000 ;; esac)"
	nok "$name: no stale data in it" grep -qa STALE-DATA "$TAP_TMP/kept.img"
	is "$(sha256sum <"$IMG")" "$sum" "$name: the image is untouched"
done <<-END
	fat12 8M -F 12
	fat12-clusters-of-8k 16M -F 12 -s 16
	fat16 64M -F 16
	fat16-clusters-of-512 20M -F 16 -s 1
	fat16-one-table 64M -F 16 -f 1
	fat32 300M -F 32
	fat32-small-clusters 60M -F 32 -s 1
	fat32-sectors-of-4096 400M -F 32 -S 4096
END

# --- doubt means raw
poke() { printf '%b' "$2" | dd of="$IMG" bs=1 seek="$1" conv=notrunc status=none; }
again() { cp --sparse=always "$TAP_TMP/good.img" "$IMG"; }
at() { od -An -tu4 -j "$1" -N 4 "$IMG" | tr -d ' '; }
make 60M -F 32 -s 1
live "$SRC/d5"
cp --sparse=always "$IMG" "$TAP_TMP/good.img"
table=$((32 * 512))
map "$IMG"
is_map vfat 'FAT32: good before it is damaged'
is "$(get .copied)" "$(get '.partitions[0].used')" '... and all that is copied is used'
size=$(at 36)

poke 65 '\x01'
map "$IMG"
is_raw 'marked dirty' 'FAT32: dirty by its boot sector'
again
poke $((table + 7)) '\x07'
map "$IMG"
is_raw 'copies of its table differ|marked dirty' 'FAT32: dirty by one table'
poke $((table + size * 512 + 7)) '\x07'
map "$IMG"
is_raw 'marked dirty' 'FAT32: dirty by both tables'
again
poke $((table + 7)) '\x0b'
poke $((table + size * 512 + 7)) '\x0b'
map "$IMG"
is_raw 'errors were met' 'FAT32: hard errors'
again
poke $((table + 400)) '\x00\x00\x00\x00'
map "$IMG"
is_raw 'copies of its table differ' 'FAT32: a table damaged'
poke $((table + size * 512 + 400)) '\x00\x00\x00\x00'
map "$IMG"
is_raw 'clusters' 'FAT32: both tables damaged'
again
poke 13 '\x02'
map "$IMG"
is_raw 'boot sector and the backup of it differ|table does not match' 'FAT32: cluster size'
again
poke $((6 * 512 + 13)) '\x02'
map "$IMG"
is_raw 'boot sector and the backup of it differ' 'FAT32: cluster size in the backup'
poke 13 '\x02'
map "$IMG"
is_raw 'contradicts|cluster|folder|table' 'FAT32: cluster size in both'
again
poke 32 '\xff\xff\xff\x00'
map "$IMG"
is_raw 'larger than the space' 'FAT32: size'
again
poke 50 '\x00\x00'
map "$IMG"
is_raw 'no backup' 'FAT32: no backup'
again
truncate -s 40M "$IMG"
map "$IMG"
is_raw 'larger than the space' 'FAT32: truncated'
again
truncate -s 70M "$IMG"
map "$IMG"
is "$(get '.extents[-1] | add')" $((70 << 20)) 'what lies after the filesystem is kept'

make 64M -F 16
live "$SRC/d5"
cp --sparse=always "$IMG" "$TAP_TMP/good.img"
map "$IMG"
is_map vfat 'FAT16: good before it is damaged'
reserved=$(od -An -tu2 -j 14 -N 2 "$IMG" | tr -d ' ')
size=$(od -An -tu2 -j 22 -N 2 "$IMG" | tr -d ' ')
for field in '13 \x08' '13 \x02' '14 \x08' '16 \x01' '17 \x00\x01' '22 \x20' '11 \x00\x04'; do
	again
	# shellcheck disable=SC2086
	poke $field
	map "$IMG"
	is_raw '.' "FAT16: field $field of the boot sector"
done
again
for n in 0 1; do poke $(((reserved + n * size) * 512 + 3)) '\x7f'; done
map "$IMG"
is_raw 'marked dirty' 'FAT16: dirty'
again
for n in 0 1; do poke $(((reserved + n * size) * 512 + 3)) '\xbf'; done
map "$IMG"
is_raw 'errors were met' 'FAT16: hard errors'
done_testing
