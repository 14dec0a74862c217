#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Partition tables by sfdisk and sgdisk, sane and damaged: what is outside partitions, and what is not looked into.
. "$(dirname "$0")/../lib/tap.sh"
. "$TOP/tests/lib/usage.sh"
requires sfdisk sgdisk mke2fs mkswap

IMG=$TAP_TMP/disk.img
M=$((1 << 20))

# table SIZE [SFDISK-OPTION...] <SCRIPT
table()
{
	rm -f "$IMG"
	truncate -s "$1" "$IMG"
	sfdisk -q "${@:2}" "$IMG"
}
# poke OFFSET BYTES(printf)
poke() { printf '%b' "$2" | dd of="$IMG" bs=1 seek="$1" conv=notrunc status=none; }
# put FILE OFFSET
put() { dd if="$1" of="$IMG" bs=1M seek=$(($2 / M)) conv=notrunc,sparse status=none; }
# is every byte of [OFFSET, OFFSET + LENGTH) in the extents?
has() { jq -e --argjson o "$1" --argjson l "$2" '.extents | any(.[0] <= $o and .[0] + .[1] >= $o + $l)' "$MAP"; }
# is none of it?
has_none() { jq -e --argjson o "$1" --argjson l "$2" '.extents | all(.[0] + .[1] <= $o or .[0] >= $o + $l)' "$MAP"; }
has_none_of() { jq -e --argjson n "$1" --argjson o "$2" --argjson l "$3" '.[$n].extents | all(.[0] + .[1] <= $o or .[0] >= $o + $l)' "$MAP"; }
parts() { get '[.partitions[] | "\(.number):\(.offset / 1048576)+\(.size / 1048576) \(.content) \(.how)"] | join(", ")'; }
disk_raw() { is "$(get '.copied == .size')" true "$2: the whole disk" && like "$(get '.partitions[0].why')" "$1" "$2: and why"; }

mke2fs -q -F -t ext4 -L root -U 11111111-2222-3333-4444-555555555555 "$TAP_TMP/ext4" 64M
truncate -s 16M "$TAP_TMP/swap"
mkswap -L swap0 -U 99999999-2222-3333-4444-555555555555 "$TAP_TMP/swap" >/dev/null 2>&1

gpt()
{
	table 1G <<-END
		label: gpt
		start=2MiB, size=1MiB, type=21686148-6449-6E6F-744E-656564454649
		start=4MiB, size=64MiB, type=L
		start=100MiB, size=16MiB, type=S
		start=400MiB, size=100MiB, type=L
	END
	put "$TAP_TMP/ext4" $((4 * M))
	put "$TAP_TMP/swap" $((100 * M))
}

# --- GPT
gpt
map "$IMG"
is "$(get .table)" gpt 'gpt: recognised'
is "$(parts)" '1:2+1 unknown raw, 2:4+64 ext4 map, 3:100+16 swap header, 4:400+100 unknown raw' 'gpt: partitions'
is "$(get '.partitions[1] | .label + " " + .uuid')" 'root 11111111-2222-3333-4444-555555555555' 'gpt: label and UUID of ext4'
is "$(get '.partitions[2] | .label + " " + .uuid')" 'swap0 99999999-2222-3333-4444-555555555555' 'gpt: label and UUID of swap'
is "$(get '.partitions[0].why')" 'boot code' 'gpt: a BIOS boot partition is boot code'
ok 'gpt: the space before the first partition, and its neighbour' has 0 $((4 * M))
ok 'gpt: of swap only the header' has $((100 * M)) 4096
ok 'gpt: ... and nothing else' has_none $((100 * M + 4096)) $((16 * M - 4096))
ok 'gpt: space between partitions is free' has_none $((68 * M)) $((32 * M))
ok 'gpt: unknown content is kept' has $((400 * M)) $((101 * M))
ok 'gpt: the end of the disk with the backup GPT is kept' has $((960 * M)) $((64 * M))
ok 'gpt: the rest of a large end is free' has_none $((501 * M)) $((459 * M))
is "$(get '[.extents[][1]] | add')" "$(get .copied)" 'gpt: the extents are what is copied'
is "$(get '[.partitions[].copied, .areas[].copied] | add')" "$(get .copied)" 'gpt: ... and partitions and the rest add up to it'
like "$("$AGENT" map "$IMG")" 'ext4 root' 'gpt: and in words'

