#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2153,SC2089,SC2090
# Operators: logging in and what ends a session, guessing passwords, access tokens, what stands in the audit log; each attack with what
# shows that it would be seen to succeed.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
requires curl jq openssl xxd sqlite3

said() { echo "$STATUS $(error_code)"; }
whoami() { call "$1" GET /v1/session; echo "$STATUS $(field '.name? // .error.code') $(field '.role? // ""')"; }
create() { api POST /v1/operators -d "$1"; }

start_server --session-idle 1000 --session-life 2000
make_operator alice operator
make_operator root admin
root=$TOKEN

# ---- adding
for text in '{}' '{"name":"a"}' '{"name":"a","role":"operator"}' '{"name":"a","password":"long enough!"}' '{"name":"a","role":"king","password":"long enough!"}' \
	'{"name":"(operator.token)","role":"admin","password":"long enough!"}' '{"name":"","role":"admin","password":"long enough!"}' \
	'{"name":"a","role":"admin","password":"too short"}' '{"name":"long-enough","role":"admin","password":"Long-Enough"}' \
	"{\"name\":\"a\",\"role\":\"admin\",\"password\":\"$(printf 'x%.0s' {1..129})\"}" '{"name":"a","role":"admin","password":"nul\u0000 inside!"}'; do
	create "$text"
	is "$(said)" "400 bad_request" "refused: ${text:0:60}"
done
create '{"name":"alice","role":"admin","password":"long enough!"}'
is "$(said)" "409 conflict" "a name is given once"
nok "no password in the state" grep -qa "password of alice" "$DATA/state.db" "$DATA/state.db-wal"
like "$(sqlite3 "$DATA/state.db" "SELECT password FROM operators WHERE name='alice'")" '^.argon2id.v=19.m=65536,t=3,p=1.' "but what Argon2id makes of it"

# ---- a session
log_in alice
is "$STATUS $(field '[.name, .role, .idle_s] | map(tostring) | join(" ")')" "201 alice operator 1000" "alice logs in"
first=$SESSION
is "$(whoami "$first")" "200 alice operator" "and is who she is"
call "$first" POST /v1/tokens -d '{"uses":1}'
is "$STATUS" 201 "she may what an operator may"
call "$first" GET /v1/audit
is "$(said)" "403 forbidden" "and not what an admin may"
is "$(sqlite3 "$DATA/state.db" "SELECT count(*) FROM credentials WHERE hex(hash) LIKE '%${first:0:16}%' OR id = '${first:0:8}'")" 0 "the secret is not in the state"
for body in '{"name":"alice","password":"wrong password"}' '{"name":"nobody","password":"wrong password"}'; do
	call '' POST /v1/login -d "$body"
	answers+="$STATUS $BODY"$'\n'
done
is "$(sort -u <<<"$answers" | grep -c .)" 1 "a wrong password and an unknown name look the same"
is "$(said)" "403 wrong_password" "they are refused"
log_in alice
call "$SESSION" DELETE /v1/session
is "$STATUS $(whoami "$SESSION")" "204 401 unauthorized " "after the logout the session is worth nothing"
is "$(whoami "$first")" "200 alice operator" "the other one goes on"
api DELETE /v1/session
is "$(said)" "409 conflict" "operator.token is not logged out"
is "$(whoami "$OPERATOR")" "200 (operator.token) admin" "and is an admin"

