#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2153
# What a peer may send: too much, too deep, too slow, too often, and what is not what it says.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/cli.sh"
requires curl jq xxd openssl perl script

ulimit -Sn 1024
start_server --inactivity 2 --body-time 3
ok "files: as many as connections and packs that wait for their checkpoint need" \
	test "$(awk '/^Max open files/ { print $4 }' "/proc/$SERVER_PID/limits")" -ge 2200
make_machine m1 "{\"disks\":[$(disk_json file:a 8388608)]}"
api POST /v1/jobs -d '{"kind":"capture","machine":"m1","image":"i"}'
job=$(field .id)
J=/v1/agent/jobs/$job
zeros() { head -c "$1" /dev/zero; }
send() { call "$SECRET" "$1" "$2" --data-binary @-; }

# ---- length: each route's own limit, and one more
limit() # METHOD PATH BYTES: a body of BYTES is read (whatever then becomes of it), one more is refused
{
	send "$1" "$2" < <(zeros "$3")
	isnt "$(error_code)" too_large "$2: $3 bytes are read" || diag "$STATUS $BODY"
	send "$1" "$2" < <(zeros $(($3 + 1)))
	is "$STATUS $(error_code)" "413 too_large" "$2: one more is refused"
}
limit POST "$J/lack?kind=chunk" 131072
limit PUT "$J/packs/$FINGERPRINT" $((20 + 4096 * 36 + 8388608))
limit PUT "$J/disks/0/windows" 180224
limit POST "$J/disks/0/finish" 4194304
limit POST "$J/disks/0/chunks" 163840
limit POST "$J/done" 4194304
limit POST "$J/progress" 262144
limit POST /v1/agent/poll 1024
limit POST /v1/agent/register 4194304
SECRET=$OPERATOR limit POST /v1/jobs 262144
send POST "$J/lack?kind=chunk" </dev/null
is "$STATUS $(error_code)" "400 bad_request" "an empty row of ids"
send POST "$J/lack?kind=chunk" < <(zeros 33)
is "$STATUS $(error_code)" "400 bad_request" "a row of ids that is cut"
call "$SECRET" POST "$J/lack?kind=all" -d "$(printf 'x%.0s' {1..32})"
is "$STATUS $(error_code)" "400 bad_request" "an unknown kind"
api GET /v1/machines --data-binary '{}'
is "$STATUS $(error_code)" "400 bad_request" "a body where none is taken"
call "$SECRET" POST "$J/progress" -H 'Transfer-Encoding: chunked' -d '{"phase":"check"}'
is "$STATUS $(error_code)" "411 length_required" "chunked"
raw() # TEXT...: lines to the server as they are; the answer's first line
{
	printf '%s\r\n' "$@" '' | timeout 20 openssl s_client -quiet -connect "${URL#https://}" 2>/dev/null | tr -d '\r' | head -n 1
}
auth="Authorization: Bearer $SECRET"
like "$(raw "POST $J/progress HTTP/1.1" 'Host: x' "$auth")" ' 411 ' "no length"
like "$(raw "POST $J/progress HTTP/1.1" 'Host: x' "$auth" 'Content-Length: 1x')" ' 400 ' "a length that is none"
like "$(raw "POST $J/progress HTTP/1.1" 'Host: x' "$auth" 'Content-Length: -1')" ' 400 ' "a negative length"
like "$(raw "POST $J/progress HTTP/1.1" 'Host: x' "$auth" 'Content-Length: 99999999999999999999999')" ' (400|413) ' "a length beyond all"
like "$(raw "POST $J/progress HTTP/1.1" 'Host: x' "$auth" 'Content-Length: 1000000000')" ' 413 ' "too long is answered without waiting for it"

# ---- JSON
json() { call "$SECRET" POST "$J/progress" --data-binary "$1"; }
deep=$(printf '[%.0s' {1..40})$(printf ']%.0s' {1..40})
json "{\"phase\":\"check\",\"log\":$deep}"
is "$STATUS $(error_code)" "400 bad_request" "JSON that is too deep"
like "$(field .error.message)" deep "and says so"
for text in '' '[]' '"x"' '{' '{"phase":"check"}x' '{"phase":"check","phase":"check"}' '{"phase":"sleep"}' '{"phase":7}' '{}' $'{"phase":"\xff"}' '{"phase":"che\u0000ck"}' \
	'{"phase":"check","done":-1}' '{"phase":"check","done":1.5}' '{"phase":"check","done":99999999999999999999}' '{"phase":"check","disk":32}' \
	'{"phase":"check","log":["'"$(printf 'x%.0s' {1..501})"'"]}' '{"phase":"check","log":[1]}' '{"phase":"check","log":['"$(printf '"x",%.0s' {1..64})"'"x"]}' \
	'{"phase":"check","bottleneck":"disks"}' '{"phase":"check","bottleneck":1}' '{"phase":"check","bottleneck":""}' \
	'{"phase":"check","begun":[1]}' '{"phase":"check","begun":["0"]}'; do
	json "$text"
	is "$STATUS $(error_code)" "400 bad_request" "refused: ${text:0:50}"
