#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# MD arrays, with superblocks of all versions that `mdadm --examine` accepts (this kernel need not know MD): a RAID 1 that was stopped cleanly
# is looked into, once for all its members; other levels, and every doubt, are raw.
. "$(dirname "$0")/../lib/tap.sh"
. "$TOP/tests/lib/usage.sh"
requires mdadm mke2fs e2fsck debugfs sfdisk partclone.extfs

PAST=${O:-$TOP/build/release}/e2e/usage_past_log
[ -x "$PAST" ] || bail_out "there is no $PAST: run make"
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

# --- members that differ in what is free, up to the very end of the array, where superblocks and signatures are looked for
legs() # VERSION FILE: members of an array with that content; $offset and $size of it
{
	local i=0 image
	for image in "$A" "$B"; do
		rm -f "$image"
		truncate -s 64M "$image"
		read -r offset size < <(super --metadata "$1" --role $i "$image")
		dd if="$2" of="$image" bs=1M iflag=count_bytes count="$size" oflag=seek_bytes seek="$offset" conv=notrunc status=none
		i=$((i + 1))
	done
}
differ() # OFFSET SIZE: $B gets other data than $A has wherever it is not in use; what is, as "OFFSET LENGTH" on stdin
{
	perl -e 'my ($image, $offset, $size) = @ARGV; my $at = 0; open my $f, "+<:raw", $image or die;
		my @used = ((sort { $a->[0] <=> $b->[0] } map { [split] } <STDIN>), [$size, 0]);
		for my $u (@used) {
			if ($u->[0] > $at) { seek $f, $offset + $at, 0; print $f substr("OTHER-STALE-DATA" x (($u->[0] - $at) / 16 + 1), 0, $u->[0] - $at) or die; }
			my $end = $u->[0] + $u->[1]; $at = $end if $end > $at;
		}
		close $f or die;' "$B" "$@"
}
# poke AT TEXT: into the array's content on $B
poke() { printf %s "$2" | dd of="$B" bs=1 seek=$((offset + $1)) conv=notrunc status=none; }
both_mapped() # CONTENT NAME
{
	is "$(parts | sort -u) $(volumes | cut -d ' ' -f 2-)" "linux_raid_member map $1" "$2"
}
for version in 0.90 1.0 1.2; do
	members $version
	rm -f "$TAP_TMP/whole"
	truncate -s "$size" "$TAP_TMP/whole"
	mke2fs -q -F -t ext4 -E nodiscard -d "$SRC" "$TAP_TMP/whole"
	legs $version "$TAP_TMP/whole"
	dumpe2fs_used "$TAP_TMP/whole" >"$TAP_TMP/used"
	differ "$offset" "$size" <"$TAP_TMP/used"
	nok "$version: the members differ at the end of the array" cmp -s <(tail -c +$((offset + size - 4095)) "$A" | head -c 4096) <(tail -c +$((offset + size - 4095)) "$B" | head -c 4096)
	for order in "$A $B" "$B $A"; do
		# shellcheck disable=SC2086
		map $order
		both_mapped 'ext4 map' "$version: members that differ wherever nothing is in use"
	done
	whole=$(used_by extfs "$TAP_TMP/whole")
	for n in 0 1; do
		is_close "$version, member $n" "$(get ".[$n].copied")" $((whole + (64 << 20) - size))
		keep_hard "$([ $n = 0 ] && echo "$B" || echo "$A")" "$TAP_TMP/kept" $n
		dd if="$TAP_TMP/kept" of="$TAP_TMP/got" bs=1M iflag=skip_bytes,count_bytes skip="$offset" count="$size" status=none
		ok "$version, member $n: e2fsck finds no fault in what is kept" e2fsck -fn "$TAP_TMP/got"
		rm -rf "$TAP_TMP/out"
		mkdir "$TAP_TMP/out"
		debugfs -R "rdump / $TAP_TMP/out" "$TAP_TMP/got" >/dev/null 2>&1
		rmdir "$TAP_TMP/out/lost+found"
		ok "$version, member $n: every file is as it was" diff -r "$SRC" "$TAP_TMP/out"
	done

	# the log is replayed on one of them, which is no judge of the other then
	debugfs -w -R 'feature needs_recovery' "$TAP_TMP/whole" >/dev/null 2>&1
	legs $version "$TAP_TMP/whole"
	"$PAST" "$A" "$B" >"$MAP"
	both_mapped 'ext4 map' "$version: a log to be replayed"
	differ "$offset" "$size" <"$TAP_TMP/used"
	"$PAST" "$A" "$B" >"$MAP"
	is "$(volumes | cut -d ' ' -f 2-) $(jq -r '.[0].volumes[0].why' "$MAP")" 'ext4 raw its log was replayed on one copy of a mirror, and its copies differ' "$version: ... and members that differ"
	debugfs -w -R 'feature -needs_recovery' "$TAP_TMP/whole" >/dev/null 2>&1

	# of one copy: what would be found if it were the only one
	for signature in 'btrfs 65600 _BHRfS_M' "ddf_raid_member $((size - 512)) "$'\xde\x11\xde\x11' "isw_raid_member $((size - 1024)) Intel Raid ISM Cfg Sig. "; do
		legs $version "$TAP_TMP/whole"
		read -r name at text <<<"$signature"
		# which would be at the member's end too
		[ "$version" != 1.2 ] || [ "$at" -lt $((1 << 20)) ] || continue
		poke "$at" "$text$([ "$name" = isw_raid_member ] && echo ' ')"
		map "$A" "$B"
		is "$(jq '[.[].copied == .[].size] | all' "$MAP") $(volumes | cut -d ' ' -f 3)" 'true raw' "$version: one member with a signature of $name"
		map "$B" "$A"
		is "$(jq '[.[].copied == .[].size] | all' "$MAP") $(volumes | cut -d ' ' -f 3)" 'true raw' '... the other one first'
	done

	# in use, and read by nobody but who looks for a signature: an inode table's block, the data of a file
	for at in 1048576 65600; do
		legs $version "$TAP_TMP/whole"
		perl -e 'my ($at) = @ARGV; my $in = 0; while (<STDIN>) { my ($o, $l) = split; $in = 1 if $at >= $o && $at < $o + $l; } exit !$in;' $at <"$TAP_TMP/used" || continue
		poke $at "$(printf 'XXXX')"
		map "$A" "$B"
		all_raw 'copies differ' "$version: members that differ at byte $at, which is in use"
	done

	# swap: what was swapped out
	rm -f "$TAP_TMP/swap"
	truncate -s "$size" "$TAP_TMP/swap"
	mkswap "$TAP_TMP/swap" >/dev/null 2>&1
	legs $version "$TAP_TMP/swap"
	differ "$offset" "$size" <<<'0 4096'
	map "$A" "$B"
	both_mapped 'swap header' "$version: a swap, of which only the header is the same on both"
	poke 2000 X
	map "$A" "$B"
	all_raw 'copies differ' "$version: ... and not even the header"
done

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
