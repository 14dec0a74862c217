#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The very ISO starts a BIOS machine of 512 MiB from CD and, as a disk, from a USB stick; with no key pressed the agent runs,
# screen and serial line show it, the card has an address by DHCP, and it registers with the server that
# hears its broadcast.  The CD holds a key for SSH: who has it gets in, nobody else does, and the disks are read-only, but for the one onto which a restore is
# ordered.  The stick holds none, and nothing listens.  A third machine is started by the menu's entry for it, edited there by somebody who takes more than a minute,
# and its stick is pulled before it has a network: it registers, captures and restores without.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/lan.sh"
. "$(dirname "$0")/../lib/migration.sh"
requires_root
requires qemu-system-x86_64 ip dnsmasq jq ssh ssh-keygen ssh-keyscan ss
iso=$TAP_TMP/my.iso stick=$TAP_TMP/stick.iso
[ -e "$ISO" ] || bail_out "no $ISO: make iso"

ok "a LAN" lan_up lan
ok "a server" server_up lan
for name in jo stranger; do ssh-keygen -q -N '' -t ed25519 -C "$name" -f "$TAP_TMP/$name"; done
ok "a medium, with a token of it" medium lan "$stick"
ok "another, with a key for SSH" medium lan "$iso" --ssh-key "$TAP_TMP/jo.pub"
truncate -s 64M "$TAP_TMP/ide.img" "$TAP_TMP/virtio.img"
head -c 3000000 /dev/urandom | dd of="$TAP_TMP/ide.img" conv=notrunc status=none
before=$(sha256sum <"$TAP_TMP/ide.img")

# look NAME: what is the same for each medium.
look()
{
	ok "$1: init" vm_wait "$1" 240 'hoist: Hoist [0-9]'
	ok "$1: agent" vm_wait "$1" 240 'hoist: starting the agent'
	ok "$1: an address by DHCP" vm_wait "$1" 120 'eth0: address 10\.77\.1\.[0-9]+/24 by DHCP from 10\.77\.1\.1'
	address=$(sed -n 's/.*eth0: address \([0-9.]*\).*/\1/p' "$(vm_log "$1")" | tail -n 1)
	isnt "$(machine_wait lan 120 ".state == \"idle\" and (.address | startswith(\"${address:-none}\"))")" '' "$1: the server hears its broadcast, and it registers"
	ok "$1: the screen shows the same" wait_for 60 screen_has "$1" 'hoist: starting the agent'
}
screen_has() { vm_screen "$1" | grep -q -- "$2"; }

# The third machine: first, since its menu has time.
cp "$stick" "$TAP_TMP/pulled.img"
cp "$TAP_TMP/ide.img" "$TAP_TMP/source.img"
truncate -s 64M "$TAP_TMP/target.img"
VM_NIC=virtio-net-pci ok "started from a USB stick" vm_start pulled lan --usb "$TAP_TMP/pulled.img" --disk "$TAP_TMP/source.img,ide,serial=SOURCE" \
	--disk "$TAP_TMP/target.img,virtio,serial=TARGET" --no-reboot
# Whatever it has from the network it has after the stick was pulled.
ok "with no link yet" vm_qmp pulled set_link '{"name":"net0","up":false}'
ok "pulled: the menu" vm_wait pulled 120 'Press .Tab.'
ok "pulled: its third entry" vm_keys pulled m
# In reverse video (ECMA-48: 7).
ok "pulled: which is the one that the menu marks" vm_wait pulled 30 $'\e\\[0;7;[0-9;]*m Hoist, from '
ok "pulled: somebody begins to edit it" vm_keys pulled $'\t hoist.hostname='
# More than the minute after which such text was lost once.
slowly() { sleep 75 && ! grep -a 'hoist: ' "$(vm_log pulled)" && vm_type pulled slowly; }
slowly >"$TAP_TMP/slowly.log" 2>&1 &
typist=$!

ok "started from CD" vm_start cd lan --iso "$iso" --disk "$TAP_TMP/ide.img,ide" --disk "$TAP_TMP/virtio.img,virtio" --no-reboot
look cd
# ---- SSH: the key on the medium, and no other
reach() { lan_run lan timeout 5 bash -c "</dev/tcp/$1/22" 2>/dev/null; } # does anything listen there?
by() { machine_ssh lan "$address" "$TAP_TMP/$1" "${@:2}"; } # KEY ARGUMENT...
ok "SSH: the host key is shown" vm_wait cd 120 "ssh: this machine's host key, on port 22, is SHA256:"
ok "SSH: and whose key it takes" grep -qa "ssh: may log in as root: ssh-ed25519 $(ssh-keygen -lf "$TAP_TMP/jo.pub" | cut -d ' ' -f 2) jo" "$(vm_log cd)"
ok "SSH: it listens" wait_for 60 reach "$address"
is "$(lan_run lan ssh-keyscan -T 60 -t ed25519 "$address" 2>/dev/null | ssh-keygen -lf - | cut -d ' ' -f 2)" \
	"$(sed -n "s/.*this machine's host key, on port 22, is \(SHA256:[^ \r]*\).*/\1/p" "$(vm_log cd)" | tail -n 1)" "SSH: it is the host key that the serial line shows"
