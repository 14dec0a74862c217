#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2153
# Who may call what: every route with no secret, wrong ones, an agent's, and a token of each role.  The rights stand here once more, so that
# a route whose role changes, or that is new, shows.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
requires curl jq xxd

rights()
{
	cat <<-'END'
	ANYONE GET /v1/info
	ANYONE POST /v1/agent/register
	AGENT POST /v1/agent/renew
	AGENT POST /v1/agent/poll
	AGENT POST /v1/agent/jobs/{}/progress
	AGENT POST /v1/agent/jobs/{}/done
	AGENT POST /v1/agent/jobs/{}/failed
	AGENT POST /v1/agent/jobs/{}/lack
	AGENT PUT /v1/agent/jobs/{}/packs/{}
	AGENT PUT /v1/agent/jobs/{}/disks/{}/windows
	AGENT POST /v1/agent/jobs/{}/disks/{}/finish
	AGENT GET /v1/agent/jobs/{}/disks/{}/nodes
	AGENT POST /v1/agent/jobs/{}/disks/{}/chunks
	VIEWER GET /v1/server
	VIEWER GET /v1/machines
	VIEWER GET /v1/machines/{}
	OPERATOR DELETE /v1/machines/{}
	VIEWER GET /v1/images
	VIEWER GET /v1/images/{}
	VIEWER GET /v1/images/{}/versions/{}
	ADMIN DELETE /v1/images/{}
	OPERATOR POST /v1/jobs
	VIEWER GET /v1/jobs
	VIEWER GET /v1/jobs/{}
	OPERATOR POST /v1/jobs/{}/cancel
	OPERATOR POST /v1/tokens
	OPERATOR GET /v1/tokens
	OPERATOR DELETE /v1/tokens/{}
	VIEWER GET /v1/events
	VIEWER GET /v1/media
	OPERATOR GET /v1/media/{}
	OPERATOR GET /v1/media/{}/{}
	OPERATOR POST /v1/media/{}
	OPERATOR POST /v1/media/{}/{}
	ANYONE POST /v1/agent/pair
	ANYONE POST /v1/agent/pair/reveal
	ANYONE POST /v1/agent/pair/wait
	VIEWER GET /v1/pairings
	OPERATOR POST /v1/pairings/{}/confirm
	OPERATOR POST /v1/pairings/{}/reject
	ANYONE POST /v1/login
	VIEWER GET /v1/session
	VIEWER DELETE /v1/session
	VIEWER POST /v1/password
	VIEWER POST /v1/access-tokens
	VIEWER GET /v1/access-tokens
	VIEWER DELETE /v1/access-tokens/{}
	ADMIN GET /v1/operators
	ADMIN POST /v1/operators
	ADMIN POST /v1/operators/{}
	ADMIN DELETE /v1/operators/{}
	ADMIN GET /v1/audit
	END
}
# The same of the server's table.
table() { tr '\n' ' ' <"$TOP/server/api/routes.c" | grep -oE '\{HTTP_[A-Z]+, *AUTH_[A-Z]+, *"[^"]+"' | sed -E 's/\{HTTP_([A-Z]+), *AUTH_([A-Z]+), *"(.*)"/\2 \1 \3/'; }
body() { case $1 in POST | PUT) echo '--data-binary {}' ;; esac; }
# as SECRET METHOD PATH: allowed, or what it was refused with.  Nothing at these paths is there to be done, or the body is none.
as()
{
	# shellcheck disable=SC2046
	call "$1" "$2" "$3" $(body "$2")
	case $STATUS-$BODY in
	*'log in first'*) echo allowed ;; # by the role, not by a token
	401-*'"code":"unauthorized"'*) echo 401 unauthorized ;;
	403-*'"code":"forbidden"'*) echo 403 forbidden ;;
	*) echo allowed ;;
	esac
}
# wanted LEAST ROLE
wanted()
{
	case $1-$2 in
	VIEWER-* | OPERATOR-operator | OPERATOR-admin | ADMIN-admin) echo allowed ;;
	*) echo '403 forbidden' ;;
	esac
}

start_server
diff <(rights | sort) <(table | sort) >"$TAP_TMP/diff"
is "$(cat "$TAP_TMP/diff")" "" "each route has the role that this test knows of"
is "$(table | wc -l)" "$(grep -c '{HTTP_' "$TOP/server/api/routes.c")" "none was overlooked"
is "$(tr '\n' ' ' <"$TOP/server/api/routes.c" | grep -oE '\{HTTP_(POST|PUT|DELETE), *AUTH_(VIEWER|OPERATOR|ADMIN), *"[^"]+"[^}]*' | grep -c NULL)" 0 "what an operator changes has a name in the audit log"

make_machine m1
agent=$SECRET
declare -A secret
for role in viewer operator admin; do
	make_operator "$role" "$role"
	secret[$role]=$TOKEN
done
while read -r least method pattern; do
	path=${pattern/\{\}/0123456789abcdef}
	path=${path/\{\}/1}
	[ "$least" != ANYONE ] || continue
	other=$agent
	[ "$least" != AGENT ] || other=${secret[admin]}
	got=
	for wrong in '' "${OPERATOR:1}" "${OPERATOR}0" "$agent " "$other"; do
		got+="$(as "$wrong" "$method" "$path") "
	done
	is "$got" "$(printf '401 unauthorized %.0s' {1..5})" "$least only: $method $path"
	[ "$least" != AGENT ] || continue
	for role in viewer operator admin; do
		if [ "$method $pattern" = "DELETE /v1/session" ]; then # which ends the token
			api POST /v1/access-tokens -d "{\"name\":\"x\",\"operator\":\"$role\",\"expires_s\":60}"
			is "$(as "$(field .token)" "$method" "$path")" allowed "a $role logs out"
			continue
		fi
		is "$(as "${secret[$role]}" "$method" "$path")" "$(wanted "$least" "$role")" "a $role: $method $pattern"
	done
	is "$(as "$OPERATOR" "$method" "$path")" allowed "operator.token: $method $pattern"
done < <(rights)
api GET /v1/machines
is "$(field '.machines | length')" 1 "and nothing happened: the machine is there"
api GET /v1/tokens
is "$(field '.tokens | length')" 1 "and no token was made"
api GET /v1/operators
is "$(field '[.operators[] | .name + ":" + .role] | join(" ")')" "admin:admin operator:operator viewer:viewer" "nor an operator"

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
