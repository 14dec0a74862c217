#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# btrfs: the map is what `btrfs inspect-internal` shows as extents, what it leaves out nobody misses, and doubt is raw.
. "$(dirname "$0")/../lib/own-mounts.sh"
. "$(dirname "$0")/../lib/tap.sh"
. "$TOP/tests/lib/usage.sh"
requires mkfs.btrfs btrfs btrfs-map-logical

SRC=$TAP_TMP/src
IMG=$TAP_TMP/disk.img
MNT=$TAP_TMP/mnt
mkdir "$SRC" "$MNT"
fill "$SRC" 6 600 1500
cleanup_fn sh -c "! mountpoint -q '$MNT' || umount '$MNT'"
make()
{
	rm -f "$IMG"
	truncate -s "$1" "$IMG"
	mkfs.btrfs -q -f "${@:2}" "$IMG" >/dev/null
}
can_mount=
make 300M
if [ "$(id -u)" = 0 ] && mount -o loop "$IMG" "$MNT" 2>/dev/null; then
	can_mount=yes
	umount "$MNT"
fi

# The extents as the tools list them, by their own words on where chunks lie; with what the format keeps for superblocks and boot loaders.
dump_used()
{
	{
		btrfs inspect-internal dump-tree -t chunk "$1"
		btrfs inspect-internal dump-tree -t extent "$1"
	} | perl -e '
		my ($type, @key, %chunk, @used, $node);
		while (<STDIN>) {
			$node = $1 if /^leaf .* nritems/ && 0;
			if (/item \d+ key \((\S+) (\S+) (\S+)\)/) { @key = ($1, $2, $3); $type = $2; }
			if ($type eq "CHUNK_ITEM" && /length (\d+) owner/) { $chunk{$key[2]} = { length => $1, at => [] }; }
			if ($type eq "CHUNK_ITEM" && /stripe \d+ devid \d+ offset (\d+)/) { push @{$chunk{$key[2]}{at}}, $1; }
			if (/item \d+ key/ && $type =~ /^(EXTENT_ITEM|METADATA_ITEM)$/) { push @used, [$key[0], $type eq "EXTENT_ITEM" ? $key[2] : $ARGV[0]]; }
		}
		print "0 1048576\n67108864 4096\n";
		for my $e (@used) {
			for my $c (keys %chunk) {
				next if $e->[0] < $c || $e->[0] >= $c + $chunk{$c}{length};
				printf "%d %d\n", $_ + $e->[0] - $c, $e->[1] for @{$chunk{$c}{at}};
			}
		}' "$(btrfs inspect-internal dump-super "$1" | awk '$1 == "nodesize" { print $2 }')"
}