poke $((100 * M + 4086)) 'S1SUSPEND\x00'
truncate -s 16M "$TAP_TMP/other"
mkswap "$TAP_TMP/other" >/dev/null 2>&1
map "$IMG" "$TAP_TMP/other" "$TAP_TMP/ext4"
is "$(jq -r '[.[].partitions[].how] | join(" ")' "$MAP")" 'raw raw raw raw raw raw' 'a hibernated Linux: filesystems and swaps of all disks are raw'
like "$(jq -r '.[0].partitions[1].why, .[1].partitions[0].why, .[2].partitions[0].why' "$MAP" | sort -u)" '^a Linux is hibernated on these disks.*memory$' '... and why'
is "$(jq -r '.[1].copied == .[1].size and .[2].copied == .[2].size' "$MAP")" true '... copied whole'
ok '... but not what is in no partition' has_none_of 0 $((68 * M)) $((32 * M))
gpt
poke 516 'X'
map "$IMG"
is "$(parts)" '1:2+1 unknown raw, 2:4+64 ext4 map, 3:100+16 swap header, 4:400+100 unknown raw' 'gpt, primary damaged: partitions by the backup'
ok 'gpt, primary damaged: space between partitions is in use' has $((68 * M)) $((32 * M))
like "$(get '.areas[1].why')" 'primary GPT cannot be used' 'gpt, primary damaged: said'
gpt
poke $((1024 * M - 510)) 'X'
map "$IMG"
ok 'gpt, backup damaged: the end is in use' has $((500 * M)) $((524 * M))
like "$(get '.areas[-1].why')" 'backup GPT cannot be used' 'gpt, backup damaged: said'
gpt
truncate -s 1100M "$IMG"
map "$IMG"
is "$(get '.partitions[1].how')" map 'gpt, disk grown: partitions are looked into'
ok 'gpt, disk grown: all else is in use' has $((500 * M)) $((600 * M))
gpt
truncate -s 450M "$IMG"
map "$IMG"
disk_raw 'names sectors that cannot be|cannot be used|neither copy' 'gpt, disk cut'
gpt
poke 516 'X'
poke $((1024 * M - 510)) 'X'
map "$IMG"
disk_raw 'neither copy can be used' 'gpt, both damaged'
gpt
poke 446 "$(printf '\\\\x00%.0s' {1..16})"
map "$IMG"
disk_raw 'no protective MBR' 'gpt without protective MBR'
gpt
poke 462 '\x00\x00\x00\x00\x83\x00\x00\x00\x00\x40\x06\x00\x00\x10\x00\x00'
map "$IMG"
disk_raw 'names a partition that the GPT does not' 'gpt, hybrid MBR of its own mind'
gpt
poke 462 '\x80\x00\x00\x00\x83\x00\x00\x00\x00\x20\x00\x00\x00\x00\x02\x00'
map "$IMG"
is "$(get '.table + " " + .partitions[1].how')" 'gpt map' 'gpt, hybrid MBR that agrees'
gpt
dd if="$IMG" of="$TAP_TMP/first" bs=512 count=34 status=none
sgdisk -d 4 "$IMG" >/dev/null 2>&1
dd if="$TAP_TMP/first" of="$IMG" conv=notrunc status=none
map "$IMG"
disk_raw 'two copies of the GPT differ' 'gpt, copies differ'
gpt
map --sector 4096 "$IMG"
disk_raw 'made for sectors of 512 bytes' 'gpt of other sectors'
gpt
mkswap "$TAP_TMP/swap" >/dev/null 2>&1
dd if="$TAP_TMP/swap" of="$IMG" bs=1 skip=4086 seek=65526 count=10 conv=notrunc status=none
map "$IMG"
disk_raw 'partition table and signatures of swap' 'gpt and another signature'
table 64M <<-END
	label: gpt
	type=5808C8AA-7E8F-42E0-85D2-E1E90434CFB3
END
map "$IMG"
disk_raw 'Windows dynamic disk' 'gpt of a dynamic disk'
table 64M <<-END
	label: gpt
	type=E75CAF8F-F680-4CEE-AFA3-B001E56EFC2D
