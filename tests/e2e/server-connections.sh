#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2153
# Connections that are held and say nothing, or never end what they say: nobody else is kept out by them.  Nor do those that end leave anything behind.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
requires curl jq perl ss openssl python3

holders=()
let_all_go()
{
	[ ${#holders[@]} = 0 ] && return
	kill "${holders[@]}" 2>/dev/null
	wait "${holders[@]}" 2>/dev/null
	holders=()
}
cleanup_fn let_all_go
# occupy ADDRESS COUNT [TEXT]: so many connections from there that say TEXT and wait
occupy()
{
	perl -MIO::Socket::INET -e '
		my ($from, $count, $port, $text) = @ARGV;
		for (1 .. $count) {
			my $s = IO::Socket::INET->new(LocalAddr => $from, PeerAddr => "127.0.0.1", PeerPort => $port) or die "$from: $!";
			syswrite $s, $text if $text;
			push @held, $s;
		}
		sleep 300' "$1" "$2" "$port" "${3-}" &
	holders+=($!)
}
sockets() { ss -Htn state established "sport = :$port" "$@" | wc -l; }
held_by() { sockets dst "$1"; }
at_least() { [ "$("${@:2}")" -ge "$1" ]; }
at_most() { [ "$("${@:2}")" -le "$1" ]; }
served() { local n; for ((n = 0; n < 8; n++)); do call '' GET /v1/info --max-time 10 "$@" && [ "$STATUS" = 200 ] || return; done; }

start_server --connections 60 --connections-per-peer 20
port=${URL##*:}
make_machine known
call "$SECRET" POST /v1/agent/poll -d '{"state":"idle"}' &
polling=$!
ok "somebody who is known waits for an order" wait_for 20 at_least 1 sockets

occupy 127.0.0.9 12
ok "an address may hold some" wait_for 20 at_least 12 held_by 127.0.0.9
occupy 127.0.0.9 30
sleep 1
ok "but only so many at one time" wait_for 20 at_most 20 held_by 127.0.0.9
ok "which it may" test "$(held_by 127.0.0.9)" -ge 15
ok "who asks from elsewhere is served" served
ok "and who asks at once from the same address" served --interface 127.0.0.9

for n in 10 11 12 13 14 15; do occupy "127.0.0.$n" 20; done
ok "seven addresses together" wait_for 20 at_least 25 sockets
sleep 1
ok "hold at most half of all, and one that is known is beside them" wait_for 20 at_most 31 sockets
ok "who asks is served meanwhile, again and again" served
ok "who is known was not touched" kill -0 "$polling"
let_all_go

for n in 20 21 22 23; do occupy "127.0.0.$n" 20 $'\026\003\001\002'; done
ok "beginnings of handshakes" wait_for 20 at_least 25 sockets
ok "hold nobody up" served
let_all_go
kill "$polling" 2>/dev/null
wait "$polling" 2>/dev/null
stop_server

start_server --connections 12 --connections-per-peer 12
port=${URL##*:}
slow_head() # a byte now and then, so that it is never idle
{
	{
		printf 'GET /v1/info HTTP/1.1\r\nHost: x\r\nX-Slow: '
		while sleep 0.5; do printf x; done
	} | openssl s_client -quiet -connect "127.0.0.1:$port" >/dev/null 2>&1 &
	holders+=($!)
}
for _ in {1..12}; do slow_head; done
ok "heads of requests that never end" wait_for 20 at_least 6 sockets
ok "hold nobody up either" served
let_all_go
stop_server

# ---- connections that came and went: each is a thread of its own, for which a library may keep something until the server ends
start_server
come_and_go() # COUNT: each with a handshake
{
	yes "url = $URL/v1/info"$'\n'"output = /dev/null" | head -n $((2 * $1)) >"$TAP_TMP/many"
	curl -sk --no-sessionid -H 'Connection: close' -w '%{num_connects}\n' --config "$TAP_TMP/many" | grep -c '^1'
}
taken() { api GET /v1/server && field '.memory | .allocated - .packs - .index - .recent - .working'; }
is "$(come_and_go 200)" 200 "two hundred connections, one after the other"
before=$(taken)
is "$(come_and_go 600)" 600 "and six hundred more"
grown=$(($(taken) - before))
note "after them the server has $grown bytes more"
ok "leave nothing behind (less than 64 bytes each)" test $grown -lt $((600 * 64))
stop_server

# ---- that these attacks would be seen: a server that answers one connection after the other, and waits for each
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$TAP_TMP/key.pem" -out "$TAP_TMP/cert.pem" -subj /CN=x 2>/dev/null
start_naive()
{
	rm -f "$TAP_TMP/naive.port"
	(cd "$TAP_TMP" && exec python3 -c '
import http.server, ssl
server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain("cert.pem", "key.pem")
server.socket = tls.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()') >"$TAP_TMP/naive.port" 2>/dev/null &
	naive=$!
	wait_for 20 test -s "$TAP_TMP/naive.port" && port=$(cat "$TAP_TMP/naive.port")
}
stop_naive() { [ -z "$naive" ] || { kill "$naive" && wait "$naive"; naive=; } 2>/dev/null; }
cleanup_fn stop_naive
naive_serves() { curl -sk --max-time 5 -o /dev/null "https://127.0.0.1:$port/"; }
# keeps_out WHAT COMMAND...: what it starts holds up the other server
keeps_out()
{
	start_naive
	ok "another server answers" naive_serves
	"${@:2}"
	ok "it is given $1" wait_for 20 at_least 1 sockets
	nok "and answers nobody else" naive_serves
	let_all_go
	stop_naive
}
keeps_out "a connection that says nothing" occupy 127.0.0.9 1
keeps_out "the beginning of a handshake" occupy 127.0.0.9 1 $'\026\003\001\002'
keeps_out "a head that never ends" slow_head
done_testing