done
json '{"phase":"check","log":['"$(printf '"x",%.0s' {1..63})"'"x"]}'
is "$STATUS" 200 "as many lines as may be"
register() # JSON merged into a good registration
{
	call '' POST /v1/agent/register -d "$(jq -cn --argjson more "$1" '{token: "x", machine_id: ("a" * 32), name: "n", agent_version: "1", inventory: {}} + $more')"
}
for more in '{"machine_id":"short"}' '{"machine_id":null}' '{"name":""}' '{"name":"a\nb"}' '{"name":"é"}' "{\"name\":\"$(printf 'x%.0s' {1..65})\"}" '{"agent_version":""}' \
	"{\"token\":\"$(printf 'x%.0s' {1..129})\"}" '{"inventory":[]}' '{"inventory":null}' '{"secret":7}'; do
	register "$more"
	is "$STATUS $(error_code)" "400 bad_request" "registration refused: ${more:0:40}"
done
register '{}'
is "$STATUS $(error_code)" "403 forbidden" "a good one only lacks a token"
api POST "/v1/jobs/$job/cancel"
for text in '{"kind":"fly"}' '{"kind":"capture"}' '{"kind":"capture","machine":"m1"}' '{"kind":"capture","machine":"m1","image":"../x"}' '{"kind":"capture","machine":"m1","image":".x"}' \
	'{"kind":"capture","machine":"m1","image":"i","options":{"level":20}}' '{"kind":"capture","machine":"m1","image":"i","end":"explode"}' \
	'{"kind":"capture","machine":"m1","image":"i","disks":[7]}' '{"kind":"restore","machine":"m1","image":"i","version":0}'; do
	api POST /v1/jobs -d "$text"
	is "$STATUS $(error_code)" "400 bad_request" "job refused: ${text:0:60}"
done

# ---- paths
for path in /v1/images/%00 /v1/images/a%00b /v1/images/%zz /v1/images/%1 "/v1/images/$(printf 'x%.0s' {1..300})" /v1/images// /v1/ / /v1/machines/../server /v1/info/ /V1/info; do
	api GET "$path" --path-as-is
	is "$STATUS $(error_code)" "404 not_found" "nothing at ${path:0:40}"
done
api GET "/v1/jobs/$job?seq=x"
is "$STATUS $(error_code)" "400 bad_request" "a query that is no number"
api GET "/v1/jobs/$job?seq=1&wait=31"
is "$STATUS $(error_code)" "400 bad_request" "a wait that is too long"
api GET "/v1/jobs?state=asleep"
is "$STATUS $(error_code)" "400 bad_request" "a state that is none"
call '' PATCH /v1/info
is "$STATUS $(error_code)" "405 method" "another method"
like "$(raw "GET /v1/info?$(zeros 300000 | tr '\0' x) HTTP/1.1" 'Host: x')" '^(HTTP/1.1 4.*)?$' "a line that is too long"
call '' GET /v1/info
is "$STATUS" 200 "the server is well"

# ---- slow and many
mkfifo "$TAP_TMP/pipe"
exec {pipe}<>"$TAP_TMP/pipe"
head_of() { printf 'POST %s/progress HTTP/1.1\r\nHost: x\r\n%s\r\nContent-Length: %s\r\nConnection: close\r\n\r\n' "$J" "$auth" "$1"; }
{ head_of 100 && printf '{"pha'; } >&"$pipe"
ok "a body that does not go on ends its connection" timeout 20 openssl s_client -quiet -connect "${URL#https://}" <&"$pipe"
# pieces LENGTH PIECE TIMES: a body in pieces, half a second apart; what is answered
pieces()
{
	{
		head_of "$1"
		for ((n = 0; n < $3; n++)); do printf "%$2s" '' && sleep 0.5; done
	} | timeout 40 openssl s_client -quiet -connect "${URL#https://}" 2>/dev/null | head -n 1 | tr -d '\r'
}
is "$(pieces 100 1 40)" "" "one that goes on by a byte now and then is not waited for"
is "$(pieces 40000 4000 10)" "HTTP/1.1 400 Bad Request" "one that is slow for its length, but not too slow, is"
stop_server
start_server

