#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What capture-used.sh does with the common filesystems, for their other forms: features of ext4 that are missing or rare, XFS with reverse maps
# and large sectors, NTFS in clusters of one sector, LVM on a single disk, all superblocks of MD.
# shellcheck disable=SC2154 # names, how are of filesystems.sh
. "$(dirname "$0")/../lib/own-mounts.sh"
. "$(dirname "$0")/../lib/tap.sh"
. "$TOP/tests/lib/usage.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/agent.sh"
. "$(dirname "$0")/../lib/filesystems.sh"
requires curl jq xxd cmp openssl mke2fs debugfs e2fsck dumpe2fs mkfs.xfs xfs_db xfs_repair setfattr mkntfs ntfs-3g ntfsresize ntfsinfo lvm mdadm

cd "$TAP_TMP" || exit
ok "files" fs_sources
while read -r line; do
	# shellcheck disable=SC2086 # words
	fs_add $line
done <<-END
	no-64bit map ext 70M -t ext4 -O ^64bit
	no-csum map ext 70M -t ext4 -O ^metadata_csum
	no-flex_bg map ext 80M -t ext4 -b 1024 -O ^flex_bg
	meta_bg map ext 80M -t ext4 -b 1024 -g 4096 -O meta_bg,^resize_inode
	xfs-rmapbt map xfs 320M -m rmapbt=1,reflink=1
	xfs-4k-sectors map xfs 320M -s size=4096
	ntfs-512 map ntfs 100M -c 512
	lvm-one map lvm 240M one
	md-0.90 map md 70M 0.90
	md-1.0 map md 70M 1.0
	md-1.1 map md 70M 1.1
END

# ---- they are what they are called
has() { [[ " ${names[*]} " = *" $1 "* ]]; }
for feature in 64bit metadata_csum flex_bg; do
	unlike "$(dumpe2fs -h no-${feature/metadata_/}.img 2>/dev/null | grep features:)" " $feature" "ext4 without $feature"
done
like "$(dumpe2fs -h meta_bg.img 2>/dev/null | grep features:)" ' meta_bg' 'ext4 with meta_bg'
like "$(xfs_db -r -c version xfs-rmapbt.img)" 'RMAPBT' 'XFS with reverse maps'
is "$(xfs_db -r -c 'sb 0' -c 'p sectsize' xfs-4k-sectors.img)" 'sectsize = 4096' 'XFS with sectors of 4096'
! has ntfs-512 || like "$(ntfsinfo -m ntfs-512.img 2>&1)" 'Cluster Size: 512' 'NTFS with clusters of 512'
for version in 0.90 1.0 1.1; do
	like "$(mdadm --examine md-$version.img 2>/dev/null)" "Version : $version" "MD $version"
done

# ---- captured
ok "what is to be expected" fs_expect
sums=$(fs_sum_all)
mapfile -t sources < <(fs_disks '')
mapfile -t targets < <(fs_disks t-)
start_server
make_token
start_agent src "${sources[@]}"
ok "the machine appears" wait_for 60 machine_is_idle src
ok "a capture is ordered" order '{"kind":"capture","machine":"src","image":"forms"}'
ok "it ends" job_wait 200
is "$(field .state)" "done" "well" || diag "$BODY"
for n in "${names[@]}"; do
	disk=$(field ".report.disks[$(fs_place "$n")]")
	is "$(jq -r '.map.partitions[0].how' <<<"$disk")" "${how[$n]}" "$n: the report says how"
	is "$(jq .used_bytes <<<"$disk")" "$(get ".[$(fs_place "$n")].copied")" "$n: it is what hoist-agent map says"
done
is "$(fs_sum_all)" "$sums" "the sources are as they were"
nok "nothing stale is in the store" fs_store_has_stale

# ---- restored
for n in "${names[@]}"; do truncate -s "$(stat -c %s "$n.img")" "t-$n.img"; done
start_agent dst "${targets[@]}"
ok "the target appears" wait_for 60 machine_is_idle dst
ok "a restore is ordered" order '{"kind":"restore","machine":"dst","image":"forms","end":"stay"}'
ok "it ends" job_wait 200
is "$(field .state)" "done" "well" || diag "$BODY"
fs_restored forms "${names[@]}"

# ---- that stale data would have been seen
ok "a capture of all blocks is ordered" order '{"kind":"capture","machine":"src","image":"all","disks":["file:md-1.0.img"],"options":{"all_blocks":true}}'
ok "it ends" job_wait 200
is "$(field .state)" "done" "well" || diag "$BODY"
ok "then the stale data is in the store" fs_store_has_stale
done_testing
