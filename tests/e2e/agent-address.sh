#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# By which of its addresses a machine comes to a server that it hears by broadcast: IPv6 has one for the link at once, DHCP's comes later, and is the one
# that people read and log in to.  Where there is no other, that of the link serves.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/lan.sh"
. "$(dirname "$0")/../lib/migration.sh"
requires_root
requires ip dnsmasq jq
agent=$TOP/${O:-build/release}/agent/hoist-agent
truncate -s 1M "$TAP_TMP/disk.img"
ok "a LAN" lan_up lan
ok "a server" server_up lan
token=$(hoist lan token create --uses 2)
pin=$(hoist lan server info --json | jq -r .fingerprint)

guests=0
guest_down()
{
	local pids
	pids=$(ip netns pids "$1")
	# shellcheck disable=SC2086 # a list
	[ -z "$pids" ] || kill $pids 2>/dev/null
	ip netns del "$1"
}
# guest NAME: a machine on the LAN that has no address yet but that of the link; its agent runs
guest()
{
	local ns=hoist-$$-g$((++guests))
	ip netns add "$ns" || return
	cleanup_fn guest_down "$ns"
	ip netns exec "$ns" sysctl -qw net.ipv6.conf.default.accept_dad=0
	ip -n "$(lan_ns lan)" link add "far-$1" type veth peer name eth0 netns "$ns" && ip -n "$(lan_ns lan)" link set "far-$1" master br0 up &&
		ip -n "$ns" link set eth0 up || return
	ip netns exec "$ns" "$agent" run --pin "$pin" --token "$token" --id "$1" --disk "$TAP_TMP/disk.img" >"$TAP_TMP/$1.log" 2>&1 &
	GUEST=$ns
}
# The server has heard of it, and so it of the server.
is_heard() { [ "$(hoist lan server info --json | jq "[.rumours[] | select(.address | startswith(\"fe80:\"))] | length")" -ge "$1" ]; }
address() { hoist lan machines --json | jq -r ".machines[] | select(.id == \"$id\").address"; }

ok "a machine with an address of the link only" guest aa
ok "is heard by it" wait_for 30 is_heard 1
sleep 1 # the answer was sent at once: who took it has registered by now
is "$(hoist lan machines --json | jq '.machines | length')" 0 "and waits for a better one"
ip -n "$GUEST" addr add 10.77.1.60/24 broadcast 10.77.1.255 dev eth0
id=$(machine_wait lan 14 '.state == "idle"')
is "$(address)" 10.77.1.60 "when that comes it registers by it, soon" || diag "$(cat "$TAP_TMP/aa.log")"

ok "another one" guest bb
id=$(machine_wait lan 40 '.state == "idle" and .address != "10.77.1.60"')
like "$(address)" '^fe80:' "which gets no other address registers by that of the link" || diag "$(cat "$TAP_TMP/bb.log")"
done_testing
