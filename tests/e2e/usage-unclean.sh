#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Filesystems whose machine lost its power: by the map after the replay, together with the map before it and the log, no file is lost.  Here the
# replay is done on a copy of the whole image, since not every kernel has a device mapper; tests/qemu/replay.sh has the real thing.
. "$(dirname "$0")/../lib/own-mounts.sh"
. "$(dirname "$0")/../lib/tap.sh"
. "$TOP/tests/lib/usage.sh"
requires_root
requires mke2fs e2fsck mkfs.xfs xfs_repair mkfs.btrfs btrfs
losetup -f >/dev/null 2>&1 || skip_all 'needs loop devices'
PAST=${O:-$TOP/build/release}/e2e/usage_past_log
[ -x "$PAST" ] || bail_out "there is no $PAST: run make"
MNT=$TAP_TMP/mnt
mkdir "$MNT"
cleanup_fn sh -c "! mountpoint -q '$MNT' || umount '$MNT'"
cd "$TAP_TMP" || exit

sums_of()
{
	: >"$2"
	mount -o loop "$1" "$MNT" 2>>mount.log || { dmesg | tail -n 5 >>mount.log; return; }
	(cd "$MNT" && find . -type f -print0 | sort -z | xargs -0 sha256sum) >"$2" 2>>mount.log
	umount "$MNT"
}
differ() { diff "$1" "$2" | grep -c '^[<>]'; }
# union A B: the extents of both
union()
{
	jq -cs '{extents: ([.[].extents[]] | sort | reduce .[] as $e ([];
		if length > 0 and .[-1][0] + .[-1][1] >= $e[0]
		then .[-1][1] = ([.[-1][1], $e[0] + $e[1] - .[-1][0]] | max) else . + [$e] end))}' "$1" "$2"
}
copied() { jq '[.extents[][1]] | add' "$1"; }

while read -r name check type size options; do
	check=${check//#/ }
	rm -f ./*.img ./*.json
	# shellcheck disable=SC2086 # options
	if ! "$TOP/tests/lib/crash-image" "$type" "$size" disk.img $options >make.log 2>&1; then
		diag "$(tail -n 3 make.log)"
		skip 9 "$name cannot be made here"
		continue
	fi
	sum=$(sha256sum <disk.img)
	map disk.img
	is_raw 'not unmounted cleanly: .* (has|have) (a log tree )?to be (replayed|removed)' "$name"
	cp --sparse=always disk.img after.img
	sums_of after.img want
	map after.img
	is_map "$type" "$name: mapped after the replay"
	cp "$MAP" after.json
	"$PAST" disk.img >before.json
	is "$(jq -r '.partitions[0].how' before.json)" map "$name: and as it lies on the disk"
	union before.json after.json >both.json
	# what is not in use reads as 5Ah, not as zeros: nobody may need it
	for fill in '' 90; do
		rm -f kept.img # another file: the loop device of the last one may linger
		"$TOP/tests/lib/extents-keep" both.json 0 disk.img kept.img $fill
		sums_of kept.img got
		is "$(differ want got)" 0 "$name: of $(wc -l <want) files none differs${fill:+, whatever lies in between}"
	done
	# shellcheck disable=SC2086 # a command
	ok "$name: no fault is found in it" $check kept.img
	ok "$name: little is added to what is in use ($(copied both.json), $(copied after.json))" \
		test "$(copied both.json)" -lt $(($(copied after.json) * 5 / 4))
	is "$(sha256sum <disk.img)" "$sum" "$name: the source is untouched"
done <<-END
	ext3-1k e2fsck#-fn ext3 200M -b 1024
	bigalloc e2fsck#-fn ext4 200M -O bigalloc -C 16384
	newest-ext4 e2fsck#-fn ext4 200M -O orphan_file,fast_commit,meta_bg,^resize_inode
	xfs-1k xfs_repair#-n xfs 320M -b size=1024 -m rmapbt=1,reflink=1
	xfs-4k-sectors xfs_repair#-n xfs 320M -s size=4096
	btrfs btrfs#check btrfs 200M
END
done_testing
