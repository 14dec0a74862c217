#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Networks that DHCP on every card does not do for: VLANs only, a trunk (802.3ad), fixed addresses where nobody speaks DHCP, active-backup, a switch whose
# spanning tree takes 70 seconds, a way on which long packets are lost: from the very ISO, personalised.  IPv6 alone with a link that comes late, DHCPv6,
# and a wrong line: from kernel and initramfs, because of the kernel line.  Each machine reaches "registered".
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/lan.sh"
. "$(dirname "$0")/../lib/migration.sh"
requires_root
requires qemu-system-x86_64 ip dnsmasq jq python3 busybox
net=$NETBOOT
[ -e "$net/vmlinuz" ] || bail_out "no $net: make netboot"
[ -e "$ISO" ] || bail_out "no $ISO: make iso"
quiet='console=tty0 console=ttyS0,115200 quiet'

ok "a LAN" lan_up lan
# The announcement is to be heard by IPv4 at first.
lan_run lan sysctl -qw net.ipv6.conf.br0.disable_ipv6=1
ok "in which nobody speaks DHCP" lan_stop dhcp-lan
# ... but to one machine, on whose way there is a switch with a slow spanning tree.
lan_start lan dhcp-one dnsmasq --no-daemon --conf-file=/dev/null --user= --group= --pid-file= --interface=br0 --bind-interfaces --port=0 \
	--dhcp-range=10.77.1.0,static,255.255.255.0 --dhcp-host=52:54:00:77:aa:07,10.77.1.51 --dhcp-leasefile="$TAP_TMP/leases-one" --log-dhcp
ok "but to one" lan_wait dhcp-one 20 'DHCP, static leases only'
ok "a server" server_up lan
ok "its tap" lan_tap lan trunk
lan_start lan switch "$TOP/tests/lib/switch" trunk 7001,7002,tag=5 7003 7004 7005 7006 7007,tag=6,forward=70 7008,mtu=1280 7009 7000
ok "a switch" lan_wait switch 20 switching

# card CABLE: options for a card on that cable of the switch; its address ends in the cable's last digit
card() { echo -netdev "socket,id=n$1,udp=127.0.0.1:$1,localaddr=127.0.0.1:$(($1 + 1000))" -device "e1000,netdev=n$1,mac=52:54:00:77:aa:0${1: -1},romfile="; }
cards() { local cable; for cable; do card "$cable"; done; }
# personalised NAME OPTION...: a medium with these settings and a token, and no address of the server, which is found by broadcast
personalised() { hoist lan iso --in "$ISO" --out "$TAP_TMP/$1.iso" --new-token "${@:2}"; }
# boot NAME CABLE...: from that medium
boot()
{
	local words
	read -r -d '' -a words < <(cards "${@:2}")
	VM_NIC=none vm_start "$1" lan --iso "$TAP_TMP/$1.iso" --mem 512 -- "${words[@]}"
}
# start NAME APPEND CABLE...: kernel and initramfs, with settings behind them
start()
{
	local words
	read -r -d '' -a words < <(cards "${@:3}")
	cat "$net/initramfs.img" "$TAP_TMP/$1.cpio" >"$TAP_TMP/initrd"
	VM_NIC=none vm_start "$1" lan --kernel "$net/vmlinuz" --initrd "$TAP_TMP/initrd" --append "$2" --mem 512 -- "${words[@]}"
}
pull() { vm_qmp "$1" set_link "{\"name\":\"n$2\",\"up\":false}" >/dev/null; }
plug() { vm_qmp "$1" set_link "{\"name\":\"n$2\",\"up\":true}" >/dev/null; }
answers() { lan_run lan busybox ping -c 1 -W 2 "$1"; }

# ---- a VLAN on a trunk, and side by side with it a VLAN alone, a fixed address alone, and a bond of which one card is in use
ok "a medium for a VLAN on a trunk" personalised first --bond bond0:eth0,eth1:mode=802.3ad,lacp_rate=fast \
	--vlan bond0.5:bond0 --ip 10.77.1.50::10.77.1.1:255.255.255.0:tagged:bond0.5:none --nameserver 10.77.1.1