# ---- what ends sessions and tokens
call "$first" POST /v1/access-tokens -d '{"name":"mine","expires_s":1000}'
is "$STATUS $(field .role)" "201 operator" "a token of her own has her role"
mine=$(field .token)
call "$first" POST /v1/access-tokens -d '{"name":"look","role":"viewer","expires_s":1000}'
look=$(field .token)
is "$(whoami "$mine") $(whoami "$look")" "200 alice operator 200 alice viewer" "and another one a lower role"
call "$look" POST /v1/tokens -d '{"uses":1}'
is "$(said)" "403 forbidden" "which holds"
api POST /v1/operators/alice -d '{"role":"viewer"}'
is "$STATUS $(whoami "$first")" "200 401 unauthorized " "another role ends the session"
is "$(whoami "$mine")" "401 unauthorized " "and the token above it"
is "$(whoami "$look")" "200 alice viewer" "but not the one below"
api POST /v1/operators/alice -d '{"role":"operator"}'
is "$(whoami "$look")" "200 alice viewer" "which does not rise with her"
log_in alice
api POST /v1/operators/alice -d '{"password":"a new password"}'
is "$STATUS $(whoami "$SESSION")" "200 401 unauthorized " "another password ends the session"
log_in alice
is "$(said)" "403 wrong_password" "the old password is worth nothing"
log_in alice "a new password"
is "$STATUS" 201 "the new one is good"
call "$SESSION" POST /v1/password -d '{"old":"not the old one","new":"password of alice"}'
is "$(said)" "403 wrong_password" "her own password is changed by who knows the old one"
call "$SESSION" POST /v1/password -d '{"old":"a new password","new":"short"}'
is "$(said)" "400 bad_request" "and not to any"
call "$look" POST /v1/password -d '{"old":"a new password","new":"password of alice"}'
is "$(said)" "403 forbidden" "nor by a token"
call "$SESSION" POST /v1/password -d '{"old":"a new password","new":"password of alice"}'
is "$STATUS $(whoami "$SESSION")" "204 401 unauthorized " "then the session has ended too"

# ---- a body that takes its time: who is nobody any more when it has come orders nothing
make_operator slow admin
for change in '{"role":"viewer"}' '{"password":"another password"}'; do
	log_in slow
	hold "$SESSION" POST /v1/tokens '{"uses":1}'
	let_go
	is "$STATUS" 201 "a body that takes its time"
	hold "$SESSION" POST /v1/tokens '{"uses":1}'
	api POST /v1/operators/slow -d "$change"
	let_go
	is "$STATUS" 401 "is not taken from a session that has ended meanwhile: $change"
	api POST /v1/operators/slow -d '{"role":"admin","password":"password of slow"}'
done
log_in slow
hold "$SESSION" POST /v1/tokens '{"uses":1}'
api DELETE /v1/operators/slow
let_go
is "$STATUS" 401 "nor from an operator who was removed"

# ---- tokens
log_in alice
for text in '{"name":"x"}' '{"name":"x","expires_s":0}' '{"name":"x","expires_s":31622401}' '{"name":"a b","expires_s":9}' '{"expires_s":9}' '{"name":"x","expires_s":9,"role":"king"}'; do
	call "$SESSION" POST /v1/access-tokens -d "$text"
	is "$(said)" "400 bad_request" "no such token: $text"
done
for text in '{"name":"x","expires_s":9,"role":"admin"}' '{"name":"x","expires_s":9,"operator":"root"}'; do
	call "$SESSION" POST /v1/access-tokens -d "$text"
	is "$(said)" "403 forbidden" "not hers to make: $text"
done
call "$root" POST /v1/access-tokens -d '{"name":"x","expires_s":9}'
is "$(said)" "403 forbidden" "a token makes no tokens, or it would live for ever"
for request in 'POST /v1/operators -d {"name":"x","role":"admin","password":"long-enough!"}' 'POST /v1/operators/root -d {"password":"long-enough!"}' \
	'POST /v1/operators/alice -d {"role":"admin"}' 'DELETE /v1/operators/alice'; do
	# shellcheck disable=SC2086 # words
	call "$root" $request
	is "$(said)" "403 forbidden" "nor operators: ${request%% -*}"
