#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2153
# The life of jobs: who waits is woken at once, what stalls is said to, what was ordered outlives the server; 200 machines that wait.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
requires curl jq xxd

now_ms() { date +%s%3N; }
capture() { api POST /v1/jobs -d "{\"kind\":\"capture\",\"machine\":\"$1\",\"image\":\"$2\"}" && job=$(field .id); }
progress() { call "$SECRET" POST "/v1/agent/jobs/$job/progress" -d "$1"; }
poll() { call "$SECRET" POST /v1/agent/poll -d "$1"; }
# background FILE COMMAND...: its $BODY goes to FILE with the milliseconds it took before it
background()
{
	local file=$1 start
	shift
	(
		start=$(now_ms)
		# shellcheck disable=SC2034
		CALL_FILES=$file.
		"$@"
		echo "$(($(now_ms) - start)) $STATUS $BODY" >"$file"
	) &
}
waits() { [ "$(grep -c ' waiting ' "$TAP_TMP/server.log")" -ge "$1" ]; }
disk="{\"disks\":[$(disk_json file:a 8388608)]}"

start_server --stall 2 --away 2 --poll 20 --connections-per-peer 400
make_machine m1 "$disk"

# ---- waiting
background "$TAP_TMP/polled" poll '{"state":"idle"}'
poller=$!
wait_for 10 waits 1
capture m1 one
start=$(now_ms)
wait $poller
ok "an order wakes the machine at once" test $(($(now_ms) - start)) -lt 10000 # of the 20 s of a poll
is "$(cut -d' ' -f3- "$TAP_TMP/polled" | jq -r .order.job)" "$job" "and it is that order"
api GET "/v1/jobs/$job?seq=0"
seq=$(field .seq)
background "$TAP_TMP/watched" api GET "/v1/jobs/$job?seq=$seq&wait=20"
watcher=$!
background "$TAP_TMP/busy" poll "{\"state\":\"busy\",\"job\":\"$job\"}"
busy=$!
wait_for 10 waits 2
start=$(now_ms)
wait $watcher
is "$(cut -d' ' -f3- "$TAP_TMP/watched" | jq -r .state)" running "a poll that names the job makes it run, and who watches it is told"
progress '{"phase":"capture","disk":0,"done":1000000,"total":8388608,"data":500000,"sent":250000,"bottleneck":"network","log":["begins"]}'
api GET "/v1/jobs/$job"
is "$(field '[.phase, .disk, .done, .total, .data, .sent, .bottleneck, .log[0]] | map(tostring) | join(",")')" "capture,0,1000000,8388608,500000,250000,network,begins" "progress is shown"
api GET /v1/machines/m1
is "$(field '[.state, .job] | join(",")')" "busy,$job" "the machine is busy with it"
start=$(now_ms)
api GET "/v1/jobs/$job?seq=$(($(field '.seq // 0') + 1000))&wait=1"
ok "a wait in vain ends in time" test $(($(now_ms) - start)) -ge 900
api POST "/v1/jobs/$job/cancel"
is "$STATUS $(field '[.state, .code] | join(",")')" "200 cancelled,cancelled" "it is cancelled"
start=$(now_ms)
wait $busy
ok "the machine is told at once" test $(($(now_ms) - start)) -lt 10000 # of the 20 s of a poll
is "$(cut -d' ' -f3- "$TAP_TMP/busy" | jq -c .)" "{\"order\":null,\"cancel\":[\"$job\"]}" "by its poll"
progress '{"phase":"capture"}'
is "$STATUS $(field .cancel)" "200 true" "and by its progress"
call "$SECRET" POST "/v1/agent/jobs/$job/lack?kind=chunk" -d x
is "$STATUS $(error_code)" "409 cancelled" "and by anything else"
call "$SECRET" POST "/v1/agent/jobs/$job/done" -d '{}'
is "$STATUS $(error_code)" "409 cancelled" "it cannot be done any more"
call "$SECRET" POST "/v1/agent/jobs/$job/failed" -d '{"code":"cancelled","message":"as told"}'
is "$STATUS" 200 "but the agent may say that it has stopped"
api POST "/v1/jobs/$job/cancel"
is "$STATUS" 200 "cancelling again is no harm"

