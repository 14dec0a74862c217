#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# hoist-agent network on virtual cables in a network namespace, with the live image's own DHCP script: what of it needs no other kernel.
# Bonds, VLANs and real cards are in tests/qemu/network.sh.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/lan.sh"
requires_root
requires ip dnsmasq busybox python3 /sbin/dhcpcd
agent=$TOP/${O:-build/release}/agent/hoist-agent
ok "a LAN" lan_up lan
guest=hoist-$$-guest
ip netns add "$guest"
guest_down()
{
	local pids
	pids=$(ip netns pids "$guest")
	# shellcheck disable=SC2086 # a list
	[ -z "$pids" ] || kill $pids 2>/dev/null
	ip netns del "$guest"
}
cleanup_fn guest_down
inside() { ip netns exec "$guest" "$@"; }
inside sysctl -qw net.ipv6.conf.default.accept_dad=0
cable() # NAME: an interface of the guest whose other end is in the LAN
{
	ip -n "$(lan_ns lan)" link add "far-$1" type veth peer name "$1" netns "$guest" && ip -n "$(lan_ns lan)" link set "far-$1" master br0 up
}
# The script as it is, but for where it writes.
sed -e "s|^\. /lib/hoist/functions|say() { echo \"hoist: \$*\" >>'$TAP_TMP/engine.log'; }|" -e "s|/etc/resolv.conf|$TAP_TMP/resolv.conf|g" \
	"$TOP/initramfs/rootfs/lib/hoist/udhcpc" >"$TAP_TMP/script"
chmod +x "$TAP_TMP/script"
engine=
start()
{
	# The client of DHCPv6 has folders that are the machine's, not the network's: it gets its own.
	# shellcheck disable=SC2016 # its own shell expands it
	ip netns exec "$guest" sh -c 'mount -t tmpfs none /run && mount -t tmpfs none /var/lib/dhcpcd && exec "$@"' sh "$agent" network --settings "$TAP_TMP/settings" --state "$TAP_TMP/state" --script "$TAP_TMP/script" >>"$TAP_TMP/engine.log" 2>&1 &
	engine=$!
}
log() { wait_line "${2:-30}" "$TAP_TMP/engine.log" "$1"; }
said() { grep -cE "$1" "$TAP_TMP/engine.log"; }
has() { [[ $(inside ip -o addr show dev "$1") == *"$2"* ]]; }
has_not() { ! has "$@"; }
more_links_lost() { [ "$(said '^hoist: e1: no link')" -gt "$1" ]; }
more_links_up() { [ "$(said '^hoist: e1: link up')" -gt "$1" ]; }
client() { cat "$TAP_TMP/state/$1.pid" 2>/dev/null; }
has_other_client() # PORT BEFORE: and not none
{
	local now
	now=$(client "$1")
	[ -n "$now" ] && [ "$now" != "$2" ]
}
route() { [[ $(inside ip "$1" route show) == *"$2"* ]]; }
reload() { inside "$agent" network --reload "$TAP_TMP/new" --state "$TAP_TMP/state"; }

for name in e0 e1 e2; do cable $name; done
mac=$(inside cat /sys/class/net/e2/address)
cat >"$TAP_TMP/settings" <<END
# a medium's settings hold more than the network's
name=box
ip=10.77.1.5::10.77.1.1:255.255.255.0::e0:none:1400
ip=[fd00:77::5]::[fd00:77::1]:64::e0:none
  ip = e1:dhcp
