#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A machine that lost its power: ext4 and btrfs in partitions, XFS in a logical volume over two disks, none unmounted.  The ISO replays their logs on
# copies in memory, captures only what is in use, and what is restored shows, after the kernel's own replay, every file that the source
# itself shows after its own.
. "$(dirname "$0")/../lib/own-mounts.sh"
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/lan.sh"
. "$(dirname "$0")/../lib/migration.sh"
requires_root
requires qemu-system-x86_64 ip dnsmasq jq perl mke2fs dumpe2fs e2fsck mkfs.xfs xfs_repair mkfs.btrfs btrfs sfdisk lvm
[ -e "$ISO" ] || bail_out "no $ISO: make iso"
grep -qw xfs /proc/filesystems || modprobe xfs 2>/dev/null || skip_all 'the kernel of this machine has no XFS'
grep -qw btrfs /proc/filesystems || modprobe btrfs 2>/dev/null || skip_all 'the kernel of this machine has no btrfs'
losetup -f >/dev/null 2>&1 || skip_all 'needs loop devices'
cd "$TAP_TMP" || exit

# --- the source: three disks
MIB=1048576
loops=()
mkdir lvm mnt
export LVM_SYSTEM_DIR=$TAP_TMP/lvm LVM_SUPPRESS_FD_WARNINGS=1
detach() { [ ${#loops[@]} = 0 ] || losetup -d "${loops[@]}"; loops=(); }
cleanup_fn detach
cleanup_fn sh -c "! mountpoint -q '$TAP_TMP/mnt' || umount '$TAP_TMP/mnt'"
lv()
{
	lvm "$1" --driverloaded n --config "devices { scan=[\"/dev\"] filter=[\"a|^${loops[0]}\$|\",\"a|^${loops[1]}\$|\",\"r|.*|\"] use_devicesfile=0 }
		activation { udev_sync=0 udev_rules=0 monitoring=0 } global { use_lvmpolld=0 }
		backup { backup=0 archive=0 }" "${@:2}" 2>>lvm.log
}
attach() { loops=("$(losetup -f --show "$1")" "$(losetup -f --show "$2")"); }
layout()
{
	lv pvs --noheadings --units b --nosuffix -o pv_name,pe_start
	lv lvs -a --noheadings --units b --nosuffix --separator ' ' -o lv_name,vg_extent_size,seg_start_pe,seg_size_pe,stripes,stripe_size,devices
}
# lv_io put|get A B FILE: the volume on these two images
lv_io()
{
	attach "$2" "$3"
	layout >lv.layout
	"$TOP/tests/lib/lv-io" "$1" lv.layout data "$4"
	local status=$?
	detach
	return $status
}
part() { dd if="$1" of="$3" bs=1M skip="$2" count=340 conv=sparse status=none; }

for fs in ext4 xfs btrfs; do "$TOP/tests/lib/crash-image" $fs 340M $fs.img >$fs.log 2>&1 & done
wait
for fs in ext4 xfs btrfs; do ok "$fs, as it is when the power fails" test -s $fs.img || diag "$(cat $fs.log)"; done
truncate -s 800M a.img
printf 'label: gpt\nstart=1MiB, size=340MiB\nstart=400MiB, size=340MiB\n' | sfdisk -q a.img
dd if=ext4.img of=a.img bs=1M seek=1 conv=notrunc,sparse status=none
dd if=btrfs.img of=a.img bs=1M seek=400 conv=notrunc,sparse status=none
truncate -s 180M b.img c.img
attach b.img c.img
ok 'a volume over two disks' lv vgcreate -y vg "${loops[@]}"
lv lvcreate -an -Zn -Wn -y -n data -L 340M vg >/dev/null
detach
ok 'with XFS in it' lv_io put b.img c.img xfs.img
sha256sum a.img b.img c.img >sums

# --- the capture
ok 'a LAN' lan_up lan
ok 'a server' server_up lan
ok 'a medium for it' medium lan my.iso
ok 'the machine starts from it' vm_start source lan --iso "$TAP_TMP/my.iso" --mem 512 \
	--disk "$TAP_TMP/a.img,virtio,serial=A" --disk "$TAP_TMP/b.img,virtio,serial=B" --disk "$TAP_TMP/c.img,virtio,serial=C"
source=$(machine_wait lan 600 '.state == "idle"')
isnt "$source" '' 'it appears on the server' || bail_out 'no machine'
ok 'its disks are captured' hoist lan capture "$source" --image crashed --wait
hoist lan job show "$(hoist lan jobs --json | jq -r '.jobs[0].id')" --json >job.json
vm_stop source
ok 'the source disks have not changed' sha256sum --quiet -c sums
is "$(jq -r '[.report.disks[].counters | .locked and .writes[0] == .writes[1]] | all' job.json)" true 'they were locked, and not written to'
is "$(jq -r '[.report.disks[].map | .partitions[], .volumes[] | select(.replayed) | "\(.content) \(.how)"] | unique | join(", ")' job.json)" \
	'btrfs map, ext4 map, xfs map' 'the report says what was replayed'
like "$(jq -r '.log[]?' job.json)" 'replaying, on a copy in memory, the log of ext4' 'and the job'
is "$(jq -r '[.report.disks[].map | .partitions[], .volumes[] | select(.how == "raw")] | length' job.json)" 0 'nothing is copied whole'
used=$(jq '[.report.disks[].used_bytes] | add' job.json)
ok "clearly less is copied than the filesystems have ($((used / MIB)) MiB of 1020)" test "$used" -lt $((510 * MIB))
is "$(vm_broke source)" '' 'nothing broke on the source'

# --- the restore, to files
truncate -s 800M ta.img
truncate -s 180M tb.img tc.img
port=$(sed -n 's/^listening .*:\([0-9]*\)\b.*/\1/p' server-lan.log | head -n 1)
lan_start lan target "$MIGRATION_BIN/agent/hoist-agent" run --server "https://$(lan_address lan):${port:-4647}" \
	--pin "$(hoist lan server info --json | jq -r .fingerprint)" --token "$(hoist lan token create)" --id target --name target --discovery=no \
	--state "$TAP_TMP/target.state" --disk ta.img --disk tb.img --disk tc.img
target=$(machine_wait lan 180 '.name == "target" and .state == "idle"')
ok 'restored to files' hoist lan restore crashed "$target" --end stay --wait
lan_stop target

# --- the same files?  The kernel replays; on copies, since it writes.
# sums_of IMAGE OUT
sums_of()
{
	: >"$2"
	mount -o loop "$1" mnt 2>>mount.log || return
	(cd mnt && find . -type f -print0 | sort -z | xargs -0 sha256sum) >"$2" 2>>mount.log
	umount mnt
}
differ() { diff "$1" "$2" | grep -c '^[<>]'; }
part a.img 1 src-ext4
part a.img 400 src-btrfs
lv_io get b.img c.img src-xfs
part ta.img 1 dst-ext4
part ta.img 400 dst-btrfs
lv_io get tb.img tc.img dst-xfs
for fs in ext4 btrfs xfs; do
	ok "$fs: restored, it is not the whole disk" test "$(cmp -l src-$fs dst-$fs | wc -l)" -gt 0
	cp --sparse=always src-$fs before-$fs
	sums_of src-$fs $fs.src
	sums_of dst-$fs $fs.dst
	ok "$fs: thousands of files ($(wc -l <$fs.src))" test "$(wc -l <$fs.src)" -gt 2500
	is "$(differ $fs.src $fs.dst)" 0 "$fs: none differs, after the kernel's own replay"
done
ok 'ext4: e2fsck finds no fault' e2fsck -fn dst-ext4
ok 'xfs: xfs_repair finds none' xfs_repair -n dst-xfs
ok 'btrfs: btrfs check finds none' btrfs check --check-data-csum dst-btrfs

# --- had only the map as it lies on the disk been believed
dumpe2fs before-ext4 2>/dev/null | perl -e '
	open my $f, "+<:raw", $ARGV[0] or die;
	my ($size) = 1024;
	while (<STDIN>) {
		$size = $1 if /^Block size: +(\d+)/;
		next unless s/^  Free blocks: //;
		for (split /, /) {
			my ($from, $to) = /^(\d+)(?:-(\d+))?/ or next;
			$to //= $from;
			seek $f, $from * $size, 0;
			print $f "\0" x $size for $from .. $to;
		}
	}' before-ext4
sums_of before-ext4 ext4.alone
lost=$(differ ext4.src ext4.alone)
ok "by the map before the replay alone files would be lost (${lost:-?})" test "${lost:-0}" -gt 0
done_testing