done
call "$root" GET /v1/operators
is "$STATUS $(field '[.operators[] | .name + ":" + .role] | join(" ")')" "200 alice:operator root:admin" "it sees them, and they are as before"
log_in root
call "$SESSION" POST /v1/operators -d '{"name":"x","role":"viewer","password":"long enough!"}'
is "$STATUS" 201 "an admin's session makes one"
call "$SESSION" DELETE /v1/operators/x
is "$STATUS" 204 "and removes him"
log_in alice
call "$SESSION" GET /v1/access-tokens
is "$(field '[.access_tokens[] | .operator + ":" + .name + (if has("token") then "!" else "" end)] | sort | join(" ")')" "alice:look" "she sees her own, without the secrets"
call "$root" GET /v1/access-tokens
is "$(field '[.access_tokens[] | .operator] | unique | join(" ")')" "alice root" "an admin sees everybody's"
id=$(field '.access_tokens[] | select(.operator == "root") | .id')
call "$SESSION" DELETE "/v1/access-tokens/$id"
is "$(said) $(whoami "$root")" "404 not_found 200 root admin" "another's is not hers to revoke"
call "$SESSION" POST /v1/access-tokens -d '{"name":"short","expires_s":8}'
short=$(field .token)
is "$(whoami "$short")" "200 alice operator" "a short-lived one"
over() { [ "$(whoami "$short")" = "401 unauthorized " ]; }
ok "ends by itself" wait_for 60 over
api DELETE "/v1/access-tokens/$id"
is "$STATUS $(whoami "$root")" "204 401 unauthorized " "revoked, an admin's too"

# ---- idle, and too old
stop_server
start_server --session-idle 8 --session-life 1000
log_in alice
call "$SESSION" GET /v1/session
is "$STATUS" 200 "a session that is used"
idle() { [ "$(sqlite3 "$DATA/state.db" "SELECT unixepoch() - max(used) FROM credentials WHERE session")" -gt 8 ]; }
wait_for 60 idle
is "$(whoami "$SESSION")" "401 unauthorized " "ends when it is not used"
stop_server
start_server --session-idle 1000 --session-life 2
log_in alice
old() { [ "$(whoami "$SESSION")" = "401 unauthorized " ]; }
is "$STATUS" 201 "a session"
ok "ends although it is used" wait_for 60 old
stop_server
start_server --session-idle 1000
log_in alice
is "$(whoami "$SESSION")" "200 alice operator" "a session now"
sqlite3 "$DATA/state.db" "UPDATE credentials SET used = used + 1000 WHERE session"
is "$(whoami "$SESSION")" "401 unauthorized " "does not grow longer when the clock is set back"

# ---- guessing
stop_server
start_server
for ((i = 0; i < 10; i++)); do
	log_in alice "guess $i"
done
is "$(said)" "403 wrong_password" "ten guesses are answered"
log_in alice "guess 10"
is "$(said)" "429 rate_limited" "then no more"
log_in alice
is "$(said)" "429 rate_limited" "not even with the right password: there is nothing to learn"
is "$(whoami "$OPERATOR")" "200 (operator.token) admin" "who is in goes on"
make_operator bob viewer
log_in bob
is "$STATUS" 201 "and another name is not held up"
for ((i = 0; i < 60; i++)); do
	log_in "nobody-$i" "a password"
	[ "$STATUS" = 403 ] || break
done
is "$(said)" "429 rate_limited" "one address tries some names, no more"
stop_server
start_server
for ((i = 0; i < 25; i++)); do
	log_in bob
done
is "$STATUS" 201 "right passwords are not counted among the guesses"
is "$(sqlite3 "$DATA/state.db" "SELECT count(*) FROM credentials WHERE operator='bob' AND session")" 16 "and leave no more sessions than may be"

for ((i = 0; i < 60; i++)); do
	log_in bob
	[ "$STATUS" = 201 ] || break
done
is "$(said)" "429 rate_limited" "but who has one does not keep the server busy with it for ever"
log_in alice
is "$STATUS" 201 "another name is not held up by that"
for ((i = 0; i < 300; i++)); do
	call "$SESSION" POST /v1/access-tokens -d '{"name":"many","expires_s":1000}'
	[ "$STATUS" = 201 ] || break
	call "$SESSION" DELETE "/v1/access-tokens/$(field .id)"
done
is "$(said)" "429 rate_limited" "nor fills the log with tokens"
[ "$i" -ge 60 ]
is $? 0 "of which there were some"
call "$SESSION" POST '/v1/jobs/%22%20result=forged%20x=%22/cancel'
is "$STATUS" 404 "a name with quotes in it"
nok "stays within its field in the server's log" grep -q '" result=forged' "$TAP_TMP/server.log"
ok "where it stands" grep -q "object=\"' result=forged x='\"" "$TAP_TMP/server.log"

