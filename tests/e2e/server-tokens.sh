#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2153
# Enrolment: tokens from making to revoking, and who may come back with what.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
requires curl jq xxd sqlite3

# register N JSON: machine number N with JSON merged into its registration
register()
{
	call '' POST /v1/agent/register -d "$(jq -cn --arg id "$(printf '%032x' "$1")" --argjson more "$2" '{machine_id: $id, name: "m", agent_version: "1", inventory: {}} + $more')"
}
token() # JSON: makes one; sets TOKEN and ID
{
	api POST /v1/tokens -d "$1"
	TOKEN=$(field .token)
	ID=$(field .id)
}
uses_left() { api GET /v1/tokens && field ".tokens[] | select(.id == \"$ID\") | .uses_left"; }
# a machine that speaks is not replaced by a token: server-takeover.sh
in_again() { register "$1" "$2" && [ "$STATUS" = 200 ]; }
forbidden='403 forbidden'
said() { echo "$STATUS $(error_code)"; }

start_server --away 2 --poll 1 # so that who was silent for 6 s may come back by a token
token '{"uses":2,"note":"rack 7"}'
is "$STATUS $(field '[.uses, .uses_left, .note, .expires, .revoked] | map(tostring) | join(",")')" "201 2,2,rack 7,null,false" "a token is made"
like "$TOKEN" '^[0-9a-f]{64}$' "the token is shown once"
api GET /v1/tokens
is "$(field '.tokens[0] | has("token")')" false "and not in the list"
for text in '{}' '{"uses":0}' '{"uses":10001}' '{"uses":1,"expires_s":0}' '{"uses":1,"note":"'"$(printf 'x%.0s' {1..201})"'"}' '{"uses":1,"note":"a\u0007"}' '{"uses":"1"}'; do
	api POST /v1/tokens -d "$text"
	is "$(said)" "400 bad_request" "refused: ${text:0:40}"
done

register 1 '{}'
is "$(said)" "$forbidden" "nobody comes in without a token"
register 1 '{"token":"nonsense"}'
is "$(said)" "$forbidden" "nor with a wrong one"
unknown=$BODY
register 1 "{\"token\":\"$TOKEN\"}"
is "$STATUS $(field .machine) $(field '.poll_s, .stall_s' | tr '\n' ' ')" "200 00000000000000000000000000000001 1 300 " "with one it is in"
secret=$(field .secret)
is "$(uses_left)" 1 "one use is gone"
call "$secret" POST /v1/agent/jobs/0123456789abcdef/progress -d '{"phase":"check"}'
is "$STATUS" 404 "its session is good"

# ---- coming back
register 1 "{\"secret\":\"$secret\"}"
is "$STATUS" 200 "it comes back with its former secret"
new=$(field .secret)
isnt "$new" "$secret" "and gets another"
call "$secret" POST /v1/agent/jobs/0123456789abcdef/progress -d '{"phase":"check"}'
is "$STATUS" 401 "the former one is worth nothing now"
register 1 "{\"secret\":\"$secret\"}"
is "$STATUS" 200 "but for registering, while nobody has used the new one: its answer may have been lost"
new=$(field .secret)
call "$new" POST /v1/agent/jobs/0123456789abcdef/progress -d '{"phase":"check"}'
is "$STATUS" 404 "now it is used"
register 1 "{\"secret\":\"$secret\"}"
is "$(said)" "$forbidden" "and the former one is not good for registering either"
known=$BODY
register 9 "{\"secret\":\"$secret\"}"
is "$BODY" "$known" "the answer does not tell that the machine is known"
wait_for 30 in_again 1 "{\"token\":\"$TOKEN\"}"
is "$STATUS $(uses_left)" "200 1" "with its own token, uncounted"
wait_for 30 in_again 1 "{\"token\":\"$TOKEN\",\"secret\":\"wrong\"}"
is "$STATUS $(uses_left)" "200 1" "a wrong secret does not matter beside it"
register 2 "{\"secret\":\"$new\"}"
is "$(said)" "$forbidden" "another machine's secret is nobody's else"
register 2 "{\"token\":\"$TOKEN\"}"
is "$STATUS $(uses_left)" "200 0" "the second machine takes the last use"
register 3 "{\"token\":\"$TOKEN\"}"
is "$(said)" "$forbidden" "used up"
is "$BODY" "$unknown" "which looks like unknown"
register 2 "{\"token\":\"$TOKEN\"}"
is "$STATUS" 200 "who was enrolled with it may still come back"
stop_server KILL
start_server --away 2 --poll 1
wait_for 30 in_again 2 "{\"token\":\"$TOKEN\"}"
is "$STATUS" 200 "after a restart too"
two=$(field .secret)
register 3 "{\"token\":\"$TOKEN\"}"
is "$(said)" "$forbidden" "and it is still used up"

