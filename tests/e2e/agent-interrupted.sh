#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Agent and server killed in the middle of a capture and of a restore: the job goes on, what was acknowledged is not sent again, the result is right.
# shellcheck disable=SC2034,SC2154
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/agent.sh"
requires curl jq xxd cmp

cd "$TAP_TMP" || exit
size=$(((96 << 20) + 512))
truncate -s $size src.img
for i in 0 1 2 3 4 5; do fill src.img $((i << 24)) 12000000; done

# The server comes back to the same place.
port=$("$TOP/tests/lib/free-port")
up() { start_server --listen "127.0.0.1:$port" && URL=https://127.0.0.1:$port; }
up
make_token
one_worker=(--workers 1 --disk src.img)

# ---- capture
start_agent src "${one_worker[@]}"
ok "the machine appears" wait_for 30 machine_is_idle src
ok "a capture is ordered" order_held src '{"kind":"capture","machine":"src","image":"web1"}'
ok "some packs arrive" valve "$(agent_pid src)" 60 packs_at_least 10
stop_agent src KILL
is "$AGENT_STATUS" 137 "the agent is killed"
ok "the job is not over" job_is '.state == "running"'
start_agent src "${one_worker[@]}"
ok "started again it goes on" valve "$(agent_pid src)" 60 packs_at_least 30
stop_server KILL
kill -CONT "$(agent_pid src)"
ok "the agent notices that the server is gone" wait_line 60 src.log 'trying again'
up
ok "the job goes on by itself and ends" job_wait 180
is "$(field .state)" "done" "well" || diag "$BODY"
# 72 MB of chunks, packed by the megabyte: what was acknowledged is not sent again
total=$(field .report.data_bytes)
stored=$(find "$DATA/store/packs" -type f -printf '%s\n' | awk '{ n += $1 } END { print n }')
is "$((stored < total + total / 10))" 1 "nothing is stored twice ($stored bytes of packs for $total)"
is "$(field ".report.wire_bytes < $total - 9000000")" true "the last agent did not send all again ($(field .report.wire_bytes) of $total bytes)"

# ---- restore
truncate -s $size dst.img
start_agent dst --workers 1 --disk dst.img
ok "the target appears" wait_for 30 machine_is_idle dst
ok "a restore is ordered" order_held dst '{"kind":"restore","machine":"dst","image":"web1","end":"stay"}'
written() { [ "$(allocated dst.img)" -ge "$1" ]; }
ok "it writes" valve "$(agent_pid dst)" 60 written 15000000
stop_agent dst KILL
is "$((($(allocated dst.img)) < 60000000))" 1 "the agent is killed half-way ($(allocated dst.img) bytes)"
start_agent dst --workers 1 --disk dst.img
ok "started again it goes on, its own half-written disk is no surprise to it" valve "$(agent_pid dst)" 60 written 40000000
stop_server KILL
kill -CONT "$(agent_pid dst)"
ok "the agent notices that the server is gone" wait_line 60 dst.log 'trying again'
up
ok "the job goes on by itself and ends" job_wait 180
is "$(field .state)" "done" "well" || diag "$BODY"
ok "the target is the source, byte for byte" cmp src.img dst.img
is "$(field '.report.disks[0].kept_bytes > 14000000')" true "what was there was not written again"
is "$(field '.report.disks[0] | .fetched_bytes < .size - 14000000')" true "nor fetched"

# ---- several packs on their way at once when the server dies, and the agent after it
truncate -s 96M many.img
fill many.img 0 $((96 << 20))
start_agent many --workers 4 --disk many.img
ok "a machine with several workers appears" wait_for 30 machine_is_idle many
before=$(find "$DATA/store/packs" -type f | wc -l)
ok "its capture is ordered" order_held many '{"kind":"capture","machine":"many","image":"many"}'
ok "some packs arrive" valve "$(agent_pid many)" 60 packs_at_least $((before + 12))
stop_server KILL
kill -CONT "$(agent_pid many)"
ok "the agent notices that the server is gone" wait_line 60 many.log 'trying again'
up
ok "more packs arrive" valve "$(agent_pid many)" 120 packs_at_least $((before + 40))
stop_agent many KILL
start_agent many --workers 4 --disk many.img
ok "started again it ends" job_wait 180
is "$(field .state)" "done" "well" || diag "$BODY"
is "$(field '.report.wire_bytes < 72000000')" true "without sending again what was there ($(field .report.wire_bytes))"
ok "the image is verified" order '{"kind":"verify","image":"many"}'
ok "it ends" job_wait 120
is "$(field .state)" "done" "well" || diag "$BODY"
stop_agent many

# ---- a disk that is finished already is read again, in case the machine was elsewhere meanwhile
truncate -s 1M tiny.img
fill tiny.img 0 500000
start_agent two --workers 1 --disk tiny.img --disk src.img
ok "a machine with two disks appears" wait_for 30 machine_is_idle two
fill src.img 0 60000000
ok "its capture is ordered" order_held two '{"kind":"capture","machine":"two","image":"both","options":{"level":9}}'
ok "the second disk is at work" valve "$(agent_pid two)" 60 job_is '.disk == 1'
stop_agent two KILL
fill tiny.img 700000 1000
start_agent two --workers 1 --disk tiny.img --disk src.img
ok "killed and started again it ends" job_wait 120
is "$(field .state)" "done" "well" || diag "$BODY"
truncate -s 1M tiny2.img
start_agent one --disk tiny2.img
ok "another machine appears" wait_for 30 machine_is_idle one
ok "the first disk is restored" order \
	'{"kind":"restore","machine":"one","image":"both","end":"stay","disks":[{"source":"file:tiny.img","target":"file:tiny2.img"}]}'
ok "it ends" job_wait 60
ok "it is as it was last" cmp tiny.img tiny2.img

# ---- cancelled
fill src.img 0 60000000
ok "a slow capture is ordered" order '{"kind":"capture","machine":"src","image":"web2","options":{"level":19}}'
ok "it runs" wait_for 60 job_is '.state == "running" and .done > 0'
api POST "/v1/jobs/$JOB/cancel"
is "$STATUS" 200 "it is cancelled"
ok "the agent stops" wait_line 20 src.log 'capture: cancelled'
ok "and is there for another job" wait_for 30 machine_is_idle src

# ---- started without standard output and error: what is said goes nowhere, and not into what has their numbers
"$AGENT" run --server "$URL" --pin "$FINGERPRINT" --token "$TOKEN" --id mute --name mute --discovery=no --disk src.img <&- >&- 2>&- &
mute=$!
ok "it appears" wait_for 30 machine_is_idle mute
is "$(readlink "/proc/$mute/fd/0" "/proc/$mute/fd/1" "/proc/$mute/fd/2" | sort -u)" /dev/null "what it has opened has other numbers"
kill "$mute"
wait "$mute"

# ---- --once: the status speaks of a job
start_agent once --once --disk src.img
ok "one that serves a single job waits for it" wait_for 30 machine_is_idle once
stop_agent once
is "$AGENT_STATUS" 1 "told to end before it had one, it does not say that it is done"
start_agent once --once --disk src.img
ok "a job is ordered" wait_for 30 order '{"kind":"capture","machine":"once","image":"once"}'
wait "$(agent_pid once)"
is "$?" 0 "done"
done_testing
