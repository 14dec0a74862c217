#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# NTFS: the map is what partclone calls used, what it leaves out nobody misses, and whatever Windows has left unfinished is noticed.
. "$(dirname "$0")/../lib/tap.sh"
. "$TOP/tests/lib/usage.sh"
requires setfattr mkntfs ntfs-3g ntfscmp ntfsresize ntfsfix ntfsinfo partclone.ntfs

SRC=$TAP_TMP/src
IMG=$TAP_TMP/disk.img
MNT=$TAP_TMP/mnt
mkdir "$SRC" "$MNT"
fill "$SRC" 3 600 1500
cleanup_fn sh -c "! mountpoint -q '$MNT' || umount '$MNT'"

make()
{
	rm -f "$IMG"
	truncate -s "$1" "$IMG"
	mkntfs -q -F -Q -L 'Größe' "${@:2}" "$IMG" >/dev/null 2>&1
}
# ntfs-3g goes on writing after umount, until it ends.
attach()
{
	ntfs-3g -o no_detach,streams_interface=windows,compression,"${1:-rw}" "$IMG" "$MNT" >/dev/null 2>&1 &
	ntfs_pid=$!
	wait_for 20 sh -c "mountpoint -q '$MNT' || ! kill -0 $ntfs_pid" && mountpoint -q "$MNT"
}
detach() { umount "$MNT" && wait $ntfs_pid; }

make 64M
if ! attach; then
	skip_all 'cannot mount NTFS by FUSE (needs root or fusermount)'
fi
detach

