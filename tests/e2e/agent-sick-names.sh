#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Unreadable places have names: files, directories, journal and metadata of ext4 and NTFS in partitions; free places are no loss.
# shellcheck disable=SC2034,SC2154
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/agent.sh"
. "$(dirname "$0")/../lib/cli.sh"
. "$(dirname "$0")/../lib/faulty.sh"
requires curl jq xxd sfdisk mke2fs debugfs mkntfs ntfscp ntfscluster ntfsfix fusermount3

cd "$TAP_TMP" || exit
MIB=$((1 << 20))

# ---- ext4: a file, one in a long path, one with an escape sequence in its name, a directory of many entries
long=$(printf 'a-folder-with-quite-a-long-name-%02d/' {1..12})
mkdir -p tree/etc tree/many tree/"$long"
head -c 300000 /dev/urandom >tree/etc/config
head -c 20000 /dev/urandom >tree/"$long"end
head -c 20000 /dev/urandom >tree/$'evil\e[31m\nname'
for ((i = 0; i < 400; i++)); do : >"tree/many/a-file-with-a-name-that-takes-room-$i"; done
truncate -s 40M ext.img
mke2fs -q -t ext4 -b 4096 -F -d tree ext.img || bail_out "mke2fs failed"
blocks() { debugfs -R "blocks $1" ext.img 2>/dev/null | tr -s ' ' '\n' | grep -E '^[0-9]+$'; }
# ---- NTFS: a file in the root
truncate -s 40M ntfs.img
mkntfs -q -F -f ntfs.img >/dev/null 2>&1 || bail_out "mkntfs failed"
head -c 200000 /dev/urandom >report.doc
ntfscp -q ntfs.img report.doc report.doc || bail_out "ntfscp failed"

# ---- an ext4 and an NTFS that were not unmounted: what is free by them may be in files by their logs; and a member of an MD RAID 5
truncate -s 8M unclean.img dirty.img member.img
mke2fs -q -t ext4 -b 4096 -O ^metadata_csum -F unclean.img || bail_out "mke2fs failed"
debugfs -w -R 'feature needs_recovery' unclean.img >/dev/null 2>&1 || bail_out "debugfs failed"
mkntfs -q -F -f dirty.img >/dev/null 2>&1 || bail_out "mkntfs failed"
ntfsfix dirty.img >/dev/null 2>&1 # marks it dirty
"$TOP/tests/lib/md-super" --metadata 1.2 --level 5 --devices 3 member.img >/dev/null || bail_out "md-super failed"

truncate -s 130M src.img
printf 'label: gpt\nstart=2048,size=81920\nstart=83968,size=81920\nstart=81MiB,size=8MiB\nstart=89MiB,size=8MiB\nstart=97MiB,size=8MiB\n' | sfdisk -q src.img ||
	bail_out "sfdisk failed"
at=1
for image in ext ntfs unclean dirty member; do
	dd if=$image.img of=src.img bs=1M seek=$at conv=notrunc status=none
	at=$((at + $(stat -c %s $image.img) / MIB))
done

bad() { echo "bad $1 $2" >>src.faults; }
ext_at() { echo $((MIB + $1 * 4096)); }
file_block=$(blocks /etc/config | sed -n 20p)
path_block=$(blocks "/${long}end" | sed -n 2p)
evil_block=$(blocks "<$(debugfs -R 'ls -l /' ext.img 2>/dev/null | awk '/evil/ {print $1}')>" | sed -n 1p)
dir_block=$(blocks /many | sed -n 2p)
journal_block=$(blocks '<8>' | sed -n 100p)
free_block=$(debugfs -R 'ffb 1 9000' ext.img 2>/dev/null | sed -n 's/.*found: \([0-9]*\).*/\1/p')
cluster=$(ntfscluster -F report.doc ntfs.img 2>/dev/null | awk '/VCN/ {getline; print $2; exit}')
for b in "$file_block" "$path_block" "$evil_block" "$dir_block" "$journal_block" "$free_block" "$cluster"; do
	[[ $b =~ ^[0-9]+$ ]] || bail_out "a block was not found: $file_block,$path_block,$evil_block,$dir_block,$journal_block,$free_block,$cluster"
done
bad "$(ext_at "$file_block")" 1024
bad "$(ext_at "$path_block")" 512
bad "$(ext_at "$evil_block")" 512
bad "$(ext_at "$dir_block")" 4096
bad "$(ext_at "$journal_block")" 8192
bad "$(ext_at "$free_block")" 4096
bad $((41 * MIB + cluster * 4096 + 512)) 1536
bad $((87 * MIB)) 512
bad $((95 * MIB)) 512
bad $((104 * MIB)) 512
lost=$((1024 + 512 + 512 + 4096 + 8192 + 1536 + 3 * 512))

faulty src || bail_out "no disk with faults: $(cat src.failed)"
start_server
make_token
start_agent src --disk src/disk,name=s
wait_for 30 machine_is_idle src || bail_out "the machine does not appear"
cli capture src --image web --wait --json
is "$STATUS_CLI $(jq -r '.unreadable' <<<"$OUT")" "3 $lost" "free places are not lost, the others are" || diag "$ERR"
places=$(jq -c '.report.disks[0].unreadable' <<<"$OUT")
# WHAT NAME LENGTH: of the place at OFFSET
place() { jq -r --argjson at "$1" '.[] | select(.offset == $at) | "\(.partition) \(.content) \(.what) \(.name) \(.length)"' <<<"$places"; }
is "$(place "$(ext_at "$file_block")")" "1 ext4 file /etc/config 1024" "a file" || diag "$places"
like "$(place "$(ext_at "$path_block")")" "^1 ext4 file ….*long-name-12/end 512$" "one with a long path: its end"
ok "of at most 255 bytes" jq -e 'all(.[]; .name == null or (.name | utf8bytelength) <= 255)' <<<"$places"
like "$(place "$(ext_at "$evil_block")")" "^1 ext4 file /evil[^[:cntrl:]]+name 512$" "one with control characters: without"
like "$(place "$(ext_at "$dir_block")")" "^1 ext4 directory /many 4096$" "a directory"
like "$(place "$(ext_at "$journal_block")")" "^1 ext4 journal null 8192$" "the journal"
is "$(place $((41 * MIB + cluster * 4096 + 512)))" "2 ntfs file /report.doc 1536" "a file of NTFS"
is "$(place $((87 * MIB)))" "3 ext4 unknown null 512" "what nobody has in an ext4 with a log to be replayed may be a file's by the log"
is "$(place $((95 * MIB)))" "4 ntfs unknown null 512" "so may it in an NTFS that is dirty"
is "$(place $((104 * MIB)))" "5 linux_raid_member unknown null 512" "a member of a RAID 5 is not all metadata"
cli image show web@1
like "$OUT" "file:s, partition 1: 1024 bytes at $(ext_at "$file_block") \(ext4\): file /etc/config" "image show lists them"
like "$OUT" "file:s, partition 2: 1536 bytes at [0-9]+ \(ntfs\): file /report.doc" "NTFS, too"
unlike "$OUT" $'\e' "nothing but text"
cli job show "$("$HOIST" jobs --json | jq -r '.jobs[0].id')"
like "$OUT" "lost: +file:s, partition 1: 4096 bytes at [0-9]+ \(ext4\): directory /many" "job show, too"
done_testing