END
map "$IMG"
like "$(get '.partitions[0] | .how + " " + .why')" 'raw .*Storage Spaces' 'gpt of Storage Spaces'

# 4096-byte sectors, written by hand as sfdisk makes none on a file
perl -e '
	use strict;
	sub crc32 { my $c = 0xffffffff; for (unpack "C*", $_[0]) { $c ^= $_; for (1 .. 8) { $c = $c & 1 ? $c >> 1 ^ 0xedb88320 : $c >> 1; } } return $c ^ 0xffffffff; }
	my ($s, $n) = (4096, 65536); # 256 MiB
	my $entries = pack("a16 a16 Q< Q< Q< a72", "ABCDEFGHIJKLMNOP", "QRSTUVWXYZabcdef", 1024, 1024 + 16383, 0, "") . "\0" x (127 * 128);
	sub header { my ($lba, $other, $at) = @_; my $h = pack "a8 L< L< L< L< Q< Q< Q< Q< a16 Q< L< L< L<", "EFI PART", 0x10000, 92, 0, 0, $lba, $other, 6, $n - 6, "0123456789abcdef", $at, 128, 128, crc32($entries);
		substr($h, 16, 4) = pack "L<", crc32($h); return $h; }
	open my $f, ">:raw", $ARGV[0] or die; truncate $f, $s * $n;
	seek $f, 446, 0; print $f pack("C8 L< L<", 0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, $n - 1), "\0" x 48, "\x55\xaa";
	seek $f, $s, 0; print $f header(1, $n - 1, 2); seek $f, 2 * $s, 0; print $f $entries;
	seek $f, ($n - 5) * $s, 0; print $f $entries; seek $f, ($n - 1) * $s, 0; print $f header($n - 1, 1, $n - 5);' "$IMG"
put "$TAP_TMP/ext4" $((4 * M))
map --sector 4096 "$IMG"
is "$(get .table) $(parts)" 'gpt 1:4+64 ext4 map' 'gpt of 4096-byte sectors'
is "$(get .sector_size)" 4096 '... and the sector size is said'
map "$IMG"
disk_raw 'made for sectors of 4096 bytes' 'the same read as 512'

# --- MBR
dos()
{
	table 1G <<-END
		label: dos
		start=1MiB, size=64MiB, type=83, bootable
		start=100MiB, size=600MiB, type=5
		start=101MiB, size=16MiB, type=82
		start=300MiB, size=64MiB, type=83
	END
	put "$TAP_TMP/ext4" $((1 * M))
	put "$TAP_TMP/swap" $((101 * M))
	put "$TAP_TMP/ext4" $((300 * M))
}
dos
map "$IMG"
is "$(get .table)" dos 'dos: recognised'
is "$(parts)" '1:1+64 ext4 map, 2:100+600 extended header, 5:101+16 swap header, 6:300+64 ext4 map' 'dos: partitions'
ok 'dos: the space before the first partition' has 0 $M
ok 'dos: the first link of the chain and what is before its partition' has $((100 * M)) $M
ok 'dos: space inside the extended partition is free' has_none $((118 * M)) $((181 * M))
ok 'dos: the second link' has $((299 * M)) $M
ok 'dos: space before the extended partition is free' has_none $((66 * M)) $((34 * M))
ok 'dos: the end of the disk' has $((960 * M)) $((64 * M))
dos
truncate -s 330M "$IMG"
map "$IMG"
disk_raw 'partition 2 reaches past the end of the disk' 'dos, disk cut'
dos
dd if=/dev/zero of="$IMG" bs=446 count=1 conv=notrunc status=none
map "$IMG"
is "$(get '.partitions[0].how')" map 'dos, a table like a link in the chain: partitions are looked into'
ok 'dos, a table like a link in the chain: unpartitioned space is in use' has $((66 * M)) $((34 * M))
dos
poke $((100 * M + 510)) '\x00\x00'
map "$IMG"
disk_raw 'chain of logical partitions is broken' 'dos, broken chain'
dos
poke $((299 * M + 462)) '\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x00\x10\x00\x00'
map "$IMG"
disk_raw 'overlap|contains part of the table|does not end' 'dos, chain that returns'
dos
poke $((299 * M + 478)) '\x00\x00\x00\x00\x83\x00\x00\x00\x00\x00\x04\x00\x00\x00\x02\x00'
map "$IMG"
disk_raw 'link in the chain of logical partitions names several' 'dos, a logical partition in the third entry of a link'
dos
poke 454 '\x00\x00\x01\x00'
poke 458 '\x00\x00\x10\x00'
map "$IMG"
disk_raw 'overlap' 'dos, overlapping partitions'
dos
poke 450 '\x42'
map "$IMG"
disk_raw 'Windows dynamic disk' 'dos, dynamic disk'
# the first disk of a stripe set of no known signature: it shows the table of the set, and the header of a swap that is spread over all disks
table 64M <<<'label: dos
start=63, size=50MiB, type=82'
truncate -s 48M "$TAP_TMP/swap48"
mkswap "$TAP_TMP/swap48" >/dev/null 2>&1
dd if="$TAP_TMP/swap48" of="$IMG" bs=512 seek=63 count=8 conv=notrunc status=none
poke 462 '\x00\x00\x00\x00\x83\x00\x00\x00\x00\x98\x01\x00\x00\x60\x02\x00'
map "$IMG"
disk_raw 'partition 2 reaches past the end of the disk' 'dos, the table of a stripe set'
# one whose table ends inside its first disk is known by what its firmware keeps there: Adaptec's, and Silicon Image's
poke 462 '\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00'
cp --sparse=always "$IMG" "$TAP_TMP/striped"
map "$IMG"
is "$(get '.partitions[0] | .content + " " + .how')" 'swap header' 'dos, a swap inside the disk, and no signature: the map cannot know (the control)'
while read -r name at bytes; do
	cp --sparse=always "$TAP_TMP/striped" "$IMG"
	poke $((64 * M + at)) "$bytes"
	map "$IMG"
	disk_raw "partition table and signatures of $name" "dos, the table of a stripe set of $name"
