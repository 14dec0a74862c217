#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Machines without pin and token: a code on the screen, typed at the server.
# shellcheck disable=SC2034,SC2153,SC2154
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/agent.sh"
. "$(dirname "$0")/../lib/cli.sh"
. "$(dirname "$0")/../lib/pairing.sh"
requires curl jq xxd

cd "$TAP_TMP" || exit
truncate -s 8M a.img b.img
fill a.img 100000 300000
start_server --name office

# ---- one machine, one server: the right code
start_bare web1 --disk a.img
ok "a machine without pin and token shows a code" wait_line 60 web1.log 'hoist pair [0-9a-f]{8} '
like "$(cat web1.log)" "of server 'office' at $URL" "with the server's name and address"
like "$(cat web1.log)" "with the key ${FINGERPRINT:0:4}:${FINGERPRINT:4:4}:" "and the beginning of its key"
ok "and large" grep -qE '    ( {6,8}|##|  )+$' web1.log
code=$(code_of web1)
like "$code" '^[0-9]{3}( [0-9]{3}){3}$' "twelve digits in groups"
cli pairings --json
is "$(jq -r '.pairings | length' <<<"$OUT")" 1 "the server shows one pairing"
is "$(jq -r '.pairings[0].code' <<<"$OUT")" "$(shared "$code")" "with the first six of those on the screen"
unlike "$OUT" "${code:8:3} *${code:12}" "the others it does not know"
is "$(jq -r '.pairings[0] | "\(.name) \(.address) \(.state) \(.known)"' <<<"$OUT")" "web1 127.0.0.1 waiting false" "and who it is"
cli pairings
unlike "$OUT" "${code:0:7}" "the list for people does not show codes: they are read from the screen"
cli pairings --codes
like "$OUT" "web1 .*${code:0:7}" "unless it is asked to"
api GET /v1/machines
is "$(field '.machines | length')" 0 "nobody has registered"
command=$(sed -n 's/.*  hoist \(pair \)/\1/p' web1.log | head -n 1)
# shellcheck disable=SC2086
ok "the command that stands on the screen confirms it" cli $command
ok "the machine registers" wait_for 30 machine_is_idle web1
ok "its screen says who confirmed" wait_line 30 web1.log "server 'office' at $URL has confirmed this machine; its key $FINGERPRINT is trusted"
order '{"kind":"capture","machine":"web1","image":"i"}'
job_wait 60
is "$(field .state)" "done" "and it is captured"
ok "the log has it all" grep -q 'pairing_confirmed.*web1 at 127.0.0.1' server.log
api GET /v1/events
is "$(field '[.events[].event | select(startswith("pairing_"))] | join(" ")')" "pairing_begun pairing_confirmed" "and so have the events"

# ---- restarts of the agent need no code
stop_agent web1
is "$(stat -c %a web1.state/paired web1.state/session-secret | sort -u)" 600 "what is kept is its own"
mv web1.log web1.first
start_bare web1 --disk a.img
ok "an agent that is started again knows its server" wait_line 30 web1.log 'was paired with the server'
ok "and is taken in" wait_for 30 machine_is_idle web1
nok "without a code" grep -q 'PAIRING CODE' web1.log
stop_agent web1

# ---- its id and its job, for one that says it is this machine
order '{"kind":"capture","machine":"web1","image":"j"}'
rm -r web1.state
mv web1.log web1.second
start_bare web1 --disk a.img
ok "a machine of the same id without the secret shows a code" wait_line 60 web1.log 'hoist pair [0-9a-f]{8} '
code=$(code_of web1)
# shellcheck disable=SC2086
cli pair web1 $code
like "$STATUS_CLI:$ERR" "^1:.*has registered before and has a job under way.*--replace" "it does not get the job by its code alone"
# shellcheck disable=SC2086
cli pair web1 $code --replace
like "$STATUS_CLI:$OUT" "^0:confirmed 'web1' .*in the place of the one that had registered with this id" "but if that is said to be wanted"
job_wait 60
is "$(field .state)" "done" "and then it does"
stop_agent web1
done_testing