# many at one time: what the hashes take is bounded
peak() { sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$SERVER_PID/status"; }
stop_server
start_server
for ((i = 0; i < 20; i++)); do
	curl -sk --max-time 100 -o /dev/null -w '%{http_code}\n' -d "{\"name\":\"n$i\",\"password\":\"password of n$i\"}" "$URL/v1/login" >>"$TAP_TMP/many" &
	many+=($!)
done
wait "${many[@]}"
note "$(sort "$TAP_TMP/many" | uniq -c | tr '\n' ' '), peak $(peak) KiB"
like "$(sort -u "$TAP_TMP/many" | tr '\n' ' ')" '^403 (503 )?$' "twenty at one time are answered, or told to wait"
[ "$(peak)" -lt 400000 ]
is $? 0 "and take the memory of a few hashes, not of twenty"
is "$(whoami "$OPERATOR")" "200 (operator.token) admin" "and the server goes on"

# ---- the log of it
api GET /v1/audit
is "$(field '[.audit[] | select(.action == "operator.change" and (.object | startswith("alice")) and .result == "ok") | .who + " " + .object + " " + .result] | join("; ")')" \
	"(operator.token) alice, viewer ok; (operator.token) alice, operator ok; (operator.token) alice, password ok" "it tells who did what to whom"
is "$(field '[.audit[] | select(.action == "login" and .result == "wrong_password") | .object] | length > 5')" true "and who tried"
is "$(field '[.audit[] | select(.action == "login" and .result == "ok") | .who] | unique | join(" ")')" "alice bob root slow" "who came in"
is "$(field '[.audit[] | select(.action == "GET /v1/audit") | .who + " " + .result] | unique | join(" ")')" "alice forbidden" "who was refused what"
nok "no password, no secret is in it" grep -qE "password of|new password|guess [0-9]|$mine|$look|$OPERATOR" <<<"$BODY"
nok "nor in the server's own log" grep -qE "password of|new password|guess [0-9]|$mine|$look|$OPERATOR" "$TAP_TMP/server.log"
for ((i = 0; i < 60; i++)); do
	printf 'url = "%s/v1/operators"\nheader = "Authorization: Bearer %s"\noutput = /dev/null\ninsecure\nsilent\nnext\n' "$URL" "$look"
done | sed '$d' >"$TAP_TMP/flood"
curl -K "$TAP_TMP/flood"
count() { sqlite3 "$DATA/state.db" "SELECT count(*) FROM audit WHERE action = 'GET /v1/operators'"; }
note "$(count) of 60 refusals recorded"
[ "$(count)" -ge 1 ] && [ "$(count)" -le 40 ]
is $? 0 "a flood of refusals is recorded in part"
more() { call "$look" GET /v1/operators; [ "$(sqlite3 "$DATA/state.db" "SELECT count(*) FROM audit WHERE result = 'left_out'")" -gt 0 ]; }
ok "and the rest is counted" wait_for 60 more
is "$(sqlite3 "$DATA/state.db" "DELETE FROM audit" 2>&1 | grep -c 'audit log is kept')" 1 "rows are not removed, by no statement"
is "$(sqlite3 "$DATA/state.db" "UPDATE audit SET who='x'" 2>&1 | grep -c 'is not changed')" 1 "nor changed"
last=$(field '.audit[-1].id' <<<"$BODY")
api GET "/v1/audit?after=0"
last=$(field '.audit[-1].id')
api DELETE /v1/operators/bob
api GET "/v1/audit?after=$last"
is "$(field '[.audit[] | .who + " " + .action + " " + .object + " " + .result] | join("; ")')" "(operator.token) operator.remove bob ok" "what came after"
gone() { log_in bob; [ "$STATUS" = 403 ]; } # 429 while there have been too many attempts
ok "and bob is gone" wait_for 90 gone
done_testing
