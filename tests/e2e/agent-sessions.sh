#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2153,SC2089,SC2090
# The secrets of machines' sessions: renewed while they are used, worth nothing when they were replaced.  And one machine as the attacker of
# others: what it may reach with a session of its own, each time beside the owner, who may.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/agent.sh"
requires curl jq openssl xxd sqlite3

said() { echo "$STATUS $(error_code)"; }
# What any request of a session without a job is answered: 404, or 401 when the secret is not good.
good() { call "$1" POST /v1/agent/jobs/0123456789abcdef/progress -d '{"phase":"check"}'; [ "$STATUS" = 404 ]; }
renew() { call "$1" POST /v1/agent/renew -d ''; }
events() { sqlite3 "$DATA/state.db" "SELECT count(*) FROM events WHERE event='$1'"; }
register() { call '' POST /v1/agent/register -d "{\"secret\":\"$1\",\"machine_id\":\"$MACHINE\",\"name\":\"m\",\"agent_version\":\"1\",\"inventory\":{}}"; }

# ---- renewing
start_server --renew 1000
make_machine m
first=$SECRET
is "$(field .renew_s)" 1000 "the server says how often"
renew "$first"
is "$STATUS $(field '.machine, .renew_s' | tr '\n' ' ')" "200 $MACHINE 1000 " "a session gets another secret"
lost=$(field .secret)
ok "the one before is good while nobody has used the other: its answer may have been lost" good "$first"
renew "$first"
second=$(field .secret)
is "$STATUS" 200 "so it can renew again"
nok "the lost one is worth nothing then" good "$lost"
ok "the new one is good" good "$second"
ok "and the one before beside it, for requests that are on their way" good "$first"
renew "$first"
is "$(said)" "409 conflict" "but it renews nothing any more: a copy of it does not get at the session"
renew "$second"
third=$(field .secret)
is "$STATUS" 200 "the present one does"
stop_server KILL
start_server --renew 1
ok "it outlives the server" good "$third"
nok "the one before it does not" good "$second"
register "$second"
is "$(said)" "403 forbidden" "nor is it good for registering, after the new one was used"
renew "$third"
fourth=$(field .secret)
stop_server KILL
start_server --renew 1
register "$third"
is "$STATUS" 200 "an answer that was lost, and the server restarted: the machine comes in by the secret that it has"
fifth=$(field .secret)
told=$(events secret_reused)
nok "and the lost one is worth nothing" good "$fourth"
is "$(events secret_reused)" $((told + 1)) "who uses it all the same is told of: it was not lost"
renew "$fifth"
sixth=$(field .secret)
ok "in use" good "$sixth"
over() { good "$sixth"; ! good "$fifth"; }
ok "after a while the one before is worth nothing" wait_for 30 over
good "$first" || good "$fifth" || good "$fifth"
is "$(events secret_reused)" $((told + 1)) "but not each time"
machine=$MACHINE
told=$(events secret_reused)
make_machine robbed
renew "$SECRET"
copy=$(field .secret)
good "$copy" # once, by who copied the secret; then not a word
silent() { ! good "$SECRET"; }
ok "renewed by a copy: the machine's own secret is worth nothing after a while" wait_for 30 silent
is "$(events secret_reused)" $((told + 1)) "and that is told, though the copy is silent"
make_machine again
old=$SECRET
make_machine again
nok "registered anew by a token: the former secret is worth nothing" good "$old"
is "$(events secret_reused)" $((told + 2)) "and who uses it is told of"
ok "the new one is good" good "$SECRET"
MACHINE=$machine
make_machine slow
hold "$SECRET" POST /v1/agent/jobs/0123456789abcdef/progress '{"phase":"check"}'
let_go
is "$STATUS" 404 "a body that takes its time"
hold "$SECRET" POST /v1/agent/jobs/0123456789abcdef/progress '{"phase":"check"}'
register "$SECRET"
let_go
is "$STATUS" 401 "is not taken from a session that has ended meanwhile"
MACHINE=$machine
api POST /v1/jobs -d "{\"kind\":\"gc\"}"
for secret in "$(printf '0%.0s' {1..64})" "${sixth}0" "${sixth:1}" ''; do
	renew "$secret"
	is "$STATUS" 401 "no renewal with '${secret:0:10}…'"
done
nok "no secret in the log" grep -qE "$first|$second|$third|$fourth|$fifth|$sixth" "$TAP_TMP/server.log"
nok "nor in the state" grep -qaE "$first|$second|$third|$fourth|$fifth|$sixth" "$DATA/state.db"

