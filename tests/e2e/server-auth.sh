#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2153
# Who may call what: every route of the server's own table, with no secret, a wrong one, and one of the other kind.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
requires curl jq xxd

# method, kind of caller, path: of each route
routes()
{
	tr '\n' ' ' <"$TOP/server/api/routes.c" | grep -oE '\{HTTP_[A-Z]+, AUTH_[A-Z]+, *"[^"]+"' | sed -E 's/\{HTTP_([A-Z]+), AUTH_([A-Z]+), *"(.*)"/\1 \2 \3/'
}
body() { case $1 in POST | PUT) echo '--data-binary {}' ;; esac; }

start_server
make_machine m1
agent=$SECRET
job=0123456789abcdef
count=0
while read -r method kind path; do
	count=$((count + 1))
	path=${path/\{\}/$job}
	path=${path/\{\}/1}
	[ "$kind" != ANYONE ] || continue
	other=$agent
	[ "$kind" = OPERATOR ] || other=$OPERATOR
	got=
	for secret in '' "$(printf '0%.0s' {1..64})" "${OPERATOR:1}" "${OPERATOR}0" "$agent " "$other"; do
		# shellcheck disable=SC2046
		call "$secret" "$method" "$path" $(body "$method")
		got+="$STATUS $(error_code) "
	done
	is "$got" "$(printf '401 unauthorized %.0s' {1..6})" "$kind only: $method $path"
done < <(routes)
is "$(routes | grep ' ANYONE ' | tr '\n' ' ')" "GET ANYONE /v1/info POST ANYONE /v1/agent/register POST ANYONE /v1/agent/pair POST ANYONE /v1/agent/pair/reveal POST ANYONE /v1/agent/pair/wait " \
	"anyone may ask who the server is, register, and pair, no more"
is "$(routes | grep -v ' ANYONE ' | grep ' /v1/agent/' | grep -cv ' AGENT ')" 0 "what is below /v1/agent is for agents"
is "$(routes | grep -v ' ANYONE ' | grep -v ' /v1/agent/' | grep -cv ' OPERATOR ')" 0 "and all else for operators"
ok "all routes were seen ($count)" test "$count" -ge 27
is "$count" "$(grep -c 'HTTP_[A-Z]*, AUTH' "$TOP/server/api/routes.c")" "none was overlooked"
api GET /v1/machines
is "$(field '.machines | length')" 1 "and nothing happened: the machine is there"
api GET /v1/tokens
is "$(field '.tokens | length')" 1 "and no token was made"

# ---- forms of the header
for header in "Authorization: Basic $OPERATOR" "Authorization: $OPERATOR" "Authorization: Bearer" "Authorization: Bearer $(printf 'a%.0s' {1..200})" "X-Authorization: Bearer $OPERATOR"; do
	call '' GET /v1/server -H "$header"
	is "$STATUS" 401 "refused: ${header:0:40}"
done
call '' GET /v1/server -H "authorization: bearer $OPERATOR"
is "$STATUS" 200 "the scheme's case does not matter"
like "$(call '' GET /v1/server; tr -d '\r' <"$TAP_TMP/head")" 'WWW-Authenticate: Bearer' "401 says how"

# ---- an agent reaches its own job only
make_machine m2 "{\"disks\":[$(disk_json file:a 1048576)]}"
two=$SECRET
api POST /v1/jobs -d '{"kind":"capture","machine":"m2","image":"i"}'
job=$(field .id)
for request in "POST lack?kind=chunk" "PUT packs/$(printf 'a%.0s' {1..64})" "PUT disks/0/windows" "POST disks/0/finish" "GET disks/0/nodes?first=0&count=1" \
	"POST disks/0/chunks" "POST progress" "POST done" "POST failed"; do
	data=(--data-binary '{"phase":"check","code":"x","message":"y","root":"'"$FINGERPRINT"'","sector_size":512,"physical_sector_size":512}')
	[ "${request% *}" != GET ] || data=()
	call "$agent" "${request% *}" "/v1/agent/jobs/$job/${request#* }" "${data[@]}"
	is "$STATUS $(error_code)" "404 not_found" "another machine's job is not there: ${request%%\?*}"
done
api GET "/v1/jobs/$job"
is "$(field .state)" waiting "and it has not begun"
call "$two" POST "/v1/agent/jobs/$job/progress" -d '{"phase":"check"}'
is "$STATUS" 200 "its own machine may"
call "$two" POST "/v1/agent/jobs/${job^^}/progress" -d '{"phase":"check"}'
is "$STATUS" 404 "ids are exact"
call "$two" POST "/v1/agent/jobs/$job/disks/1/finish" -d '{"root":"'"$FINGERPRINT"'","sector_size":512,"physical_sector_size":512}'
is "$STATUS $(error_code)" "404 not_found" "a disk that is not in the job"
for n in 00 -1 1x 99999999999999999999 %30; do
	call "$two" POST "/v1/agent/jobs/$job/disks/$n/finish" -d '{}'
	like "$STATUS" '^4' "a disk's number that is none: $n"
done

# ---- secrets are in no log and not in the state
stop_server
nok "no secret in the log" grep -qE "$OPERATOR|$agent|$two" "$TAP_TMP/server.log"
nok "nor in the database" grep -qaE "$OPERATOR|$agent|$two" "$DATA/state.db"
done_testing