live()
{
	cp -r "$SRC" "$MNT/a" && cp -r "$SRC" "$MNT/b" && sync -f "$MNT" || return
	yes STALE-DATA-OF-A-DELETED-FILE | head -c 2000000 >"$MNT/doomed"
	sync -f "$MNT"
	truncate -s 50M "$MNT/sparse"
	printf 'far out' | dd of="$MNT/sparse" bs=1 seek=40000000 conv=notrunc status=none
	cp --reflink=auto "$MNT"/b/d1/* "$MNT/"
	btrfs subvolume snapshot "$MNT" "$MNT/snapshot" >/dev/null
	rm -rf "$MNT/a" "$MNT/doomed" "$MNT"/snapshot/b/d2
	sync -f "$MNT"
	btrfs subvolume delete -c "$MNT/snapshot" >/dev/null && btrfs subvolume sync "$MNT" >/dev/null && sync -f "$MNT"
}
check_kept()
{
	rm -f "$TAP_TMP/kept.img"
	keep "$1" "$TAP_TMP/kept.img"
	ok "$2: btrfs check finds no fault in what is kept" btrfs check --check-data-csum "$TAP_TMP/kept.img"
	mount -o loop,ro "$TAP_TMP/kept.img" "$MNT"
	ok "$2: every file is as it was" sh -c "cd '$MNT' && sha256sum --quiet -c '$TAP_TMP/sums'"
	umount "$MNT"
}

while read -r name size options; do
	# shellcheck disable=SC2086
	ok "$name: made" make "$size" -L label -U 22222222-3333-4444-5555-666666666666 $options --rootdir "$SRC"
	map "$IMG"
	is_map btrfs "$name, new: mapped"
	is "$(get '.partitions[0] | .label + " " + .uuid')" 'label 22222222-3333-4444-5555-666666666666' "$name: label and UUID"
	dump_used "$IMG" >"$PEER"
	like_peer "$name, new"
	if [ -z "$can_mount" ] || ! mount -o loop "$IMG" "$MNT" 2>/dev/null; then
		skip 12 "$name cannot be mounted here"
		continue
	fi
	ok "$name: lived in" live
	sums "$MNT"
	# fallen over with nothing in the log: what the superblock names is whole
	cp --sparse=always "$IMG" "$TAP_TMP/torn.img"
	# The log lasts until the next commit of the filesystem, which time or anybody's sync may bring at any moment.
	for _ in 1 2 3 4 5; do
		echo 'after an fsync' >>"$MNT/late"
		sync "$MNT/late"
		cp --sparse=always "$IMG" "$TAP_TMP/logged.img"
		[ "$(btrfs inspect-internal dump-super "$TAP_TMP/logged.img" | awk '$1 == "log_root" { print $2 }')" = 0 ] || break
	done
	rm "$MNT/late"
	umount "$MNT"
	map "$IMG"
	is_map btrfs "$name: mapped"
	dump_used "$IMG" >"$PEER"
	like_peer "$name"
	check_kept "$IMG" "$name"
	nok "$name: no stale data in it" grep -qa STALE-DATA "$TAP_TMP/kept.img"
	map "$TAP_TMP/torn.img"
	is_map btrfs "$name, torn off: mapped"
	check_kept "$TAP_TMP/torn.img" "$name, torn off"
	sum=$(sha256sum <"$TAP_TMP/logged.img")
	map "$TAP_TMP/logged.img"
	is_raw 'not unmounted cleanly: it has a log tree' "$name, with a log"
	is "$(sha256sum <"$TAP_TMP/logged.img")" "$sum" "$name, with a log: the image is untouched"
done <<-END
	default 300M
	dup 300M -m dup -d dup
	single 300M -m single -d single
	mixed 120M --mixed
	nodes-of-4k 300M -n 4096
	xxhash 300M --csum xxhash
	old 300M -R ^free-space-tree -O ^skinny-metadata,^no-holes
END

# --- doubt means raw
poke() { printf '%b' "$2" | dd of="$IMG" bs=1 seek="$1" conv=notrunc status=none; }
again() { cp --sparse=always "$TAP_TMP/good.img" "$IMG"; }
# set OFFSET(in the superblock) BYTES: and the checksum made right again
set_super()
{
	poke $((65536 + $1)) "$2"
	perl -e '
		open my $f, "+<:raw", $ARGV[0] or die;
		seek $f, 65536, 0;
		read $f, my $s, 4096;
		my $c = 0xffffffff;
		for (unpack "C*", substr $s, 32) { $c ^= $_; for (1 .. 8) { $c = $c & 1 ? $c >> 1 ^ 0x82f63b78 : $c >> 1; } }
		seek $f, 65536, 0;
		print $f pack "L<", $c ^ 0xffffffff;' "$IMG"
}
make 300M --rootdir "$SRC"
cp --sparse=always "$IMG" "$TAP_TMP/good.img"
map "$IMG"
is_map btrfs 'good before it is damaged'
set_super 500 '\x00'
map "$IMG"
is_map btrfs '... and with a checksum of our own'
poke $((65536 + 300)) 'X'
map "$IMG"
is_raw 'checksum of its superblock' 'superblock damaged'
while read -r why at bytes; do
	again
	set_super "$at" "$bytes"
	map "$IMG"
	is_raw "$why" "superblock field $at"
done <<-'END'
	features 190 \x80
	features 180 \x40
	log.tree 96 \x00\x00\x50\x01
	spread.over.2 136 \x02
	state.that.is.not.known 56 \x05
	state.that.is.not.known 60 \x01
	kind.that.is.not.read 196 \x02
	outside.of.all.chunks 80 \x00\x00\x00\x00\x70
	outside.of.all.chunks|not.the.one 88 \x00\x00\x00\x00\x70
	not.the.one.that.was.meant 72 \x77
	superblock.says 120 \x00\x00\x00
	larger.than.the.space 209 \x00\x00\x00\x00\x70
END
again
tree=$(btrfs inspect-internal dump-tree -t extent "$IMG" | sed -n 's/^leaf \([0-9]*\) .*/\1/p' | head -n1)
physical=$(btrfs-map-logical -l "$tree" "$IMG" | sed -n 's/.*mirror 1 logical [0-9]* physical \([0-9]*\).*/\1/p')
poke $((physical + 200)) 'XX'
map "$IMG"
is_raw 'checksum of a node of tree 2' 'extent tree damaged'
again
truncate -s 200M "$IMG"
map "$IMG"
is_raw 'larger than the space' 'truncated'
again
truncate -s 310M "$IMG"
map "$IMG"
is "$(get '.extents[-1] | add')" $((310 << 20)) 'what lies after the filesystem is kept'

# --- several devices
truncate -s 0 "$IMG"
truncate -s 300M "$IMG" "$TAP_TMP/second.img"
mkfs.btrfs -q -f -d raid1 -m raid1 "$IMG" "$TAP_TMP/second.img"
map "$IMG" "$TAP_TMP/second.img"
is "$(jq -r '[.[].partitions[0] | .how + " " + .why] | unique[]' "$MAP")" 'raw it is spread over 2 devices' 'two devices: raw, both'
done_testing
