#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2153
# What the audit log says of what an operator lets others do; and that he does not push out of it what he did by doing something again and again,
# by whichever session or token.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
requires curl jq sqlite3

# revoke SECRET ID COUNT: so often, over one connection; which status was the answer how often
revoke()
{
	local n
	for ((n = 0; n < $3; n++)); do
		printf 'url = "%s/v1/tokens/%s"\nrequest = DELETE\nheader = "Authorization: Bearer %s"\noutput = /dev/null\nwrite-out = "%%{http_code}\\n"\ninsecure\nsilent\nnext\n' "$URL" "$2" "$1"
	done | sed '$d' >"$TAP_TMP/flood"
	curl -K "$TAP_TMP/flood" | sort | uniq -c | awk '{ print $2 ":" $1 }' | tr '\n' ' '
}

start_server
make_operator alice operator
alice=$TOKEN
make_operator bob operator
bob=$TOKEN
log_in alice
objects() { sqlite3 "$DATA/state.db" "SELECT object FROM audit WHERE who='alice' AND action='$1' ORDER BY id DESC LIMIT 1"; }
call "$alice" POST /v1/tokens -d '{"uses":1,"job":"restore=web1@3"}'
is "$STATUS $(objects token.create)" "201 $(field .id), restore=web1@3" "a token's job is what it lets others do: the log has it"
call "$alice" POST /v1/pairings/nobody/confirm -d '{"code":"482913","proof":"207551","replace":true}'
is "$STATUS $(objects pairing.confirm)" "404 nobody, replace" "and that a machine was to be replaced with its job"
call "$alice" POST /v1/tokens -d '{"uses":1}'
is "$(objects token.create)" "$(field .id)" "nothing beside the id of a token without"
id=$(field .id)
is "$(revoke "$alice" "$id" 20)" "204:20 " "a token may be revoked again and again"
is "$(sqlite3 "$DATA/state.db" "SELECT count(*) FROM audit WHERE NOT refused AND who='alice' AND action='token.revoke'")" 20 "and each time is a row"
# one that is not there counts as well, and spares the disk
got=$(revoke "$alice" ffffffff 5500)
note "of 5500: $got"
like "$got" '^404:(49|50|51|52)[0-9]{2} 429:[1-9]' "after some thousand there is one in two seconds"
like "$(revoke "$alice" "$id" 20)" '429:(1[5-9]|20) $' "also of what would be a row"
like "$(revoke "$SESSION" "$id" 20)" '429:(1[5-9]|20) $' "by another session, too"
call "$alice" GET /v1/tokens
is "$STATUS" 200 "what changes nothing is not counted"
call "$SESSION" POST /v1/access-tokens -d '{"name":"x","expires_s":60}'
call "$SESSION" DELETE "/v1/access-tokens/$(field .id)"
is "$STATUS" 204 "nor is she kept from revoking a token of hers that somebody has stolen"
is "$(revoke "$bob" "$id" 20)" "204:20 " "others may"
is "$(revoke "$OPERATOR" ffffffff 5500)" "404:5500 " "who has operator.token, and so the log's file, is not counted: it would be filled"
done_testing
