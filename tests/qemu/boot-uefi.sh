#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The very ISO starts UEFI machines: from CD with Secure Boot enforced, from a USB stick without; with no key pressed the agent runs and
# registers with the server that hears its broadcast.  The kernel of the first is locked down, and a disk is captured and restored by it nevertheless; the
# second has no screen at all.  A medium whose kernel has lost its signature, and nothing else, is refused
# by GRUB, and one whose first stage differs from what was signed by one letter by the firmware itself.  A kernel of our own (HOIST_KERNEL=source), which nobody
# signed, is the one that is refused, and starts without Secure Boot.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/lan.sh"
. "$(dirname "$0")/../lib/migration.sh"
requires_root
requires qemu-system-x86_64 ip dnsmasq xorriso jq ssh ssh-keygen
iso=$TAP_TMP/my.iso
[ -e "$ISO" ] || bail_out "no $ISO: make iso"

ok "a LAN" lan_up lan
ok "a server" server_up lan
ssh-keygen -q -N '' -t ed25519 -f "$TAP_TMP/key"
ok "the medium, with a token of it" medium lan "$iso" --set eject=yes --ssh-key "$TAP_TMP/key.pub"

# look NAME
look()
{
	ok "$1: the menu" vm_wait "$1" 120 'starts in three seconds'
	ok "$1: init" vm_wait "$1" 240 'hoist: Hoist [0-9]'
	ok "$1: an address by DHCP" vm_wait "$1" 120 'eth0: address 10\.77\.1\.[0-9]+/24 by DHCP'
	address=$(sed -n 's/.*eth0: address \([0-9.]*\).*/\1/p' "$(vm_log "$1")" | tail -n 1)
	isnt "$(machine_wait lan 120 ".state == \"idle\" and (.address | startswith(\"${address:-none}\"))")" '' "$1: the server hears its broadcast, and it registers"
	is "$(vm_broke "$1")" '' "$1: nothing broke"
}

head -c 20000000 /dev/urandom >"$TAP_TMP/source.img"
truncate -s 24M "$TAP_TMP/source.img" "$TAP_TMP/target.img"
secure=false
[ "$LAN_UEFI" = uefi ] || secure=true
ok "started from CD, Secure Boot: $secure" vm_start cd lan --firmware "$LAN_UEFI" --iso "$iso" --disk "$TAP_TMP/source.img,virtio,serial=SOURCE" \
	--disk "$TAP_TMP/target.img,virtio,serial=TARGET" --no-reboot
look cd
tray_is_open() { vm_qmp cd query-block | jq -e '[.. | objects | select(.tray_open == true)] | length > 0' >/dev/null; }
ok "cd: the CD is out, as the settings say" wait_for 60 tray_is_open
firmware() { hoist lan machine show "$id" --json | jq -cS .inventory.firmware; }
id=$(machine_wait lan 60 '.state == "idle"')
is "$(firmware)" "{\"bits\":64,\"kind\":\"uefi\",\"secure_boot\":$secure}" "cd: the server knows whether Secure Boot is on"
ok "cd: one may look" vm_wait cd 120 'ssh: may log in as root'
kernel_log() { machine_ssh lan "$address" "$TAP_TMP/key" -o BatchMode=yes dmesg >"$TAP_TMP/dmesg-$1"; }
ok "cd: at the kernel's log" wait_for 60 kernel_log cd
is "$(grep -q 'Kernel is locked down from EFI Secure Boot' "$TAP_TMP/dmesg-cd" && echo true || echo false)" $secure "cd: with it, the kernel is locked down"
ok "cd: a disk is captured" hoist lan capture "$id" --disk serial:SOURCE --image locked --wait
ok "cd: and restored onto another" hoist lan restore locked "$id" --disk serial:SOURCE=serial:TARGET --end stay --wait
is "$(hoist lan jobs --json | jq -c '[.jobs[].state] | sort')" '["done","done"]' "cd: both are done"
ok "cd: its log again" kernel_log cd
is "$(grep 'Lockdown: ' "$TAP_TMP/dmesg-cd" | grep -v 'Lockdown: swapper')" '' "cd: it refused none of our programs anything"
vm_stop cd
ok "cd: the target is the source" cmp "$TAP_TMP/source.img" "$TAP_TMP/target.img"

