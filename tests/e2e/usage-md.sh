#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# MD arrays, with superblocks of all versions that `mdadm --examine` accepts (this kernel need not know MD): a RAID 1 that was stopped cleanly
# is looked into, once for all its members; other levels, and every doubt, are raw.
. "$(dirname "$0")/../lib/tap.sh"
. "$TOP/tests/lib/usage.sh"
requires mdadm mke2fs e2fsck debugfs sfdisk partclone.extfs

SRC=$TAP_TMP/src
A=$TAP_TMP/a.img
B=$TAP_TMP/b.img
mkdir "$SRC"
fill "$SRC" 8 200 1900
truncate -s 40M "$TAP_TMP/fs"
mke2fs -q -F -t ext4 -L root -d "$SRC" "$TAP_TMP/fs"
used=$(used_by extfs "$TAP_TMP/fs")
bitmap=$(($(dumpe2fs "$TAP_TMP/fs" 2>/dev/null | sed -n 's/.*Block bitmap at \([0-9]*\).*/\1/p' | head -n1) * $(dumpe2fs -h "$TAP_TMP/fs" 2>/dev/null | sed -n 's/^Block size: *//p')))

super() { "$TOP/tests/lib/md-super" "$@"; }
# members VERSION [OPTION...]: of $A and $B, stale data everywhere but in the filesystem; $offset and $size of the content
members()
{
	local i=0 image
	for image in "$A" "$B"; do
		rm -f "$image"
		yes STALE-DATA-OF-NOBODY | dd of="$image" bs=1M count=64 iflag=fullblock status=none
		dd if=/dev/zero of="$image" bs=64k count=1 conv=notrunc status=none
		dd if=/dev/zero of="$image" bs=64k count=2 seek=1022 conv=notrunc status=none
		read -r offset size < <(super --metadata "$1" --role $i "${@:2}" "$image")
		dd if="$TAP_TMP/fs" of="$image" bs=1M oflag=seek_bytes seek="$offset" conv=notrunc status=none
		i=$((i + 1))
	done
}
parts() { jq -r 'if type == "array" then .[] else . end | .partitions[] | "\(.content) \(.how)"' "$MAP"; }
why() { jq -r 'if type == "array" then .[] else . end | .partitions[].why' "$MAP" | sort -u; }
volumes() { jq -r 'if type == "array" then .[] else . end | .volumes[] | "\(.name) \(.content) \(.how)"' "$MAP" | sort -u; }
all_raw() # REGEX NAME
{
	is "$(parts | sort -u)" 'linux_raid_member raw' "$2: raw" && like "$(why)" "$1" "$2: and why" &&
		is "$(jq '[if type == "array" then .[] else . end | .copied == .size] | all' "$MAP")" true "$2: copied whole"
}
examine() { mdadm --examine "$1" 2>/dev/null | grep -Eq 'Checksum : [0-9a-f]+ - correct'; }

for version in 0.90 1.0 1.1 1.2; do
	members "$version"
	ok "$version: mdadm takes it for one of its own" examine "$A"
	sum=$(sha256sum <"$A")
	map "$A" "$B"
	is "$(parts)" 'linux_raid_member map
