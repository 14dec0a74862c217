#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2034,SC2153,SC2154
# Ids of machines are no secret, and a token is shared by all machines of a medium: who has one wants the place of a machine that is at work, one
# that is silent, and one that comes back.  And the machine itself, restarted with nothing but the token.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/agent.sh"
requires curl jq xxd sqlite3

HERE=127.0.0.1 THIEF=127.0.0.2
id=$(printf '%032x' 7)
disk="{\"inventory\":{\"disks\":[$(disk_json file:a 1048576)]}}"
# come FROM JSON: the machine with that in its registration
come() { call '' POST /v1/agent/register --interface "$1" -d "$(jq -cn --arg id "$id" --argjson more "$2" --argjson disk "$disk" '{machine_id: $id, name: "m", agent_version: "1"} + $disk + $more')"; }
said() { echo "$STATUS $(error_code)"; }
good() { call "$1" POST /v1/agent/jobs/0123456789abcdef/progress --interface "${2:-$HERE}" -d '{"phase":"check"}'; [ "$STATUS" = 404 ]; }
order_of() { call "$1" POST /v1/agent/poll --interface "${2:-$HERE}" -d '{"state":"idle"}' && field .order.job; }
retry_after() { sed -n 's/^Retry-After: \([0-9]*\).*/\1/Ip' "$TAP_TMP/head"; }
events() { sqlite3 "$DATA/state.db" "SELECT count(*) FROM events WHERE event='$1' AND machine='$id'"; }
last_event() { sqlite3 "$DATA/state.db" "SELECT text FROM events WHERE event='$1' AND machine='$id' ORDER BY id DESC LIMIT 1"; }
comes() { come "$1" "$2" && [ "$STATUS" = 200 ]; }
capture() { order "{\"kind\":\"capture\",\"machine\":\"$id\",\"image\":\"i\"}"; }
uses_left() { api GET /v1/tokens && field '.tokens[0].uses_left'; }

# a place is free after 6 s: the poll, and 5
start_server --away 2 --poll 1 --stall 1000
make_token
token="{\"token\":\"$TOKEN\"}"

# ---- a machine that speaks
come $HERE "$token"
is "$STATUS $(uses_left)" "200 999" "a machine is enrolled"
come $HERE "$token"
is "$STATUS $(uses_left)" "200 999" "once more from the same address, when the answer was lost"
come $THIEF "$token"
is "$(said)" "409 conflict" "from another one it is not, though its secret was never used"
come $HERE "$token"
mine=$(field .secret)
ok "it works" good "$mine"
come $THIEF "$token"
is "$(said)" "409 conflict" "without a job: who has the token does not get its place"
like "$(retry_after)" '^[1-6]$' "and is told when to ask again"
like "$BODY" "connected from $HERE and was heard [0-9]+ s ago" "and why"
come $HERE "$token"
is "$(said)" "409 conflict" "nor from its own address"
come $THIEF "{\"secret\":\"$(printf '1%.0s' {1..64})\",\"token\":\"$TOKEN\"}"
is "$(said)" "409 conflict" "nor with a wrong secret beside"
come $THIEF '{"token":"nonsense"}'
is "$(said)" "403 forbidden" "who has no token does not even learn that it is there"
other=$TOKEN
make_token
come $THIEF "{\"token\":\"$TOKEN\"}"
is "$(said) $(uses_left)" "409 conflict 1000" "another token does not help, and is not used"
TOKEN=$other
ok "a job is ordered" capture
refused() # for 9 s, three more than a silent machine would have
{
	local end=$((SECONDS + 9))
	while [ $SECONDS -lt $end ]; do
		[ "$(order_of "$mine")" = "$JOB" ] || return 1
		come $THIEF "$token"
		[ "$(said)" = "409 conflict" ] || return 1
	done
}
ok "as long as it speaks nobody takes its place, however often he asks" refused
like "$(last_event machine_contested)" "^m: is at $HERE and speaks; $THIEF has a token" "which is told of, with both addresses"
is "$(events machine_contested)" 1 "once in a minute"
is "$(events machine_replaced)" 2 "nobody was replaced but those whose secret was never used"

# ---- the server hears nothing for a while, and the machine is not to blame
kill -STOP "$SERVER_PID"
sleep 8
(CALL_FILES=$TAP_TMP/late- && mkdir -p "$TAP_TMP" && come $THIEF "$token" && said >"$TAP_TMP/late") &
late=$!
sleep 1
kill -CONT "$SERVER_PID"
wait "$late"
is "$(cat "$TAP_TMP/late")" "409 conflict" "a server that was stopped does not take its own silence for the machine's"
stop_server KILL
start_server --away 2 --poll 1 --stall 1000
come $THIEF "$token"
is "$(said)" "409 conflict" "nor one that has just started"
ok "the machine's secret is good" good "$mine"

