#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# hoist-agent inventory on the machines of tests/fixtures/sysroot: JSON and screen are as expected, and fingerprints are what
# docs/fingerprint.md says, computed here by other means.  HOIST_TEST_UPDATE=1 writes the expectations anew: look at the difference.
. "$(dirname "$0")/../lib/tap.sh"
requires jq b3sum xxd perl

agent=${HOIST_AGENT:-$TOP/build/release/agent/hoist-agent}
fixtures=$TOP/tests/fixtures/sysroot
sysroot=$TAP_TMP/machine

# le64 N: eight bytes, the least first
le64() { printf '%016x' "$1" | fold -w2 | tac | tr -d '\n' | xxd -r -p; }

# edges FILE FROM TO HEAD TAIL: the first and last bytes of a range, what both cover once
edges()
{
	local size=$(($3 - $2)) head tail
	head=$((size < $4 ? size : $4))
	tail=$((size - head < $5 ? size - head : $5))
	tail -c "+$(($2 + 1))" "$1" | head -c "$head"
	[ "$tail" = 0 ] || tail -c "+$(($3 - tail + 1))" "$1" | head -c "$tail"
}

# fingerprint FILE <<< "OFFSET SIZE" lines in order
fingerprint()
{
	local disk offset size from to
	disk=$(stat -c %s "$1")
	{
		printf 'hoist-fingerprint-1\0'
		le64 "$disk"
		edges "$1" 0 "$disk" $((1 << 20)) $((1 << 20))
		while read -r offset size; do
			from=$((offset < disk ? offset : disk))
			to=$((size < disk - from ? from + size : disk))
			le64 "$offset"
			le64 "$size"
			edges "$1" "$from" "$to" $((256 << 10)) $((128 << 10))
		done
	} | b3sum --no-names
}

check_fingerprints()
{
	local path want got bad=''
	while read -r path want; do
		got=$(jq -r --arg p "$path" '.disks[] | select(.path == $p).partitions | sort_by(.offset, .size)[] | "\(.offset) \(.size)"' \
			"$TAP_TMP/out.json" | fingerprint "$sysroot$path")
		[ "$got" = "$want" ] || bad+=" $path"
	done < <(jq -r '.disks[] | select(.fingerprint) | "\(.path) \(.fingerprint)"' "$TAP_TMP/out.json")
	is "$bad" '' "$1: fingerprints are those of the specification"
}

# expect WHAT GOT WANTED-FILE
expect()
{
	[ "${HOIST_TEST_UPDATE:-}" != 1 ] || cp "$2" "$3"
	ok "$1" diff -u "$3" "$2"
}

machine()
{
	rm -rf "$sysroot" && mkdir "$sysroot"
	"$fixtures/tree" unpack "$fixtures/$1.tree" "$sysroot" || return
	[ ! -f "$fixtures/$1.disks.tar.xz" ] || tar -xf "$fixtures/$1.disks.tar.xz" -C "$sysroot"
	(cd "$sysroot" && find dev -type f -exec stat -c '%n %Y' {} + 2>/dev/null | sort) >"$TAP_TMP/before"
	find "$sysroot/dev" -type f -exec chmod 0444 {} + 2>/dev/null
	ok "$1: inventory" "$agent" inventory --json --sysroot "$sysroot"
	cp "$TAP_TMP/.output" "$TAP_TMP/out.raw"
	jq --arg root "$sysroot" '(.disks[] | .path, .error | strings) |= (split($root) | join(""))' "$TAP_TMP/out.raw" >"$TAP_TMP/out.json"
	expect "$1: JSON" "$TAP_TMP/out.json" "$fixtures/$1.json"
	check_fingerprints "$1"
	ok "$1: ids are unique and well formed" jq -e '[.disks[].id] | length == (unique | length) and all(test("^[A-Za-z0-9:._-]{1,128}$"))' \
		"$TAP_TMP/out.json"
	"$agent" inventory --sysroot "$sysroot" | sed "s|$sysroot||g" >"$TAP_TMP/out.txt"
	expect "$1: screen" "$TAP_TMP/out.txt" "$fixtures/$1.txt"
	is "$("$agent" inventory --sysroot "$sysroot" | sed "s|$sysroot||g" | grep -nP '^.{81}|[^\P{C}\n]')" '' "$1: no line is too long, no character is hidden"
	(cd "$sysroot" && find dev -type f -exec stat -c '%n %Y' {} + 2>/dev/null | sort) >"$TAP_TMP/after"
	ok "$1: its disks were not written to" cmp "$TAP_TMP/before" "$TAP_TMP/after"
}

for tree in "$fixtures"/*.tree; do
	machine "$(basename "$tree" .tree)"
done

# A host of a storage network: disks DISKS PATHS, each of them by so many.
san()
{
	local disk path host n=0 at
	for ((disk = 0; disk < $1; disk++)); do
		for ((path = 0; path < $2; path++)); do
			host=host$path/target$path:0:0/$path:0:0:$disk
			at=sys/devices/pci0000:00/0000:00:02.0/$host
			printf '%s\n' "sys/block/sd$n -> ../devices/pci0000:00/0000:00:02.0/$host/block/sd$n" "dev/sd$n % 65536" "$at/block/sd$n/device -> ../.." \
				"$at/block/sd$n/size = 128\\n" "$at/subsystem -> ../../../../../../bus/scsi" "$at/type = 0\\n" \
				"$at/wwid = naa.600a0b80000000000000$(printf '%012x' "$disk")\\n"
			n=$((n + 1))
		done
	done
	for ((path = 0; path < $2; path++)); do
		printf '%s\n' "sys/devices/pci0000:00/0000:00:02.0/host$path/scsi_host/host$path/proc_name = qla2xxx\\n"
	done
}
many() { rm -rf "$sysroot" && mkdir "$sysroot" && san "$@" >"$TAP_TMP/san.tree" && "$fixtures/tree" unpack "$TAP_TMP/san.tree" "$sysroot"; }
ok "a host with 75 disks by 4 paths each" many 75 4
ok "its inventory is made" "$agent" inventory --json --sysroot "$sysroot"
is "$(jq -c '[.disks | length, (map(.paths | length) | unique)]' "$TAP_TMP/.output")" '[75,[4]]' "each is one disk"
is "$(jq -c '[.skipped[].reason] | [length, unique]' "$TAP_TMP/.output")" '[225,["path"]]' "and the other paths are told of"
ok "one with 257 disks" many 257 1
nok "is refused" "$agent" inventory --json --sysroot "$sysroot"
like "$(cat "$TAP_TMP/.output")" 'there are 257 disks, and 256 at most are listed' "with the reason"

done_testing
