#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2034,SC2153
# The server's neighbours: one who listens, one who floods, a page in an operator's browser, one who tries names, a machine that moves.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/agent.sh"
. "$(dirname "$0")/../lib/wire.sh"
requires curl jq perl xxd sqlite3

cd "$TAP_TMP" || exit
# ---- who listens.  What is random is stored as it is: without a cipher a recording would have it.
mkdir media
head -c 100000 /dev/urandom >media/initramfs.img
start_server --media "$TAP_TMP/media" --boot 127.0.0.1:0
make_token
truncate -s 8M a.img
fill a.img 1000000 3000000
# has FILE OFFSET: does a recording have 24 bytes of FILE from there?
has() { perl -e 'local $/; open F, "<", $ARGV[0]; seek F, $ARGV[1], 0; read F, my $x, 24; open R, "<", $ARGV[2]; exit(index(<R>, $x) < 0)' "$1" "$2" "$WIRE_RECORD"; }
has_text() { grep -qaF -- "$1" "$WIRE_RECORD"; }
WIRE_RECORD=$TAP_TMP/plain WIRE_TO=$(sed -n 's/^booting http:..//p' server.out | sed 's/[^0-9.:].*//')
wire_up 0
curl -s -o got "http://${WIRE_URL#https://}/initramfs.img"
wire_down
ok "of boot files without TLS a recording has every byte" has media/initramfs.img 50000
ok "and the request" has_text "GET /initramfs.img"
WIRE_RECORD=$TAP_TMP/secret WIRE_TO=
wire_up 0
direct=$URL
URL=$WIRE_URL
start_agent src --disk a.img
URL=$direct
ok "a machine comes in over a wire on which somebody listens" wait_for 30 machine_is_idle src
order '{"kind":"capture","machine":"src","image":"i"}'
ok "and is captured" job_wait 60
is "$(field .state)" "done" "whole" || diag "$BODY"
ok "which went over that wire" test "$(wire_count 1)" -gt 3000000
clear=
for at in 1000000 1500000 2000000 2500000 3000000 3500000 3900000; do has a.img $at && clear+=" $at"; done
is "$clear" "" "nothing of the disk is in the recording"
for text in "$TOKEN" "$(cat src.state/session-secret)" /v1/agent "machine_id"; do nok "nor '${text:0:10}...'" has_text "$text"; done
stop_agent src
wire_down
stop_server

# ---- a page of another site in an operator's browser
start_server
origin=(-H 'Origin: https://evil.example' -H 'Sec-Fetch-Site: cross-site')
heads() { grep -ciE '^(set-cookie|access-control-)' "$CALL_FILES"head; }
call '' OPTIONS /v1/jobs "${origin[@]}" -H 'Access-Control-Request-Method: POST' -H 'Access-Control-Request-Headers: authorization'
is "$STATUS $(heads)" "405 0" "a browser that asks whether it may is not told that it may"
call '' POST /v1/jobs "${origin[@]}" -H 'Content-Type: text/plain' -H "Cookie: token=$OPERATOR" -d '{"kind":"gc"}'
is "$STATUS" 401 "what a browser sends by itself is no proof"
call "$OPERATOR" POST /v1/jobs "${origin[@]}" -d '{"kind":"gc"}'
is "$STATUS $(heads)" "201 0" "the token is, and no answer is for another site"
call '' POST /v1/login -d '{"name":"x","password":"y"}'
is "$(heads)" 0 "no cookie is given"

# ---- one who tries names: an unknown one takes as long
api POST /v1/operators -d '{"name":"alice","role":"operator","password":"correct horse battery"}'
is "$STATUS" 201 "an operator"
# quickest BODY: microseconds, the least of four
quickest()
{
	local n
	for n in 1 2 3 4; do
		curl -sk -o /dev/null -w '%{time_starttransfer} %{time_appconnect}\n' -d "$1" "$URL/v1/login"
	done | awk '{ t = ($1 - $2) * 1e6; if (!n++ || t < m) m = t } END { printf "%d", m }'
}
known=$(quickest '{"name":"alice","password":"wrong password"}')
unknown=$(quickest '{"name":"nobody","password":"wrong password"}')
idle=$(quickest '{')
diag "refused after: known $known us, unknown $unknown us, without looking $idle us"
ok "a name that is unknown takes its time" test "$unknown" -gt $((known / 2))
ok "which can be told from no look at all" test "$idle" -lt $((known / 2))

# ---- a machine that moves
make_machine m1
for from in 127.0.0.1 127.0.0.2; do
	call "$SECRET" POST /v1/agent/poll -d '{"state":"busy","job":"0123456789abcdef"}' --interface $from
	seen+="$(sqlite3 "$DATA/state.db" "SELECT count(*) FROM events WHERE event='machine_moved'") "
done
is "$seen" "0 1 " "a session that comes from another address is told of"
stop_server

# ---- a flood of datagrams, from addresses that are made up
flood=
end_flood() { [ -z "$flood" ] || kill "$flood" 2>/dev/null || true; }
cleanup_fn end_flood
port=$("$TOP/tests/lib/free-port")
start_server --discovery yes --discovery-port "$port" --name flooded
perl -MSocket -MTime::HiRes=sleep -e '
	my $port = shift;
	sub field { pack("v v", $_[0], length $_[1]) . $_[1] }
	sub hello { my $h = "HOIST\x01\x01\x00" . join("", map { chr int rand 256 } 1 .. 16) . field(1, join("", map { chr int rand 256 } 1 .. 16)) . field(2, "0.1") . field(3, "flood"); $h . field(0, "\0" x (512 - 4 - length $h)) }
	for my $n (1 .. 200) { socket(my $s, PF_INET, SOCK_DGRAM, 0) or die; bind($s, pack_sockaddr_in(0, pack("C4", 127, 1, 1, $n))) or die; push @s, $s; }
	while (getppid != 1) {
		for my $s (@s) { send($s, hello(), 0, pack_sockaddr_in($port, INADDR_LOOPBACK)); }
		sleep 0.1;
	}' "$port" &
flood=$!
"$AGENT" run --pin "$(printf 'ab%.0s' {1..32})" --id ab --disk "$TAP_TMP/a.img" --discovery-port "$port" --interface lo >agent.log 2>&1 &
agent=$!
ok "in a flood of two thousand hellos a second a machine finds its server" wait_for 60 grep -q "server 'flooded' at" agent.log
ok "the flood went on" kill -0 $flood
full() { api GET /v1/server && [ "$(field '.rumours | length')" -ge 64 ]; }
ok "it fills the list of rumours" wait_for 60 full
is "$(field '.rumours | length')" 64 "up to its bound"
# Two a second and four at once for each of two hundred addresses, and a few more for what is on its way.
many() { api GET /v1/server && [ "$(field .datagrams.heard)" -gt 5000 ]; }
ok "five thousand datagrams" wait_for 120 many
answered=$(field '.datagrams | .heard - .unanswered')
allowed=$(($(field .uptime_s) * 400 + 400 + 800 + 100))
ok "of $(field .datagrams.heard) heard no more than $allowed were looked at: $answered" test "$answered" -le "$allowed"
ok "and the others were not" test "$(field .datagrams.unanswered)" -gt 1000
kill $agent $flood
wait $agent $flood 2>/dev/null
flood=
done_testing
