#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The server's machine loses its power at N random points of a life with captures, a restore, removal and gc; whatever was not synced may be there or not.
# The real server starts on what is left: all that it had promised is there.  Without its syncs that is seen to fail.
#
# Without N the short form: one life (where each file is synced by itself, which is the harder one), four cuts, one of the controls.
# shellcheck disable=SC2034,SC2154
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/agent.sh"
. "$(dirname "$0")/../lib/wire.sh"
requires curl jq xxd cmp perl
export ASAN_OPTIONS=verify_asan_link_order=0
REBUILD=$TOP/tests/fault/rebuild
seed=${SEED:-$((RANDOM * 32768 + RANDOM))}
RANDOM=$((seed % 32768))
cuts=${N:-4}
diag "SEED=$seed N=${N:-short}"

cd "$TAP_TMP" || exit
make_disk() { truncate -s "$2" "$1" && fill "$1" 0 "$3"; }
make_disk a.img 12M 6000000
make_disk b.img 12M 5000000
make_disk c.img 16M 13000000
# The target as it may be when some of it has been written.
truncate -s 12M half.img && dd if=b.img of=half.img bs=1M count=3 conv=notrunc status=none

# live LOG [VARIABLE=VALUE...]: a life of the server, all that it does to its files written down
live()
{
	local log=$1 v
	shift
	DATA=$TAP_TMP/life
	rm -rf "$DATA" "$log"
	export RECORD_ROOT=$DATA RECORD_LOG=$log
	LD_PRELOAD=$O/fault/recorder.so
	export LD_PRELOAD
	for v; do export "${v?}"; done
	start_server --poll 2
	unset LD_PRELOAD
	make_token
	for m in a b; do start_agent $m --disk $m.img; done
	wire_up 0
	rm -f d.img && truncate -s 12M d.img
	URL=$WIRE_URL start_agent c --workers 2 --disk c.img
	URL=$WIRE_URL start_agent d --workers 1 --disk d.img,name=d
	for m in a b c d; do wait_for 30 machine_is_idle $m || return; done
	: >jobs.list
	for m in a b; do
		order "{\"kind\":\"capture\",\"machine\":\"$m\",\"image\":\"$m\"}" && job_wait 60 && [ "$(field .state)" = "done" ] || return
		echo "$JOB $m" >>jobs.list
	done
	wire_say rate 1200000 # several checkpoints
	api GET /v1/machines/c
	C_ID=$(field .id)
	order '{"kind":"restore","machine":"d","image":"b","end":"stay"}' || return
	D_JOB=$JOB
	order '{"kind":"capture","machine":"c","image":"c"}' || return
	C_JOB=$JOB
	echo "$JOB c" >>jobs.list
	api DELETE /v1/images/a
	order '{"kind":"gc"}' && job_wait 60 || return
	GC_JOB=$JOB
	for JOB in $C_JOB $D_JOB; do
		job_wait 90 && [ "$(field .state)" = "done" ] || return
	done
	cmp d.img b.img || return
	stop_agents
	wire_down
	stop_server
	unset RECORD_PLAIN
}

