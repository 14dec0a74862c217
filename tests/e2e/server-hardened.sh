#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What stands around the server: TLS 1.3 and nothing older, by two other programs' word; a service with few rights; no shell anywhere.
# Each with something that the same look finds wanting.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
requires curl jq xxd openssl sslscan

start_server
hostport=${URL#https://}

# A server that offers TLS 1.2 too, to see that it would be seen.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -days 9 -keyout "$TAP_TMP/k" -out "$TAP_TMP/c" 2>/dev/null
# listener OPTION...: starts one; sets LISTENER, its address
mkfifo "$TAP_TMP/fifo"
exec 9<>"$TAP_TMP/fifo"
listener()
{
	local port pid log=$TAP_TMP/listener.$RANDOM
	for ((port = 20000 + ($$ + RANDOM) % 20000; port < 65000; port += 997)); do
		openssl s_server -accept "127.0.0.1:$port" -key "$TAP_TMP/k" -cert "$TAP_TMP/c" "$@" <&9 >"$log" 2>&1 &
		pid=$!
		cleanup_fn kill_quietly "$pid"
		wait_for 30 eval "grep -q ACCEPT '$log' || ! kill -0 $pid"
		LISTENER=127.0.0.1:$port
		kill -0 "$pid" 2>/dev/null && return
	done
	bail_out "openssl s_server does not listen: $(tail -n 2 "$log")"
}
kill_quietly() { kill "$1" 2>/dev/null || true; }
listener -www
old=$LISTENER

# versions HOST:PORT: those that openssl gets a connection by
versions()
{
	local v
	for v in tls1 tls1_1 tls1_2 tls1_3; do
		# old versions need the level of old times on the client's side
		timeout 30 openssl s_client -connect "$1" "-$v" -cipher 'ALL:@SECLEVEL=0' </dev/null 2>/dev/null | grep -qE '^ *(New|Reused), TLSv1' && printf '%s ' "$v"
	done
}
is "$(versions "$hostport")" "tls1_3 " "openssl gets in by TLS 1.3 only"
like "$(versions "$old")" "tls1_2 tls1_3 " "(and by 1.2 where it is offered)"
# protocols FILE: those that sslscan calls enabled
protocols() { grep -E '^(SSLv[23]|TLSv1\.[0-3]) +enabled' "$1" | cut -d' ' -f1 | tr '\n' ' '; }
scan() { timeout 100 sslscan --no-colour --no-heartbleed "$1" >"$2" 2>&1; }
scan "$hostport" "$TAP_TMP/scan"
scan "$old" "$TAP_TMP/scan.old"
is "$(protocols "$TAP_TMP/scan")" "TLSv1.3 " "sslscan: TLS 1.3 is enabled, no other version"
like "$(protocols "$TAP_TMP/scan.old")" "TLSv1.2 TLSv1.3 " "(it sees 1.2 where there is)"
is "$(grep -cE '^(Accepted|Preferred) +TLSv1\.[0-2]' "$TAP_TMP/scan")" 0 "no cipher of an older version is accepted"
note "$(grep -E '^(Accepted|Preferred)' "$TAP_TMP/scan")"
is "$(grep -E '^(Accepted|Preferred)' "$TAP_TMP/scan" | grep -vcE 'TLS_(AES_(128|256)_GCM_SHA(256|384)|CHACHA20_POLY1305_SHA256)')" 0 "and of 1.3 those with authentication"

# 0-RTT could be replayed
# early HOST:PORT SECONDS: how much it takes; it has so long to say so
early()
{
	local file=$TAP_TMP/session.$RANDOM pid
	openssl s_client -connect "$1" -tls1_3 -sess_out "$file" <&9 >/dev/null 2>&1 &
	pid=$!
	wait_for "$2" eval "test -s '$file' || ! kill -0 $pid"
	kill_quietly "$pid"
	openssl sess_id -in "$file" -noout -text 2>/dev/null | sed -n 's/.*Max Early Data: *//p' | grep . || echo "no ticket"
}
like "$(early "$hostport" 8)" "^(0|no ticket)$" "no early data is taken"
listener -early_data -max_early_data 16384
is "$(early "$LISTENER" 60)" 16384 "(openssl says when it is)"
nok "another protocol than TLS gets nothing" curl -s --max-time 20 "http://$hostport/v1/info"
nok "nor does a name of TLS 1.2 in curl" curl -sk --max-time 20 --tls-max 1.2 "$URL/v1/info"
ok "(1.3 does)" curl -sk --max-time 20 --tlsv1.3 "$URL/v1/info"

# ---- the service
unit=$TAP_TMP/hoist-server.service
sed "s#@SBINDIR@#$O/server#" "$TOP/server/hoist-server.service.in" >"$unit"
exposure() { systemd-analyze security --offline=true --no-pager "$1" 2>/dev/null | sed -n 's/.*Overall exposure level for [^:]*: \([0-9.]*\).*/\1/p'; }
if command -v systemd-analyze >/dev/null && systemd-analyze security --offline=true "$unit" >/dev/null 2>&1; then
	note "exposure $(exposure "$unit") (of 10)"
	ok "systemd calls its exposure 1.5 or less" awk -v x="$(exposure "$unit")" 'BEGIN { exit !(x != "" && x <= 1.5) }'
	grep -vE '^(Protect|Private|Restrict|System|Capab|NoNew|Memory|Lock)' "$unit" >"$TAP_TMP/soft.service"
	nok "(without its restrictions it would not)" awk -v x="$(exposure "$TAP_TMP/soft.service")" 'BEGIN { exit !(x != "" && x <= 1.5) }'
else
	skip 2 "no systemd-analyze that looks at files"
fi
like "$(cat "$unit")" $'\nDynamicUser=yes\n' "it is no account's, least of all root's"

# As nobody, with no capability, it does all that it does.
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
	stop_server
	chmod 755 "$TAP_TMP"
	install -d -o 65534 -g 65534 -m 700 "$TAP_TMP/theirs"
	cp "$SERVER" "$TAP_TMP/hoist-server"
	setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set -all --inh-caps -all --no-new-privs \
		"$TAP_TMP/hoist-server" --data "$TAP_TMP/theirs" --listen 127.0.0.1:0 --discovery no >"$TAP_TMP/server.out" 2>>"$TAP_TMP/server.log" &
	SERVER_PID=$!
	if wait_for 60 server_is_up && kill -0 "$SERVER_PID"; then
		is "$(sed -n 's/^CapEff:\t//p;s/^NoNewPrivs:\t//p' "/proc/$SERVER_PID/status" | tr '\n' ' ')" "0000000000000000 1 " "it runs without privileges"
		is "$(stat -c %u "/proc/$SERVER_PID")" 65534 "as nobody"
	else
		fail "the server runs as nobody: $(tail -n 2 "$TAP_TMP/server.log")"
		fail "as nobody"
	fi
else
	skip 2 "only root can give up being root"
fi

# ---- no shell
calls() { grep -nE '\b(system|popen|wordexp|exec[lv]p?e?|posix_spawnp?)[[:space:]]*\(|"(/bin/(ba|da)?sh|sh)"|"-c"' "$@" /dev/null; }
mapfile -t sources < <(find "$TOP/server" "$TOP/common" -name '*.[ch]')
is "$(calls "${sources[@]}")" "" "neither the server nor the command starts another program"
printf 'int f(void) { return system("ls"); }\n' >"$TAP_TMP/bad.c"
isnt "$(calls "$TAP_TMP/bad.c")" "" "(which would be seen)"
mapfile -t sources < <(find "$TOP/agent" -name '*.[ch]')
# The agent starts four programs, each by its path with an argv: udhcpc or dhcpcd for an interface, and for SSH dropbear and dropbearkey.
allowed='agent/network/dhcp.c posix_spawn
agent/ssh/listener.c execve
agent/ssh/listener.c posix_spawn'
found() { calls "$@" | sed -E "s|^$TOP/||; s/^([^:]*):[0-9]+:.*\b(system|popen|wordexp|exec[lv]p?e?|posix_spawnp?)[[:space:]]*\(.*/\1 \2/" | sort -u; }
is "$(found "${sources[@]}")" "$allowed" "the agent starts none but those that it has to, and no shell"
isnt "$(found "${sources[@]}" "$TAP_TMP/bad.c")" "$allowed" "(another would be seen)"
imports() { nm -D --undefined-only "$1" | grep -oE ' (system|popen|wordexp|exec[a-z]*|posix_spawn[a-z]*)(@|$)' | tr -d ' @' | tr '\n' ' '; }
if [ "${B:-release}" = release ] && command -v nm >/dev/null; then
	is "$(imports "$SERVER")$(imports "$O/server/hoist")" "" "and there is nothing in the programs to do it by"
	isnt "$(imports "$(command -v bash)")" "" "(in others there is)"
else
	skip 2 "the sanitizers bring their own"
fi
done_testing