done <<-'END'
	adaptec_raid_member -512 \x37\xfc\x4d\x1e
	silicon_medley_raid_member -416 \x00\x00\x00\x2f
END
# a filesystem where no partition is: that of a boot manager which has more partitions than the table
strays()
{
	table 1G <<-END
		label: dos
		start=1MiB, size=143361, type=83
		start=200MiB, size=64MiB, type=83
	END
	put "$TAP_TMP/ext4" $M
	put "$TAP_TMP/ext4" $((200 * M))
}
strays
map "$IMG"
ok 'dos, space between partitions is free (the control)' has_none $((72 * M)) $((128 * M))
ok 'dos, and a large end' has_none $((265 * M)) $((695 * M))
put "$TAP_TMP/ext4" $((72 * M))
map "$IMG"
ok 'dos, an ext4 where no partition is, at a whole MiB: that space is in use' has $((71 * M + 512)) $((129 * M - 512))
like "$(get '.areas[] | select(.offset == 71 * 1048576 + 512).why')" 'signatures of ext4 where no partition is' '... and why'
ok '... the other is not' has_none $((265 * M)) $((695 * M))
strays
put "$TAP_TMP/ext4" $((264 * M))
poke $((71 * M + 512 + 1024)) LABELONE
poke $((71 * M + 512 + 1024 + 24)) 'LVM2 001'
map "$IMG"
ok 'dos, an ext4 right after the last partition: the end is in use' has $((264 * M)) $((760 * M))
ok 'dos, a physical volume right after the first: so is that' has $((71 * M + 512)) $((129 * M - 512))
# every logical partition inside itself: a chain of 300 links
rm -f "$IMG"
truncate -s 64M "$IMG"
perl -e '
	open my $f, "+<:raw", $ARGV[0]; my $e = pack "C8 L< L<", 0, 0, 0, 0, 5, 0, 0, 0, 2048, 100000;
	seek $f, 446, 0; print $f $e, "\0" x 48, "\x55\xaa";
	for my $i (0 .. 300) { seek $f, (2048 + $i * 8) * 512 + 446, 0;
		print $f pack("C8 L< L<", 0, 0, 0, 0, 0x83, 0, 0, 0, 2, 2), pack("C8 L< L<", 0, 0, 0, 0, 5, 0, 0, 0, ($i + 1) * 8, 8), "\0" x 32, "\x55\xaa"; }' "$IMG"
