#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A machine with a card and a controller that have no driver, and a card whose driver finds no firmware: screen, serial line and
# server say so, with what to look for.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/lan.sh"
. "$(dirname "$0")/../lib/migration.sh"
requires_root
requires qemu-system-x86_64 ip dnsmasq jq
net=$TOP/build/netboot
[ -e "$net/vmlinuz" ] || bail_out "no build/netboot: make netboot"

ok "a LAN" lan_up lan
ok "a server" server_up lan
ok "settings for it" hoist lan iso --in "$net/settings.cpio" --out "$TAP_TMP/settings.cpio" --new-token
cat "$net/initramfs.img" "$TAP_TMP/settings.cpio" >"$TAP_TMP/initrd"
truncate -s 16M "$TAP_TMP/good.img" "$TAP_TMP/hidden.img"
# The kernel is told not to load two modules; QEMU's 82551 is one whose driver wants microcode and does not start it without.
ok "started" vm_start poor lan --kernel "$net/vmlinuz" --initrd "$TAP_TMP/initrd" \
	--append "console=tty0 console=ttyS0,115200 quiet module_blacklist=8139cp,8139too,sym53c8xx" --mem 512 \
	--disk "$TAP_TMP/good.img,ide" --disk "$TAP_TMP/hidden.img,lsi" -- -device rtl8139 -device i82551
machine=$(machine_wait lan 400 '.state == "idle"')
isnt "$machine" '' "it appears on the server"
said() { ok "$2" grep -qaE "$1" "$(vm_log poor)"; }
said 'PCI device 10ec:8139, Realtek [^:]*RTL-?8[^:]* at [0-9a-f:.]+: Ethernet controller without a driver, so what hangs on it is not seen; look for' "the card without a driver is named"
said 'PCI device 1000:00[0-9a-f]{2}, [^:]*53[cC]8[^:]* at [0-9a-f:.]+: SCSI controller without a driver' "and the controller"
said "the driver e100 asked for the firmware file 'e100/d102e_ucode.bin' for the device 0000:[0-9a-f:.]+, and this medium has not got it" "and the missing firmware"
vm_screen poor >"$TAP_TMP/screen"
for word in 'PCI device 10ec:8139' 'PCI device 1000:00' 'e100/d102e_ucode.bin'; do
	ok "the screen says so: $word" grep -q "$word" "$TAP_TMP/screen"
done
shown=$(hoist lan machine show "$machine")
like "$shown" 'no driver: +10ec:8139 Ethernet controller without a driver: Realtek ' "the server has the card"
like "$shown" 'no driver: +1000:00.. SCSI controller without a driver' "the controller"
like "$shown" "warning: +the driver e100 asked for the firmware file 'e100/d102e_ucode.bin'" "and the firmware"
is "$(hoist lan machine show "$machine" --json | jq '.inventory.disks // .disks | length')" 1 "the one disk that is seen is listed"
vm_stop poor
done_testing
