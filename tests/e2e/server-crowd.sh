#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2153
# Connections on which a good secret was shown: neither one machine, from however many addresses, nor many of them keep an operator out, or another machine.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
requires curl jq openssl ss

# Of 48: 8 of a machine and of an address, 30 of all agents
start_server --connections 48 --connections-per-peer 8
port=${URL##*:}

holders=()
let_all_go()
{
	rm -f "$TAP_TMP/crowded"
	[ ${#holders[@]} = 0 ] && return
	kill "${holders[@]}" 2>/dev/null
	wait "${holders[@]}" 2>/dev/null
	holders=()
}
cleanup_fn let_all_go
touch "$TAP_TMP/answers" "$TAP_TMP/crowded"
# crowd ADDRESS COUNT SECRET: so many connections from there that show the secret, are answered and stay
crowd()
{
	local n body='{"phase":"check"}'
	for ((n = 0; n < $2; n++)); do
		{
			printf '%s\r\n' 'POST /v1/agent/jobs/0123456789abcdef/progress HTTP/1.1' 'Host: x' "Authorization: Bearer $3" "Content-Length: ${#body}" ''
			printf '%s' "$body"
			while sleep 5 && [ -e "$TAP_TMP/crowded" ]; do :; done
		} | timeout 300 openssl s_client -quiet -bind "$1:0" -connect "127.0.0.1:$port" 2>/dev/null | tee -a "$TAP_TMP/answers" >/dev/null &
		holders+=($!)
	done
}
answers() { grep -o 'HTTP/1.1 404' "$TAP_TMP/answers" | wc -l; } # one that is closed early may have none
held() { ss -Htn state established "sport = :$port" "$@" | wc -l; }
at_least() { [ "$("${@:2}")" -ge "$1" ]; }
at_most() { [ "$("${@:2}")" -le "$1" ]; }
# Eight times, by eight connections
served() { local n; for ((n = 0; n < 8; n++)); do api GET /v1/server --max-time 20 && [ "$STATUS" = 200 ] || return; done; }

secrets=()
for n in 1 2 3 4 5 6 7; do make_machine "m$n" && secrets+=("$SECRET"); done
make_machine good
call "$SECRET" POST /v1/agent/poll -d '{"state":"idle"}' & # for half a minute
polling=$!
ok "a machine waits for an order" wait_for 20 at_least 1 held

# ---- one machine, of three addresses
for n in 9 10 11; do crowd 127.0.0.$n 8 "${secrets[0]}"; done
ok "a machine shows its secret on 24 connections" wait_for 60 at_least 20 answers
ok "of which it has 8 at one time" wait_for 20 at_most 9 held
ok "and so many it may have" at_least 7 held

# ---- seven machines, of an address each
for n in 1 2 3 4 5 6; do crowd 127.0.1.$n 8 "${secrets[n]}"; done
ok "seven machines do so" wait_for 60 at_least 62 answers
ok "agents together have five eighths of all" wait_for 20 at_most 30 held
ok "and so many they may have" at_least 25 held
ok "operators are served, again and again" served
ok "who had one connection kept it" kill -0 "$polling"
call "$SECRET" POST /v1/agent/renew
is "$STATUS" 200 "and gets another"
let_all_go
kill "$polling" 2>/dev/null
wait "$polling" 2>/dev/null
stop_server
is "$SERVER_STATUS" 0 "nothing of this hurt it"
done_testing