linux_raid_member map' "$version: both members are mapped"
	name=$([ "$version" = 0.90 ] && echo 00112233-4455-6677-8899-aabbccddeeff || echo host:0)
	is "$(volumes)" "md/$name ext4 map" "$version: by the filesystem in the array"
	is_close "$version, the filesystem and what the array has after it" "$(get '.[0].volumes[0].copied')" $((used + size - (40 << 20)))
	is "$(sha256sum <"$A")" "$sum" "$version: the image is untouched"
	for n in 0 1; do
		image=$([ $n = 0 ] && echo "$A" || echo "$B")
		keep "$image" "$TAP_TMP/kept" $n
		ok "$version, member $n: mdadm finds its superblock in what is kept" examine "$TAP_TMP/kept"
		dd if="$TAP_TMP/kept" of="$TAP_TMP/got" bs=1M iflag=skip_bytes,count_bytes skip="$offset" count=$((40 << 20)) status=none
		ok "$version, member $n: e2fsck finds no fault" e2fsck -fn "$TAP_TMP/got"
		rm -rf "$TAP_TMP/out"
		mkdir "$TAP_TMP/out"
		debugfs -R "rdump / $TAP_TMP/out" "$TAP_TMP/got" >/dev/null 2>&1
		rmdir "$TAP_TMP/out/lost+found"
		ok "$version, member $n: every file is as it was" diff -r "$SRC" "$TAP_TMP/out"
		# what the member has besides the filesystem is kept: its superblock, what the array has after the filesystem
		is_close "$version, member $n" "$(get ".[$n].copied")" $((used + (24 << 20)))
	done
	map "$A"
	is "$(parts)" 'linux_raid_member map' "$version: one of two members is enough"
	map "$A" "$A"
	all_raw 'there twice' "$version, the same member twice"

	printf X | dd of="$B" bs=1 seek=$((offset + (45 << 20))) conv=notrunc status=none
	map "$A" "$B"
	is "$(parts | sort -u)" 'linux_raid_member map' "$version: members that differ where nothing is read for the map"
	printf X | dd of="$B" bs=1 seek=$((offset + bitmap + 1000)) conv=notrunc status=none
	map "$A" "$B"
	all_raw 'copies differ' "$version, members that differ in a block bitmap"
	map "$B" "$A"
	all_raw 'copies differ' "$version, the same in the other order"
	for n in 0 1; do
		members "$version"
		super --metadata "$version" --role $n --lost $((1 - n)) "$([ $n = 0 ] && echo "$A" || echo "$B")" >/dev/null
		map "$A" "$B"
		all_raw 'has lost another' "$version, member $n has lost the other"
	done
	members "$version"

	super --metadata "$version" --role 1 --events 18 "$B" >/dev/null
	map "$A" "$B"
	all_raw 'not in step' "$version, members of different ages"
	super --metadata "$version" --dirty "$A" >/dev/null
	map "$A"
	all_raw 'not stopped cleanly' "$version, not stopped"
	super --metadata "$version" --spare "$A" >/dev/null
	map "$A"
	all_raw 'spare' "$version, a spare"
	for level in 0 4 5 6 10 -1; do
		super --metadata "$version" --level $level --devices 4 "$A" >/dev/null
		map "$A"
		all_raw "$([ $level = -1 ] && echo linear || echo "RAID $level")" "$version, level $level"
	done
	super --metadata "$version" "$A" >/dev/null
	at=$(mdadm --examine "$A" 2>/dev/null | sed -n 's/ *Super Offset : \([0-9]*\) sectors/\1/p')
	at=$((${at:-$((((64 << 11) & ~127) - 128))} * 512))
	printf X | dd of="$A" bs=1 seek=$((at + 40)) conv=notrunc status=none
	map "$A"
	all_raw 'superblock is damaged' "$version, a damaged superblock"
done
members 1.2 --features 4
map "$A" "$B"
all_raw 'rebuilt or reshaped' 'an array that is being reshaped'
members 1.2 --features 1
map "$A" "$B"
is "$(parts | sort -u)" 'linux_raid_member map' 'an array with a write-intent bitmap'
members 1.2
super --metadata 1.0 "$A" >/dev/null
map "$A"
all_raw 'superblocks of 2 MD arrays' 'superblocks of two arrays'

# --- members of unequal size: the array has that of the lesser
truncate -s 80M "$TAP_TMP/big"
members 0.90
super --metadata 0.90 --size $((size / 1024)) --role 1 "$TAP_TMP/big" >/dev/null
head -c "$size" "$A" | dd of="$TAP_TMP/big" bs=1M iflag=fullblock conv=notrunc status=none
map "$A" "$TAP_TMP/big"
is "$(parts)" 'linux_raid_member map
linux_raid_member map' '0.90, members of unequal size'
is "$(volumes)" 'md/00112233-4455-6677-8899-aabbccddeeff ext4 map' '... of one array'
super --metadata 0.90 --level 5 --size 40000 "$A" >/dev/null
map "$A"
all_raw 'RAID 5' '0.90, RAID 5 that does not use its members whole'

# --- halves of a mirror of whole disks, later used apart: the superblocks are still behind their partitions
for version in 0.90 1.0; do
	members $version
	for image in "$A" "$B"; do
		sfdisk -q -w never --force "$image" <<<'label: dos
start=1MiB, size=50MiB, type=83'
		dd if="$TAP_TMP/fs" of="$image" bs=1M seek=1 conv=notrunc status=none
	done
	map "$A" "$B"
	all_raw 'copies differ' "$version, halves with tables of their own"
	dd if="$A" of="$B" bs=512 count=1 conv=notrunc status=none
	truncate -s 50M "$TAP_TMP/fs2"
	mke2fs -q -F -t ext4 "$TAP_TMP/fs2"
	dd if="$TAP_TMP/fs2" of="$B" bs=1M seek=1 conv=notrunc status=none
	map "$A" "$B"
	is "$(jq '[.[].copied == .[].size] | all' "$MAP")" true "$version, halves with the same table and filesystems of their own: copied whole"
	is "$(parts | sort -u)" 'linux_raid_member raw' '... and raw'