live()
{
	cp -r "$SRC" "$MNT/a" && cp -r "$SRC" "$MNT/b" || return
	truncate -s 30M "$MNT/sparse"
	printf 'far out' | dd of="$MNT/sparse" bs=1 seek=20000000 conv=notrunc status=none
	mkdir "$MNT/compressed"
	# FILE_ATTRIBUTE_COMPRESSED; what is made in there inherits it
	case $name in
	*65536*) ;; # NTFS does not compress with clusters of more than 4 KiB
	*)
		setfattr -h -v 0x00000810 -n system.ntfs_attrib_be "$MNT/compressed" && cp "$SRC"/d1/* "$MNT/compressed/" || return
		getfattr -n system.ntfs_attrib_be -e hex "$MNT/compressed"/f* 2>/dev/null | grep -q 0x000008 || return
		;;
	esac
	echo 'a stream' >"$MNT/b/d1:stream" && rm -r "$MNT/a" || return
	# last: ends of clusters keep what was there before
	yes STALE-DATA-OF-A-DELETED-FILE | head -c 1000000 >"$MNT/doomed"
	rm "$MNT/doomed"
}

while read -r name size options; do
	# shellcheck disable=SC2086
	ok "$name: made" make "$size" $options
	map "$IMG"
	is_map ntfs "$name, new: mapped"
	attach
	ok "$name: lived in" live
	sums "$MNT"
	detach
	sum=$(sha256sum <"$IMG")
	map "$IMG"
	is_map ntfs "$name: mapped"
	is "$(get '.partitions[0].label')" 'Größe' "$name: label"
	like "$(get '.partitions[0].uuid')" '^[0-9A-F]{16}$' "$name: serial number"
	peer ntfs "$IMG"
	like_peer "$name"
	size=$(stat -c %s "$IMG")
	is "$(get '.extents[-1] | add')" "$size" "$name: the backup boot sector is kept"
	keep_hard "$IMG" "$TAP_TMP/kept.img"
	ok "$name: ... as it was" cmp -n 512 -i $((size - 512)) "$IMG" "$TAP_TMP/kept.img"
	ok "$name: ntfsresize finds no fault in what is kept" ntfsresize -i -f -n "$TAP_TMP/kept.img"
	ok "$name: ntfscmp finds no difference" ntfscmp --no-progress-bar "$IMG" "$TAP_TMP/kept.img"
	nok "$name: no stale data in it" grep -qa STALE-DATA "$TAP_TMP/kept.img"
	is "$(sha256sum <"$IMG")" "$sum" "$name: the image is untouched"
	mv "$TAP_TMP/kept.img" "$IMG"
	attach ro
	ok "$name: every file is as it was" sh -c "cd '$MNT' && sha256sum --quiet -c '$TAP_TMP/sums'"
	detach
done <<-END
	clusters-of-512 100M -c 512
	clusters-of-4096 100M -c 4096
	clusters-of-65536 200M -c 65536
	sectors-of-4096 100M -s 4096 -c 4096
	many-records 100M -c 1024
END

# --- doubt means raw
make 64M -c 4096
attach
cp -r "$SRC" "$MNT/a"
detach
cp "$IMG" "$TAP_TMP/good.img"
again() { cp "$TAP_TMP/good.img" "$IMG"; }
poke() { printf '%b' "$2" | dd of="$IMG" bs=1 seek="$1" conv=notrunc status=none; }
# where the data of system file N begins
# shellcheck disable=SC2016
place() { perl -e 'print oct(shift) * 4096' "$(ntfsinfo -fvi "$1" "$IMG" 2>/dev/null | sed -n '/attribute \$DATA/,$ s/^[\t ]*0x0[\t ]*\(0x[0-9a-f]*\)[\t ]*0x[0-9a-f]*$/\1/p' | head -n1)"; }

map "$IMG"
is_map ntfs 'good before it is damaged'
is "$(get .copied)" "$(get '.partitions[0].used + 4096')" '... and all that is copied is used, but for the backup boot sector'

ntfsfix "$IMG" >/dev/null 2>&1
map "$IMG"
is_raw 'marked dirty' 'the dirty flag'
is "$(get '.partitions[0].label')" 'Größe' '... and its label is known all the same'
for magic in hibr HIBR; do
	again
	attach
	{ printf %s $magic; head -c 100000 /dev/zero; } >"$MNT/hiberfil.sys"
	detach
	map "$IMG"
	is_raw 'Windows is hibernated on it.*shutdown /s' "hiberfil.sys with $magic"
done
again
attach
head -c 100 /dev/zero >"$MNT/hiberfil.sys"
detach
map "$IMG"
is_raw 'Windows is hibernated on it' 'hiberfil.sys of a data volume'
again
attach
{ printf RSTR; head -c 100000 /dev/zero; } >"$MNT/hiberfil.sys"
detach
map "$IMG"
is_map ntfs 'hiberfil.sys of a system that has woken up again'

# $LogFile as Windows writes it: log MAJOR MINOR FLAGS
log()
{
	again
	# shellcheck disable=SC2016
	perl -e '
		my ($file, $at, $size, $major, $minor, $flags) = @ARGV;
		my $bits = 0;
		for (my $s = $size; $s; $s >>= 1) { $bits++; }
		my $area = pack "Q< S< S< S< S< L< S< S< q< L< S< S< L< L<", 0, 1, 0xffff, 0, $flags, 67 - $bits, 48 + 160, 48, $size, 0, 48, 64, 1, 0;
		my $client = pack "Q< Q< S< S< S< a6 L< a128", 0, 0, 0xffff, 0xffff, 0, "", 8, "N\0T\0F\0S\0";
		my $page = pack "a4 S< S< Q< L< L< S< s< s<", "RSTR", 30, 9, 0, 4096, 4096, 48, $minor, $major;
		$page .= "\0" x (48 - length $page);
		$page .= $area . $client;
		$page .= "\0" x (4096 - length $page);
		substr($page, 30, 2) = "\1\0";
		substr($page, 512 * $_ - 2, 2) = "\1\0" for 1 .. 8;
		open my $f, "+<:raw", $file or die;
		seek $f, $at, 0;
		print $f $page, $page, "\xff" x 8192;
		close $f;' "$IMG" "$(place 2)" "$(ntfsinfo -fvi 2 "$IMG" 2>/dev/null | sed -n '/attribute \$DATA/,$ s/.*Data size:[\t ]*\([0-9]*\).*/\1/p' | head -n1)" "$@"
}
log 1 1 2
map "$IMG"
is_map ntfs 'a log that Windows has closed'
log 1 1 0
map "$IMG"
is_raw 'not unmounted cleanly: its log has to be replayed' 'a log that Windows has not closed'
log 2 0 0
map "$IMG"
is_raw 'kept part of it in memory.*Fast Startup' 'a log that Windows keeps open (Fast Startup)'
log 2 0 2
map "$IMG"
is_raw 'kept part of it in memory' '... whatever its flags say'
log 7 7 2
map "$IMG"
is_raw 'log cannot be understood' 'a log of an unknown version'