# ---- another token for a known machine
first=$TOKEN
token '{"uses":5}'
wait_for 30 in_again 1 "{\"token\":\"$TOKEN\"}"
is "$STATUS $(uses_left)" "200 4" "a known machine may be enrolled anew: it counts"
one=$(field .secret)
api POST /v1/jobs -d '{"kind":"capture","machine":"00000000000000000000000000000001","image":"i"}'
is "$(said)" "409 disk_missing" "a machine without a disk has nothing to capture"
register 1 "{\"secret\":\"$one\",\"inventory\":{\"disks\":[$(disk_json file:a 1048576)]}}"
one=$(field .secret)
api POST /v1/jobs -d '{"kind":"capture","machine":"00000000000000000000000000000001","image":"i"}'
job=$(field .id)
is "$STATUS" 201 "it has a job now"
token '{"uses":5}'
register 1 "{\"token\":\"$TOKEN\"}"
is "$(said) $(uses_left)" "$forbidden 5" "whoever holds just any token cannot take its place while it has a job"
wait_for 30 in_again 1 "{\"token\":\"$first\"}"
is "$STATUS" 200 "with a token of its own it comes back to its job"
one=$(field .secret)
call "$one" POST /v1/agent/poll -d '{"state":"idle"}'
is "$(field .order.job)" "$job" "which is given again"
api DELETE /v1/machines/00000000000000000000000000000001
is "$(said)" "409 conflict" "a machine that has a job is not forgotten"
api POST "/v1/jobs/$job/cancel"

# ---- revoked, expired
api DELETE "/v1/tokens/$ID"
is "$STATUS" 204 "a token is revoked"
register 4 "{\"token\":\"$TOKEN\"}"
is "$(said)" "$forbidden" "and enrols nobody"
api GET /v1/tokens
is "$(field ".tokens[] | select(.id == \"$ID\") | .revoked")" true "the list says so"
api DELETE /v1/tokens/ffffffff
is "$(said)" "404 not_found" "one that is not there"
token '{"uses":9,"expires_s":4}'
register 5 "{\"token\":\"$TOKEN\"}"
is "$STATUS" 200 "a token that expires soon is good until then"
expired() { register 5 "{\"token\":\"$TOKEN\"}" && [ "$STATUS" = 403 ]; }
ok "then it brings nobody back" wait_for 10 expired
register 6 "{\"token\":\"$TOKEN\"}"
is "$(said)" "$forbidden" "and enrols nobody"

# ---- machines
api GET /v1/machines
is "$(field '.machines | length')" 3 "three machines are known"
api GET /v1/machines/m
is "$(said)" "409 conflict" "a name that several bear names none"
api GET /v1/machines/0000
is "$(said)" "409 conflict" "nor does such a prefix"
api GET /v1/machines/000
is "$(said)" "404 not_found" "or one that is too short"
register 3735928559 "{\"token\":\"$first\"}"
api DELETE /v1/machines/00000000000000000000000000000002
is "$STATUS" 204 "one is forgotten"
call "$two" POST /v1/agent/poll -d '{"state":"idle"}'
is "$STATUS" 401 "its session ends with it"
register 2 "{\"token\":\"$first\"}"
is "$(said)" "$forbidden" "and so does its right to come back"
token '{"uses":1}'
register 2 "{\"token\":\"$TOKEN\",\"name\":\"named-one\"}"
for name in named-one 00000000000000000000000000000002; do
	api GET "/v1/machines/$name"
	is "$(field '[.id[-1:], .name, (.inventory | type), .state] | join(",")')" "2,named-one,object,idle" "found as $name"
done
api GET /v1/events
is "$(field '[.events[] | select(.event == "machine_removed")] | length')" 1 "the events tell of it"
last=$(field '.events[-1].id')
api GET "/v1/events?after=$last"
is "$(field '.events | length')" 0 "and there is nothing after the last one"

# ---- one with a job for whom it enrols
for rule in '""x' '"Capture"' '"capture="' '"capture=-a"' '"capture=a@1"' '"restore"' '"restore=a@0"' '"restore=a@01"' '"restore=a@1x"' '"restore=a@9999999999"' \
	'"verify=a"' '"restore=../a"' '"capture=a b"' "\"capture=$(printf 'x%.0s' {1..65})\"" 7; do
	token "{\"uses\":1,\"job\":$rule}"
	is "$(said)" "400 bad_request" "no job for a token: ${rule:0:30}"