is "$(by jo -o BatchMode=yes 'id -u; cat /sys/block/sda/ro /sys/block/vda/ro' | xargs)" "0 1 1" "SSH: root gets in by the key, and all disks are read-only"
nok "SSH: a disk is not written to" by jo -o BatchMode=yes 'echo overwritten >/dev/vda'
ok "SSH: Hoist's own look at the disks" by jo -o BatchMode=yes 'hoist-agent inventory | grep -q sda'
like "$(by jo -o BatchMode=yes -tt tty)" '^/dev/pts/0' "SSH: a terminal"
ok "SSH: who logs in is on the serial line" vm_wait cd 30 "ssh: Pubkey auth succeeded for 'root'"
like "$(by stranger -o BatchMode=yes true 2>&1)" 'Permission denied \(publickey\)' "SSH: another key is refused"
like "$(by jo -o PubkeyAuthentication=no -o NumberOfPasswordPrompts=0 true 2>&1)" 'Permission denied \(publickey\)' "SSH: a password is not even asked for"
id=$(machine_wait lan 60 '.state == "idle"')
disks() { hoist lan machine show "$id" --json | jq -r '[(.inventory.disks // .disks)[] | select(.size == 67108864)] | sort_by(.name) | map(.read_only) | @csv'; }
is "$(disks)" "false,false" "SSH: they are not called read-only: both may become targets"
disk_id() { hoist lan machine show "$id" --json | jq -r "(.inventory.disks // .disks)[] | select(.name == \"$1\") | .id"; }
sda=$(disk_id sda) vda=$(disk_id vda)
ok "captured all the same" hoist lan capture "$id" --disk "$sda" --image cd --wait
ok "and restored onto the other" hoist lan restore cd "$id" --disk "$sda=$vda" --end stay --wait
is "$(by jo -o BatchMode=yes 'cat /sys/block/sda/ro /sys/block/vda/ro' | xargs)" "1 0" "the source is as read-only as ever, the target's lock was lifted"
is "$(vm_broke cd)" '' "cd: nothing broke"
vm_stop cd
ok "pulled: the menu waited for the end of that line, 75 seconds" wait $typist || diag "$(cat "$TAP_TMP/slowly.log")"
is "$(sha256sum <"$TAP_TMP/ide.img"):$(sha256sum <"$TAP_TMP/virtio.img")" "$before:$before" "the source is as it was, and the target the same"

# Beside the machine whose stick is pulled, one that is left alone.
cp "$stick" "$TAP_TMP/stick.img"
VM_NIC=virtio-net-pci ok "started from another" vm_start usb lan --usb "$TAP_TMP/stick.img" --no-reboot
look usb
nok "usb: without a key nothing listens" reach "$address"
ok "usb: but the machine is there" lan_run lan busybox ping -c 1 -W 10 "$address"
nok "usb: and nothing of SSH is said" grep -qa ssh "$(vm_log usb)"
vm_stop usb
ok "the stick was not written to" cmp "$stick" "$TAP_TMP/stick.img"

ok "pulled: the stick can be removed" vm_wait pulled 360 'all of the live image is in memory: a medium that it was started from can be removed'
ok "pulled: which is done" vm_qmp pulled device_del '{"id":"stick"}'
stick_is_gone() { vm_qmp pulled query-block >"$TAP_TMP/blocks" && ! grep -q '"stick"' "$TAP_TMP/blocks"; }
ok "pulled: it is gone" wait_for 30 stick_is_gone
ok "pulled: there is a link" vm_qmp pulled set_link '{"name":"net0","up":true}'
id=$(machine_wait lan 120 '.state == "idle" and .name == "slowly" and any(.disks[]; .serial == "SOURCE")')
isnt "$id" '' "pulled: it registers, by the name that was typed at the menu"
ok "pulled: it captures" hoist lan capture "$id" --disk serial:QEMU_HARDDISK:SOURCE --image pulled --wait
ok "pulled: and restores" hoist lan restore pulled "$id" --disk serial:QEMU_HARDDISK:SOURCE=serial:TARGET --end stay --wait
is "$(vm_broke pulled)" '' "pulled: nothing broke"
vm_stop pulled
is "$(sha256sum <"$TAP_TMP/source.img"):$(sha256sum <"$TAP_TMP/target.img")" "$before:$before" "pulled: the source is as it was, and the target the same"
done_testing