nameserver=10.77.1.99
route=10.200.0.0/16:10.77.1.2
route=[fd00:200::]/32:[fd00:77::2]:e0
ifname=third:$mac
ip=third:link6
END
start
ok "a fixed address" log '^hoist: e0: address 10\.77\.1\.5/24, gateway 10\.77\.1\.1$'
ok "one of IPv6" log '^hoist: e0: address fd00:77::5/64, gateway fd00:77::1$'
ok "DHCP" log '^hoist: e1: address 10\.77\.1\.[0-9]+/24 by DHCP from 10\.77\.1\.1$'
ok "all in force" eval 'has e0 "10.77.1.5/24 brd 10.77.1.255" && has e0 fd00:77::5/64 && has e1 10.77.1.'
ok "the MTU too" grep -qx 1400 <(inside cat /sys/class/net/e0/mtu)
is "$(cd "$TAP_TMP/state" && echo *.mtu)" e0.mtu "which a lease is not to change"
ok "the default route" route -4 'default via 10.77.1.1 dev e0 proto static metric 1'
ok "that of IPv6" route -6 'default via fd00:77::1 dev e0 proto static metric 1'
ok "a route by a gateway that is known" wait_for 10 route -4 '10.200.0.0/16 via 10.77.1.2 dev e0'
ok "a route on an interface" route -6 'fd00:200::/32 via fd00:77::2 dev e0'
is "$(head -n 1 "$TAP_TMP/resolv.conf")" "nameserver 10.77.1.99" "the name server that was named comes first"
ok "that of DHCP after it" wait_for 10 grep -qx 'nameserver 10.77.1.1' "$TAP_TMP/resolv.conf"
ok "a card gets its name" log '^hoist: third: the card that was e2$'
ok "and only what is within the link" wait_for 10 has third fe80:
is "$(inside cat /proc/sys/net/ipv6/conf/third/accept_ra)" 0 "no router is asked there"
ok "the server is reached" inside bash -c "exec 3<>/dev/tcp/10.77.1.1/53"

# ---- links that go and come, and interfaces
count=$(said '^hoist: e1: no link')
ip -n "$(lan_ns lan)" link set far-e1 down
ok "a link that goes" wait_for 20 more_links_lost "$count"
count=$(said '^hoist: e1: link up')
ip -n "$(lan_ns lan)" link set far-e1 up
ok "and comes" wait_for 20 more_links_up "$count"
reaches() { inside busybox nc -w 3 10.77.1.1 53 </dev/null; }
goes_by() { [[ $(inside ip route get 10.77.1.1) == *" dev $1 "* ]]; }
ok "the first card's route is the one" goes_by e0
ip -n "$(lan_ns lan)" link set far-e0 down
ok "when it loses its link, the other card stands in" wait_for 20 goes_by e1
ok "and reaches the server" wait_for 20 reaches
ip -n "$(lan_ns lan)" link set far-e0 up
ok "until it is back" wait_for 20 goes_by e0
ip -n "$(lan_ns lan)" link del far-e0
ok "an interface that goes" log '^hoist: e0: gone$'
cable e0
ok "is as it was when it comes back" wait_for 20 eval 'has e0 10.77.1.5/24 && has e0 fd00:77::5/64 && route -4 "default via 10.77.1.1 dev e0"'

# ---- it ends badly: the next one takes over
kill -9 $engine
wait $engine 2>/dev/null
old=$(cat "$TAP_TMP/state/e1.pid")
ok "its client goes on" kill -0 "$old"
start
ok "a new one has another" wait_for 20 has_other_client e1 "$old"
ok "and has ended the old" wait_for 10 eval "! grep -q . /proc/$old/cmdline"
ok "the address is there again" wait_for 30 has e1 10.77.1.
# It is told of the link the moment it starts, by SIGUSR1, and has no handler then: what it inherits decides whether it ends.
ignores_usr1() { (( 0x$(sed -n 's/^SigIgn:\t//p' "/proc/$1/status") & 1 << 9 )); }
ok "a client that starts does not end of what it is told" ignores_usr1 $engine
"$agent" network --settings "$TAP_TMP/settings" --state "$TAP_TMP/state" >"$TAP_TMP/second.log" 2>&1
like "$?:$(cat "$TAP_TMP/second.log")" "^1:.*another 'hoist-agent network' runs" "there is one of it at a time"