# ---- a real agent, whose secret changes all the time while it captures
make_token
base64 -w0 /dev/urandom | head -c $((32 << 20)) >"$TAP_TMP/disk.img" # which takes a processor its time at this level
start_agent real --workers 1 --disk "$TAP_TMP/disk.img"
ok "an agent comes" wait_for 60 machine_is_idle real
before=$(cat "$TAP_TMP/real.state/session-secret")
renewals() { grep -c 'path=/v1/agent/renew status=200' "$TAP_TMP/server.log"; }
start=$(renewals)
ok "a capture is ordered" order_held real '{"kind":"capture","machine":"real","image":"real","options":{"all_blocks":true,"level":12}}'
many() { [ "$(renewals)" -ge $((start + 4)) ]; }
# in short slices, a second apart: at each one it is time for another secret
slice() { kill -CONT "$(agent_pid real)" && sleep 0.03 && kill -STOP "$(agent_pid real)" && sleep 1 && many; }
wait_for 200 slice
ok "it was renewed four times meanwhile" many
ok "the job is under way still" job_is '.state == "running"'
is "$(sqlite3 "$DATA/state.db" "SELECT count(*) FROM events WHERE event='machine_registered' AND text LIKE 'real %'")" 1 "and it did not have to register again"
kill -CONT "$(agent_pid real)"
job_wait 300
is "$(field .state)" "done" "and ends well"
isnt "$(cat "$TAP_TMP/real.state/session-secret")" "$before" "the agent keeps the new secret"
nok "the old one is worth nothing" good "$before"
order '{"kind":"verify","image":"real"}'
job_wait 300
is "$(field .state)" "done" "the image is whole"
stop_agent real
stop_server

# ---- one machine against the others
start_server
size=$((6 << 20))
for name in one two; do
	head -c $size /dev/urandom >"$TAP_TMP/$name.img"
	"$WIRE" cut "$TAP_TMP/$name.img" "$TAP_TMP/$name"