# ---- rates
capture m1 two
progress '{"phase":"capture","done":0,"total":100000000}'
sleep_until_rate() { progress "{\"phase\":\"capture\",\"done\":$((n += 1000000)),\"total\":100000000}"; api GET "/v1/jobs/$job"; [ "$(field .rate)" -gt 0 ]; }
n=0
ok "a rate is computed" wait_for 10 sleep_until_rate
like "$(field .eta_s)" '^[0-9]+$' "and the time that is left"

# ---- stalling
stalled() { api GET "/v1/jobs/$job" && [ "$(field .stalled)" = "$1" ]; }
ok "without a word it stalls" wait_for 15 stalled true
like "$(field .message)" "No progress.*not been heard" "because its agent is silent"
api GET /v1/machines/m1
is "$(field .state)" away "and the machine is away"
beat() { progress "{\"phase\":\"capture\",\"done\":$n,\"total\":100000000}"; api GET "/v1/jobs/$job"; [[ $(field .message) =~ though\ its\ agent\ answers ]]; }
ok "a heartbeat without progress changes only the reason" wait_for 10 beat
is "$(field .stalled)" true "it is still stalled"
api GET "/v1/jobs/$job"
seq=$(field .seq)
progress "{\"phase\":\"capture\",\"done\":$((n + 1)),\"total\":100000000}"
ok "progress ends it" wait_for 5 stalled false
is "$(field '.message')" null "with its reason"
api GET /v1/events
is "$(field "[.events[] | select(.job == \"$job\" and (.event | test(\"stalled|recovered\"))).event] | join(\",\")")" "job_stalled,job_recovered" "events tell of both"

# ---- what was ordered outlives the server
seq=$(api GET "/v1/jobs/$job"; field .seq)
stop_server KILL
start_server --stall 2 --away 2 --poll 2
api GET "/v1/jobs/$job"
is "$(field '[.state, .image] | join(",")')" "running,two" "a running job is still running after a kill"
ok "its seq goes on" test "$(field .seq)" -gt "$seq"
make_machine m2 "$disk"
m2=$SECRET
capture m2 three
stop_server KILL
start_server --stall 2 --away 2 --poll 2
SECRET=$m2
poll '{"state":"idle"}'
is "$(field .order.job)" "$job" "a waiting one is given"
start=$(now_ms)
poll "{\"state\":\"busy\",\"job\":\"$job\"}"
is "$(field .order.job) $(field '.cancel | length')" "$job 0" "a busy machine gets it again"
ok "after its time" test $(($(now_ms) - start)) -ge 1900
poll '{"state":"idle"}'
is "$(field .order.job)" "$job" "a machine that has lost its mind gets it at once"
poll '{"state":"busy","job":"0123456789abcdef"}'
is "$(field '[.order.job, .cancel[0]] | join(",")')" "$job,0123456789abcdef" "one that is busy with something else is told to leave it"
start=$(now_ms)
poll '{"state":"busy","job":"0123456789abcdef"}'
ok "and, told so, does not spin" test $(($(now_ms) - start)) -ge 1900
call "$m2" POST "/v1/agent/jobs/$job/failed" -d '{"code":"read_error","message":"It broke."}'
api GET "/v1/jobs/$job"
is "$(field '[.state, .code, .message] | join(",")')" "failed,read_error,It broke." "a failure"
call "$m2" POST "/v1/agent/jobs/$job/failed" -d '{"code":"read_error","message":"It broke."}'
is "$STATUS" 200 "which may be said twice"
capture m2 four
call "$m2" POST "/v1/agent/jobs/$job/failed" -d '{"code":"read_error","message":"x'"$(printf 'é%.0s' {1..256})"'"}'
is "$STATUS" 200 "a reason of 513 bytes is taken"
api GET "/v1/jobs/$job"
is "$(field '[.state, .message] | join(",")')" "failed,x$(printf 'é%.0s' {1..255})" "and cut at a character"
api GET /v1/events
is "$STATUS $(field "[.events[] | select(.job == \"$job\" and .event == \"job_failed\")] | length")" "200 1" "also in its event"
for text in '{"code":"Bad","message":"x"}' '{"code":"","message":"x"}' '{"code":"x"}'; do
	call "$m2" POST "/v1/agent/jobs/$job/failed" -d "$text"
	is "$STATUS $(error_code)" "400 bad_request" "refused: ${text:0:40}"
done

# ---- the list
api GET /v1/jobs
is "$(field '[.jobs[].image] | join(",")')" "four,three,two,one" "newest first"
api GET "/v1/jobs?state=cancelled"
is "$(field '[.jobs[].image] | join(",")')" one "by state"
api GET "/v1/jobs?machine=m2"
is "$(field '[.jobs[].image] | join(",")')" four,three "by machine"
api GET "/v1/jobs?id=${job:0:8}"
is "$(field '[.jobs[].id] | join(",")')" "$job" "by how the id begins"
api GET /v1/jobs/0123456789abcdef
is "$STATUS $(error_code)" "404 not_found" "one that is not there"
stop_server

# ---- two hundred that wait
: >"$TAP_TMP/server.log"
start_server --poll 30 --connections-per-peer 400
api POST /v1/tokens -d '{"uses":200}'
token=$(field .token)
# transfer PATH DATA-FILE OUTPUT [SECRET]: one request for curl's configuration
transfer()
{
	printf 'next\nurl = "%s%s"\ndata-binary = "@%s"\noutput = "%s"\ninsecure\npinnedpubkey = "%s"\nmax-time = 60\nsilent\n' "$URL" "$1" "$2" "$3" "$PIN"
	[ -z "${4-}" ] || printf 'header = "Authorization: Bearer %s"\n' "$4"
}
many=$TAP_TMP/many
mkdir "$many"
for i in {1..200}; do
	echo "{\"token\":\"$token\",\"machine_id\":\"$(printf '%032x' $((i + 4096)))\",\"name\":\"w$i\",\"agent_version\":\"1\",\"inventory\":$disk}" >"$many/in.$i"
	transfer /v1/agent/register "$many/in.$i" "$many/out.$i"
done | sed 1d >"$many/registers"
curl -K "$many/registers"
is "$(cat "$many"/out.* | jq -r .secret | grep -c '^[0-9a-f]*$')" 200 "200 machines are enrolled"
echo '{"state":"idle"}' >"$many/poll"
for i in {1..200}; do
	transfer /v1/agent/poll "$many/poll" "$many/order.$i" "$(jq -r .secret "$many/out.$i")"
done | sed 1d >"$many/polls"
curl --no-progress-meter --parallel --parallel-immediate --parallel-max 200 -K "$many/polls" &
polls=$!
ok "they all wait" wait_for 60 waits 200
start=$(now_ms)
api GET /v1/machines
is "$(field '.machines | length')" 202 "the operator is answered meanwhile"
ok "at once" test $(($(now_ms) - start)) -lt 10000
start=$(now_ms)
for i in 7 77 177; do
	capture "w$i" many
	is "$STATUS" 201 "an order for machine $i"
done
has_orders() { for i in 7 77 177; do jq -e .order.job "$many/order.$i" || return 1; done; }
ok "which it gets while the others wait" wait_for 10 has_orders
ok "soon" test $(($(now_ms) - start)) -lt 15000
before=$(find "$many" -name 'order.*' | wc -l)
is "$before" 3 "only they were woken"
memory=$(awk '/^VmRSS/ { print int($2 / 1024) }' "/proc/$SERVER_PID/status")
note "the server has $memory MiB"
limit=200
[ "${B:-release}" = release ] || limit=2000 # sanitizers keep what was freed
ok "200 waiting machines fit into 200 MiB" test "$memory" -lt $limit
start=$(now_ms)
stop_server
ok "it stops at once" test $(($(now_ms) - start)) -lt 10000
is "$SERVER_STATUS" 0 "and cleanly"
wait $polls
is "$(jq -r .error.code "$many"/order.* | grep -c busy)" 197 "the others are told to come again"
done_testing