# ---- told anew
echo 'ip=10.77.1.300:::24::e0:none' >"$TAP_TMP/new"
reload 2>"$TAP_TMP/reload.log"
like "$?:$(cat "$TAP_TMP/reload.log")" "^1:.*'10\.77\.1\.300' is not an IP address" "a wrong file is refused"
# The other client begins without the address of the one before it.
ok "and nothing has changed" wait_for 30 eval 'has e0 10.77.1.5/24 && has e1 10.77.1.'
printf 'ip=e0:dhcp\nip=10.77.1.6:::24::e1:none\n' >"$TAP_TMP/new"
ok "a right one is taken" reload
ok "DHCP where there was an address" wait_for 30 eval 'has e0 10.77.1. && has_not e0 10.77.1.5/'
ok "which is gone" eval 'has_not e0 10.77.1.5/ && has_not e0 fd00:77::5'
ok "and an address where there was DHCP" wait_for 10 has e1 10.77.1.6/24
is "$(inside ip -4 -o addr show dev e1 | wc -l)" 1 "alone"
nok "without the client" test -e "$TAP_TMP/state/e1.pid"
nok "no route is left over" route -4 'default via 10.77.1.1 dev e0 proto static metric 1 '
nok "nor one of those named" route -4 10.200.0.0/16

