#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2016,SC2153
# The datagram: a hello is answered to its sender with the server's key and port, rubbish is not, and not too often.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/agent.sh"
requires curl jq xxd perl

port=$("$TOP/tests/lib/free-port")
# ask HEX [COUNT]: send it so often to 127.0.0.1 from one socket; the answers in hex, one a line
ask()
{
	perl -MSocket -e 'my ($port, $hex, $count) = @ARGV;
		socket(S, PF_INET, SOCK_DGRAM, 0) or die;
		send(S, pack("H*", $hex), 0, pack_sockaddr_in($port, INADDR_LOOPBACK)) for 1..$count;
		while (1) { my $r = ""; vec($r, fileno(S), 1) = 1; last unless select($r, undef, undef, 0.7);
			my $from = recv(S, my $m, 2000, 0); my ($p) = unpack_sockaddr_in($from); die "from port $p" if $p != $port; print unpack("H*", $m), "\n" }' \
		"$port" "$1" "${2:-1}"
}
hex() { printf '%s' "$1" | xxd -p | tr -d '\n'; }
u16() { printf '%02x%02x' $(($1 % 256)) $(($1 / 256)); }
field_hex() { printf '%s%s%s' "$(u16 "$1")" "$(u16 $((${#2} / 2)))" "$2"; } # TYPE HEX
nonce=000102030405060708090a0b0c0d0e0f
machine=$(printf 'ab%.0s' {1..16})
# hello [BYTES]: of that size
hello()
{
	local h
	h=$(hex HOIST)010100$nonce$(field_hex 1 "$machine")$(field_hex 2 "$(hex 0.1)")$(field_hex 3 "$(hex "old one")")
	printf '%s' "$h$(field_hex 0 "$(printf '00%.0s' $(seq $((${1:-512} - ${#h} / 2 - 4))))")"
}

start_server --discovery yes --discovery-port "$port" --name myserver
answer=$(ask "$(hello)")
is "${answer:0:48}" "$(hex HOIST)010200$nonce" "a hello is answered, with its nonce"
like "$answer" "$(field_hex 16 "$FINGERPRINT")" "the answer has the key's fingerprint"
like "$answer" "$(field_hex 17 "$(u16 "${URL##*:}")")" "and the port"
like "$answer" "$(field_hex 3 "$(hex myserver)")" "and the name"
ok "and is shorter than the hello" test ${#answer} -lt 1024
api GET /v1/server
is "$(field '.rumours[0] | [.machine, .name, .version, .address] | join(",")')" "$machine,old one,0.1,127.0.0.1" "the server has heard of the machine"
api GET /v1/machines
is "$(field '.machines | length')" 0 "which is no machine by that"

good=$(hello)
is "$(ask "$(hello 511)")" "" "a hello that is too short is not answered"
is "$(ask "${good/0101/0201}")" "" "nor one of another version"
is "$(ask "${good/010100/010200}")" "" "nor an answer"
is "$(ask "00${good:2}")" "" "nor anything else"
is "$(ask "$(printf '00%.0s' {1..1500})")" "" "nor what is too long"
count=$(ask "$good" 200 | wc -l)
ok "of 200 hellos at once few are answered ($count)" test "$count" -ge 1 -a "$count" -le 8
api GET /v1/server
is "$(field '.rumours | length')" 1 "and one machine is one rumour"
nok "a second server on this port is refused" timeout -k 5 20 "$SERVER" --data "$TAP_TMP/two" --listen 127.0.0.1:0 --discovery-port "$port"
stop_server
is "$SERVER_STATUS" 0 "it stops cleanly"

# ---- where nobody listens, nobody is sent
start_server --discovery yes --discovery-port "$port" --listen 0.0.0.0:0 --name two
other=$(sed -n 's/^listening .*0\.0\.0\.0:\(.*\)/\1/p' "$TAP_TMP/server.out")
truncate -s 1M "$TAP_TMP/a.img"
"$AGENT" run --pin "$(printf 'ab%.0s' {1..32})" --id ab --disk "$TAP_TMP/a.img" --discovery-port "$port" --interface lo >"$TAP_TMP/agent.log" 2>&1 &
agent=$!
heard() { sed -n "s/.*server 'two' at https:..\([^ ]*\) has the key.*/\1/p" "$TAP_TMP/agent.log"; }
ok "its answers are heard" wait_for 30 eval '[ -n "$(heard)" ]'
sleep 0.5 # for the answer from the other address, if this machine has one: its absence proves nothing
kill $agent
wait $agent
for place in $(heard); do
	ok "a server listens at the address that answers" eval ': <>"/dev/tcp/${place%:*}/${place##*:}"'
	case $place in
	127.0.0.1:*) is "${place##*:}" "${URL##*:}" "at the very address" ;;
	*) is "${place##*:}" "$other" "at all addresses" ;;
	esac
done
stop_server
done_testing
