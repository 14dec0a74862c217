# shellcheck shell=bash disable=SC2034 # what is set here is for the tests
# SPDX-License-Identifier: GPL-3.0-or-later
# A real server for tests in bash; source it after tap.sh.
#
#	start_server [OPTION...]	in $DATA (default $TAP_TMP/data), on a free port of 127.0.0.1; ends with the test.
#					Sets URL, PIN, FINGERPRINT, OPERATOR, SERVER_PID; its log is $TAP_TMP/server.log
#	stop_server [SIGNAL]		and wait for it; SERVER_STATUS is how it ended
#	api METHOD PATH [CURL-OPTION...]	as the operator; body in $BODY (a file: $TAP_TMP/body), status in $STATUS
#	call SECRET METHOD PATH [CURL-OPTION...]	as whoever has SECRET ("" for nobody)
#	hold SECRET METHOD PATH BODY	begins a request: the server has seen its head and waits for the body
#	let_go				sends the body; sets STATUS
#	field JQ-FILTER			of $BODY
#	error_code			of $BODY
#	make_machine NAME [INVENTORY-JSON]	registers; sets MACHINE (id) and SECRET
#	make_operator NAME ROLE		adds one, whose password is "password of NAME"; sets TOKEN, an access token with that role
#	log_in NAME [PASSWORD]		sets SESSION, and STATUS, BODY as the server answered
#	disk_json ID SIZE [JSON]	a DISK of an inventory, JSON merged over it
DATA=$TAP_TMP/data
O=$TOP/build/${B:-release}
SERVER=$O/server/hoist-server
WIRE=$O/e2e/wire
CALL_FILES=$TAP_TMP/ # where call puts body and head; another for one in the background
SERVER_PID=
export DATA

start_server()
{
	: >"$TAP_TMP/server.out" # of the one before
	"$SERVER" --data "$DATA" --listen 127.0.0.1:0 --discovery no --reserve 1M --log-level debug "$@" \
		>"$TAP_TMP/server.out" 2>>"$TAP_TMP/server.log" &
	SERVER_PID=$!
	wait_for 30 server_is_up || bail_out "the server did not start: $(tail -n 3 "$TAP_TMP/server.log")"
	kill -0 "$SERVER_PID" 2>/dev/null || bail_out "the server ended: $(tail -n 3 "$TAP_TMP/server.log")"
	URL=$(sed -n 's/^listening //p' "$TAP_TMP/server.out" | head -n 1)
	FINGERPRINT=$(sed -n 's/^fingerprint //p' "$TAP_TMP/server.out")
	PIN="sha256//$(xxd -r -p <<<"$FINGERPRINT" | base64)"
	OPERATOR=$(cat "$DATA/operator.token")
}
server_is_up() { grep -q '^ready$' "$TAP_TMP/server.out" || ! kill -0 "$SERVER_PID"; }

stop_server()
{
	SERVER_STATUS=0
	[ -n "$SERVER_PID" ] || return 0
	kill -"${1:-TERM}" "$SERVER_PID" 2>/dev/null
	wait "$SERVER_PID" 2>/dev/null || SERVER_STATUS=$?
	SERVER_PID=
}
cleanup_fn stop_server KILL

call()
{
	local secret=$1 method=$2 path=$3
	shift 3
	STATUS=$(curl -sk --pinnedpubkey "$PIN" --max-time 60 -X "$method" ${secret:+-H "Authorization: Bearer $secret"} \
		-o "$CALL_FILES"body -D "$CALL_FILES"head -w '%{http_code}' "$@" "$URL$path")
	CURL_STATUS=$?
	BODY=$(tr -d '\0' <"$CALL_FILES"body 2>/dev/null)
	return $CURL_STATUS
}
api() { call "$OPERATOR" "$@"; }
hold()
{
	rm -f "$TAP_TMP/held"
	mkfifo "$TAP_TMP/held"
	exec {HELD_FD}<>"$TAP_TMP/held"
	: >"$TAP_TMP/held.out"
	timeout 120 openssl s_client -quiet -connect "${URL#https://}" <&"$HELD_FD" >"$TAP_TMP/held.out" 2>/dev/null &
	HELD_PID=$! HELD_BODY=$4
	printf '%s\r\n' "$2 $3 HTTP/1.1" 'Host: x' "Authorization: Bearer $1" "Content-Length: ${#4}" 'Expect: 100-continue' 'Connection: close' '' >&"$HELD_FD"
	wait_line 60 "$TAP_TMP/held.out" '^HTTP/1.1 100 ' >/dev/null
}
let_go()
{
	printf '%s' "$HELD_BODY" >&"$HELD_FD"
	wait "$HELD_PID"
	exec {HELD_FD}>&-
	STATUS=$(sed -n 's/^HTTP.1.1 \([2-5][0-9]*\) .*/\1/p' "$TAP_TMP/held.out")
}
field() { jq -r "$1" <<<"$BODY"; }
error_code() { field '.error.code' 2>/dev/null; }

make_operator()
{
	api POST /v1/operators -d "$(jq -cn --arg name "$1" --arg role "$2" '{name: $name, role: $role, password: ("password of " + $name)}')"
	[ "$STATUS" = 201 ] || bail_out "operator $1: $STATUS $BODY"
	api POST /v1/access-tokens -d "$(jq -cn --arg name "$1" '{name: "test", operator: $name, expires_s: 3600}')"
	TOKEN=$(field .token)
}
log_in()
{
	call '' POST /v1/login -d "$(jq -cn --arg name "$1" --arg password "${2-password of $1}" '{name: $name, password: $password}')"
	SESSION=$(field .token)
}

# done_json DISK ROOT...: what an agent says at the end of a capture
done_json() { jq -cn '{report: {disks: [$ARGS.positional | range(0; length; 2) as $i | {disk: .[$i], root: .[$i + 1]}]}}' --args "$@"; }

disk_json()
{
	jq -cn --arg id "$1" --argjson size "$2" --argjson more "${3:-{\}}" '{id: $id, name: $id, size: $size, sector_size: 512,
		physical_sector_size: 512, read_only: false, empty: true, fingerprint: ("0" * 64)} + $more'
}

make_machine()
{
	local name=$1 inventory=${2:-'{"disks":[]}'} token
	api POST /v1/tokens -d '{"uses":1}'
	token=$(field .token)
	MACHINE=$(printf '%s' "$name" | sha256sum | cut -c1-32)
	call '' POST /v1/agent/register -d "$(jq -cn --arg token "$token" --arg id "$MACHINE" --arg name "$name" --argjson inventory "$inventory" \
		'{token: $token, machine_id: $id, name: $name, agent_version: "test", inventory: $inventory}')"
	SECRET=$(field .secret)
}