ok "for a VLAN, with DHCP" personalised tagged --vlan vlan6:eth0 --ip vlan6:dhcp
ok "for a fixed address" personalised fixed --ip 10.77.1.52::10.77.1.1:24::eth0:none
ok "for active-backup" personalised backup --bond bond0:eth0,eth1:mode=active-backup --ip 10.77.1.53::10.77.1.1:24::bond0:none
ok "started" boot first 7001 7002 7003 7004
# The menu's second entry has the shell on the serial line.
ok "the menu" vm_wait first 120 'Automatic boot|Press .Tab.'
vm_type first s
ok "started beside it: a VLAN" boot tagged 7007
ok "a fixed address" boot fixed 7008
ok "active-backup" boot backup 7009 7000
registered() { isnt "$(machine_wait lan 400 ".state == \"idle\" and .address == \"$2\"")" '' "$1: registered by its address"; }
registered fixed 10.77.1.52
ok "though its long packets were lost" lan_wait switch 10 'cable 7008 lost a packet of 1[45][0-9]{2} bytes'
vm_stop fixed
registered backup 10.77.1.53
ok "through the first of its cables" lan_wait switch 10 'address 52:54:00:77:aa:09 on cable 7009'
pull backup 7009
ok "the other takes over" wait_for 60 answers 10.77.1.53
ok "as the switch sees" lan_wait switch 60 'address 52:54:00:77:aa:09 on cable 7000'
vm_stop backup

ok "the machine on the VLAN has a link" lan_wait switch 300 'cable 7007 listens'
ok "and asks in vain" vm_wait tagged 60 'hoist: vlan6: no answer by DHCP yet, still asking'
ok "the spanning tree is done" lan_wait switch 120 'cable 7007 forwards after 7[0-9] seconds, [0-9]{2,} frames were dropped'
registered tagged 10.77.1.51
ok "by DHCP" grep -qaE 'hoist: vlan6: address 10\.77\.1\.51/24 by DHCP' "$(vm_log tagged)"
ok "through its VLAN alone" grep -qaE 'hoist: vlan6: VLAN 6 on eth0' "$(vm_log tagged)"
is "$(grep -oE '^cable 7007 (listens|forwards)|^address .* on cable 7007' "$TAP_TMP/switch.log" | head -n 3 | tr '\n' ';')" \
	'cable 7007 listens;cable 7007 forwards;address 52:54:00:77:aa:07 on cable 7007;' "of which nothing came through before"
vm_stop tagged
lan_stop dhcp-one

id=$(machine_wait lan 400 '.state == "idle" and .address == "10.77.1.50"')
isnt "$id" '' "registered by its fixed address"
ok "through the trunk's one cable" lan_wait switch 10 'cable 7001 carries by LACP'
ok "and the other" lan_wait switch 10 'cable 7002 carries by LACP'
said() { ok "$1: '$2'" grep -qaE "$2" "$(vm_log "$1")"; }
said first 'hoist: bond0: bond, mode 802\.3ad'
said first 'hoist: bond0\.5: VLAN 5 on bond0'
said first 'hoist: bond0\.5: address 10\.77\.1\.50/24, gateway 10\.77\.1\.1'
nok "a card that no line names is left alone" grep -qaE 'hoist: eth[23]:' "$(vm_log first)"
pull first 7001
ok "a cable less is no harm" wait_for 60 answers 10.77.1.50
# shellcheck disable=SC2016 # the machine expands what is typed
vm_type first 'echo "is $(hostname) $(cat /proc/net/bonding/bond0 | grep -c "Partner Mac Address: 02:00:00:00:00:01") $(head -n 1 /etc/resolv.conf)"'
ok "its host name, its partner, its name server" vm_wait first 30 '^is tagged 1 nameserver 10\.77\.1\.1'

# ---- told anew: active-backup of cards named by their addresses, DHCP
ok "DHCP" lan_dhcp lan 10.77.1
vm_type first 'printf "bond=bond1:52-54-00-77-aa-03,enx52540077aa04:mode=active-backup\nip=bond1:dhcp\n" >/tmp/n; hoist-agent network --reload /tmp/n'
# It would notice by itself, after the minute that a connection may be silent.
# shellcheck disable=SC2016
vm_type first 'for p in $(pidof hoist-agent); do grep -q run /proc/$p/cmdline && kill $p; done'
ok "told anew" vm_wait first 120 'hoist: bond1: address 10\.77\.1\.1[0-9]+/24 by DHCP'
address=$(sed -n 's/.*bond1: address \([0-9.]*\).*/\1/p' "$(vm_log first)" | tail -n 1)
is "$(machine_wait lan 120 ".state == \"idle\" and .address == \"$address\"")" "$id" "registered by the other bond"
vm_type first 'ip -o link | grep -c bond0; cat /sys/class/net/bond1/bonding/active_slave'
ok "the first is gone" vm_wait first 30 '^0.?$'
pull first 7003
ok "the other cable takes over" wait_for 60 answers "$address"
ok "seen there" lan_wait switch 10 'address .* on cable 7004'
lan_stop dhcp-lan
vm_stop first