done

# --- what firmware keeps of a set of its own, behind a superblock that was left there
for version in 0.90 1.0; do
	for signature in "-1024 Intel Raid ISM Cfg Sig. " "-1024 NVIDIA" "-32256 Promise Technology, Inc." $'-512 \xde\x11\xde\x11'; do
		members $version
		printf %s "${signature#* }" | dd of="$A" bs=1 seek=$(((64 << 20) + ${signature%% *})) conv=notrunc status=none
		map "$A" "$B"
		like "$(get '.[0].partitions[0] | .how + ": " + .why')" '^raw: there are signatures of linux_raid_member and [a-z_]*_raid_member' "$version, and a signature of firmware's RAID (${signature%% *})"
		is "$(jq '.[0].copied == .[0].size' "$MAP")" true '... copied whole'
	done
done

# --- a partition up to the end of the disk: its superblock (0.90) is where the disk's would be
truncate -s 0 "$A"
truncate -s 64M "$A"
sfdisk -q "$A" <<<'label: dos
start=1MiB, type=fd'
dd if="$A" of="$TAP_TMP/part" bs=1M skip=1 status=none
super --metadata 0.90 --devices 1 "$TAP_TMP/part" >/dev/null
dd if="$TAP_TMP/fs" of="$TAP_TMP/part" bs=1M conv=notrunc status=none
dd if="$TAP_TMP/part" of="$A" bs=1M seek=1 conv=notrunc status=none
map "$A"
is "$(get .table) $(parts) $(volumes)" 'dos linux_raid_member map md/00112233-4455-6677-8899-aabbccddeeff ext4 map' '0.90 on the last partition: the partition is the member'

super --metadata 0.90 --devices 3 --level 5 --size 40000 "$TAP_TMP/part" >/dev/null
dd if="$TAP_TMP/part" of="$A" bs=1M seek=1 conv=notrunc status=none
map "$A"
is "$(get .table) $(parts)" 'dos linux_raid_member raw' '0.90 on the last partition, of another level: the table says that it is a member'
sfdisk -q --part-type "$A" 1 83
map "$A"
all_raw 'RAID 5' '... and when the table does not say so: the whole disk'

# --- a stripe set of whole disks: the first of them shows the table of the set, in whose addresses a partition covers the superblock's place
truncate -s 30M "$TAP_TMP/swap"
mkswap "$TAP_TMP/swap" >/dev/null 2>&1
for sectors in 131009 61441; do # of the second partition: up to the end of the set, or of the disk
	rm -f "$TAP_TMP/set"
	truncate -s 127M "$TAP_TMP/set"
	sfdisk -q "$TAP_TMP/set" <<<"label: dos
start=63, size=61440, type=82
start=69631, size=$sectors, type=83"
	dd if="$TAP_TMP/swap" of="$TAP_TMP/set" bs=512 seek=63 conv=notrunc status=none
	role=0
	for image in "$A" "$B"; do
		perl -e 'my ($from, $to, $n) = @ARGV; open my $f, "<:raw", $from or die; open my $t, ">:raw", $to or die;
			while (read $f, my $chunk, 65536) { print $t $chunk if $n++ % 2 == 0; }
			truncate $t, 64 << 20 or die; close $t or die;' "$TAP_TMP/set" "$image" $role
		super --metadata 0.90 --level 0 --size 0 --role $role "$image" >/dev/null
		role=$((role + 1))
	done
	map "$A" "$B"
	all_raw 'RAID 0' "0.90, RAID 0 of disks with a table on it, the second partition of $sectors sectors"
done

# --- a table in the array, as on machines whose whole disks are mirrored
truncate -s 60M "$TAP_TMP/disk"
sfdisk -q "$TAP_TMP/disk" <<<'label: dos
start=1MiB, size=40MiB, type=83'
dd if="$TAP_TMP/fs" of="$TAP_TMP/disk" bs=1M seek=1 conv=notrunc status=none
for version in 0.90 1.0 1.2; do
	i=0
	for image in "$A" "$B"; do
		rm -f "$image"
		truncate -s 64M "$image"
		read -r offset size < <(super --metadata $version --role $i "$image")
		dd if="$TAP_TMP/disk" of="$image" bs=1M oflag=seek_bytes seek="$offset" conv=notrunc status=none
		i=$((i + 1))
	done
	map "$A" "$B"
	is "$(jq -r '[.[].table] | unique[]' "$MAP") $(volumes | sed 's,md/[^ /]*,md,' | tr '\n' ' ')" 'none md dos map md/1 ext4 map ' "$version: a table in the array"
done
done_testing
