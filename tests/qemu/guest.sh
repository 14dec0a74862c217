#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The Debian that stands for a physical machine starts by its own GRUB from IDE and from virtio, and its check of its
# own files is worth something: with one byte of one file changed it says so.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/lan.sh"
requires_root
requires qemu-system-x86_64 ip dnsmasq debugfs
guest=$TOP/build/guest/guest.img
[ -e "$guest" ] || bail_out "no $guest: make guest"

ok "a LAN" lan_up lan
cp --sparse=always "$guest" "$TAP_TMP/ide.img"
ok "started from IDE" vm_start ide lan --disk "$TAP_TMP/ide.img,ide" --no-reboot
ok "ide: GRUB" vm_wait ide 120 'GNU GRUB|Loading Linux'
ok "ide: its files are right" vm_wait ide 600 'HOIST-GUEST: files 400 ok, root=/dev/sda1, hostname=oldserver'
ok "ide: its login" vm_wait ide 300 'login:'
ok "ide: DHCP on a card of any name" lan_wait dhcp-lan 120 'DHCPACK.* oldserver'
vm_stop ide

# One byte of a file that is checked.
cp --sparse=always "$guest" "$TAP_TMP/bad.img"
fs() { debugfs -R "$1" "$TAP_TMP/bad.img?offset=1048576" 2>/dev/null; }
file=$(fs 'cat /srv/MANIFEST.sha256' | awk '$2 ~ /^usr.share.doc/ { print $2; exit }')
block=$(fs "bmap /$file 0")
ok "a checked file: $file in block $block" test "${block:-0}" -gt 0
printf '!' | dd of="$TAP_TMP/bad.img" bs=1 seek=$((1048576 + block * 4096 + 100)) conv=notrunc status=none
VM_NIC=virtio-net-pci ok "started from virtio" vm_start bad lan --disk "$TAP_TMP/bad.img,virtio"
ok "virtio: says that a file is bad" vm_wait bad 600 'HOIST-GUEST: files 1 BAD of 400, root=/dev/vda1'
done_testing
