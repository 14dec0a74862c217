# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Networks and machines for tests: each LAN is a network namespace with a bridge br0, DHCP and DNS by dnsmasq, and
# machines in QEMU on taps.  Needs root.  After tests/lib/tap.sh (or with TAP_TMP and cleanup_fn of one's own):
#
#	. "$(dirname "$0")/../lib/lan.sh"
#	lan_up office				10.77.1.1/24 for us, DHCP from .100 on; lan_up NAME 10.1.2 chooses
#	lan_run office ip addr			a command in it
#	lan_start office server hoist-server --data "$TAP_TMP/data"
#						a program in it, in the background; its output in $TAP_TMP/server.log
#	lan_stop server				ends it
#	lan_stop dhcp-office; lan_dhcp office 10.77.1	stops its DHCP and DNS, starts them again
#	lan_wait server 30 REGEX		waits for a line of that output; fails at once when the program has ended
#
#	vm_start source office --iso build/hoist.iso --disk a.img,ide,serial=S1
#						options of scripts/run-qemu; its card is on the LAN ('-' for none);
#						VM_NIC=virtio-net-pci and VM_MAC=52:54:... before it choose the card;
#						VM_NIC=none: in that network, but with no card; $LAN_UEFI is the strictest
#						--firmware that starts the image
#	vm_wait source 120 REGEX		waits for a line on its serial console; fails at once when it is off
#	vm_type source poweroff			types on its serial console; vm_keys: without Enter
#	vm_screen source			what stands on its VGA screen
#	vm_qmp source query-block		any QMP command; arguments as JSON in a further word
#	vm_wait_off source 60			waits until it has ended
#	vm_stop source				pulls the plug
#	vm_log source				the path of its serial log
#	vm_broke source				the lines of all its serial logs of what must not be; none if it is well
#	lan_down office				otherwise done at exit, as is all of this
#
# LAN and machine names are short words.  Everything of one test lies in $TAP_TMP.

LAN_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
declare -A lan_pids=() lan_vms=()
# The strictest UEFI that starts the image: firmware trusts Debian's kernel, and none of our own.
LAN_UEFI=secureboot
# shellcheck disable=SC2034 # for tests
[ "${HOIST_KERNEL:-debian}" = debian ] || LAN_UEFI=uefi
lan_count=0
lan_taps=0

lan_ns() { echo "hoist-$$-$1"; }
lan_run() { local ns; ns=$(lan_ns "$1"); shift; ip netns exec "$ns" "$@"; }
# In the background only: the subshell becomes the program, so that whoever kills it kills the program.
lan_exec() { local ns; ns=$(lan_ns "$1"); shift; exec ip netns exec "$ns" "$@"; }
lan_address() { lan_run "$1" ip -4 -o addr show dev br0 | sed -n 's|.* inet \([0-9.]*\)/.*|\1|p'; }

lan_up()
{
	local ns net
	lan_count=$((lan_count + 1))
	net=${2:-10.77.$lan_count}
	ns=$(lan_ns "$1")
	ip netns add "$ns" || return
	cleanup_fn lan_down "$1"
	# IPv6 addresses at once, without asking first whether another has them: half a second that tests need not wait.
	lan_run "$1" sysctl -qw net.ipv6.conf.default.accept_dad=0
	ip -n "$ns" link set lo up &&
		ip -n "$ns" link add br0 type bridge stp_state 0 forward_delay 0 &&
		ip -n "$ns" addr add "$net.1/24" broadcast "$net.255" dev br0 &&
		ip -n "$ns" link set br0 up || return
	lan_dhcp "$1" "$net"
}

# lan_dhcp NAME NET [FIRST LAST]: its DHCP and DNS, which lan_up starts; after a lan_stop dhcp-NAME.
lan_dhcp()
{
	local net=$2
	lan_start "$1" "dhcp-$1" dnsmasq --no-daemon --conf-file=/dev/null --user= --group= --pid-file= --interface=br0 --bind-interfaces \
		--no-resolv --no-hosts --domain=hoist.test --host-record="server.hoist.test,$net.1" \
		--dhcp-range="$net.${3:-100},$net.${4:-200},255.255.255.0,1h" --dhcp-leasefile="$TAP_TMP/leases-$1" --log-dhcp
	lan_wait "dhcp-$1" 20 'DHCP, sockets bound|DHCP, IP range'
}

lan_down()
{
	local ns name pids
	ns=$(lan_ns "$1")
	for name in "${!lan_vms[@]}"; do [ "${lan_vms[$name]}" != "$1" ] || vm_stop "$name"; done
	[ -e "/run/netns/$ns" ] || return 0
	pids=$(ip netns pids "$ns")
	# shellcheck disable=SC2086 # a list
	[ -z "$pids" ] || kill $pids 2>/dev/null
	ip netns del "$ns"
}

