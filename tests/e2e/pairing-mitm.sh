#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Somebody in the middle of machines that pair (mitm.c): own key towards the agent, the agent's part towards the server.  The codes on the two
# screens differ every time, and the operator who types one finds out.
# shellcheck disable=SC2034,SC2153,SC2154
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/agent.sh"
. "$(dirname "$0")/../lib/cli.sh"
. "$(dirname "$0")/../lib/pairing.sh"
requires curl jq xxd
MITM=$O/e2e/mitm
MITM_PID=

cd "$TAP_TMP" || exit
truncate -s 1M a.img
start_server --name office --pairings 4096 --pairings-per-peer 4096 --poll 2 --connections-per-peer 512
server_url=$URL

start_mitm()
{
	: >mitm.now
	"$MITM" "$server_url" "$FINGERPRINT" >mitm.now 2>>mitm.err &
	MITM_PID=$!
	wait_line 30 mitm.now '^listening' >listening || bail_out "no man in the middle: $(cat mitm.err)"
	read -r _ URL mitm_pin <listening
}
stop_mitm() { [ -z "$MITM_PID" ] || { kill "$MITM_PID" && wait "$MITM_PID"; MITM_PID=; } 2>/dev/null; }
cleanup_fn stop_mitm

all_show_codes()
{
	local name
	for name in $names; do has_codes "$name" 1 || return 1; done
}

# ---- many machines, three strategies
screens=0
: >mitm.all
: >seen
for batch in {1..11}; do
	start_mitm
	names=
	for n in 1 2 3 4 5 6 7; do names+=" relay$batch-$n early$batch-$n late$batch-$n"; done
	for name in $names; do start_bare "$name" --disk a.img; done
	wait_for 120 all_show_codes || break
	URL=$server_url
	api GET /v1/pairings
	for name in $names; do
		# name, code on the machine's screen, code at the server
		echo "$name $(shared "$(code_of "$name")") $(field "[.pairings[] | select(.name == \"$name\" and .state == \"waiting\") | .code] | last")" >>seen
		screens=$((screens + 1))
	done
	grep -v '^listening' mitm.now >>mitm.all
	[ "$batch" != 11 ] || break
	stop_agents
	stop_mitm
done
is "$screens" 231 "231 machines show a code"
is "$(awk 'length($2) != 6 || length($3) != 6' seen)" "" "each has another one waiting at the server, under its name"
# one in a million each: one may happen once in a thousand years of this test, two do not
ok "no machine's code is the server's" [ "$(awk '$2 == $3' seen | wc -l)" -le 1 ]
attempts=$(wc -l <mitm.all)
ok "in $attempts attempts" [ "$attempts" -ge 385 ]
ok "none of which gave equal codes" [ "$(awk '$3 == $5' mitm.all | wc -l)" -le 1 ]
is "$(awk 'NR == FNR { agent[$1] = $3; server[$1] = $5; next } agent[$1] != $2 || server[$1] != $3' mitm.all seen)" "" \
	"it has computed all of them itself: it plays by the protocol"
is "$(awk '/^relay/ && $7 != $8' mitm.all)$(grep -c '^relay' mitm.all)" 77 \
	"and were the server's key not in the code, passing everything on would have given equal ones"
is "$(cut -d' ' -f3 mitm.all | sort | uniq -c | awk '$1 > 8' | wc -l)" 0 "codes do not repeat"
is "$(grep -c '^late' mitm.all)" $((77 * 3)) "who tries again and again at the server gets three codes for one machine"

# ---- the operator finds out
name=relay11-1
nok "the code on the machine's screen is refused at the server" cli pair "$name" "$(code_of "$name")"
like "$ERR$(cat cli.err)" "somebody is between that machine and this server" "and it says what that may mean"
ok "the machine's screen says it too" wait_line 30 "$name.log" 'ANOTHER CODE WAS TYPED'
is "$(pairing_state "$name")" wrong_code "the pairing has ended"
nok "so that a second guess finds nothing" cli pair "$name" "$(code_of "$name")"
ok "it is in the log" grep -q "pairing_wrong_code.*$name at 127.0.0.1" server.log
api GET /v1/machines
is "$(field '.machines | length')" 0 "nobody was let in"
# ---- a server that needs no operator: it says by itself that it was confirmed
read -r _ URL mitm_pin <listening
start_bare rogue1 --disk a.img
ok "a server that has not seen the screen is not believed" wait_line 60 rogue1.log 'NOT BY SOMEBODY WHO READ THE CODE HERE: not trusted'
start_bare rogue2 --disk a.img
ok "and one that does not even guess makes no sense" wait_line 60 rogue2.log 'what it answers makes no sense'
nok "no agent trusts the one in the middle" grep -l 'is trusted from now on' ./*.log
done_testing
