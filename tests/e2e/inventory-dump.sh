#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# scripts/dump-sysroot: the inventory of the dump is that of this machine, by any shell, and without its serial numbers when asked.
. "$(dirname "$0")/../lib/tap.sh"
requires jq busybox

agent=${HOIST_AGENT:-$TOP/build/release/agent/hoist-agent}
dump=$TOP/scripts/dump-sysroot

# What does not depend on whether disks can be opened, or on CPUID.
essence() { jq 'del(.hypervisor, .arch) | .disks[] |= del(.path, .error, .content, .table, .partitions, .fingerprint, .empty)' "$1"; }

"$agent" inventory --json >"$TAP_TMP/live.json" || bail_out 'no inventory of this machine'
essence "$TAP_TMP/live.json" >"$TAP_TMP/live"
for shell in sh bash 'busybox sh'; do
	# shellcheck disable=SC2086
	ok "$shell: dump" $shell "$dump" --keep-serials "$TAP_TMP/dump"
	# The names of its devices are looked up in the root, and a dump has them not.
	mkdir -p "$TAP_TMP/dump/usr/share/misc" && cp /usr/share/misc/pci.ids "$TAP_TMP/dump/usr/share/misc/"
	ok "$shell: inventory of the dump" "$agent" inventory --json --sysroot "$TAP_TMP/dump"
	essence "$TAP_TMP/.output" >"$TAP_TMP/dumped"
	ok "$shell: is that of the machine" diff -u "$TAP_TMP/live" "$TAP_TMP/dumped"
	rm -rf "$TAP_TMP/dump"
done

ok 'dump without serial numbers' "$dump" "$TAP_TMP/anon"
"$agent" inventory --json --sysroot "$TAP_TMP/anon" >"$TAP_TMP/anon.json"
is "$(jq '[.disks[] | .size, .transport, .bus_path]' "$TAP_TMP/anon.json")" "$(jq '[.disks[] | .size, .transport, .bus_path]' "$TAP_TMP/live.json")" \
	'has the same disks'
secrets() { jq -r '(.disks[] | .serial, .wwn), (.nics[].mac), (.smbios | .uuid, .serial) | strings' "$1" | sort -u; }
is "$(comm -12 <(secrets "$TAP_TMP/live.json") <(secrets "$TAP_TMP/anon.json"))" '' 'and none of its numbers'
nok 'a folder that is there already is left alone' "$dump" "$TAP_TMP/anon"
nok 'no folder is an error' "$dump"
like "$("$dump" --help)" '--keep-serials' 'it helps'

done_testing
