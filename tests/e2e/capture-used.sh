#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Filesystems that have lived are captured through a real server and restored: what was in use is there, byte for byte, and what was deleted
# is neither on the restored disks nor in the store; with --all-blocks it is.
# shellcheck disable=SC2034,SC2154 # names, kind, how are of filesystems.sh
. "$(dirname "$0")/../lib/own-mounts.sh"
. "$(dirname "$0")/../lib/tap.sh"
. "$TOP/tests/lib/usage.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/agent.sh"
. "$(dirname "$0")/../lib/cli.sh"
. "$(dirname "$0")/../lib/filesystems.sh"
requires curl jq xxd cmp blkid openssl sgdisk mke2fs debugfs e2fsck mkfs.xfs xfs_repair mkswap \
	mkfs.btrfs btrfs mkntfs ntfs-3g ntfsresize mkfs.fat fsck.fat mcopy mkfs.exfat fsck.exfat mount.exfat-fuse lvm mdadm

cd "$TAP_TMP" || exit
ok "files" fs_sources

# ---- the sources: NAME HOW KIND SIZE OPTION...
while read -r line; do
	# shellcheck disable=SC2086 # words
	fs_add $line
done <<-END
	ext2 map ext 70M -t ext2 -b 1024
	ext3 map ext 90M -t ext3
	ext4 map ext 100M -t ext4
	ext4-bigalloc map ext 150M -t ext4 -O bigalloc -C 16384
	xfs map xfs 320M
	xfs-4 map xfs 320M -m crc=0
	btrfs map btrfs 300M
	ntfs map ntfs 100M -c 4096
	fat12 map fat 30M -F 12 -s 16
	fat16 map fat 80M -F 16 -s 4
	fat32 map fat 100M -F 32 -s 1
	exfat map exfat 100M -c 4K
	lvm map lvm 160M
	md map md 90M
	swap header swap 24M
	unknown raw none 9M
END

if [ -e lvm2.img ]; then # the other disk of the group
	names+=(lvm2)
	kind[lvm2]=none
	how[lvm2]=map
fi

# One whose journal has to be replayed is copied as it is: so nothing was deleted on it.
fs_new unclean.img 80M
mke2fs -q -F -t ext4 -d "$FS_KEPT" unclean.img
ok "unclean: made" debugfs -w -R 'feature needs_recovery' unclean.img
names+=(unclean)
kind[unclean]=none
how[unclean]=raw

# A partitioned disk: two filesystems, swap, something unknown, and stale data where no partition is.
fs_new parts.img 300M
sgdisk -n1:1M:+100M -n2:0:+24M -t2:8200 -n3:0:+9M -n4:200M:+80M parts.img >/dev/null
for part in ext4:1 swap:101 unknown:125 unclean:200; do
	dd if="${part%:*}.img" of=parts.img bs=1M seek="${part#*:}" conv=notrunc,sparse status=none
done
yes "$FS_STALE" | head -c $((20 << 20)) | dd of=parts.img bs=1M seek=150 conv=notrunc iflag=fullblock status=none
names+=(parts)
kind[parts]=none

mapfile -t sources < <(fs_disks '')
mapfile -t targets < <(fs_disks t-)

ok "what is to be expected" fs_expect
sums=$(fs_sum_all)
start_server
make_token

# ---- captured, by an agent that is killed in the middle
start_agent src --workers 1 "${sources[@]}"
ok "the machine appears" wait_for 60 machine_is_idle src
ok "a capture is ordered" order_held src '{"kind":"capture","machine":"src","image":"used"}'
ok "some packs arrive" valve "$(agent_pid src)" 60 packs_at_least 5
stop_agent src KILL
start_agent src "${sources[@]}"
ok "killed and started again the capture ends" job_wait 200
is "$(field .state)" "done" "well" || diag "$BODY"
report=$(field .report)
log=$(field '.log | join("\n")')
is "$(fs_sum_all)" "$sums" "the sources are as they were"
nok "nothing stale is in the store" fs_store_has_stale
ok "... and what is in use is" sh -c "\"$WIRE\" plain \$(find '$DATA/store/packs' -type f) | grep -qa '^file 7, '"
is "$(field '.total + .skipped')" "$(field '[.report.disks[].size] | add')" "what is in use and what is not are all"
is "$(field .total)" "$(field '[.report.disks[].used_bytes] | add')" "the job counts what is in use"
is "$(field '[.report.disks[] | .used_bytes + .skipped_bytes == .size] | all')" true "... so does each disk"
is "$(field .all_blocks)" false "the job says that it was not all"

# ---- the report and the log say what was copied, and why
for n in "${names[@]}"; do
	[ "$n" = parts ] && continue
	disk=$(jq ".disks[$(fs_place "$n")]" <<<"$report")
	is "$(jq -r '.map.partitions[0].how' <<<"$disk")" "${how[$n]}" "$n: the report says how"
	is "$(jq -r '.used_bytes' <<<"$disk")" "$(get ".[$(fs_place "$n")].copied")" "$n: it is what hoist-agent map says"
	is "$(jq -r '.read_bytes <= .used_bytes * 1.5 + 4194304 or .used_bytes == .size' <<<"$disk")" true "$n: little else was read"
	case ${how[$n]} in
	raw) is "$(jq -r '.used_bytes == .size and .skipped_bytes == 0' <<<"$disk")" true "$n: all was copied" ;;
	header) is "$(jq -r '.used_bytes <= 65536' <<<"$disk")" true "$n: no more than a header was copied" ;;
	map) is "$(jq -r '.used_bytes < .size' <<<"$disk")" true "$n: not all was copied" ;;
	esac
