#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# How a pairing ends other than well, and what bounds it.
# shellcheck disable=SC2034,SC2153,SC2154
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/agent.sh"
. "$(dirname "$0")/../lib/cli.sh"
. "$(dirname "$0")/../lib/pairing.sh"
requires curl jq xxd perl b3sum

cd "$TAP_TMP" || exit
truncate -s 1M a.img
port=$("$TOP/tests/lib/free-port")
start_here() { start_server --name office --listen "127.0.0.1:$port" "$@" && URL=https://127.0.0.1:$port; }
other() { printf '%06d %s' $(((10#$(shared "$1") + 1) % 1000000)) "${1:8}"; } # wrong in what the server can see
unseen() { printf '%s %06d' "${1:0:7}" $(((10#$(tr -d ' ' <<<"${1:8}") + 1) % 1000000)); } # and in what it cannot
events() { api GET /v1/events && field '[.events[] | select(.event | startswith("pairing_")) | .event] | join(" ")'; }
is_registered() { api GET "/v1/machines/$1" && [ "$STATUS" = 200 ]; }

# ---- a wrong code
start_here
start_bare web1 --disk a.img
wait_for 60 has_codes web1 1
first=$(code_of web1)
nok "a wrong code is refused" cli pair web1 "$(other "$first")"
like "$(cat cli.err)" "is not the code of 'web1' at this server, and the pairing has ended" "and it says what has happened"
nok "the right one comes too late" cli pair web1 "$first"
nok "the machine is not let in" is_registered web1
ok "its screen says that another code was typed" wait_line 30 web1.log 'ANOTHER CODE WAS TYPED there'
ok "and shows a new one" wait_for 60 has_codes web1 2
isnt "$(code_of web1)" "$first" "which is another"
nok "what is no code costs nothing" cli pair web1 12345
is "$STATUS_CLI" 2 "but is called wrong usage"
# shellcheck disable=SC2046
ok "the new one, in four words" cli pair web1 $(code_of web1)
ok "lets it in" wait_for 30 machine_is_idle web1
# ---- forgotten, and let in anew
disk_size() { api GET /v1/machines/web1 && field '.inventory.disks[0].size'; }
is "$(disk_size)" $((1 << 20)) "its disk"
truncate -s 2M a.img
ok "it is forgotten" cli machine forget web1
ok "and shows a code once more" wait_for 60 has_codes web1 3
# shellcheck disable=SC2046
ok "by which it is let in" cli pair web1 $(code_of web1)
wait_for 30 machine_is_idle web1
is "$(disk_size)" $((2 << 20)) "with the disk as it is now"
truncate -s 1M a.img
stop_agent web1

# ---- somebody who has not seen the screen: he may have the code from the server's list, or be a server that only says so
start_bare web8 --disk a.img
wait_for 60 has_codes web8 1
cli pair web8 "$(unseen "$(code_of web8)")"
ok "a machine does not believe who has not read its screen" wait_line 30 web8.log 'NOT BY SOMEBODY WHO READ THE CODE HERE: not trusted'
nok "and does not register" is_registered web8
nok "nor keeps anything" test -e web8.state/paired
stop_agent web8

# ---- rejected
start_bare web2 --disk a.img
wait_for 60 has_codes web2 1
ok "rejected" cli pairing reject web2
ok "its screen says so, and when it asks again" wait_line 30 web2.log 'REJECTED there; asking again in 15 minutes'
nok "the code is worth nothing now" cli pair web2 "$(code_of web2)"
nok "it is not let in" is_registered web2
stop_agent web2

# ---- an agent that is killed
start_bare web3 --disk a.img
wait_for 60 has_codes web3 1
stop_agent web3 KILL
first=$(code_of web3)
start_bare web3 --disk a.img
ok "an agent that was killed begins anew" wait_for 60 has_codes web3 2
cli pairings
is "$(grep -c 'web3.*waiting' <<<"$OUT")" 1 "in the place of the former"
ok "and is let in by its new code" cli pair web3 "$(code_of web3)"
wait_for 30 machine_is_idle web3
stop_agent web3

# ---- tickets
pair_begin() # MACHINE-NUMBER [CURL-OPTION...]: begins and reveals by hand; sets TICKET
{
	local id random=00 commitment
	id=$(printf '%032x' "$1")
	shift
	random=$(printf '5a%.0s' {1..32})
	commitment=$({ printf 'hoist pairing v1: commitment\0\0\0\0'; xxd -r -p <<<"$id$random"; } | b3sum --no-names)
	call '' POST /v1/agent/pair -d "{\"machine_id\":\"$id\",\"name\":\"by-hand\",\"agent_version\":\"1\",\"commitment\":\"$commitment\"}" "$@"
	[ "$STATUS" = 201 ] || return 1
	TICKET=$(field .pairing)
	call '' POST /v1/agent/pair/reveal -d "{\"pairing\":\"$TICKET\",\"random\":\"$random\"}"
	[ "$STATUS" = 200 ]
}
register_with() # MACHINE-NUMBER TICKET
{
	call '' POST /v1/agent/register -d "$(jq -cn --arg id "$(printf '%032x' "$1")" --arg p "$2" '{pairing: $p, machine_id: $id, name: "by-hand", agent_version: "1", inventory: {disks: []}}')"
}
ok "by hand, with the commitment that b3sum makes" pair_begin 77
register_with 77 "$TICKET"
is "$STATUS $(error_code)" "403 forbidden" "a ticket that was not confirmed does not register"
cli pairings --json
ok "confirmed" cli pair by-hand "$(jq -r '.pairings[] | select(.name == "by-hand") | .code' <<<"$OUT")" 123456
call '' POST /v1/agent/pair/wait -d "{\"pairing\":\"$TICKET\"}"
is "$(field '"\(.state) \(.proof)"')" "confirmed 123456" "the agent is told what was typed beside the code"
register_with 78 "$TICKET"
is "$STATUS $(error_code)" "403 forbidden" "it registers no other machine"
register_with 77 "${TICKET:0:63}x"
is "$STATUS $(error_code)" "403 forbidden" "nor does one that is a little different"
register_with 77 "$TICKET"
is "$STATUS" 200 "it registers this one"
register_with 77 "$TICKET"
is "$STATUS" 200 "and again, if the answer was lost"
cli machine forget by-hand
register_with 77 "$TICKET"
is "$STATUS $(error_code)" "403 forbidden" "but not when the machine was forgotten"
for body in '{}' '{"pairing":"x"}' "{\"pairing\":\"$TICKET\"}" "{\"pairing\":\"$TICKET\",\"random\":\"00\"}" "{\"pairing\":7,\"random\":\"$(printf '0%.0s' {1..64})\"}"; do
	call '' POST /v1/agent/pair/reveal -d "$body"
	is "$STATUS $(error_code)" "400 bad_request" "refused: ${body:0:40}"
done
call '' POST /v1/agent/pair -d "{\"x\":\"$(printf 'x%.0s' {1..1100})\"}"
is "$STATUS $(error_code)" "413 too_large" "no large bodies"

# ---- the server is restarted in the middle
start_bare web4 --disk a.img
wait_for 60 has_codes web4 1
first=$(code_of web4)
stop_server KILL
start_here --pairing-expiry 600
nok "a server that was restarted knows no pairing" cli pair web4 "$first"
ok "the machine begins anew by itself" wait_for 90 has_codes web4 2
ok "and is let in" cli pair web4 "$(code_of web4)"
wait_for 30 machine_is_idle web4
stop_agent web4
stop_server

# ---- a server that does not pair
start_here --pairing no
start_bare web5 --disk a.img
ok "a server may not pair" wait_line 60 web5.log 'takes no machines by pairing; .*--new-token'
stop_agent web5
call '' POST /v1/agent/pair -d "{\"machine_id\":\"$(printf '%032x' 1)\",\"name\":\"x\",\"agent_version\":\"1\",\"commitment\":\"$(printf '0%.0s' {1..64})\"}"
is "$STATUS $(error_code)" "403 forbidden" "and says so"
stop_server

# ---- expiry
start_here --pairing-expiry 4
start_bare web6 --disk a.img
ok "a code that expires is followed by another" wait_for 60 has_codes web6 2
nok "the first one is worth nothing" cli pair web6 "$(codes_of web6 | head -n 1)"
ok "the expiry is in the log" grep -q 'pairing_expired.*web6' server.log
ok "after three codes the machine rests" wait_line 90 web6.log 'too many codes or guesses in a short time'
is "$(codes_of web6 | wc -l)" 3 "three"
stop_agent web6
stop_server

# ---- floods
start_here
start_bare web7 --disk a.img
wait_for 60 has_codes web7 1
flood() # FIRST-MACHINE COUNT SOURCE-ADDRESS: one connection; the statuses on standard output
{
	local n
	for ((n = $1; n < $1 + $2; n++)); do
		[ "$n" = "$1" ] || echo next
		printf 'url = "%s/v1/agent/pair"\ninsecure\nsilent\noutput = "/dev/null"\nwrite-out = "%%{http_code}\\n"\ninterface = "%s"\n' "$URL" "$3"
		printf 'data = "{\\"machine_id\\":\\"%032x\\",\\"name\\":\\"x\\",\\"agent_version\\":\\"1\\",\\"commitment\\":\\"%064d\\"}"\n' "$n" 0
	done >flood.curl
	curl -K flood.curl
}
rss() { awk '/^VmRSS/ { print $2 }' "/proc/$SERVER_PID/status"; }
flood 1000 20 127.0.0.1 >flood.warm
before=$(rss)
flood 2000 300 127.0.0.1 >flood.out
is "$(sort flood.out | uniq -c | awk '{ print $1, $2 }')" "300 429" "a flood from one address is refused"
is "$(grep -c 201 flood.warm)" 15 "after the 16 that one address may begin, the machine's own among them"
ok "the log is not flooded" [ "$(grep -c pairing_refused server.log)" -le 4 ]
ok "nor the memory" [ $(($(rss) - before)) -lt 65536 ] # KiB; AddressSanitizer keeps what is freed for a while
flood 3000 1 127.0.0.2 >flood.out
is "$(cat flood.out)" 201 "other addresses may pair"
for a in {2..20}; do flood $((4000 + a * 100)) 16 "127.0.0.$a"; done >flood.out
is "$(grep -c 201 flood.out)" $((256 - 16 - 1)) "all addresses together begin 256"
ok "and the machine that pairs is let in all the same" cli pair web7 "$(code_of web7)"
wait_for 30 machine_is_idle web7
flood 9000 1 127.0.0.99 >flood.out
is "$(cat flood.out)" 201 "which gives a place back"
call '' POST /v1/agent/pair --interface 127.0.0.99 -d "{\"machine_id\":\"$(printf '%032x' 9999)\",\"name\":\"x\",\"agent_version\":\"1\",\"commitment\":\"$(printf '0%.0s' {1..64})\"}"
is "$STATUS $(error_code)" "429 rate_limited" "no more"
like "$(tr -d '\r' <"$TAP_TMP/head")" 'Retry-After: [1-9]' "and when there is room again"
stop_agent web7
stop_server
is "$SERVER_STATUS" 0 "nothing of this hurt the server"
done_testing
