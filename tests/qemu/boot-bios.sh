#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The very ISO starts a BIOS machine of 512 MiB from CD and, as a disk, from a USB stick; with no key pressed the agent runs,
# screen and serial line show it, the card has an address by DHCP, and it registers with the server that
# hears its broadcast.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/lan.sh"
. "$(dirname "$0")/../lib/migration.sh"
requires_root
requires qemu-system-x86_64 ip dnsmasq jq
iso=$TAP_TMP/my.iso
[ -e "$TOP/build/hoist.iso" ] || bail_out "no build/hoist.iso: make iso"

ok "a LAN" lan_up lan
ok "a server" server_up lan
ok "the medium, with a token of it" medium lan "$iso"
truncate -s 64M "$TAP_TMP/ide.img" "$TAP_TMP/virtio.img"

# look NAME: what is the same for each medium.
look()
{
	ok "$1: init" vm_wait "$1" 240 'hoist: Hoist [0-9]'
	ok "$1: agent" vm_wait "$1" 120 'hoist: starting the agent'
	ok "$1: an address by DHCP" vm_wait "$1" 120 'eth0: address 10\.77\.1\.[0-9]+/24 by DHCP from 10\.77\.1\.1'
	address=$(sed -n 's/.*eth0: address \([0-9.]*\).*/\1/p' "$(vm_log "$1")" | tail -n 1)
	isnt "$(machine_wait lan 120 ".state == \"idle\" and (.address | startswith(\"${address:-none}\"))")" '' "$1: the server hears its broadcast, and it registers"
	ok "$1: the screen shows the same" wait_for 60 screen_has "$1" 'hoist: starting the agent'
}
screen_has() { vm_screen "$1" | grep -q -- "$2"; }

ok "started from CD" vm_start cd lan --iso "$iso" --disk "$TAP_TMP/ide.img,ide" --disk "$TAP_TMP/virtio.img,virtio" --no-reboot
look cd
unlike "$(cat "$(vm_log cd)")" 'Out of memory|Kernel panic|Call Trace' "cd: nothing broke"
vm_stop cd

cp "$iso" "$TAP_TMP/stick.img"
VM_NIC=virtio-net-pci ok "started from a USB stick" vm_start usb lan --usb "$TAP_TMP/stick.img" --no-reboot
look usb
ok "the stick was not written to" cmp "$iso" "$TAP_TMP/stick.img"
done_testing
