#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2153
# Whoever guesses at a password cannot keep it out of the audit log by making noise.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
requires curl jq

start_server
make_operator alice operator
log_in alice
for ((i = 0; i < 60; i++)); do
	printf 'url = "%s/v1/machines"\nheader = "Authorization: Bearer nonsense"\noutput = /dev/null\ninsecure\nsilent\nnext\n' "$URL"
done | sed '$d' >"$TAP_TMP/noise"
curl -K "$TAP_TMP/noise"
audited() # JQ-CONDITION: how many rows
{
	api GET /v1/audit
	field "[.audit[] | select($1)] | length"
}
for ((i = 0; i < 4; i++)); do call '' POST /v1/login -d "{\"name\":\"alice\",\"password\":\"a wrong one, $i\"}"; done
is "$STATUS $(error_code)" "403 wrong_password" "somebody guesses"
for ((i = 0; i < 3; i++)); do call "$SESSION" POST /v1/password -d "{\"old\":\"a wrong one, $i\",\"new\":\"a good one instead\"}"; done
is "$STATUS $(error_code)" "403 wrong_password" "by a session that he took, too"
noise=$(audited '.action == "GET /v1/machines"')
note "$noise of 60 noises recorded"
[ "$noise" -ge 20 ] && [ "$noise" -le 40 ]
is $? 0 "the noise before it has taken all the room of its address"
is "$(audited '.action == "login" and .object == "alice" and .result == "wrong_password"')" 4 "all guesses stand in the audit log"
is "$(audited '.action == "password.change" and .who == "alice" and .result == "wrong_password"')" 3 "of both kinds"
is "$(grep -c 'audit.*action=login object="alice" result=wrong_password' "$TAP_TMP/server.log")" 4 "and in the server's"
done_testing
