#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The property of the map that matters most, on random disks of every kind: damage anything that it reads, and it covers what it covered
# before; damage much, and it ends soon and touches nothing that is not its own.  LAYOUTS disks of each kind (1), RUNS damages to each (120),
# beginning at FIRST (1): `make check-damage N=100 RUNS=5000`.
. "$(dirname "$0")/../lib/tap.sh"
. "$TOP/tests/lib/usage.sh"
requires mkfs.fat mcopy mkfs.exfat mkntfs ntfscp mke2fs mkfs.xfs mkfs.btrfs mkswap sfdisk

DAMAGE=$TOP/${O:-build/release}/e2e/usage_damage
[ -x "$DAMAGE" ] || bail_out "there is no $DAMAGE: run make tests"
kinds=(fat12 fat16 fat32 exfat ntfs ext2 ext3 ext4 xfs btrfs swap gpt mbr md)
if [ "$(id -u)" = 0 ] && losetup -f >/dev/null 2>&1 && command -v lvm >/dev/null; then
	kinds+=(lvm)
else
	skip 1 'lvm: needs root, loop devices and lvm2'
fi
first=${FIRST:-1}
for ((seed = first; seed < first + ${LAYOUTS:-1}; seed++)); do
	for kind in "${kinds[@]}"; do
		ok "$kind, layout $seed: made" "$TOP/tests/lib/usage-image" "$kind" "$seed" "$TAP_TMP/disks"
		map "$TAP_TMP"/disks/disk?.img
		ok "$kind, layout $seed: mapped, undamaged" jq -e '[if type == "array" then .[] else . end | .partitions[]] | length > 0 and all(.how != "raw")' "$MAP"
		ok "$kind, layout $seed: what is in use stays so after any damage" "$DAMAGE" --seed "$seed" --runs "${RUNS:-120}" "$TAP_TMP"/disks/disk?.img
	done
done
done_testing
