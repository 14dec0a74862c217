#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A disk of nearly 16 TiB (what an ext4 can hold in one file) with a little data in it, captured and restored: within 64 MiB of the agent's
# memory, and the server's bounded too.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/agent.sh"
requires curl jq xxd cmp mkfs.xfs xfs_repair mke2fs e2fsck

cd "$TAP_TMP" || exit
size=$(((16 << 40) - (1 << 20)))
truncate -s $size big.img 2>/dev/null || skip_all "this filesystem has no files of 16 TiB"
truncate -s $size target.img
places=$((1 << 20)) # each with 3 MiB of data
places="$places $(((8 << 40) + 12345 * 4096)) $((size - (3 << 20)))"
for place in $places; do fill big.img "$place" $((3 << 20)); done

peak() { awk '/^VmHWM/ {print $2}' "/proc/$1/status"; }
# Under the sanitizers memory is another matter: they keep a shadow of it, and what was freed.
bounded() # PID KIB NAME
{
	local got
	got=$(peak "$1")
	note "$3: $got KiB"
	[ "${B:-release}" = release ] || got=0
	ok "$3: at most $(($2 >> 10)) MiB" [ "$got" -le "$2" ]
}

start_server
make_token
start_agent src --disk big.img --memory 64M
ok "the machine appears" wait_for 60 machine_is_idle src
start=$SECONDS
ok "a capture is ordered" order '{"kind":"capture","machine":"src","image":"big"}'
ok "it ends" job_wait 600
note "captured in $((SECONDS - start)) s"
is "$(field .state)" "done" "well" || diag "$BODY"
is "$(field '.report.disks[0].size')" $size "all of it"
is "$(field '.report.disks[0].data_bytes')" $((9 << 20)) "with what is in it"
is "$(field '.report.disks[0].passes')" 1 "in one pass"
bounded "$(agent_pid src)" 65536 "agent, capture"
bounded "$SERVER_PID" 262144 "server, capture"
stop_agent src

start_agent dst --disk target.img --memory 64M
ok "a target appears" wait_for 60 machine_is_idle dst
start=$SECONDS
ok "a restore is ordered" order '{"kind":"restore","machine":"dst","image":"big","end":"stay"}'
ok "it ends" job_wait 600
note "restored in $((SECONDS - start)) s"
is "$(field .state)" "done" "well" || diag "$BODY"
is "$(field '.report.disks[0] | .kept_bytes + .written_bytes + .zeroed_bytes')" $size "all of it"
is "$(field '.report.disks[0].written_bytes')" $((9 << 20)) "of which little is written"
bounded "$(agent_pid dst)" 65536 "agent, restore"
bounded "$SERVER_PID" 262144 "server, restore"
for place in $places; do
	ok "the data at $place is there" cmp -i "$place" -n $((3 << 20)) big.img target.img
done
is "$(allocated target.img)" "$(allocated big.img)" "and nothing besides"

# What was not said: 64 MiB too, on a machine with two cores, however hard it is to compress.
if [ "$(nproc)" -le 2 ]; then
	truncate -s 64M hard.img
	fill hard.img 0 $((64 << 20))
	for options in '{}' '{"level":6}' '{"level":12}'; do
		start_agent hard --disk hard.img
		ok "a machine with the memory that it takes by itself" wait_for 60 machine_is_idle hard
		ok "a capture with $options is ordered" order "{\"kind\":\"capture\",\"machine\":\"hard\",\"image\":\"hard\",\"options\":$options}"
		ok "it ends" job_wait 600
		is "$(field .state)" "done" "well" || diag "$BODY"
		bounded "$(agent_pid hard)" 65536 "agent, $options"
		stop_agent hard
		fill hard.img 0 $((64 << 20)) # others, so that they are packed
	done
fi

start=$SECONDS
ok "the image is verified" order '{"kind":"verify","image":"big"}'
ok "it ends" job_wait 600
note "verified in $((SECONDS - start)) s"
is "$(field .state)" "done" "well" || diag "$BODY"
start=$SECONDS
ok "gc runs" order '{"kind":"gc"}'
ok "it ends" job_wait 600
note "gc in $((SECONDS - start)) s"
is "$(field .state)" "done" "well" || diag "$BODY"
bounded "$SERVER_PID" 262144 "server, verify and gc"
stop_agent dst

# Filesystems of that size, by their maps.
make_xfs() { mkfs.xfs -q -K "$1"; }
check_xfs() { xfs_repair -n "$1"; }
make_ext4() { mke2fs -q -t ext4 -E nodiscard "$1"; }
check_ext4() { e2fsck -fn "$1"; }
# Half full, and as scattered as can be: more pieces than a list holds, in blocks that belong to no file.
make_scattered() { make_ext4 "$1" && "$O/e2e/usage_scatter" "$1"; }
kinds="xfs ext4 scattered"
[ "${B:-release}" = release ] || kinds=xfs # what counts of the other is its memory, and under the sanitizers it takes a minute
for kind in $kinds; do
	truncate -s $size "$kind.img" "$kind.target"
	ok "$kind of 16 TiB" "make_$kind" "$kind.img"
	start_agent "$kind" --disk "$kind.img" --memory 64M
	ok "the machine appears" wait_for 60 machine_is_idle "$kind"
	ok "a capture is ordered" order "{\"kind\":\"capture\",\"machine\":\"$kind\",\"image\":\"$kind\"}"
	ok "it ends" job_wait 600
	is "$(field .state)" "done" "well" || diag "$BODY"
	is "$(field '.report.disks[0].map.partitions[0].how')" map "by its map" || diag "$BODY"
	note "$kind: $(field '.report.disks[0].map.partitions[0].used') bytes in use, $(field '.report.seconds') s"
	bounded "$(agent_pid "$kind")" 65536 "agent, capture of $kind"
	stop_agent "$kind"
	[ "$kind" != scattered ] || continue # what counts is the map
	start_agent "$kind-target" --disk "$kind.target" --memory 64M
	ok "a target appears" wait_for 60 machine_is_idle "$kind-target"
	ok "a restore is ordered" order "{\"kind\":\"restore\",\"machine\":\"$kind-target\",\"image\":\"$kind\",\"end\":\"stay\"}"
	ok "it ends" job_wait 600
	is "$(field .state)" "done" "well" || diag "$BODY"
	bounded "$(agent_pid "$kind-target")" 65536 "agent, restore of $kind"
	stop_agent "$kind-target"
	ok "its own checker is content" "check_$kind" "$kind.target"
done
bounded "$SERVER_PID" 262144 "server, all of it"
done_testing
