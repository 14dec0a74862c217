#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# lib/hoist/udhcpc of the live image, where a disk of this machine is reached over the interface: it keeps its addresses, whatever becomes of the leases.
. "$(dirname "$0")/../lib/tap.sh"
state=$TAP_TMP/state sys=$TAP_TMP/connection console=$TAP_TMP/console
mkdir "$TAP_TMP/bin" "$state"
# The routes: to 10.0.0.9 and fd00::9 over eth0.  What else it is asked to do is noted.
cat >"$TAP_TMP/bin/ip" <<'END'
#!/bin/sh
case $* in
'route get 10.0.0.9' | 'route get fd00::9') echo "$3 dev eth0 src 10.0.0.5 uid 0" ;;
*) echo "$*" >>"$TAP_TMP/asked" ;;
esac
END
chmod +x "$TAP_TMP/bin/ip"
sed -e "s|^\. .*|. '$TOP/initramfs/rootfs/lib/hoist/functions'; CONSOLE_LOG=$console|; s|/etc/resolv.conf|$TAP_TMP/resolv.conf|g; s|/sys/class/iscsi_connection|$sys|; s|/sys/class/net|$TAP_TMP/net|" \
	"$TOP/initramfs/rootfs/lib/hoist/udhcpc" >"$TAP_TMP/script"
export TAP_TMP HOIST_NET_STATE=$state

# run WHAT INTERFACE [TARGET]: with a disk at TARGET
run()
{
	rm -rf "$sys" "$TAP_TMP/asked" "$console"
	touch "$TAP_TMP/asked" "$console"
	[ -z "${3-}" ] || { mkdir -p "$sys/connection1:0" && echo "$3" >"$sys/connection1:0/persistent_address"; }
	echo 10.0.0.5/24 >"$state/$2.address"
	echo fd00::5 >"$state/$2.address6"
	PATH=$TAP_TMP/bin:$PATH interface=$2 sh "$TAP_TMP/script" "$1"
}
asked() { is "$(cat "$TAP_TMP/asked")" "$1" "$2"; }

run deconfig eth0
asked '-4 addr flush dev eth0' 'no disk: the address goes with the lease'
run deconfig eth0 10.0.0.9
asked '' 'a disk over the interface: it stays'
like "$(cat "$console")" '^hoist: eth0: the address stays without a lease: ' '... which is said'
run deconfig eth1 10.0.0.9
asked '-4 addr flush dev eth1' 'a disk over another one: it goes'
mkdir -p "$TAP_TMP/net/eth1"
echo 0 >"$TAP_TMP/net/eth1/carrier"
run deconfig eth1 10.0.0.9
asked '' 'another one, which has no link, may be the one of the disk: it stays'
run deconfig eth1
asked '-4 addr flush dev eth1' 'unless there is no disk'
echo 1 >"$TAP_TMP/net/eth1/carrier"
run deconfig eth1 10.0.0.9
asked '-4 addr flush dev eth1' 'with a link it is known'
for what in deconfig6 EXPIRE6 STOP6 RELEASE6; do
	run $what eth0
	asked '-6 addr del fd00::5/128 dev eth0' "IPv6, $what, no disk: the address goes with the lease"
	run $what eth0 fd00::9
	# the client may have taken it away already, and its time runs out
	asked '-6 addr replace fd00::5/128 dev eth0' "IPv6, $what, a disk over the interface: it stays, for ever"
	like "$(cat "$console")" '^hoist: eth0: the address of IPv6 stays without a lease: ' '... which is said'
	run $what eth1 fd00::9
	asked '-6 addr del fd00::5/128 dev eth1' "IPv6, $what, a disk over another one: it goes"
	nok 'what is known of the lease goes in any case' test -e "$state/eth1.address6"
done

# ---- a lease without a netmask
rm -f "$state"/* "$TAP_TMP/asked"
mkdir -p "$TAP_TMP/net/eth0"
echo 2 >"$TAP_TMP/net/eth0/ifindex"
for pair in 10.1.2.3/8 127.1.2.3/8 128.1.2.3/16 172.16.2.3/16 191.1.2.3/16 192.168.2.3/24; do
	rm -f "$state"/* "$TAP_TMP/asked"
	PATH=$TAP_TMP/bin:$PATH interface=eth0 ip=${pair%/*} mask='' sh "$TAP_TMP/script" bound
	is "$(grep '^addr add' "$TAP_TMP/asked")" "addr add $pair broadcast + dev eth0" "${pair%/*} has that of its class"
done

# ---- an MTU, where none is named by a line and where one is
lease_of_1400() { PATH=$TAP_TMP/bin:$PATH interface=eth0 ip=10.1.2.3 mask=8 mtu=1400 sh "$TAP_TMP/script" bound; }
rm -f "$state"/* "$TAP_TMP/asked"
lease_of_1400
is "$(grep mtu "$TAP_TMP/asked")" 'link set eth0 mtu 1400' "a card has the MTU of its lease"
rm -f "$state"/* "$TAP_TMP/asked"
: >"$state/eth0.mtu"
lease_of_1400
is "$(grep mtu "$TAP_TMP/asked")" '' "unless a line has named one"

# ---- name servers: two clients learn theirs at the same time
rm -f "$state"/*
AWK=$(command -v awk)
export AWK
cat >"$TAP_TMP/bin/awk" <<'END'
#!/bin/sh
# The first reader of eth1's is held up when it has read.
text=$("$AWK" "$@"; echo x)
case $* in
*eth1.dns)
	if mkdir "$TAP_TMP/held" 2>/dev/null; then
		while [ ! -e "$TAP_TMP/go" ]; do sleep 0.05; done
	fi
	;;
esac
printf %s "${text%x}"
END
chmod +x "$TAP_TMP/bin/awk"
learn() { PATH=$TAP_TMP/bin:$PATH interface=$1 ip=$2.5 mask=24 dns=$2.1 sh "$TAP_TMP/script" bound; }
echo 3 >"$TAP_TMP/net/eth1/ifindex"
learn eth1 10.0.1 &
ok 'one client is at it' wait_for 20 test -d "$TAP_TMP/held"
ok 'another one comes' learn eth0 10.0.0
touch "$TAP_TMP/go"
wait
is "$(cat "$TAP_TMP/resolv.conf")" 'nameserver 10.0.0.1
nameserver 10.0.1.1' 'both name servers are known'
done_testing