map "$IMG"
disk_raw 'does not end' 'dos, endless chain'
table 64M <<-END
	label: dos
	start=1MiB, size=60MiB, type=5
	start=2MiB, size=4MiB
	start=10MiB, size=4MiB
END
map "$IMG"
is "$(parts)" '1:1+60 extended header, 5:2+4 unknown raw, 6:10+4 unknown raw' 'dos, only logical partitions'
ok 'dos, only logical partitions: all before the first is in use' has 0 $((6 * M))

# --- none
cp "$TAP_TMP/ext4" "$IMG"
map "$IMG"
is "$(get .table) $(parts)" 'none 0:0+64 ext4 map' 'none: a filesystem on the whole disk'
truncate -s 0 "$IMG"
truncate -s 8M "$IMG"
map "$IMG"
disk_raw 'nothing that is known' 'none: a blank disk'
poke 510 '\x55\xaa'
map "$IMG"
disk_raw 'nothing that is known' 'none: a boot sector without partitions'
table 300M <<<'label: gpt'
map "$IMG"
is "$(get '.table + " " + (.copied | tostring)')" "gpt $((66 * M))" 'gpt without partitions: only its edges'

# --- swap
truncate -s 0 "$IMG"
truncate -s 16M "$IMG"
mkswap "$IMG" >/dev/null 2>&1
for s in S1SUSPEND S2SUSPEND ULSUSPEND; do
	poke 4086 "$s"
	map "$IMG"
	is_raw 'image of a hibernated system' "swap with $s"
done
truncate -s 0 "$IMG"
truncate -s 16M "$IMG"
mkswap -p 65536 "$IMG" >/dev/null 2>&1
map "$IMG"
is "$(get '.partitions[0] | "\(.content) \(.how) \(.copied)"')" 'swap header 65536' 'swap of 64 KiB pages'

# swap POKE...: OFFSET BYTES that are not as mkswap writes them
swap()
{
	truncate -s 0 "$IMG"
	truncate -s 16M "$IMG"
	mkswap "$IMG" >/dev/null 2>&1
	poke "$@"
	map "$IMG"
}
swap 1023 X
is_raw 'something in front of the header of a swap' 'what is left of a swap in front of which there is something'
swap 0 '\xeb'
is_raw 'something in front of the header of a swap' '... and at the very start'
swap 1024 '\x00\x00\x00\x01'
is_raw 'swap space is not of version 1' 'swap of a machine of the other byte order'
swap 1028 '\x00\x10\x00\x00'
is_raw 'contradicts itself, or is that of a larger one' 'swap that is larger than its space'
swap 1028 '\x00\x00\x00\x00'
is_raw 'contradicts itself' 'swap of no pages'
swap 1032 '\x7e\x02\x00\x00'
is_raw 'contradicts itself' 'swap with more bad pages than it can list'
swap 1032 '\x7d\x02\x00\x00'
is "$(get '.copied')" 4096 'swap with as many as it can'
truncate -s 0 "$IMG"
truncate -s 16M "$IMG"
mkswap "$IMG" 8192 >/dev/null 2>&1
map "$IMG"
is "$(get '.partitions[0] | "\(.how) \(.used)"') $(get '.extents | tostring')" "header $((4096 + 8 * M)) [[0,4096],[$((8 * M)),$((8 * M))]]" 'swap of half of its space: the other half is somebody'\''s'

# --- content that is only named
while read -r name size at bytes; do
	rm -f "$IMG"
	truncate -s "$size" "$IMG"
	[ "$at" -ge 0 ] || at=$((size + at))
	poke "$at" "$bytes"
	map "$IMG"
	is "$(get '.partitions[0] | .content + " " + .how + " " + (.copied == .size | tostring)')" "$name raw true" "$name"