# ---- silence: a restart cannot be proved otherwise
ok "a machine that was silent for long enough is replaced by a token" wait_for 30 comes $THIEF "$token"
theft=$(field .secret)
like "$(last_event machine_replaced)" "^m: at $THIEF by a token; before at $HERE, silent for [6-9] s" "which is told of, with both addresses"
is "$(order_of "$theft" $THIEF)" "$JOB" "the job goes with it"
nok "the secret before is worth nothing" good "$mine"
stop_server KILL
start_server --away 2 --poll 1 --stall 1000
is "$(order_of "$theft" $THIEF)" "$JOB" "also after a restart of the server"
come $HERE "{\"secret\":\"$mine\"}"
is "$STATUS" 200 "the session that the job was ordered for takes it back, at once, whatever the other one does"
mine=$(field .secret)
like "$(last_event machine_reclaimed)" "^m: at $HERE, .* at $THIEF, is not any more" "which is told of"
is "$(order_of "$mine")" "$JOB" "it goes on with the job"
nok "the other session has ended" good "$theft" $THIEF
come $THIEF "{\"secret\":\"$theft\",\"token\":\"$TOKEN\"}"
is "$(said)" "409 conflict" "and does not come back, by token or secret"

# ---- a thief that was the machine once is not what a job was ordered for
ok "silent again" wait_for 30 comes $THIEF "$token"
theft=$(field .secret)
ok "he speaks" good "$theft" $THIEF
ok "then he is silent, and the machine comes back without a secret" wait_for 30 comes $HERE "$token"
restarted=$(field .secret)
is "$(order_of "$restarted")" "$JOB" "to its job"
come $THIEF "{\"secret\":\"$theft\",\"token\":\"$TOKEN\"}"
is "$(said)" "409 conflict" "it is not taken from it by the secret that he had in between"
api POST "/v1/jobs/$JOB/cancel"
ok "another job" capture
come $THIEF "{\"secret\":\"$mine\",\"token\":\"$TOKEN\"}"
is "$(said)" "409 conflict" "a secret takes back no other job than its own"
is "$(order_of "$restarted")" "$JOB" "the machine has it"
api POST "/v1/jobs/$JOB/cancel"

# ---- a copy of the secret, renewed by the one who made it
stop_server KILL
start_server --away 2 --poll 1 --stall 1000 --renew 1
call "$restarted" POST /v1/agent/renew -d ''
copy=$(field .secret)
ok "the copy's session works" good "$copy" $THIEF
over() { good "$copy" $THIEF; ! good "$restarted"; }
ok "the machine's is worth nothing after a while" wait_for 30 over
come $HERE "{\"secret\":\"$restarted\"}"
is "$(said)" "403 forbidden" "nor for registering, alone"
come $HERE "$token"
is "$(said)" "409 conflict" "nor is the token, alone"
come $HERE "{\"secret\":\"$restarted\",\"token\":\"$TOKEN\"}"
is "$STATUS" 200 "together they are: it was this session"
like "$(last_event machine_reclaimed)" "a secret that its session had before" "which is told of"
nok "the copy's session has ended" good "$copy" $THIEF
stop_server

# ---- real agents, and nothing of theirs outlives them
start_server --away 2 --poll 1
make_token
cd "$TAP_TMP" || exit
fill a.img 0 $((24 << 20))
start_agent real --disk a.img --workers 1
ok "an agent comes" wait_for 60 machine_is_idle real
ok "a capture is ordered" order_held real '{"kind":"capture","machine":"real","image":"real","options":{"all_blocks":true,"level":1}}'
ok "it is under way" valve "$(agent_pid real)" 120 job_is '.sent > 1000000'
kill -CONT "$(agent_pid real)"
"$AGENT" run --server "$URL" --pin "$FINGERPRINT" --token "$TOKEN" --id real --name thief --discovery=no --state "$TAP_TMP/thief.state" --disk a.img >thief.log 2>&1 &
AGENT_PIDS[thief]=$!
ok "another agent with its id and token says why it is not let in" wait_line 60 thief.log 'A machine with this id is connected from 127.0.0.1 .*; trying again'
nok "and does nothing" grep -q 'waiting for orders' thief.log
stop_agent thief KILL
kill -STOP "$(agent_pid real)"
if job_is '.state == "running"'; then
	stop_agent real KILL
	rm -rf real.state
	start_agent real --disk a.img --workers 1
	ok "restarted without its state, it says that it waits" wait_line 60 real.log 'If it is this one, before a restart, it is let in after'
else
	diag "the capture was over before it could be interrupted"
	kill -CONT "$(agent_pid real)"
fi
ok "and comes back to its job, which ends" job_wait 240
is "$(field .state)" "done" "well"
done_testing