lan_start()
{
	local lan=$1 name=$2
	shift 2
	lan_exec "$lan" "$@" >"$TAP_TMP/$name.log" 2>&1 </dev/null &
	lan_pids[$name]=$!
}

lan_alive() { [ -n "${lan_pids[$1]:-}" ] && kill -0 "${lan_pids[$1]}" 2>/dev/null; }

# lan_wait NAME SECONDS REGEX: as wait_line, but a program that has ended will not print it any more.
lan_wait() { lan_wait_file "$1" "$TAP_TMP/$1.log" "$2" "$3"; }

lan_wait_file()
{
	local alive='' end=$((SECONDS + $3))
	while [ $SECONDS -lt $end ]; do
		# Asked first: what is printed just before the end counts.
		lan_alive "$1" && alive=yes || alive=''
		grep -aqE -- "$4" "$2" 2>/dev/null && return 0
		[ -n "$alive" ] || break
		sleep "${TAP_PACE:-0.2}"
	done
	if [ -n "$alive" ]; then
		diag "$1: not seen in $3 seconds: $4"
	else
		diag "$1: ended without: $4"
	fi
	diag "$(tail -n 15 "$2" | tr -d '\000-\010\013-\037')"
	return 1
}

# lan_stop NAME: ends politely, then not.
lan_stop()
{
	lan_alive "$1" || return 0
	kill "${lan_pids[$1]}" 2>/dev/null
	lan_gone "$1" 10 || kill -9 "${lan_pids[$1]}" 2>/dev/null
	wait "${lan_pids[$1]}" 2>/dev/null
	unset "lan_pids[$1]"
}

lan_gone()
{
	local end=$((SECONDS + $2))
	while lan_alive "$1"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.1
	done
}

lan_tap()
{
	ip -n "$(lan_ns "$1")" tuntap add "$2" mode tap && ip -n "$(lan_ns "$1")" link set "$2" master br0 up
}

vm_dir() { echo "$TAP_TMP/vm-$1"; }
vm_log() { echo "$TAP_TMP/vm-$1/serial.log"; }
# A busy host may lose an emulated machine's first timer ticks, before the kernel is ours to judge: it panics over its IO-APIC and starts again after a minute.
vm_broke()
{
	awk '/IO-APIC \+ timer doesn.t work/ { skip = 1 } !skip && /Kernel panic|Call Trace|Out of memory/ { print FILENAME ": " $0 } /Rebooting in/ { skip = 0 }' "$(vm_dir "$1")"/serial.log*
}
vm_wait() { lan_wait_file "$1" "$(vm_log "$1")" "$2" "$3"; }
vm_type() { "$LAN_TOP/tests/lib/qmp" "$(vm_dir "$1")" --type "$2"; }
vm_keys() { "$LAN_TOP/tests/lib/qmp" "$(vm_dir "$1")" --keys "$2"; }
vm_screen() { "$LAN_TOP/tests/lib/qmp" "$(vm_dir "$1")" --screen; }
vm_qmp() { local dir; dir=$(vm_dir "$1"); shift; "$LAN_TOP/tests/lib/qmp" "$dir" "$@"; }
vm_wait_off() { lan_gone "$1" "$2" || { diag "$1: still on after $2 seconds"; return 1; }; }

# A machine that is started again under the same name keeps nothing: its old log becomes serial.log.N.
vm_start()
{
	local name=$1 lan=$2 nic=() log n=1
	shift 2
	vm_stop "$name"
	log=$(vm_log "$name")
	mkdir -p "$(dirname "$log")"
	if [ -e "$log" ]; then
		while [ -e "$log.$n" ]; do n=$((n + 1)); done
		mv "$log" "$log.$n"
	fi
	rm -f "$(vm_dir "$name")"/*.sock
	if [ "$lan" != - ] && [ "${VM_NIC:-}" != none ]; then
		lan_taps=$((lan_taps + 1))
		lan_tap "$lan" "tap$lan_taps" || return
		nic=(--nic "tap$lan_taps,${VM_NIC:-e1000},${VM_MAC:-$(printf '52:54:00:77:%02x:%02x' $((RANDOM % 256)) $lan_taps)}")
	fi
	lan_vms[$name]=$lan
	cleanup_fn vm_stop "$name"
	if [ "$lan" = - ]; then
		"$LAN_TOP/scripts/run-qemu" --run "$(vm_dir "$name")" "$@" >"$TAP_TMP/$name.log" 2>&1 </dev/null &
	else
		lan_exec "$lan" "$LAN_TOP/scripts/run-qemu" --run "$(vm_dir "$name")" "${nic[@]}" "$@" >"$TAP_TMP/$name.log" 2>&1 </dev/null &
	fi
	lan_pids[$name]=$!
	wait_for 30 test -S "$(vm_dir "$name")/qmp.sock" || { diag "$(cat "$TAP_TMP/$name.log")"; return 1; }
}

vm_stop() { lan_stop "$1"; }