# Shadow copies: shadows TYPE [NEXT] writes the volume's header of them and a catalog at 40 MiB with an entry of this type; its next block is at NEXT.
vss='\x6b\x87\x08\x38\x76\xc1\x48\x4e\xb7\xae\x04\x04\x6e\x6c\xc7\x52'
le64() { printf '\\x%02x' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24 & 255)) 0 0 0 0; }
shadows()
{
	again
	poke $((0x1e00)) "$vss\x01\0\0\0\x01\0\0\0"
	poke $((0x1e30)) "$(le64 $((40 << 20)))"
	dd if=/dev/zero of="$IMG" bs=16384 seek=$(((40 << 20) / 16384)) count=1 conv=notrunc status=none
	poke $((40 << 20)) "$vss\x01\0\0\0\x02\0\0\0"
	poke $(((40 << 20) + 0x28)) "$(le64 "${2:-0}")"
	poke $(((40 << 20) + 256)) "$(le64 "$1")"
	map "$IMG"
}
shadows 2
is_raw 'has shadow copies.*vssadmin delete' 'a shadow copy'
shadows 3
is_raw 'has shadow copies' 'where one is kept'
shadows 1
is_map ntfs 'none any more'
shadows 0
is_map ntfs 'a catalog of none'
shadows 0 $((40 << 20))
is_raw 'has shadow copies' 'a catalog that goes round in a circle'
shadows 0 $((63 << 20 | 0xfffff))
is_raw 'has shadow copies' 'one that lies outside'
shadows 0 $((41 << 20))
is_raw 'has shadow copies' 'one that is none'
poke $((0x1e30)) "$(le64 0)"
map "$IMG"
is_map ntfs 'a header that names no catalog'
poke $((0x1e40)) 'VOLUME-ITSELF-01VOLUME-ITSELF-01'
map "$IMG"
is_map ntfs '... and that the volume itself keeps its shadow copies'
poke $((0x1e50)) 'VOLUME-OF-OTHERS'
map "$IMG"
is_raw 'shadow copies.* are kept on another volume.*vssadmin delete shadowstorage' '... and that another volume does'

again
poke 13 '\x04'
map "$IMG"
is_raw 'boot sector and the backup of it differ' 'cluster size'
again
poke $((64 * 1048576 - 512 + 48)) '\x77'
map "$IMG"
is_raw 'boot sector and the backup of it differ' 'backup boot sector'
again
poke 40 '\xff\xff\xff\xff'
map "$IMG"
is_raw 'larger than the space' 'size'
again
truncate -s $((64 * 1048576 - 4096)) "$IMG"
map "$IMG"
is_raw 'backup of its boot sector is outside|larger than the space' 'truncated'
again
poke $(($(place 6) + 300)) '\x00\x00\x00\x00'
cmp -s "$IMG" "$TAP_TMP/good.img" && poke $(($(place 6) + 304)) '\x00\x00\x00\x00'
map "$IMG"
is_raw 'uses clusters that the bitmap calls free|more clusters than' 'a hole in the bitmap'
again
poke $(($(place 0) + 70 * 1024 + 510)) 'XX'
map "$IMG"
is_raw 'file record 70 is torn' 'a torn file record'
again
poke $(($(place 0) + 70 * 1024)) 'BAAD'
map "$IMG"
is_raw 'file record 70 is damaged' 'a file record that chkdsk has given up'
again
poke $(($(place 0) + 6 * 1024)) 'XXXX'
map "$IMG"
is_raw 'libntfs-3g' 'no bitmap'
again
truncate -s 70M "$IMG"
map "$IMG"
is "$(get '.extents[-1] | add')" $((70 << 20)) 'what lies after the filesystem is kept'
done_testing