# ---- a bomb: little JSON that grows
# brackets COUNT: a registration of so many empty arrays; each takes some 140 times its text
brackets() { printf '{"token":"x","machine_id":"%032d","name":"n","agent_version":"1","inventory":{"disks":[' 0 && yes '[],' | head -n "$1" | tr -d '\n' && printf '[]]}}'; }
# register_at_once FILE COUNT: from twelve addresses; their answers, each once.  On a slow machine some wait for memory too long: 503.
register_at_once()
{
	local n pids=()
	for ((n = 0; n < $2; n++)); do
		curl -sk --interface "127.0.0.$((n % 12 + 1))" --max-time 60 -o "$TAP_TMP/bombed" -w '%{http_code}\n' --data-binary "@$1" "$URL/v1/agent/register" &
		pids+=($!)
	done >"$TAP_TMP/bombs"
	wait "${pids[@]}"
	sort -u "$TAP_TMP/bombs" | paste -sd ' '
}
# What the server takes at most, from now on (proc(5): clear_refs), in MiB.
count_peak() { echo 5 >"/proc/$SERVER_PID/clear_refs"; }
peak() { awk '/^VmHWM/ { print int($2 / 1024) }' "/proc/$SERVER_PID/status"; }
brackets 1300000 >"$TAP_TMP/bomb"
brackets 262000 >"$TAP_TMP/most" # opening brackets and commas: 524,288 at most
count_peak
like "$(register_at_once "$TAP_TMP/bomb" 24)" '^400( 503)?$' "two dozen of more values than there may be are refused"
ok "unread, so little is taken for them (at most $(peak) MiB)" test "$(peak)" -lt 220
count_peak
like "$(register_at_once "$TAP_TMP/most" 24)" '^403( 503)?$' "as many of all that there may be are read"
ok "some at a time (at most $(peak) MiB)" test "$(peak)" -lt 500
stop_server
start_server --memory 16G
count_peak
is "$(register_at_once "$TAP_TMP/most" 24)" 403 "where there is more memory for JSON"
ok "all at one time, and that is seen (at most $(peak) MiB)" test "$(peak)" -gt 500
stop_server
is "$SERVER_STATUS" 0 "nothing of this hurt it"

# ---- no space
start_server --reserve 1000T
api POST /v1/jobs -d '{"kind":"capture","machine":"m1","image":"i"}'
J=/v1/agent/jobs/$(field .id)
call "$SECRET" PUT "$J/packs/$FINGERPRINT" --data-binary x
is "$STATUS $(error_code)" "507 no_space" "no pack is taken when the disk is about to be full"
like "$(tr -d '\r' <"$TAP_TMP/head")" 'Retry-After: [1-9]' "and it says when to come again"
{ perl -e 'print pack("QL", 0, 1)' && zeros 32; } >"$TAP_TMP/window"
call "$SECRET" PUT "$J/disks/0/windows" --data-binary @"$TAP_TMP/window"
is "$STATUS $(error_code)" "507 no_space" "nor a window, of which an index is made"
call "$SECRET" POST "$J/disks/0/finish" -d "{\"root\":\"$FINGERPRINT\",\"sector_size\":512,\"physical_sector_size\":512}"
is "$STATUS $(error_code)" "507 no_space" "nor an index, as often as it may be asked for"
is_held() { api GET "/v1/jobs/${J##*/}" && [ "$(field .stalled)" = true ]; }
ok "the operator sees at once that the job does not go on" wait_for 20 is_held
like "$(field .message)" "store is full: .* Make room .*hoist gc.* goes on by itself" "why, and what to do"
ok "and so does the log" grep -q 'job_stalled.*store is full' "$TAP_TMP/server.log"
send POST "$J/lack?kind=chunk" < <(zeros 32)
is "$STATUS" 200 "questions are answered all the same"
script -qec "stty cols 60; timeout 5 '$HOIST' job show ${J##*/} --wait" "$TAP_TMP/tty" </dev/null >/dev/null 2>&1
like "$(tr '\r' '\n' <"$TAP_TMP/tty")" "stalled: The server's store is full: .*; the job goes on by itself\." "who waits for it on a terminal can read that to its end"
is "$(grep -ac 'the job goes on by itself' "$TAP_TMP/tty")" 1 "once"
done_testing
