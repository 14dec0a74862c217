#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Packs with a turned bit, cut short, gone, or under each other's names: `hoist image verify` finds each, a restore ends as failed, and no block
# of its target holds anything but zeros or what belongs there.  A new capture mends it.
# shellcheck disable=SC2034,SC2154
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/agent.sh"
. "$(dirname "$0")/../lib/cli.sh"
requires curl jq xxd cmp perl sqlite3

cd "$TAP_TMP" || exit
kinds=(bit cut missing swapped)
sources=() targets=()
for i in {0..7}; do
	truncate -s 3M "d$i.img" "t$i.img"
	fill "d$i.img" 4096 2500000
	sources+=(--disk "d$i.img") targets+=(--disk "t$i.img")
done
start_server
make_token
start_agent src "${sources[@]}"
ok "the machine appears" wait_for 30 machine_is_idle src

# The larger packs of an image: of chunks.
list() { find "$DATA/store/packs" -type f -size +400k | sort; }
capture()
{
	order "$(jq -cn --arg i "$1" '{kind: "capture", machine: "src", image: ("i" + $i), disks: ["file:d" + $i + ".img"]}')" && job_wait 60 &&
		[ "$(field .state)" = "done" ]
}
declare -A packs=()
for i in {0..7}; do
	list >before
	ok "disk $i is captured" capture "$i"
	packs[$i]=$(list | comm -13 before - | head -n 2)
done

stop_server
damage()
{
	local a b
	{ read -r a; read -r b; } <<<"$2"
	case $1 in
	bit) perl -e 'open(F, "+<", $ARGV[0]) && seek(F, 300000, 0) && read(F, $c, 1) && seek(F, 300000, 0) && print F chr(ord($c) ^ 4) or die' "$a" ;;
	cut) truncate -s -1 "$a" ;;
	missing) rm "$a" ;;
	swapped) mv "$a" x && mv "$b" "$a" && mv x "$b" ;;
	esac
}
for i in {0..7}; do ok "${kinds[i % 4]}, image $i" damage "${kinds[i % 4]}" "${packs[$i]}"; done
start_server
start_agent dst "${targets[@]}"
ok "the target appears" wait_for 30 machine_is_idle dst

for i in {0..3}; do
	cli image verify "i$i" --wait
	is "$STATUS_CLI" 1 "verify finds: ${kinds[i]}"
	like "$ERR" "$(basename "$(head -n 1 <<<"${packs[$i]}")")|chunk" "and names it" || diag "$ERR"
done

# Each block of the target is as in the source, or zeros; the first is the marker of a target that is not whole.
no_wrong_block()
{
	perl -e 'open(A, "<", $ARGV[0]) && open(B, "<", $ARGV[1]) or die;
		read(A, $a, 4096) && read(B, $b, 4096) && $b =~ /^hoist[^\0]*\0+\z/ or exit 1;
		while (read(A, $a, 4096) && read(B, $b, 4096)) { exit 1 if $b ne $a && $b =~ /[^\0]/ }' "$1" "$2"
}
for i in {4..7}; do
	ok "a restore of image $i is ordered" order "$(jq -cn --arg i "$i" '{kind: "restore", machine: "dst", image: ("i" + $i), end: "stay",
		disks: [{source: ("file:d" + $i + ".img"), target: ("file:t" + $i + ".img")}]}')"
	ok "it ends" job_wait 60
	is "$(field '.state + " " + .code')" "failed store_damaged" "the restore finds: ${kinds[i - 4]}" || diag "$BODY"
	ok "and wrote nothing wrong" no_wrong_block "d$i.img" "t$i.img"
	nok "nor all of it" cmp -s "d$i.img" "t$i.img"
	wait_for 30 machine_is_idle dst
done

stop_agent src
start_agent src "${sources[@]}"
ok "the source is back" wait_line 30 src.log 'waiting for orders'
for i in 0 3 4; do
	ok "disk $i is captured again" capture "$i"
	cli image verify "i$i" --wait
	is "$STATUS_CLI" 0 "and its image is whole" || diag "$ERR"
done

# ---- a row of packs in the index, under the running server: nothing is called damaged, a restore waits and says why
db=$DATA/store/objects.db
truncate -s 3M new.img
stop_agent dst
start_agent dst --disk new.img
ok "a target appears" wait_for 30 machine_is_idle dst
quarantined() { find "$DATA/store/quarantine" -type f | wc -l; }
before=$(quarantined)
ok "rows of packs say other lengths" sqlite3 "$db" 'UPDATE packs SET size = size + 1'
ok "a restore is ordered" order '{"kind":"restore","machine":"dst","image":"i0","end":"stay","disks":[{"source":"file:d0.img","target":"file:new.img"}]}'
ok "it waits and says why" wait_for 60 job_is '.state == "running" and (.message // "" | test("index is damaged .the row of pack.*--rebuild-index.*goes on by itself"))' || diag "$BODY"
is "$(quarantined)" "$before" "no pack was put away"
stop_server
"$SERVER" --data "$DATA" --listen 127.0.0.1:0 --discovery no >out 2>err
is "$?" 1 "the server does not start on that index"
like "$(cat err)" 'row of pack number [0-9]+.*--rebuild-index' "and says what to do"
start_server --listen "${URL#https://}" --rebuild-index
ok "with --rebuild-index it does, and the job ends" job_wait 120
is "$(field .state)" "done" "well" || diag "$BODY"
ok "the target is the source" cmp d0.img new.img
done_testing