done
declare -A secret job
# as NAME METHOD PATH...: by NAME's session, about the job of whom $of says (NAME)
as() { local who=$1; call "${secret[$who]}" "$2" "/v1/agent/jobs/${job[${of:-$who}]}/$3" "${@:4}"; }
finish() { jq -cn --arg root "$(cat "$TAP_TMP/$1/root")" '{root: $root, sector_size: 512, physical_sector_size: 512}'; }
machine() { make_machine "$1" "{\"disks\":[$(disk_json file:a $size)]}"; secret[$1]=$SECRET; }
ordered() { api POST /v1/jobs -d "{\"kind\":\"$2\",\"machine\":\"$1\",\"image\":\"$3\"}"; job[$1]=$(field .id); [ "$STATUS" = 201 ]; }
send() # NAME: all of a capture but its end
{
	local pack
	for pack in "$TAP_TMP/$1"/packs/*; do as "$1" PUT "packs/${pack##*.}" -T "$pack"; done
	as "$1" PUT disks/0/windows -T "$TAP_TMP/$1/windows"
}
for name in one two three; do machine $name; done
ordered one capture one
ordered two capture two
pack=$(find "$TAP_TMP/one/packs" -name '*.chunks.*' | sort | head -n 1)
requests=("POST lack?kind=chunk --data-binary @$TAP_TMP/one/chunks.ids" "PUT packs/${pack##*.} -T $pack" "PUT disks/0/windows -T $TAP_TMP/one/windows"
	"POST disks/0/finish -d $(finish one)" "POST progress -d {\"phase\":\"capture\"}" "POST done -d {}" "POST failed -d {\"code\":\"x\",\"message\":\"y\"}")
for name in two three; do
	for request in "${requests[@]}"; do
		# shellcheck disable=SC2086 # words
		of=one as $name $request
		is "$(said)" "404 not_found" "$name at one's capture: ${request%% -*}"
	done
done
api GET "/v1/jobs/${job[one]}"
is "$(field '.state, .sent' | tr '\n' ' ')" "waiting 0 " "which has not begun by that"
send one
is "$STATUS" 204 "the owner may"
send two
of=one as two POST disks/0/finish -d "$(finish two)"
is "$(said)" "404 not_found" "two does not end one's disk"
as one POST disks/0/finish -d "$(finish two)"
is "$(said)" "409 conflict" "nor does one by another's root"
for name in one two; do
	as $name POST disks/0/finish -d "$(finish $name)"
	as $name POST 'done' -d "$(done_json file:a "$(cat "$TAP_TMP/$name/root")")"
	is "$STATUS" 200 "$name is captured"
done
# the same again, as somebody would who has recorded it
as one POST 'done' -d '{}'
is "$STATUS" 200 "done is taken again,"
as one POST failed -d '{"code":"x","message":"y"}'
api GET "/v1/jobs/${job[one]}"
is "$(field '.state, .version' | tr '\n' ' ')" "done 1 " "and changes nothing, nor does failed"
for request in "${requests[@]:0:5}"; do
	# shellcheck disable=SC2086 # words
	as one $request
	is "$(said)" "409 conflict" "after the end: ${request%% -*}"
done
api GET /v1/images/one
is "$(field '.versions | length')" 1 "there is one version"
old=${job[one]}
ordered one capture one
call "${secret[one]}" POST "/v1/agent/jobs/$old/done" -d '{}'
call "${secret[one]}" POST "/v1/agent/jobs/$old/failed" -d '{"code":"x","message":"y"}'
call "${secret[one]}" PUT "/v1/agent/jobs/$old/disks/0/windows" -T "$TAP_TMP/one/windows"
is "$(said)" "409 conflict" "what was for the job before is not taken for the next one"
api GET "/v1/jobs/${job[one]}"
is "$(field .state)" waiting "which stays as it is"
api POST "/v1/jobs/${job[one]}/cancel"
as one PUT "packs/${pack##*.}" -T "$pack"
is "$(said)" "409 cancelled" "into a capture that was cancelled nothing is written"

# ---- reading
ordered two restore one
ordered three restore two
as two GET 'disks/0/nodes?first=0&count=2'
is "$STATUS" 200 "two reads the image that it was given"
cp "$TAP_TMP/body" "$TAP_TMP/nodes.one"
"$WIRE" want "$TAP_TMP/nodes.one" 0 "$TAP_TMP/want.one"
as two POST disks/0/chunks --data-binary "@$TAP_TMP/want.one"
is "$STATUS" 200 "with its chunks"
as three GET 'disks/0/nodes?first=0&count=2'
cp "$TAP_TMP/body" "$TAP_TMP/nodes.two"
"$WIRE" want "$TAP_TMP/nodes.two" 0 "$TAP_TMP/want.two"
as two POST disks/0/chunks --data-binary "@$TAP_TMP/want.two"
is "$(said)" "403 forbidden" "not those of another image, though they are its own disk's"
{ cat "$TAP_TMP/want.one"; head -c 40 "$TAP_TMP/want.two"; } >"$TAP_TMP/mixed"
as two POST disks/0/chunks --data-binary "@$TAP_TMP/mixed"
is "$(said)" "403 forbidden" "nor one among its own"
as three POST disks/0/chunks --data-binary "@$TAP_TMP/want.two"
is "$STATUS" 200 "three, whose image that is, gets them"
for request in 'GET disks/0/nodes?first=0&count=1' "POST disks/0/chunks --data-binary @$TAP_TMP/want.two" 'POST progress -d {"phase":"restore","begun":[0]}'; do
	# shellcheck disable=SC2086 # words
	of=three as two $request
	is "$(said)" "404 not_found" "two at three's restore: ${request%% -*}"
done
for request in "${requests[@]:0:4}"; do
	# shellcheck disable=SC2086 # words
	as two $request
	is "$(said)" "403 forbidden" "a restore writes nothing and asks nothing: ${request%% -*}"
done
as two GET 'disks/1/nodes?first=0&count=1'
is "$(said)" "404 not_found" "nor another disk than was ordered"
ordered one capture one
for request in 'GET disks/0/nodes?first=0&count=1' "POST disks/0/chunks --data-binary @$TAP_TMP/want.one"; do
	# shellcheck disable=SC2086 # words
	as one $request
	is "$(said)" "403 forbidden" "a capture reads nothing, not even what it has sent: ${request%% -*}"
done
api POST "/v1/jobs/${job[two]}/cancel"
as two GET 'disks/0/nodes?first=0&count=1'
is "$(said)" "409 cancelled" "a restore that was cancelled reads no more"
as two POST progress -d '{"phase":"restore"}'
is "$STATUS $(field .cancel)" "200 true" "its heartbeat is told so"
as two POST progress -d '{"phase":"restore","begun":[0]}'
is "$(said)" "409 cancelled" "and who is about to write gets no 200, whatever it says"
call "$OPERATOR" GET "/v1/agent/jobs/${job[three]}/disks/0/nodes?first=0&count=1"
is "$(said)" "401 unauthorized" "and operators have no business here"
for path in machines images/one jobs events tokens audit session; do
	call "${secret[three]}" GET "/v1/$path"
	is "$(said)" "401 unauthorized" "nor agents at /v1/$path"
done
done_testing