done
like "$log" "disk 'file:unclean.img' \(ext4\): copied whole, 80.0 MiB: .*journal has to be replayed" "the log says what is copied whole, and why"
like "$log" "disk 'file:swap.img' \(swap\): only its header is copied" "... and of what only the header"
like "$log" "disk 'file:parts.img', partition 4 \(ext4\): copied whole" "... by partition"
like "$(cat src.log)" "disk 'file:unknown.img' .*copied whole, 9.0 MiB: " "the machine's own console too"
disk=$(jq ".disks[$(fs_place parts)]" <<<"$report")
is "$(jq -r '.map.table + " " + ([.map.partitions[] | "\(.number):\(.how)"] | join(" "))' <<<"$disk")" \
	"gpt 1:map 2:header 3:raw 4:raw" "the report tells the partitions apart"
is "$(jq -r '[.map.partitions[] | .why != "" or .how == "map"] | all' <<<"$disk")" true "... with a reason for each"
is "$(jq -r '[.map.areas[].how] | index("none") != null' <<<"$disk")" true "... and the space between them"
cli job show "$JOB"
like "$OUT" "copied: +file:unclean.img \(ext4\): copied whole, 80.0 MiB of 80.0 MiB: .*journal" "job show: what was copied whole, and why"
like "$OUT" "copied: +file:ext4.img \(ext4\): what is in use, [0-9.]+ MiB of 100.0 MiB" "job show: what was copied by its map"
like "$OUT" "copied: +file:parts.img, partition 2 \(swap\): only its header" "job show: by partition"
like "$OUT" "left out: +[0-9.]+ (M|G)iB that are not in use" "job show: what was left out"
cli image show used@1 --json
is "$(jq '.report.disks[0].map.how' <<<"$OUT")" '"map"' "the manifest keeps the report"

# ---- restored
for n in "${names[@]}"; do truncate -s "$(stat -c %s "$n.img")" "t-$n.img"; done
start_agent dst "${targets[@]}"
ok "the target appears" wait_for 60 machine_is_idle dst
ok "a restore is ordered" order '{"kind":"restore","machine":"dst","image":"used","end":"stay"}'
ok "it ends" job_wait 200
is "$(field .state)" "done" "well" || diag "$BODY"
fs_restored first "${names[@]}"
is "$(allocated t-swap.img) $(field ".report.disks[$(fs_place swap)].zeroed_bytes")" "$(allocated e-swap.img) 0" "what is free takes no room in a sparse file"

# ---- files come and go, the next capture is of another map; the target has the former version
aged=()
for n in "${names[@]}"; do
	"fs_age_${kind[$n]}" "$n.img" 2>/dev/null && aged+=("$n")
done
ok "some have lived on (${aged[*]})" test ${#aged[@]} -ge 4
ok "what is to be expected then" fs_expect
nok "... is something else" cmp -s e-ext4.img t-ext4.img
# and one that holds only what has nothing to do with it
openssl enc -aes-128-ctr -K 1 -iv 0 -in /dev/zero 2>/dev/null | head -c "$(stat -c %s ext3.img)" >t-ext3.img
yes "$FS_STALE" | head -c $((24 << 20)) >t-swap.img
cli capture src --image used --wait
is "$STATUS_CLI" 0 "a second capture is done" || diag "$ERR"
like "$OUT" "^captured used@2: 2\.[0-9] GiB of disks \([0-9.]+ [MG]iB free and left out\), .* sent$" "the command says what was left out"
like "$ERR" "note: file:unclean.img \(ext4\): copied whole, .*journal has to be replayed" "... and what was copied whole, and why"
stop_agent dst
old=$(fingerprint_of dst "$(fs_place swap)")
start_agent dst "${targets[@]}" # for the fingerprints of what is there now
is_back() { machine_is_idle dst && [ "$(fingerprint_of dst "$(fs_place swap)")" != "$old" ]; }
ok "the target is back" wait_for 60 is_back
api GET /v1/machines/dst
mapfile -t prints < <(field '.disks[].fingerprint')
cli restore used dst --end stay --wait "${prints[@]/#/--overwrite=}"
is "$STATUS_CLI" 0 "it is restored over what was there" || diag "$ERR"
fs_restored second ext3 ext4 xfs lvm swap
nok "nothing stale is in the store after all" fs_store_has_stale

# ---- all blocks: the stale data is there (which also shows that the checks above can see it)
cli capture src --image all --all-blocks --disk file:ext4.img --disk file:swap --wait
is "$STATUS_CLI" 0 "all blocks are captured" || diag "$ERR"
unlike "$OUT" "left out" "nothing is left out"
like "$ERR" "note: file:ext4.img: copied whole, 100.0 MiB: all blocks were ordered" "and that is said"
ok "the stale data is in the store" fs_store_has_stale
cli jobs --json
is "$(jq '.jobs[0].all_blocks' <<<"$OUT")" true "the job says so"
truncate -s 100M a-ext4.img
truncate -s 24M a-swap.img
start_agent whole --disk a-ext4.img --disk a-swap.img
ok "another target appears" wait_for 60 machine_is_idle whole
cli restore all whole --end stay --wait
is "$STATUS_CLI" 0 "it is restored" || diag "$ERR"
ok "ext4 is the source, byte for byte" cmp ext4.img a-ext4.img
ok "swap is the source, byte for byte" cmp swap.img a-swap.img
ok "with what was deleted" fs_has_stale a-ext4.img
done_testing