done <<-'END'
	crypto_LUKS 4194304 0 LUKS\xba\xbe\x00\x02
	crypto_LUKS 4194304 16384 SKUL\xba\xbe\x00\x02
	crypto_LUKS 8388608 4194304 SKUL\xba\xbe\x00\x02
	nilfs2 4194304 1024 \x02\x00\x00\x00\x00\x00\x34\x34
	solaris 4194304 524 \xee\xde\x0d\x60
	BitLocker 4194304 0 \xeb\x58\x90-FVE-FS-
	ReFS 4194304 0 \x00\x00\x00ReFS\x00
	apfs 4194304 32 NXSB
	VMFS_volume_member 4194304 1048576 \x0d\xd0\x01\xc0
	VMFS 33554432 18874368 \x5e\xf1\xab\x2f
	zfs_member 4194304 131072 \x0c\xb1\xba\x00\x00\x00\x00\x00
	hfsplus 4194304 1024 H+\x00\x04
	f2fs 4194304 1024 \x10\x20\xf5\xf2
	reiserfs 4194304 65588 ReIsEr2Fs
	jfs 4194304 32768 JFS1
	iso9660 4194304 32769 CD001
	isw_raid_member 4194304 -1024 Intel\x20Raid\x20ISM\x20Cfg\x20Sig.\x20
	ddf_raid_member 4194304 -512 \xde\x11\xde\x11
	ddf_raid_member 4194304 -131584 \xde\x11\xde\x11
	adaptec_raid_member 4194304 -512 \x37\xfc\x4d\x1e
	silicon_medley_raid_member 4194304 -416 \x00\x00\x00\x2f
	LDM 4194304 -512 PRIVHEAD
	drbd 4194304 -4036 \x83\x74\x02\x6b
	drbd 4197888 4190268 \x83\x74\x02\x6d
END

if command -v cryptsetup >/dev/null; then
	for type in luks1 luks2; do
		rm -f "$IMG"
		truncate -s 32M "$IMG"
		ok "$type: made" cryptsetup luksFormat -q --type $type --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file "$TAP_TMP/ext4" --keyfile-size 64 "$IMG"
		map "$IMG"
		is "$(get '.partitions[0] | .content + " " + .how + " " + (.copied == .size | tostring)')" 'crypto_LUKS raw true' "$type"
	done
else
	skip 4 'LUKS as cryptsetup makes it: needs cryptsetup'
fi

# --- a filesystem that is good in itself, and what is left of something else, or will be
while read -r name at bytes; do
	cp --sparse=always "$TAP_TMP/ext4" "$IMG"
	poke "$at" "$bytes"
	map "$IMG"
	is_raw "there are signatures of (ext4 and $name|$name and ext4)" "ext4 and $name"
done <<-'END'
	crypto_LUKS 0 LUKS\xba\xbe\x00\x02
	swap 4086 SWAPSPACE2
	ntfs 3 NTFS\x20\x20\x20\x20
	apfs 32 NXSB
	LVM2_member 512 LABELONE\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x20\x00\x00\x00LVM2\x20001
	xfs 0 XFSB
	isw_raid_member 67107840 Intel\x20Raid\x20ISM\x20Cfg\x20Sig.\x20
	drbd 67104828 \x83\x74\x02\x6c
END

# --- a partition whose content is a disk of its own, and what was there before
for stale in none swap ext4; do
	table 200M <<<'label: gpt
start=1MiB, size=64MiB'
	[ $stale = none ] || put "$TAP_TMP/$stale" $M
	printf 'label: dos\nstart=2048, size=100000\n' >"$TAP_TMP/script"
	truncate -s 0 "$TAP_TMP/inner"
	truncate -s 64M "$TAP_TMP/inner"
	sfdisk -q "$TAP_TMP/inner" <"$TAP_TMP/script"
	dd if="$TAP_TMP/inner" of="$IMG" bs=512 seek=2048 count=1 conv=notrunc status=none
	map "$IMG"
	case $stale in
	none) is_raw 'there is a partition table on it' 'a partition table on a partition' ;;
	*) is_raw "there are a partition table and signatures of $stale on it" "... over what is left of $stale" ;;
	esac
done

# --- the command line
nok 'no disk: refused' "$AGENT" map
like "$("$AGENT" map 2>&1)" "no disk is named.*--help" '... and says so'
like "$("$AGENT" map /nonexistent 2>&1)" "open '/nonexistent': No such file" 'a missing file is named'
like "$("$AGENT" map --sector 100 "$IMG" 2>&1)" "sector" 'a bad sector size is named'
like "$("$AGENT" map --help)" 'Usage: hoist-agent map' 'help'
is "$("$AGENT" map --json "$IMG" | jq -r 'has("extents")')" false 'extents only when asked for'
is "$("$AGENT" map --json "$IMG" "$IMG" | jq -r 'length')" 2 'two disks, two maps'
done_testing