# What the server finds of one power cut.  Prints what is wrong.
look_at_cut() # LOG CUT SEED [OPTION...]
{
	local log=$1 cut=$2 image job start
	DATA=$TAP_TMP/cut
	"$REBUILD" --log "$log" --root "$TAP_TMP/life" --out "$DATA" --cut "$cut" --seed "$3" "${@:4}" || { echo "rebuild failed"; return; }
	acked() { grep -qE "^acked $1" "$DATA.known"; }
	start=$(date -u +%FT%TZ)
	if ! start_cut; then
		acked . && echo "the server does not start: $(tail -n 2 "$TAP_TMP/server.log")"
		return
	fi
	api GET /v1/images || echo "no list of images"
	cp body images
	for image in $(jq -r '.images[].name' images); do
		order "{\"kind\":\"verify\",\"image\":\"$image\"}" && job_wait 60
		[ "$(field .state)" = "done" ] || echo "image $image: $(field .message)"
	done
	while read -r job image; do
		acked "POST /v1/agent/jobs/$job/done" || continue
		# Its removal is asked for once the last of the four orders has been answered: from then on it may have been under way.
		[ "$image" = a ] && [ "$(grep -c '^acked POST /v1/jobs ' "$DATA.known")" -ge 4 ] && continue
		jq -e --arg i "$image" 'any(.images[]; .name == $i)' images >/dev/null || echo "image $image was acknowledged and is gone"
	done <jobs.list
	acked 'DELETE /v1/images/a' && jq -e 'any(.images[]; .name == "a")' images >/dev/null && echo "image a was removed and is there again"
	look_at_packs
	look_at_restore
	stop_agents
	stop_server
}
start_cut()
{
	: >"$TAP_TMP/server.out"
	"$SERVER" --data "$DATA" --listen 127.0.0.1:0 --discovery no --reserve 1M --poll 1 --away 2 >"$TAP_TMP/server.out" 2>"$TAP_TMP/server.log" &
	SERVER_PID=$!
	wait_for 30 server_is_up && kill -0 "$SERVER_PID" 2>/dev/null || return
	URL=$(sed -n 's/^listening //p' "$TAP_TMP/server.out" | head -n 1)
	FINGERPRINT=$(sed -n 's/^fingerprint //p' "$TAP_TMP/server.out")
	PIN="sha256//$(xxd -r -p <<<"$FINGERPRINT" | base64)"
	OPERATOR=$(cat "$DATA/operator.token")
}
# By the token, which takes C's place when the server has not heard of it for some seconds since its start; C takes it back later.
place_of_c()
{
	call '' POST /v1/agent/register -d "$(jq -cn --arg t "$TOKEN" --arg id "$C_ID" '{token: $t, machine_id: $id, name: "c", agent_version: "t", inventory: {disks: []}}')"
	[ "$STATUS" != 409 ]
}
# A gc that was cut begins anew with the server, and may take what nobody has asked for since its start and no window names yet: C is told, and sends that again.
gc_began_anew()
{
	api GET "/v1/jobs/$GC_JOB"
	[ "$STATUS" = 200 ] && [ "$(field ".ended == null or .ended >= \"$start\"")" = true ]
}
# While C's capture runs: what it sent and what was covered since is not asked for again; then it goes on and ends well.
look_at_packs()
{
	local kind ids lacking with_gc=''
	! gc_began_anew || with_gc=yes
	api GET "/v1/jobs/$C_JOB"
	if [ "$STATUS" != 200 ]; then
		acked "POST /v1/agent/jobs/$C_JOB/" && echo "the job that the agent worked for is gone"
		return
	fi
	[ "$(field .state)" = running ] || { acked "PUT /v1/agent/jobs/$C_JOB/packs" && [ "$(field .state)" != "done" ] && echo "the job is $(field .state): $(field .message)"; return; }
	wait_for 30 place_of_c
	[ "$STATUS" = 200 ] || { echo "the machine cannot register: $BODY"; return; }
	SECRET=$(field .secret)
	for kind in chunk node; do
		sed -n "s/^pack [0-9a-f]* $kind //p" "$DATA.known" | tr ',' '\n' >ids
		[ -s ids ] || continue
		lacking=0
		split -l 4096 ids ids.
		for ids in ids.??; do
			xxd -r -p "$ids" >ids.bin
			call "$SECRET" POST "/v1/agent/jobs/$C_JOB/lack?kind=$kind" --data-binary @ids.bin
			[ "$STATUS" = 200 ] || echo "lack: $STATUS $BODY"
			lacking=$((lacking + $(xxd -p "$CALL_FILES"body | tr -d '0\n' | wc -c)))
		done
		rm -f ids.??
		if [ -n "$with_gc" ]; then # what is lacking may have been taken by that: no check of anything
			echo $(($(cat unasked 2>/dev/null || echo 0) + $(wc -l <ids))) >unasked
			continue
		fi
		echo $(($(cat asked 2>/dev/null || echo 0) + $(wc -l <ids))) >asked
		[ $lacking = 0 ] || echo "$kind: of $(wc -l <ids) objects that were acknowledged and covered, some are lacking"
	done
	start_agent c --disk c.img
	JOB=$C_JOB
	if job_wait 90 && [ "$(field .state)" = "done" ]; then
		order '{"kind":"verify","image":"c"}' && job_wait 60
		[ "$(field .state)" = "done" ] || echo "image c after going on: $(field .message)"
	else
		echo "the capture did not go on: $BODY"
	fi
}

# As D has left it: docs/formats.md "Marker of a restore"
half_written()
{
	cp half.img d.cut
	{
		cat <<-END
		hoist: this disk is being restored and is not complete: nothing can start from it.
		Boot the Hoist medium to go on, or order a restore onto it anew.
		marker 1
		job $D_JOB
		disk 0
		END
		head -c 131072 /dev/zero
	} | head -c 131072 | dd of=d.cut conv=notrunc status=none
}