# ---- IPv6 alone, to a server by its address, over a link that comes late; and a line that is wrong
lan_run lan sysctl -qw net.ipv6.conf.br0.disable_ipv6=0
ok "the LAN has IPv6" lan_run lan ip addr add fd00:77::1/64 dev br0
ok "settings" hoist lan iso --in "$net/settings.cpio" --out "$TAP_TMP/second.cpio" --new-token --server 'https://[fd00:77::1]:4647' --set discovery=no
ok "started" start second "$quiet hoist.shell ip=[fd00:77::60]::[fd00:77::1]:64::eth0:none ip=eth1:dhxp" 7005 7006
ok "the link that is to come late" pull second 7005
ok "the wrong line is named" vm_wait second 400 "hoist: ip=eth1:dhxp: 'dhxp' is not one of dhcp, .*; this line is passed over, and DHCP is tried on every card"
ok "the link that is not there too" vm_wait second 120 'hoist: eth0: no link'
ok "DHCP is asked for where nobody answers" vm_wait second 120 'hoist: eth1: no answer by DHCP yet, still asking'
ok "the server is not reached" vm_wait second 120 'https://\[fd00:77::1\]:4647.*trying again'
pull second 7006 # on the same network: answers could come this way
plug second 7005
ok "the link comes" vm_wait second 60 'hoist: eth0: link up'
isnt "$(machine_wait lan 180 '.state == "idle" and .address == "fd00:77::60"')" '' "registered by IPv6"
ok "DHCP comes" lan_dhcp lan 10.77.1
plug second 7006
ok "and is heard after all" vm_wait second 120 'hoist: eth1: address 10\.77\.1\.[0-9]+/24 by DHCP'
lan_start lan dhcp6 dnsmasq --no-daemon --conf-file=/dev/null --user= --group= --pid-file= --interface=br0 --bind-interfaces --port=0 --enable-ra \
	--dhcp-leasefile="$TAP_TMP/leases6" --dhcp-range=fd00:77::100,fd00:77::1ff,64,1h
ok "DHCP of IPv6" lan_wait dhcp6 20 'DHCPv6'
vm_type second 'echo ip=eth1:dhcp6 >/tmp/n; hoist-agent network --reload /tmp/n'
ok "is asked when told so" vm_wait second 120 'hoist: eth1: address fd00:77::1[0-9a-f][0-9a-f]/128 by DHCPv6'
address=$(sed -n 's|.*eth1: address \(fd00:77:[^/]*\)/128.*|\1|p' "$(vm_log second)" | tail -n 1)
ok "and its address answers" wait_for 60 lan_run lan busybox ping -6 -c 1 -W 2 "${address:-none}"

# ---- an address for the first card that has a link, and DHCP for the rest: until one has a link, every card may be of the rest
says_since() { sed "1,/^$1/d" "$(vm_log second)" | grep -qaE "$2"; }
vm_type second 'echo "links" go'
ok "both links go" vm_wait second 60 '^links go'
pull second 7005
pull second 7006
# The other card is none that a line names: what becomes of it is not said.
ok "as the one says that is in use" wait_for 60 says_since 'links go' 'hoist: eth1: no link'
vm_type second 'printf "ip=dhcp\nip=10.77.1.61::10.77.1.1:24:::none\n" >/tmp/n; echo "told" anew; hoist-agent network --reload /tmp/n'
ok "told anew" vm_wait second 60 '^told anew'
ok "no card has a link yet" wait_for 60 says_since 'told anew' 'hoist: eth0: no link'
plug second 7005
ok "the first that has one has the address" wait_for 60 says_since 'told anew' 'hoist: eth0: address 10\.77\.1\.61/24, gateway 10\.77\.1\.1'
ok "which answers" wait_for 60 answers 10.77.1.61
plug second 7006
ok "and the other has one by DHCP" wait_for 120 says_since 'told anew' 'hoist: eth1: address 10\.77\.1\.[0-9]+/24 by DHCP'
nok "as the first has not" says_since 'told anew' 'hoist: eth0: address .* by DHCP'
vm_stop second
done_testing