unsigned=$ISO
if [ "$HOIST_KERNEL" = debian ]; then
	# The place of the signature in a PE file: entry 4 of the data directories, 144 bytes into the header that follows the COFF header.
	# shellcheck disable=SC2016 # perl's
	unsign='open(F, "+<", shift) or die; binmode F; seek F, 60, 0; read F, my $at, 4; seek F, unpack("V", $at) + 24 + 144, 0;
		read F, my $entry, 8; (unpack "VV", $entry)[1] or die "not signed"; seek F, -8, 1; print F "\0" x 8; close F or die'
	cp "$KERNEL/vmlinuz" "$TAP_TMP/vmlinuz"
	ok "a kernel without its signature" perl -e "$unsign" "$TAP_TMP/vmlinuz"
	ok "a medium with it" env SOURCE_DATE_EPOCH=0 "$TOP/scripts/mkiso" --kernel "$TAP_TMP/vmlinuz" --initramfs "$IMAGE/initramfs.img" --firmware "$IMAGE/firmware.img" --added "$IMAGE/added.img" \
		--settings "$IMAGE/settings.cpio" --efi "$TOP/build/efi" --out "$TAP_TMP/unsigned.iso"
	unsigned=$TAP_TMP/unsigned.iso
fi
ok "started" vm_start unsigned - --firmware secureboot --iso "$unsigned" --no-reboot
ok "it is refused" vm_wait unsigned 120 'bad shim signature'
unlike "$(cat "$(vm_log unsigned)")" 'hoist: Hoist' "and nothing of it ran"
vm_stop unsigned

# A letter in the words for those who start it under DOS: nothing uses it, and the signature covers it.
# shellcheck disable=SC2016 # perl's
spoil='local $/; open(L, "<:raw", shift) or die; my $loader = <L>; open(F, "+<:raw", shift) or die; my $iso = <F>;
	my ($at, $letter) = (index($iso, $loader), index $loader, "run in DOS mode"); die "not found" if $at < 0 || $letter < 0 || index($iso, $loader, $at + 1) >= 0;
	seek F, $at + $letter, 0; print F "R"; close F or die'
cp "$ISO" "$TAP_TMP/spoilt.iso"
ok "a first stage with another letter" perl -e "$spoil" "$TOP/build/efi/BOOTX64.EFI" "$TAP_TMP/spoilt.iso"
ok "started" vm_start spoilt - --firmware secureboot --iso "$TAP_TMP/spoilt.iso" --no-reboot
ok "the firmware refuses it" vm_wait spoilt 120 'BdsDxe: failed to load .*: (Access Denied|Security Violation)'
ok "and has nothing else to start" vm_wait spoilt 120 'BdsDxe: No bootable option'
unlike "$(cat "$(vm_log spoilt)")" 'BdsDxe: starting .*DVD|bad shim signature|starts in three seconds|hoist: Hoist' "nothing of it ran"
vm_stop spoilt
ok "started without Secure Boot" vm_start harmless - --firmware uefi --iso "$TAP_TMP/spoilt.iso" --no-reboot
ok "it was for the signature alone" vm_wait harmless 120 'starts in three seconds'
vm_stop harmless

cp "$iso" "$TAP_TMP/stick.img"
VM_NIC=virtio-net-pci ok "started from a USB stick, no Secure Boot" vm_start usb lan --firmware uefi --usb "$TAP_TMP/stick.img" --no-reboot -- -vga none
look usb
vm_stop usb
ok "the stick was not written to" cmp "$iso" "$TAP_TMP/stick.img"
done_testing