# D's restore ends well.  Where it was acknowledged that writing begins, D has written: were that forgotten, D would refuse its target, which is not what it was.
look_at_restore()
{
	local begun=''
	acked "POST /v1/agent/jobs/$D_JOB/progress.* begun" && begun=yes
	api GET "/v1/jobs/$D_JOB"
	if [ "$STATUS" != 200 ]; then
		acked "POST /v1/agent/jobs/$D_JOB/" && echo "the job that restores is gone"
		return
	fi
	[ -z "$begun" ] || begun_seen=$((begun_seen + 1))
	if acked "POST /v1/agent/jobs/$D_JOB/done"; then
		[ "$(field '"\(.state) \(.report.roots | length)"')" = "done 1" ] || echo "the restore was done, and now it is $(field .state)"
		return
	fi
	[ "$(field .state)" != "done" ] || return # it was told so, and not answered yet
	rm -f d.cut
	truncate -s 12M d.cut
	[ -z "$begun" ] || half_written
	start_agent d --workers 1 --disk d.cut,name=d
	JOB=$D_JOB
	if ! job_wait 90 || [ "$(field .state)" != "done" ]; then
		echo "the restore${begun:+, which had begun,} did not go on: $(field '"\(.state) \(.message)"')"
		return
	fi
	cmp -s d.cut b.img || echo "the restore ended and the target is not what the image is of"
}

asked=0 unasked=0 begun_seen=0
# try_cuts LOG COUNT [OPTION...]: random points; a quarter while C's packs come, a quarter after D's restore began, a quarter right after an acknowledgement,
# a quarter anywhere.  In $bad how many went wrong
try_cuts()
{
	local log=$1 total i cut first wrong
	"$REBUILD" --log "$log" --root "$TAP_TMP/life" >operations
	total=$(wc -l <operations)
	awk '$2 == "k" { print $1 }' operations >acks.any
	awk -v j="$C_JOB" '$2 == "k" && $3 == "PUT" && index($4, j "/packs") { print $1 }' operations | tail -n +8 >acks.pack
	awk -v j="$D_JOB" '$2 == "k" && index($4, j) && / begun$/ { is = 1 } $2 == "k" && index($4, j "/done") { exit } is { print $1 }' operations >begun
	first=$(head -n 1 acks.any)
	bad=0
	for ((i = 0; i < $2; i++)); do
		case $((i % 4)) in
		0) cut=$(($(line_of acks.pack) + 1)) ;;
		1) cut=$(($(line_of acks.any) + 1)) ;;
		2) cut=$(($(line_of begun) + 1)) ;;
		3) cut=$((first + (RANDOM * 32768 + RANDOM) % (total - first))) ;;
		esac
		look_at_cut "$log" "$cut" $((seed + i)) "${@:3}" >wrong 2>&1
		asked=$((asked + $(cat asked 2>/dev/null || echo 0)))
		unasked=$((unasked + $(cat unasked 2>/dev/null || echo 0)))
		rm -f asked unasked
		[ -s wrong ] || continue
		bad=$((bad + 1))
		note "cut at $cut of $total, seed $((seed + i)), $(head -n 1 "$TAP_TMP/cut.known"): $(head -n 3 wrong)"
	done
}
line_of() { sed -n "$((1 + (RANDOM * 32768 + RANDOM) % $(wc -l <"$1")))p" "$1"; }

is_recorded() # LOG
{
	"$REBUILD" --log "$1" --root "$TAP_TMP/life" --out whole --cut 999999999 --whole && diff -r --exclude='*-shm' --exclude=lock life whole
}
if [ -n "${N-}" ]; then
	ok "a life on a filesystem whose syncfs counts" live log1
	ok "the record is complete: made again from it, the folder is the same" is_recorded log1
	try_cuts log1 "$cuts" >lost
	is "$bad" 0 "power cuts lose nothing that was acknowledged" || diag "$(cat lost)"
fi
ok "a life where each file and folder is synced by itself" live log2 RECORD_PLAIN=1
ok "the record is complete" is_recorded log2
try_cuts log2 "$cuts" >lost
# Each may have come before two checkpoints, or within the gc.
for ((tries = 0; asked == 0 && bad == 0 && tries < 8; tries++)); do
	seed=$((seed + 1))
	try_cuts log2 1 >>lost
done
is "$bad" 0 "power cuts lose nothing that was acknowledged" || diag "$(cat lost)"
ok "what was acknowledged in mid capture was asked for ($asked objects; $unasked others while a gc began anew)" test "$asked" -gt 0
[ "$cuts" -lt 3 ] || ok "and the target of a restore had been begun ($begun_seen)" test "$begun_seen" -gt 0
# The first loss is enough.
parts=(store/packs store/manifests state.db)
[ -n "${N-}" ] || parts=("${parts[RANDOM % 3]}")
for part in "${parts[@]}"; do
	for ((tries = 0; tries < 12; tries++)); do
		seed=$((seed + 1))
		try_cuts log2 4 --unsynced "$part" --keep 0.3 >lost
		[ $bad = 0 ] || break
	done
	ok "without the syncs of $part it is seen to lose what it acknowledged" test "$bad" -gt 0
	note "$(head -n 1 lost)"
done
done_testing
