#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Whom an agent talks to: one key, wherever its server is; and how it outlives a server that is away.
# shellcheck disable=SC2034,SC2154
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/agent.sh"
requires curl jq xxd

cd "$TAP_TMP" || exit
truncate -s 1M a.img
start_server
make_token
right=$FINGERPRINT

# ---- a server with another key: not a byte of ours reaches it
FINGERPRINT=${right//[0-9]/7}
start_agent wrong --disk a.img
line=$(wait_line 30 wrong.log 'does not have the key')
like "$line" "$FINGERPRINT; nothing was sent" "a server with another key is refused with a clear sentence"
api GET /v1/machines
is "$(field '.machines | length')" 0 "nothing was registered"
stop_agent wrong
nok "and the server heard no request" grep -q 'path=/v1/agent/register' server.log
unlike "$(cat wrong.log)" "$TOKEN" "the token stands in no log"
FINGERPRINT=$right

# ---- a wrong token, then a right one by another start
good=$TOKEN
TOKEN=${good//[0-9]/1}
start_agent newcomer --disk a.img
ok "a machine with a token that nobody made is refused" wait_line 30 newcomer.log 'token'
ok "(which the server heard, and would have told of above)" grep -q 'path=/v1/agent/register' server.log
api GET /v1/machines
is "$(field '.machines | length')" 0 "and does not appear"
stop_agent newcomer
nok "nor says that it waits for orders" grep 'waiting for orders' newcomer.log
TOKEN=$good
start_agent newcomer --disk a.img
ok "with the right one it does" wait_for 30 machine_is_idle newcomer
ok "and says so" wait_line 10 newcomer.log 'waiting for orders'
stop_agent newcomer
ok "the secret is its own" [ "$(stat -c %a newcomer.state/session-secret)" = 600 ]
TOKEN=
start_agent newcomer --disk a.img
ok "known by its secret it needs no token any more" wait_for 30 machine_is_idle newcomer
ok "and says where it is connected" wait_line 10 newcomer.log 'connected to the server'

# ---- a server that comes later, and elsewhere
stop_server
ok "it notices that the server is away" wait_line 90 newcomer.log 'trying again'
ok "and does not end" kill -0 "$(agent_pid newcomer)"
stop_agent newcomer
udp=$("$TOP/tests/lib/free-port")
"$AGENT" run --pin "$right" --id newcomer --name newcomer --state newcomer.state --disk a.img \
	--discovery-port "$udp" --interface lo >late.log 2>&1 &
AGENT_PIDS[late]=$!
ok "an agent without an address looks for the server" wait_line 10 late.log "looking for the server with the key $right"
# another server is nearer
stop_other() { [ -z "$OTHER" ] || { kill "$OTHER" && wait "$OTHER"; OTHER=; }; }
DATA=$TAP_TMP/other
"$SERVER" --data "$DATA" --listen 0.0.0.0:0 --discovery-port "$udp" --reserve 1M --name other >other.out 2>other.log &
OTHER=$!
cleanup_fn stop_other
ok "one with another key is named and passed over" wait_line 60 late.log "server 'other' at .* not the one to be trusted"
stop_other
DATA=$TAP_TMP/data
start_server --listen 0.0.0.0:0 --discovery yes --discovery-port "$udp" --name right
ok "the right one is found by its broadcast, and connected to" wait_line 60 late.log 'connected to the server'
nok "at an address where it listens" grep 'no connection' late.log
ok "the machine is back" wait_for 30 machine_is_idle newcomer
stop_agent late

# ---- a medium that was made for nobody
timeout -k 10 -s INT 4 "$AGENT" run --id bare --disk a.img --discovery-port "$udp" --interface lo --interface lol >bare.log 2>&1
is $? 124 "an agent without a pin goes on announcing itself"
like "$(cat bare.log)" "not made for a server" "says what it lacks"
like "$(cat bare.log)" "server 'right' is at" "and which servers there are"
is "$(grep -o "no network interface '[a-z]*'" bare.log)" "no network interface 'lol'" "and an interface that is not there"
nok "an address and a token without a key are refused" timeout 20 "$AGENT" run --server 127.0.0.1 --token x --disk a.img
like "$(cat .output)" "needs --pin" "and it says what is missing"
done_testing
