#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# LVM2, with metadata written by LVM2 itself (device-mapper is not needed): free extents and what filesystems in logical volumes do not use are
# left out, over one disk and over two; volumes of other kinds, and every doubt, are raw.
. "$(dirname "$0")/../lib/tap.sh"
. "$TOP/tests/lib/usage.sh"
requires lvm mke2fs debugfs e2fsck mkfs.btrfs btrfs mkswap sfdisk partclone.extfs
requires_root
losetup -f >/dev/null 2>&1 || skip_all 'needs loop devices'

SRC=$TAP_TMP/src
mkdir "$SRC" "$TAP_TMP/lvm"
fill "$SRC" 7 300 1800
export LVM_SYSTEM_DIR=$TAP_TMP/lvm LVM_SUPPRESS_FD_WARNINGS=1
loops=()
attached=()
detach() { [ ${#loops[@]} = 0 ] || losetup -d "${loops[@]}"; loops=(); attached=(); }
cleanup_fn detach

# attach IMAGE...: as loop devices, in "${loops[@]}"
attach()
{
	local image
	for image; do
		loops+=("$(losetup -f --show "$image")")
		attached+=("$image")
	done
}

lv()
{
	local filter='' dev command=$1
	for dev in "${loops[@]}"; do filter+="\"a|^$dev\$|\","; done
	lvm "$command" --driverloaded n --config "devices { scan=[\"/dev\"] filter=[$filter\"r|.*|\"] use_devicesfile=0 }
		activation { udev_sync=0 udev_rules=0 monitoring=0 } global { use_lvmpolld=0 }
		backup { backup=0 archive=0 } log { prefix=\"\" }" "${@:2}" 2>>"$TAP_TMP/lvm.log"
}
# Where the volumes are, in terms of the images.
layout()
{
	local i edit=()
	for i in "${!loops[@]}"; do edit+=(-e "s,${loops[i]}\\b,${attached[i]},g"); done
	{
		lv pvs --noheadings --units b --nosuffix -o pv_name,pe_start
		lv lvs -a --noheadings --units b --nosuffix --separator ' ' -o lv_name,vg_extent_size,seg_start_pe,seg_size_pe,stripes,stripe_size,devices
	} | sed "${edit[@]}" -e 's/[][]//g'
}
create() { lv lvcreate -an -Zn -Wn -y "$@" >/dev/null; }
put() { "$TOP/tests/lib/lv-io" put "$TAP_TMP/layout" "$@"; }
image() { rm -f "$1" && truncate -s "$2" "$1"; }
# stale data everywhere that nobody calls his own
soil() { yes STALE-DATA-OF-NOBODY | dd of="$1" bs=1M count="$(($2 / 1048576))" iflag=fullblock conv=notrunc status=none; }
volumes() { jq -r 'if type == "array" then .[] else . end | .volumes[] | "\(.name) \(.content) \(.how)"' "$MAP" | sort -u; }
why() { jq -r --arg n "$1" '[if type == "array" then .[] else . end | .volumes[] | select(.name == $n)][0].why' "$MAP"; }
pv_why() { jq -r 'if type == "array" then .[] else . end | .partitions[] | "\(.how) \(.why)"' "$MAP"; }
dump() { rm -rf "$2"; mkdir "$2" && debugfs -R "rdump / $2" "$1" >/dev/null 2>&1; }
ext4() { image "$TAP_TMP/fs" "$1" && mke2fs -q -F -t ext4 -L root -d "$SRC" "$TAP_TMP/fs"; }
copied() { jq --arg n "$1" '[if type == "array" then .[] else . end | .volumes[] | select(.name == $n).copied] | add' "$MAP"; } # of all disks
# what a group keeps of a disk of N MiB that is none of its volumes: a MiB in front of the extents (of 4 MiB), and what is left after them
around() { echo $(((1 + ($1 - 1) % 4) << 20)); }
# The LVs named are as they were in what a capture gives back of the images
check_lv()
{
	local i=0 name kept=()
	local map=$TAP_TMP/map.$$
	cp "$MAP" "$map"
	for image in "${images[@]}"; do
		keep "$image" "$image.kept" $i
		kept+=("$image.kept")
		i=$((i + 1))
	done
	detach
	attach "${kept[@]}"
	layout >"$TAP_TMP/layout.kept"
	for name; do
		ok "$name: read" "$TOP/tests/lib/lv-io" get "$TAP_TMP/layout.kept" "$name" "$TAP_TMP/got"
		ok "$name: e2fsck finds no fault in what is kept" e2fsck -fn "$TAP_TMP/got"
		dump "$TAP_TMP/got" "$TAP_TMP/out"
		rm -rf "$TAP_TMP/out/lost+found"
		ok "$name: every file is as it was" diff -r "$SRC" "$TAP_TMP/out"
		nok "$name: no stale data in it" grep -qa STALE-DATA "$TAP_TMP/got"
	done
	detach
	for image in "${kept[@]}"; do
		size=$(($(stat -c %s "$image") >> 20))
		# what is before and after the extents is kept as it is
		dd if="$image" of="$TAP_TMP/extents" bs=1M skip=1 count=$((size - 1 - (size - 1) % 4)) status=none
		nok 'no stale data in the extents' grep -qa STALE-DATA "$TAP_TMP/extents"
	done
}

# --- one disk
A=$TAP_TMP/a.img
B=$TAP_TMP/b.img
images=("$A")
image "$A" 300M
soil "$A" 314572800
attach "$A"
ok 'a group on one disk' lv vgcreate -y one "${loops[0]}"
ok 'volumes' create -n root -L 64M one
create -n swap -L 16M one
create -n gone -L 8M one
create -n data -L 40M one
lv lvremove -y one/gone >/dev/null
create -n root2 -L 24M one
lv lvextend -y -L 80M one/root >/dev/null # behind the others
layout >"$TAP_TMP/layout"
detach
ext4 80M
put root "$TAP_TMP/fs"
root=$(used_by extfs "$TAP_TMP/fs")
image "$TAP_TMP/swap" 16M
mkswap "$TAP_TMP/swap" >/dev/null 2>&1
put swap "$TAP_TMP/swap"
ext4 24M
put root2 "$TAP_TMP/fs"
root2=$(used_by extfs "$TAP_TMP/fs")
sum=$(sha256sum <"$A")
map "$A"
is "$(get '.partitions[0] | "\(.content) \(.how) \(.why)"')" "LVM2_member map physical volume of group 'one'" 'one disk: mapped'
like "$(get '.partitions[0].uuid')" '^[A-Za-z0-9]{6}(-[A-Za-z0-9]{4}){5}-[A-Za-z0-9]{6}$' 'one disk: the UUID of the physical volume'
is "$(volumes)" 'one/data unknown raw
one/root ext4 map
one/root2 ext4 map
one/swap swap header' 'one disk: its volumes'
is "$(get '[.volumes[].size] | add')" $(((80 + 16 + 40 + 24) << 20)) 'one disk: their sizes'
is "$(get '.copied')" "$(get '[.volumes[].copied] | add + '"$(around 300)")" \
	'one disk: nothing is copied but the volumes, what is before the extents and after them'
is "$(get '[.volumes[] | select(.name == "one/swap")][0].copied')" 4096 'one disk: of swap only the header'
is_close 'one disk, root' "$(copied one/root)" "$root"
is_close 'one disk, root2' "$(copied one/root2)" "$root2"
is_close 'one disk, all of it' "$(get .copied)" $((root + root2 + 4096 + (40 << 20) + $(around 300)))
is "$(sha256sum <"$A")" "$sum" 'one disk: the image is untouched'
# what was never written to is raw, and stale
image "$TAP_TMP/fs" 40M
put data "$TAP_TMP/fs"
map "$A"
check_lv root root2

# --- on a partition, with a second copy of the metadata at the end
image "$B" 200M
sfdisk -q "$B" <<-END
	label: gpt
	start=1MiB, size=10MiB
	start=20MiB, size=150MiB, type=E6D6D379-F507-44C2-A23C-238F2A3DF928
END
image "$TAP_TMP/part" 150M
attach "$TAP_TMP/part"
lv pvcreate -y --metadatacopies 2 "${loops[0]}" >/dev/null
lv vgcreate -y part "${loops[0]}" >/dev/null
create -n root -L 40M part
layout >"$TAP_TMP/layout"
detach
ext4 40M
put root "$TAP_TMP/fs"
dd if="$TAP_TMP/part" of="$B" bs=1M seek=20 conv=notrunc status=none
map "$B"
is "$(get '.table + " " + .partitions[1].content + " " + .partitions[1].how') $(volumes)" 'gpt LVM2_member map part/root ext4 map' 'on a partition'
ok 'on a partition: the second metadata area is kept' jq -e '.extents | any(.[0] <= 169 * 1048576 and .[0] + .[1] >= 170 * 1048576)' "$MAP"
ok 'on a partition: free extents are not' jq -e '.extents | all(.[0] + .[1] <= 70 * 1048576 or .[0] >= 165 * 1048576)' "$MAP"

# --- two disks: linear over both, striped, both ways
images=("$A" "$B")
image "$A" 200M
image "$B" 200M
soil "$A" 209715200
soil "$B" 209715200
attach "$A" "$B"
lv vgcreate -y two "${loops[@]}" >/dev/null
ok 'two disks: a striped volume' create -n fast -i 2 -I 16k -L 64M two
ok 'two disks: other stripes' create -n fast2 -i 2 -I 512k -L 32M two
ok 'two disks: one over both' create -n long -L 240M two
layout >"$TAP_TMP/layout"
detach
declare -A used
for name in fast:64M long:240M fast2:32M; do
	ext4 "${name#*:}"
	put "${name%:*}" "$TAP_TMP/fs"
	used[${name%:*}]=$(used_by extfs "$TAP_TMP/fs")
done
map "$A" "$B"
is "$(volumes)" 'two/fast ext4 map
two/fast2 ext4 map
two/long ext4 map' 'two disks: all are looked into'
for name in fast long fast2; do is_close "two disks, $name" "$(copied two/$name)" "${used[$name]}"; done
is_close 'two disks, all of them' "$(jq '[.[].copied] | add' "$MAP")" $((used[fast] + used[long] + used[fast2] + 2 * $(around 200)))
cp "$A" "$TAP_TMP/good.a"
cp "$B" "$TAP_TMP/good.b"
check_lv fast long fast2
map "$A"
is "$(volumes)" 'two/fast unknown raw
two/fast2 unknown raw
two/long unknown raw' 'one of two disks: raw'
like "$(why two/fast)" 'on a disk that is not there' 'one of two disks: and why'
ok 'one of two disks: all extents in use are copied' jq -e '.copied > 150 * 1048576' "$MAP"
map "$B" "$A"
is "$(volumes | grep -c map)" 3 'two disks in the other order: just the same'
map "$A" "$B" "$A"
like "$(pv_why | sort -u)" '^raw physical volume .pv0. of group .two. is there twice' 'the same disk twice: raw'
is "$(jq '[.[].copied] | add' "$MAP")" $((600 << 20)) '... whole'

# --- doubt means raw
attach "$A" "$B"
lv lvrename two long longer >/dev/null
detach
map "$A" "$TAP_TMP/good.b"
like "$(pv_why | sort -u)" "^raw the physical volumes of group 'two' tell different stories$" 'metadata of different ages'
poke() { printf '%b' "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none; }
again() { cp "$TAP_TMP/good.a" "$A"; cp "$TAP_TMP/good.b" "$B"; }
again
poke "$A" $((512 + 100)) X
map "$A" "$B"
like "$(pv_why | head -n1)" 'raw the checksum of its LVM label' 'label'
is "$(volumes | sort -u | cut -d' ' -f3 | sort -u)" raw '... and what lies on it'
again
poke "$A" $((4096 + 100)) X
map "$A"
like "$(pv_why)" "raw the checksum of its LVM metadata's header" 'header of the metadata'
again
at=$(grep -abo 'extent_size' "$A" | tail -n1 | cut -d: -f1)
poke "$A" $((at + 14)) 7
map "$A"
like "$(pv_why)" 'raw the checksum of its LVM metadata is wrong' 'metadata'
again
truncate -s 100M "$A"
map "$A" "$B"
like "$(pv_why | head -n1)" 'raw the LVM physical volume is larger than' 'truncated'

# --- a group that was broken up, and its disk put to use in another one, while a disk of it was away: that one still tells of it
image "$A" 100M
image "$B" 100M
attach "$A" "$B"
lv vgcreate -y former "${loops[@]}" >/dev/null
create -n lv -L 8M former "${loops[1]}"
detach
attach "$B"
lv vgreduce -y --removemissing former >/dev/null
lv vgremove -y -f former >/dev/null
lv vgcreate -y present "${loops[@]}" >/dev/null
create -n lv -L 40M present
layout >"$TAP_TMP/layout"
detach
ext4 40M
put lv "$TAP_TMP/fs"
map "$B"
is "$(volumes)" 'present/lv ext4 map' 'a disk that was in another group before'
map "$A" "$B"
like "$(pv_why | sort -u)" "^raw physical volume 'pv1' of group 'former' says that it is in another$" '... with a disk that still tells of that one: raw'
is "$(jq '[.[].copied] | add' "$MAP")" $((200 << 20)) '... whole'
map "$B" "$A"
is "$(jq '[.[].copied] | add' "$MAP")" $((200 << 20)) '... whichever comes first'

# --- other kinds of volumes
image "$A" 300M
image "$B" 300M
attach "$A" "$B"
lv vgcreate -y kinds "${loops[@]}" >/dev/null
create -n origin -L 24M kinds
create -n cow -L 8M kinds
create -n meta -L 4M kinds
create -n pool -L 40M kinds
create -n plain -L 24M kinds
for i in 0 1; do
	create -n rimage$i -L 20M kinds "${loops[i]}"
	create -n rmeta$i -L 4M kinds "${loops[i]}"
done
# a snapshot and a mirror as LVM would write them with a kernel that knows them
lv vgcfgbackup -f "$TAP_TMP/kinds.vg" kinds >/dev/null
perl -0pi -e '
	my $id = sub { "Abcdef-aaaa-bbbb-cccc-dddd-eeee-00000" . $_[0] };
	s/(\tlogical_volumes \{\n)/$1\t\tsnapshot0 {\n\t\t\tid = "@{[$id->(1)]}"\n\t\t\tstatus = ["READ", "WRITE", "VISIBLE"]\n\t\t\tsegment_count = 1\n\t\t\tsegment1 {\n\t\t\t\tstart_extent = 0\n\t\t\t\textent_count = 6\n\t\t\t\ttype = "snapshot"\n\t\t\t\tchunk_size = 8\n\t\t\t\torigin = "origin"\n\t\t\t\tcow_store = "cow"\n\t\t\t}\n\t\t}\n\n\t\tmirror {\n\t\t\tid = "@{[$id->(2)]}"\n\t\t\tstatus = ["READ", "WRITE", "VISIBLE"]\n\t\t\tsegment_count = 1\n\t\t\tsegment1 {\n\t\t\t\tstart_extent = 0\n\t\t\t\textent_count = 5\n\t\t\t\ttype = "raid1"\n\t\t\t\tdevice_count = 2\n\t\t\t\tregion_size = 4096\n\t\t\t\traids = ["mirror_rmeta_0", "mirror_rimage_0", "mirror_rmeta_1", "mirror_rimage_1"]\n\t\t\t}\n\t\t}\n\n/;
	s/\b(rimage|rmeta)([01])( \{\n\s*id = "[^"]*"\n\s*status = \["READ", "WRITE"), "VISIBLE"\]/mirror_$1_$2$3]/g;' "$TAP_TMP/kinds.vg"
ok 'a snapshot and a mirror' lv vgcfgrestore -y --force -f "$TAP_TMP/kinds.vg" kinds
layout >"$TAP_TMP/layout"
detach
ext4 24M
put origin "$TAP_TMP/fs"
put plain "$TAP_TMP/fs"
ext4 20M
put mirror_rimage_0 "$TAP_TMP/fs" || diag "$(cat "$TAP_TMP/layout")"
put mirror_rimage_1 "$TAP_TMP/fs"
map "$A" "$B"
is "$(volumes | grep -v -e kinds/meta -e pool)" 'kinds/cow unknown raw
kinds/mirror_rimage_0 unknown raw
kinds/mirror_rimage_1 unknown raw
kinds/mirror_rmeta_0 unknown raw
kinds/mirror_rmeta_1 unknown raw
kinds/origin unknown raw
kinds/plain ext4 map' 'other kinds: raw, but for what is plain'
like "$(why kinds/origin)" 'another logical volume is made of it' 'the origin of a snapshot: its free blocks may be the snapshot'\''s'
like "$(why kinds/mirror_rimage_0)" 'another logical volume is made of it' 'half of a mirror'

# --- while a physical volume is being emptied (pvmove), as LVM writes it with a kernel that knows it
image "$A" 100M
image "$B" 100M
attach "$A" "$B"
lv vgcreate -y moving "${loops[@]}" >/dev/null
create -n root -L 24M moving "${loops[0]}"
lv vgcfgbackup -f "$TAP_TMP/moving.vg" moving >/dev/null
layout >"$TAP_TMP/layout"
cp "$TAP_TMP/moving.vg" "$TAP_TMP/missing.vg"
perl -0pi -e '
	s/"pv0", 0\n/"pvmove0", 0\n/;
	s/(\tlogical_volumes \{\n)/$1\t\tpvmove0 {\n\t\t\tid = "Abcdef-aaaa-bbbb-cccc-dddd-eeee-000001"\n\t\t\tstatus = ["READ", "WRITE", "PVMOVE", "LOCKED"]\n\t\t\tallocation_policy = "contiguous"\n\t\t\tsegment_count = 1\n\t\t\tsegment1 {\n\t\t\t\tstart_extent = 0\n\t\t\t\textent_count = 6\n\t\t\t\ttype = "mirror"\n\t\t\t\tmirror_count = 2\n\t\t\t\textents_moved = 0\n\t\t\t\tmirrors = [\n\t\t\t\t\t"pv0", 0,\n\t\t\t\t\t"pv1", 0\n\t\t\t\t]\n\t\t\t}\n\t\t}\n\n/;' "$TAP_TMP/moving.vg"
detach
put root "$TAP_TMP/fs"
# rewrite TEXT: the metadata on $A and $B, with LVM's checksums
rewrite()
{
	perl -e '
		my ($text, @images) = @ARGV;
		my @table = map { my $c = $_; $c = $c & 1 ? $c >> 1 ^ 0xedb88320 : $c >> 1 for 1 .. 8; $c } 0 .. 255;
		sub crc { my $c = 0xf597a6cf; $c = $table[($c ^ $_) & 255] ^ $c >> 8 for unpack "C*", $_[0]; return $c; }
		open my $t, "<:raw", $text or die;
		my $body = do { local $/; <$t> } . "\0";
		for my $image (@images) {
			open my $f, "+<:raw", $image or die;
			seek $f, 4096, 0;
			read $f, my $header, 512;
			substr($header, 40, 24) = pack "Q< Q< L< L<", 65536, length $body, crc($body), 0;
			substr($header, 0, 4) = pack "L<", crc(substr $header, 4);
			seek $f, 4096, 0;
			print $f $header;
			seek $f, 4096 + 65536, 0;
			print $f $body;
			close $f or die;
		}' "$1" "$A" "$B"
}
rewrite "$TAP_TMP/moving.vg"
map "$A" "$B"
like "$(pv_why | sort -u)" "^raw group 'moving' has volumes that are being moved$" 'a volume that is being moved: all is raw'
rewrite "$TAP_TMP/missing.vg"
map "$A" "$B"
is "$(volumes)" 'moving/root ext4 map' 'metadata that we wrote'
sed -i '0,/flags = \[\]/! s/flags = \[\]/flags = ["MISSING"]/' "$TAP_TMP/missing.vg"
rewrite "$TAP_TMP/missing.vg"
map "$A" "$B"
like "$(pv_why | sort -u)" "^raw a physical volume of group 'moving' is marked as missing$" 'a physical volume that was missing: all is raw'

# --- a name that means something else elsewhere
image "$A" 100M
attach "$A"
lv vgcreate -y names "${loops[0]}" >/dev/null
create -n striped -L 24M names
layout >"$TAP_TMP/layout"
detach
ext4 24M
put striped "$TAP_TMP/fs"
map "$A"
is "$(volumes)" 'names/striped ext4 map' 'a volume with the name of a type'

# --- a table in a logical volume, as virtual machines have it
image "$A" 200M
attach "$A"
lv vgcreate -y host "${loops[0]}" >/dev/null
create -n guest -L 100M host
layout >"$TAP_TMP/layout"
detach
image "$TAP_TMP/disk" 100M
sfdisk -q "$TAP_TMP/disk" <<<'label: gpt
start=1MiB, size=40MiB
start=50MiB, size=16MiB, type=S'
ext4 40M
dd if="$TAP_TMP/fs" of="$TAP_TMP/disk" bs=1M seek=1 conv=notrunc status=none
dd if="$TAP_TMP/swap" of="$TAP_TMP/disk" bs=1M seek=50 conv=notrunc status=none
put guest "$TAP_TMP/disk"
map "$A"
is "$(volumes)" 'host/guest gpt map
host/guest/1 ext4 map
host/guest/2 swap header' 'a table in a logical volume'
ok '... and little is copied' test "$(get .copied)" -lt $((60 << 20))

# --- two of them, one not shut down: it may have been saved with its memory, and then needs what it swapped out, and more than its log tells
image "$A" 400M
attach "$A"
lv vgcreate -y host "${loops[0]}" >/dev/null
create -n off -L 100M host
create -n saved -L 100M host
create -n nested -L 120M host
layout >"$TAP_TMP/layout"
detach
put off "$TAP_TMP/disk"
debugfs -w -R 'feature needs_recovery' "$TAP_TMP/fs" >/dev/null 2>&1
dd if="$TAP_TMP/fs" of="$TAP_TMP/disk" bs=1M seek=1 conv=notrunc status=none
put saved "$TAP_TMP/disk"
# that one's filesystem and swap in a group of its own
image "$TAP_TMP/inner" 98M
attach "$TAP_TMP/inner"
lv vgcreate -y guest "${loops[0]}" >/dev/null
create -n root -L 40M guest
create -n swap -L 16M guest
layout >"$TAP_TMP/layout.inner"
detach
"$TOP/tests/lib/lv-io" put "$TAP_TMP/layout.inner" root "$TAP_TMP/fs"
"$TOP/tests/lib/lv-io" put "$TAP_TMP/layout.inner" swap "$TAP_TMP/swap"
image "$TAP_TMP/disk" 120M
sfdisk -q "$TAP_TMP/disk" <<<'label: gpt
start=1MiB, size=98MiB'
dd if="$TAP_TMP/inner" of="$TAP_TMP/disk" bs=1M seek=1 conv=notrunc status=none
put nested "$TAP_TMP/disk"
map "$A"
is "$(volumes)" 'guest/root ext4 raw
guest/swap swap raw
host/nested gpt map
host/nested/1 LVM2_member map
host/off gpt map
host/off/1 ext4 map
host/off/2 swap header
host/saved gpt map
host/saved/1 ext4 raw
host/saved/2 swap raw' 'the disk of a virtual machine that was not shut down'
like "$(why host/saved/1)" 'journal has to be replayed, which tells too little of a virtual machine' '... and why'
like "$(why guest/swap)" 'a virtual machine that was not shut down' '... and of its swap'

# --- on a mirror, whose halves differ in what was swapped out and in what a filesystem does not use
image "$TAP_TMP/half" 99M
attach "$TAP_TMP/half"
lv vgcreate -y pair "${loops[0]}" >/dev/null
create -n swap -L 32M pair
create -n root -L 60M pair
layout >"$TAP_TMP/layout"
detach
image "$TAP_TMP/swap" 32M
mkswap "$TAP_TMP/swap" >/dev/null 2>&1
put swap "$TAP_TMP/swap"
ext4 60M
for image in "$A" "$B"; do
	put root "$TAP_TMP/fs"
	image "$image" 100M
	"$TOP/tests/lib/md-super" --metadata 1.2 --role "$([ "$image" = "$A" ] && echo 0 || echo 1)" "$image" >/dev/null
	dd if="$TAP_TMP/half" of="$image" bs=1M seek=1 conv=notrunc status=none
	# of the second one: swap follows the first MiB of the array, the end of the root the swap
	soil "$TAP_TMP/fs.free" 33550336
	dd if="$TAP_TMP/fs.free" of="$TAP_TMP/half" bs=4096 seek=257 count=8191 conv=notrunc status=none
	dd if="$TAP_TMP/fs.free" of="$TAP_TMP/fs" bs=1M seek=59 count=1 conv=notrunc status=none
done
map "$A" "$B"
is "$(volumes | grep -v md/)" 'pair/root ext4 map
pair/swap swap header' 'on a mirror whose halves differ where nothing is in use'
ok '... which is not copied' test "$(get .[1].copied)" -lt $((30 << 20))
printf X | dd of="$B" bs=1 seek=$(((2 << 20) + 1000)) conv=notrunc status=none
map "$A" "$B"
is "$(jq '[.[].copied == .[].size] | all' "$MAP")" true '... and in the header of the swap: copied whole'

# --- none of their own
image "$A" 100M
attach "$A"
lv pvcreate -y "${loops[0]}" >/dev/null
detach
map "$A"
is "$(get '.partitions[0] | "\(.how) \(.why)"')" 'header LVM physical volume of no group' 'a physical volume of no group'
printf '\353' | dd of="$A" bs=1 conv=notrunc status=none
map "$A"
like "$(get '.partitions[0] | "\(.how) \(.why)"')" '^raw there is something in front of the label of an LVM physical volume' '... that something was written over'
is "$(get '.copied')" $((100 << 20)) '... is copied whole'
image "$A" 100M
image "$B" 100M
attach "$A" "$B"
lv pvcreate -y --metadatacopies 0 "${loops[0]}" >/dev/null
lv vgcreate -y bare "${loops[@]}" >/dev/null
create -n lv -L 40M bare "${loops[0]}"
layout >"$TAP_TMP/layout"
detach
ext4 40M
put lv "$TAP_TMP/fs"
map "$A" "$B"
is "$(volumes)" 'bare/lv ext4 map' 'a disk without metadata, with one that has them'
map "$A"
like "$(pv_why)" '^raw the metadata of its LVM group are on disks that are not there' '... and without'
image "$A" 100M
image "$B" 100M
attach "$A" "$B"
lv vgcreate -y quiet "${loops[@]}" >/dev/null
lv pvchange -y --metadataignore y "${loops[0]}" >/dev/null
create -n lv -L 40M quiet "${loops[0]}"
layout >"$TAP_TMP/layout"
detach
put lv "$TAP_TMP/fs"
map "$A" "$B"
is "$(volumes)" 'quiet/lv ext4 map' 'a disk whose metadata are to be ignored, with one that has them'
map "$A"
like "$(pv_why)" '^raw the metadata of its LVM group are on disks that are not there' '... and without'
done_testing
