#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A machine that hears several servers, some of which are none: all are listed, nothing is chosen for the operator.
# shellcheck disable=SC2034,SC2153,SC2154
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/agent.sh"
. "$(dirname "$0")/../lib/cli.sh"
. "$(dirname "$0")/../lib/pairing.sh"
requires curl jq xxd perl

cd "$TAP_TMP" || exit
truncate -s 1M a.img
udp=$("$TOP/tests/lib/free-port")
dead=$("$TOP/tests/lib/free-port")

# two servers: 'lab' with start_server, 'office' beside it
OFFICE=
stop_office() { [ -z "$OFFICE" ] || { kill "$OFFICE" && wait "$OFFICE"; OFFICE=; } 2>/dev/null; }
cleanup_fn stop_office
"$SERVER" --data "$TAP_TMP/office" --listen 127.0.0.1:0 --discovery no --reserve 1M --name office >office.out 2>office.log &
OFFICE=$!
wait_line 30 office.out '^ready' >/dev/null || bail_out "no second server"
office_key=$(sed -n 's/^fingerprint //p' office.out)
office_port=$(sed -n 's/^listening .*://p' office.out)
start_server --name lab

HERE=
answer() # SERVER...: as tests/lib/here
{
	stop_here
	"$TOP/tests/lib/here" "$udp" "$@" >here.out 2>&1 &
	HERE=$!
	wait_line 10 here.out listening >/dev/null
}
stop_here() { [ -z "$HERE" ] || { kill "$HERE" && wait "$HERE"; HERE=; } 2>/dev/null; }
cleanup_fn stop_here
start_lost() # NAME: an agent that knows nothing
{
	"$AGENT" run --id "$1" --name "$1" --disk a.img --discovery-port "$udp" --interface lo --state "$TAP_TMP/$1.state" >>"$1.log" 2>&1 &
	AGENT_PIDS[$1]=$!
}
code_at() # NAME SERVER: the code that its screen shows for this server
{
	awk -v server="of server '$2'" '/PAIRING CODE/ { code = $(NF - 3) " " $(NF - 2) " " $(NF - 1) " " $NF } index($0, server) { found = code } END { print found }' "$1.log"
}

# ---- two servers
answer "lab,${URL##*:},$FINGERPRINT" "office,$office_port,$office_key"
start_lost web1
ok "a machine hears two servers, and shows two codes" wait_for 60 has_codes web1 2
like "$(cat web1.log)" "server 'lab' is at $URL, key $FINGERPRINT" "the one is listed with name, address and key"
like "$(cat web1.log)" "server 'office' is at https://127.0.0.1:$office_port, key $office_key" "so is the other"
ok "it says that nothing is chosen" wait_line 60 web1.log 'several servers answer; nothing is chosen here'
isnt "$(code_at web1 lab)" "$(code_at web1 office)" "each has its own code"
cli pairings --json
is "$(jq -r '.pairings[0].code' <<<"$OUT")" "$(shared "$(code_at web1 lab)")" "the one's is the one's"
nok "the other's code is refused" cli pair web1 "$(code_at web1 office)"
ok "the machine says so, and shows a new one for it" wait_for 60 has_codes web1 3
ok "the other server has not been disturbed" env HOIST_DATA="$TAP_TMP/office" "$HOIST" pair web1 "$(code_at web1 office)"
ok "its operator's word is the choice" wait_line 30 web1.log "server 'office' at https://127.0.0.1:$office_port has confirmed"
ok "the other one is dropped, and named" wait_line 30 web1.log "server 'lab' at $URL is dropped"
is_at_office() { HOIST_DATA=$TAP_TMP/office "$HOIST" machines | grep -q 'web1 .*idle'; }
ok "the machine is the chosen one's" wait_for 30 is_at_office
api GET /v1/machines
is "$(field '.machines | length')" 0 "and nobody else's"
stop_agent web1
mv web1.log web1.first
start_lost web1
ok "also after a restart" wait_line 30 web1.log "was paired with the server at https://127.0.0.1:$office_port"
nok "without a code" grep -q 'PAIRING CODE' web1.log
stop_agent web1

# ---- those that are none
answer "lab,$dead,$FINGERPRINT" "lab,$office_port,$FINGERPRINT" "PAIRING CODE  482 913 ***,$office_port,$office_key" \
	"ghost,$dead,$(printf 'ab%.0s' {1..32})" "liar,${URL##*:},$(printf 'cd%.0s' {1..32})" "lab,${URL##*:},$FINGERPRINT"
start_lost web2
ok "the real ones are found among wrong addresses and keys" wait_for 90 has_codes web2 2
isnt "$(code_at web2 lab)" "" "the one at its third address"
nok "a name does not show a code" grep -q '482 913' web2.log
ok "its digits are taken out" grep -qF "of server 'PAIRING?CODE??###?###????'" web2.log
nok "who has not the key that he announced has no code" grep -qE "of server '(liar|ghost)'" web2.log
is "$(codes_of web2 | wc -l)" 2 "two codes"
ok "the right one's code is good" cli pair web2 "$(code_at web2 lab)"
ok "and it is in" wait_for 30 machine_is_idle web2
stop_agent web2

# ---- many that are made up
mapfile -t many < <(for n in {1..40}; do echo "fake$n,$dead,random"; done)
answer "${many[@]}" "lab,${URL##*:},$FINGERPRINT"
start_lost web3
ok "one is found behind forty that are made up" wait_for 120 has_codes web3 1
ok "and is not crowded out" cli pair web3 "$(code_at web3 lab)"
ok "it is in" wait_for 30 machine_is_idle web3
ok "the screen was not flooded" [ "$(grep -cE "server 'fake.* (is at|passed over)" web3.log)" -le 32 ] # 16 before it was paired, and 16 after
ok "and says that there are more" grep -q "more than 16 servers answer: no others are named here; hoist.server=ADDRESS" web3.log
stop_agent web3

# ---- a medium that knows the key, and has no token
answer "office,$office_port,$office_key" "lab,${URL##*:},$FINGERPRINT"
"$AGENT" run --pin "$FINGERPRINT" --id web4 --name web4 --disk a.img --discovery-port "$udp" --interface lo >web4.log 2>&1 &
AGENT_PIDS[web4]=$!
ok "a machine with a pin and without a token pairs" wait_for 60 has_codes web4 1
is "$(codes_of web4 | wc -l)" 1 "with the server of that key alone"
like "$(cat web4.log)" "server 'office' at .* passed over" "the other is passed over"
ok "confirmed" cli pair web4 "$(code_of web4)"
ok "it is in" wait_for 30 machine_is_idle web4
stop_agent web4
done_testing
