#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# hoist-agent inventory --disk: plain files that stand for disks, their contents and fingerprints; what is refused.
. "$(dirname "$0")/../lib/tap.sh"
requires jq sfdisk mkfs.ext4 tune2fs mkswap

agent=${HOIST_AGENT:-$TOP/build/release/agent/hoist-agent}
disk=$TAP_TMP/a.img

inventory() { "$agent" inventory --json --id test "$@" >"$TAP_TMP/out.json"; }
get() { jq -cr "$1" "$TAP_TMP/out.json"; }
fingerprint() { inventory --disk "$disk" && get '.disks[0].fingerprint'; }

truncate -s 64M "$disk"
truncate -s 4104K "$TAP_TMP/b.img"
ok 'two files' inventory --disk "$disk" --disk "$TAP_TMP/b.img,sector=4096,name=second"
is "$(get '[.disks[] | .id, .size, .sector_size, .empty]')" '["file:a.img",67108864,512,true,"file:second",4202496,4096,true]' 'their ids, sizes, sectors'
is "$(get '[.disks[0] | .kind, .transport, .model, .bus_path, .table, .content, .error]')" '["file","file","file",null,null,null,null]' 'a file is a file'
is "$(get '.machine_id_source')" given 'the id that was given'
empty=$(get '.disks[0].fingerprint')
is "$(fingerprint)" "$empty" 'a fingerprint is stable'

sfdisk -q "$disk" <<-END
	label: dos
	label-id: 0x12345678
	start=2048, size=65536, type=83, bootable
	start=67584, size=32768, type=82
END
tabled=$(fingerprint)
isnt "$tabled" "$empty" 'a partition table changes it'
is "$(get '[.disks[0] | .empty, .table.type, .table.uuid, (.partitions | length)]')" '[false,"dos","12345678",2]' 'and is seen'
is "$(get '[.disks[0].partitions[0] | .number, .offset, .size, .type, .bootable, .content]')" '[1,1048576,33554432,"0x83",true,null]' 'with its partitions'
truncate -s 32M "$TAP_TMP/part"
mkfs.ext4 -q -F -L root -U 11111111-2222-4333-8444-555555555555 "$TAP_TMP/part"
dd if="$TAP_TMP/part" of="$disk" bs=1M seek=1 conv=notrunc status=none
filled=$(fingerprint)
isnt "$filled" "$tabled" 'a filesystem changes it'
is "$(get '.disks[0].partitions[0].content')" '{"type":"ext4","usage":"filesystem","version":"1.0","uuid":"11111111-2222-4333-8444-555555555555","label":"root"}' 'and is seen'
tune2fs -L other "$TAP_TMP/part" >/dev/null
dd if="$TAP_TMP/part" of="$disk" bs=1M seek=1 conv=notrunc status=none
isnt "$(fingerprint)" "$filled" 'another label changes it'

sum=$(sha256sum <"$disk")
chmod 0444 "$disk"
ok 'a file that cannot be written' inventory --disk "$disk,ro"
is "$(get '.disks[0].read_only')" true 'is read-only'
chmod 0644 "$disk"
ok 'once more' inventory --disk "$disk"
is "$(sha256sum <"$disk")" "$sum" 'looking at it has not changed it'
like "$("$agent" inventory --disk "$disk")" 'a.img +64.0 MiB' 'a person can read it too'

# refused NAME PATTERN OPTION...
refused()
{
	local name=$1 pattern=$2 status=0
	shift 2
	"$agent" inventory "$@" >"$TAP_TMP/stdout" 2>"$TAP_TMP/stderr" || status=$?
	isnt $status 0 "$name is refused"
	like "$(cat "$TAP_TMP/stderr")" "$pattern" "$name: with a clear sentence"
	is "$(cat "$TAP_TMP/stdout")$(wc -l <"$TAP_TMP/stderr")" 1 "$name: which is all that is said"
}
truncate -s 5000 "$TAP_TMP/odd"
refused 'a size that is no whole number of sectors' "odd': its 5000 bytes are no whole number of sectors of 512 bytes" --disk "$TAP_TMP/odd"
refused 'a file that is not there' "open '/nonexistent': No such file" --disk /nonexistent
refused 'a folder' 'neither a disk nor a plain file' --disk "$TAP_TMP"
refused 'the same file twice' 'the same file twice' --disk "$disk" --disk "$TAP_TMP/../$(basename "$TAP_TMP")/a.img"
refused 'an impossible sector size' 'a power of two from 512 to 65536' --disk "$disk,sector=1000"
refused 'a folder that is no sysroot' 'has no sys/block' --sysroot "$TAP_TMP"
refused 'an option that is none' '--bogus' --bogus
refused 'a word too many' "'extra' is not expected" extra
like "$("$agent" inventory --help)" 'Usage: hoist-agent inventory' 'it helps'
like "$("$agent" --help)" 'inventory  +list' 'and so does the program'
nok 'no command is an error' "$agent"
nok 'an unknown command is an error' "$agent" explode

done_testing