# ---- DHCP of IPv6, whose server comes late; an address by router advertisements besides
printf 'ip=e0:dhcp\nip=e1:dhcp6\n' >"$TAP_TMP/new"
ok "DHCPv6 is wanted" reload
ok "nobody answers, which is said" log '^hoist: DHCPv6 on e1: no address yet; it is tried again for as long as it takes$' 60
nok "there is no address" grep -q 'by DHCPv6' "$TAP_TMP/engine.log"
lan_run lan ip addr add fd00:66::1/64 dev br0
dhcp6() # a server; options for it
{
	lan_start lan dhcp6 dnsmasq --no-daemon --conf-file=/dev/null --user= --group= --pid-file= --interface=br0 --bind-interfaces --port=0 --enable-ra \
		--dhcp-leasefile="$TAP_TMP/leases6" --log-dhcp "$@"
	lan_wait dhcp6 20 'DHCPv6|router advertisement'
}
ok "a server" dhcp6 --dhcp-range=fd00:66::100,fd00:66::1ff,slaac,64,1h '--dhcp-option=option6:dns-server,[fd00:66::53],[fd00:66::54],[fd00:66::55]' --dhcp-option=option6:domain-search,six.test
ok "an address" log '^hoist: e1: address fd00:66::1[0-9a-f]{2}/128 by DHCPv6$' 150
address=$(sed -n 's|^hoist: e1: address \(fd00:66:.*\)/128 by DHCPv6$|\1|p' "$TAP_TMP/engine.log")
ok "which is in force" wait_for 20 has e1 "$address/128"
like "$(grep 'DHCPREPLY.*00:03:00:01:' "$TAP_TMP/dhcp6.log")" "$address 00:03:00:01:$(inside cat /sys/class/net/e1/address)" "given to who goes by the address of the card"
by_advertisement() { inside ip -6 -o addr show dev e1 scope global | grep -q 'fd00:66::.*/64'; }
ok "one by router advertisements too" wait_for 20 by_advertisement
ok "and the route" wait_for 20 route -6 'default via fe80::'
nok "but none of IPv4" has e1 10.77.1.
ok "its name server is known" wait_for 20 grep -qx 'nameserver fd00:66::53' "$TAP_TMP/resolv.conf"
ok "beside that of IPv4" grep -qx 'nameserver 10.77.1.1' "$TAP_TMP/resolv.conf"
is "$(sed -n 's/^nameserver //p' "$TAP_TMP/resolv.conf" | tr '\n' ' ')" "10.77.1.1 fd00:66::53 fd00:66::54 " "which is asked before it, and of many two are taken"
ok "the server is reached" wait_for 20 inside busybox ping -6 -c 1 -W 2 fd00:66::1
old=$(cat "$TAP_TMP/state/e1.pid6")
kill -9 $engine
wait $engine 2>/dev/null
ok "its client goes on" kill -0 "$old"
start
other_dhcp6() { [ -s "$TAP_TMP/state/e1.pid6" ] && [ "$(cat "$TAP_TMP/state/e1.pid6")" != "$old" ]; }
ok "a new engine has another" wait_for 20 other_dhcp6
ok "and has ended the old" wait_for 10 eval "! grep -q . /proc/$old/cmdline"
ok "the address is there again" wait_for 60 has e1 "$address/128"
old=$(cat "$TAP_TMP/state/e1.pid6")
printf 'ip=e0:dhcp\nip=e1:auto6\n' >"$TAP_TMP/new"
ok "told to do without" reload
no_dhcp6() { has_not e1 "$address/128" && ! kill -0 "$old" 2>/dev/null && [ ! -e "$TAP_TMP/state/e1.dns6" ]; }
ok "address, client and name servers go" wait_for 20 no_dhcp6
ok "the other address stays" by_advertisement
servers() { sed -n 's/^nameserver //p' "$TAP_TMP/resolv.conf" | paste -sd' '; }
has_servers() { [ "$(servers)" = "$1" ]; }
lan_stop dhcp6
advert() # LIFETIME ADDRESS...: a router tells of these name servers
{
	lan_run lan python3 -c 'import socket, struct, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
servers = b"".join(socket.inet_pton(socket.AF_INET6, a) for a in sys.argv[2:])
option = struct.pack("!BBHI", 25, 1 + len(servers) // 8, 0, int(sys.argv[1])) + servers
s.sendto(struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 0, 0, 0) + option, ("ff02::1", 0, 0, socket.if_nametoindex("br0")))' "$@"
}
# Again and again, as routers do: a link may not be ready at first.  The other interface hears it as well.  The server that has ended may have told of its own
# last, as a router.
first_advert() { advert 0 fd00:66::53 fd00:66::54 fd00:66::55 && advert 3600 fe80::63 ff02::1 fd00:66::64 fd00:66::65 && has_servers '10.77.1.1 fe80::63%e0 fd00:66::64 fe80::63%e1'; }
ok "a router tells of name servers, of which two are asked for each interface, behind that of IPv4" wait_for 20 first_advert
ip -n "$(lan_ns lan)" link set far-e1 down
ok "they go with the link" wait_for 20 has_servers '10.77.1.1 fe80::63%e0 fd00:66::64'
ip -n "$(lan_ns lan)" link set far-e1 up
ok "and come with it" wait_for 20 first_advert
withdraw() { advert 0 fe80::63 && has_servers '10.77.1.1 fd00:66::64'; }
ok "one is withdrawn, and not asked any more" wait_for 20 withdraw
ok "more are told of" advert 3600 fd00:66::65 fd00:66::66
ok "and taken" wait_for 20 has_servers '10.77.1.1 fd00:66::64 fd00:66::65'
ok "one too many" advert 7200 fd00:66::67
ok "takes the place of the one whose time is over first" wait_for 20 has_servers '10.77.1.1 fd00:66::67 fd00:66::65'
is "$(wc -l <"$TAP_TMP/state/e1.dnsra")" 3 "three are kept"
ok "those that are good for three seconds" advert 3 fd00:66::67 fd00:66::65
ok "are forgotten then" wait_for 20 has_servers '10.77.1.1 fd00:66::66'
ok "a server that has nothing but the prefix" dhcp6 --dhcp-range=fd00:66::,ra-only,64,1h
count=$(said 'no address yet')
printf 'ip=e0:dhcp\nip=e1:either6\n' >"$TAP_TMP/new"
ok "either of the two" reload
ok "is content with that one" wait_for 20 by_advertisement
ok "but asks" wait_for 20 test -s "$TAP_TMP/state/e1.pid6"
is "$(said 'no address yet')" "$count" "and does not complain"
lan_stop dhcp6
# Name servers that come and go faster than the script runs.
lan_start lan flood nice -n 19 python3 -uc 'import itertools, socket, struct, time
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
to = ("ff02::1", 0, 0, socket.if_nametoindex("br0"))
for n in itertools.count():
    for lifetime in 0, 3600:
        s.sendto(struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 0, 0, 0) + struct.pack("!BBHI", 25, 3, 0, lifetime) + socket.inet_pton(socket.AF_INET6, "fd00:66::99"), to)
    if n == 2000:
        print("under way")
    time.sleep(0.0005)'