done
disk="{\"inventory\":{\"disks\":[$(disk_json file:a 1048576)]}"
jobs_of() { api GET "/v1/jobs?machine=$(printf '%032x' "$1")" && field '[.jobs[] | "\(.kind) \(.image) \(.state)"] | join(",")'; }
token '{"uses":3,"job":"capture"}'
is "$STATUS $(field .job)" "201 capture" "a token with a job"
register 7 "$disk,\"token\":\"$TOKEN\",\"name\":\"web 1/x\"}"
is "$STATUS $(jobs_of 7)" "200 capture web-1-x-00000000 waiting" "who is enrolled by it has that job"
api GET "/v1/jobs?machine=$(printf '%032x' 7)"
api POST "/v1/jobs/$(field '.jobs[0].id')/cancel"
register 7 "$disk,\"token\":\"$TOKEN\",\"name\":\"web 1/x\"}"
is "$STATUS $(jobs_of 7)" "200 capture web-1-x-00000000 cancelled" "once: not when it comes back"
sqlite3 "$DATA/state.db" "UPDATE token_machines SET owed=1 WHERE machine='$(printf '%032x' 7)'" # as by a server that was killed before it ordered
register 7 "$disk,\"token\":\"$TOKEN\",\"name\":\"web 1/x\"}"
is "$STATUS $(jobs_of 7)" "200 capture web-1-x-00000000 waiting,capture web-1-x-00000000 cancelled" "a server that is killed between the two orders it then"
# Drivers that hang: disks may be missing from the list, and a capture of all of them would be without those.
token '{"uses":1,"job":"capture"}'
register 12 "{\"inventory\":{\"unsettled\":true,\"disks\":[$(disk_json file:a 1048576)]},\"token\":\"$TOKEN\",\"name\":\"slow\"}"
is "$STATUS $(jobs_of 12)" "200 " "a machine whose hardware is not all there yet has no job from its token"
api GET /v1/events
like "$(field '.events[] | select(.event == "job_held") | .text')" "^slow: 'capture', the job of its enrolment token, waits: drivers" "which an event says"
register 12 "{\"inventory\":{\"skipped\":[{\"name\":\"sdc\",\"reason\":\"no_size\",\"text\":\"\"}],\"disks\":[$(disk_json file:a 1048576)]},\"token\":\"$TOKEN\",\"name\":\"slow\"}"
is "$STATUS $(jobs_of 12)" "200 " "nor has one with a disk that says nothing of its size"
api GET /v1/events
like "$(field '[.events[] | select(.event == "job_held")][-1].text')" "^slow: 'capture', .* waits: the machine has a disk that is not in its list" "which another one says"
driverless() { register 12 "{\"inventory\":{\"unclaimed\":[$1],\"disks\":[$(disk_json file:a 1048576)]},\"token\":\"$TOKEN\",\"name\":\"slow\"}"; }
driverless '{"class":"0200","id":"8086:1572"},{"class":"0104","id":"8086:2822"}'
is "$STATUS $(jobs_of 12)" "200 " "nor one with a storage controller without a driver"
api GET /v1/events
like "$(field '[.events[] | select(.event == "job_held")][-1].text')" "^slow: 'capture', .* waits: no driver has taken a controller" "as it says"
driverless '{"class":"0200","id":"8086:1572"},{"class":"0100","id":"1425:5501"}'
is "$STATUS $(jobs_of 12)" "200 capture slow-00000000 waiting" "until nothing of the sort is said: a network card is no reason"
token '{"uses":1,"job":"restore=none@3"}'
register 8 "$disk,\"token\":\"$TOKEN\"}"
is "$STATUS $(jobs_of 8)" "200 " "a job that cannot be: it is enrolled all the same"
sqlite3 "$DATA/state.db" "INSERT INTO images VALUES('m-00000000', 1, 1); INSERT INTO versions(image, version, created, job, machine, machine_name, manifest, size,
	data_bytes, disks, damaged, removing) VALUES('m-00000000', 1, 1, 'j', '$(printf '%032x' 99)', 'm', zeroblob(32), 0, 0, '[]', 0, 0)"
token '{"uses":1,"job":"capture"}'
register 10 "$disk,\"token\":\"$TOKEN\"}"
is "$STATUS $(jobs_of 10)" "200 " "nor is anything captured into the image of another machine"
api GET /v1/events
like "$(field '.events[] | select(.event == "job_refused") | .text')" "'capture', the job .* The image 'm-00000000' is of another machine" "which an event says"
api GET /v1/events
like "$(field '.events[] | select(.event == "job_refused") | .text')" "^m: 'restore=none@3', the job of its enrolment token, cannot be: There is no" "and an event says why"

done_testing