ok "a router that cannot make up its mind" lan_wait flood 60 'under way'
printf 'ip=e0:dhcp\nip=10.77.1.8:::24::e1:none\n' >"$TAP_TMP/new"
ok "something else is wanted meanwhile" reload
ok "and done" wait_for 60 has e1 10.77.1.8/24
lan_stop flood

# ---- what fails is said once and tried again
inside sysctl -qw net.ipv6.conf.e1.disable_ipv6=1
printf 'ip=[fd00:77::7]:::64::e1:none\n' >"$TAP_TMP/new"
ok "an address that the kernel will not have" reload
ok "is complained of" log '^hoist: e1: give it the address fd00:77::7/64: .*; it is tried again for as long as it takes$'
cable e3 # something happens
cable e4
inside sysctl -qw net.ipv6.conf.e1.disable_ipv6=0
ok "and there once it can be" wait_for 20 has e1 fd00:77::7/64
is "$(said 'give it the address fd00:77::7/64: ')" 1 "said once"

# ---- an address of IPv6 is used before it is known that nobody else has it: which takes a minute here
inside sysctl -qw net.ipv6.conf.e4.accept_dad=1
inside sysctl -qw net.ipv6.conf.e4.dad_transmits=60
printf 'ip=[fd00:88::7]:::64::e4:none\n' >"$TAP_TMP/new"
ok "an address of IPv6" reload
ok "is there" wait_for 20 has e4 fd00:88::7/64
ok "and asked for" has e4 tentative
comes_from_it() { [[ $(inside ip -6 route get fd00:88::1) == *"src fd00:88::7 "* ]]; }
ok "it is used already" wait_for 5 comes_from_it
cp "$TAP_TMP/settings" "$TAP_TMP/new"
rm "$TAP_TMP/state/lines"
kill -HUP $engine
ok "the signal alone reads the first lines again" wait_for 30 has e0 10.77.1.5/24
kill $engine
wait $engine
is $? 0 "it ends when told to"
nok "with its clients" pgrep -f "udhcpc -f -i e1 -s $TAP_TMP/script"

# ---- the plan alone
is "$("$agent" network --check --cmdline 'quiet ip=eth0:dhcp hoist.nameserver=10.0.0.1 route=x bond=bond0:eth1,eth2:mode=1')" \
	"bond0: bond of eth1, eth2, mode active-backup
eth0: DHCP
name server 10.0.0.1" "the kernel line: dracut's words, and ours"
is "$("$agent" network --check --cmdline 'quiet hoist.name=x' --settings "$TAP_TMP/settings" | head -n 2)" \
	"third: the card $mac
e0: address 10.77.1.5/24, gateway 10.77.1.1, MTU 1400" "without such words the settings count"
is "$("$agent" network --check --cmdline 'ip=off' --settings "$TAP_TMP/settings")" "whatever no other line names: nothing" "with one they do not"
"$agent" network >"$TAP_TMP/bare.log" 2>&1
is $? 2 "without a word of what to set up it does nothing"
done_testing
