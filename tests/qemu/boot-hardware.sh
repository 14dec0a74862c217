#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# One machine with a disk on every bus and a card of every kind that QEMU has: all of them get their drivers.  A USB disk
# that is plugged in later and a link that comes up later are noticed.  It has no screen, registers with the server with all of those disks, and ejects its
# CD.  One of the disks hangs on two controllers: it is one disk with two paths, and an image is restored onto it.
# shellcheck disable=SC2016 # the machine expands what is typed
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/lan.sh"
. "$(dirname "$0")/../lib/migration.sh"
requires_root
requires qemu-system-x86_64 ip dnsmasq jq
iso=$TAP_TMP/my.iso
[ -e "$ISO" ] || bail_out "no $ISO: make iso"

ok "a LAN" lan_up lan
ok "a server" server_up lan
ok "the medium, with a token of it" hoist lan iso --in "$ISO" --out "$iso" --new-token --set eject=yes
# Told apart by their sizes, in MiB.
buses=(ide ahci virtio scsi nvme usb lsi mptsas megasas pvscsi)
options=()
for i in "${!buses[@]}"; do
	truncate -s $((11 + i))M "$TAP_TMP/${buses[i]}.img"
	qdev=
	[ "${buses[i]}" != scsi ] || qdev=,logical_block_size=4096,physical_block_size=4096
	options+=(--disk "$TAP_TMP/${buses[i]}.img,${buses[i]}$qdev")
done
truncate -s 32M "$TAP_TMP/sd.img"
truncate -s 10M "$TAP_TMP/late.img"
truncate -s 21M "$TAP_TMP/shared.img"
head -c 5000000 /dev/urandom | dd of="$TAP_TMP/ide.img" conv=notrunc status=none
# On a second bus: the first has not enough slots.
wired=(e1000e rtl8139 virtio-net-pci vmxnet3) # to the LAN, later one by one
cards=(ne2k_pci pcnet tulip i82550 i82551)
drivers=(e1000e 8139cp virtio_net vmxnet3 ne2k-pci pcnet32 tulip e100 e100)
options+=(--mem 512 -- -vga none -device 'pci-bridge,id=bridge,chassis_nr=1')
for card in "${cards[@]}"; do options+=(-device "$card,bus=bridge"); done
mac_of() { printf '52:54:00:88:00:%02x' "$1"; }
for i in "${!wired[@]}"; do
	lan_tap lan "zoo$i"
	options+=(-netdev "tap,id=wire$i,ifname=zoo$i,script=no,downscript=no" -device "${wired[i]},bus=bridge,netdev=wire$i,mac=$(mac_of "$i")")
done
link() { vm_qmp zoo set_link "{\"name\":\"$1\",\"up\":$2}" >/dev/null; }
for path in 0 1; do
	options+=(-device "virtio-scsi-pci,id=hba$path" -drive "id=path$path,if=none,format=raw,cache=unsafe,file.locking=off,file=$TAP_TMP/shared.img"
		-device "scsi-hd,bus=hba$path.0,drive=path$path,wwn=0x5000c5000000beef,serial=TWOWAYS,share-rw=on")
done
options+=(-device 'sdhci-pci,bus=bridge' -device 'sd-card,drive=sd' -drive "id=sd,if=none,format=raw,file=$TAP_TMP/sd.img")

ok "started with ${#buses[@]} kinds of disks and $((${#cards[@]} + ${#wired[@]})) more cards" vm_start zoo lan --iso "$iso" "${options[@]}"
for i in "${!wired[@]}"; do link "wire$i" false; done
# The menu's second entry has the shell on the serial line.
ok "the menu" vm_wait zoo 120 'Automatic boot|Press .Tab.'
vm_type zoo s
ok "hardware has settled" vm_wait zoo 400 'hoist: starting the agent'

zoo=$(machine_wait lan 240 '.state == "idle"')
isnt "$zoo" '' "it registers"
disks() { hoist lan machine show "$zoo" --json | jq -c "[(.inventory.disks // .disks)[] $1"; }
is "$(disks '.size / 1048576] | sort')" "[11,12,13,14,15,16,17,18,19,20,21,32]" "with every one of its disks"
is "$(disks '| select(.size == 21 * 1048576) | [.id, .kind, (.paths | length)]]')" '[["wwn:naa.5000c5000000beef","multipath",2]]' \
	"the one that hangs on two controllers is one, with two paths"
is "$(disks '| select(.kind == "multipath" or .paths != []) | .size / 1048576]')" '[21]' "no other has any"
ok "it says so" vm_wait zoo 10 '2 paths lead to the disk wwn:naa.5000c5000000beef: they are used as one'
small=$(disks '| select(.size == 11 * 1048576) | .id][0]' | jq -r .)
ok "another is captured" hoist lan capture "$zoo" --disk "$small" --image small --wait
ok "and restored onto the one with two paths" hoist lan restore small "$zoo" --disk "$small=wwn:naa.5000c5000000beef" --end stay --wait
ok "where it is the same" cmp -n $((11 << 20)) "$TAP_TMP/ide.img" "$TAP_TMP/shared.img"
tray_is_open() { vm_qmp zoo query-block | jq -e '[.. | objects | select(.tray_open == true)] | length > 0' >/dev/null; }
ok "the CD is out" wait_for 60 tray_is_open
ok "which it says" vm_wait zoo 60 'all of the live image is in memory: the CD was ejected'

vm_type zoo 'for d in /sys/block/*; do echo "DISK $(cat $d/size) $(cat $d/queue/logical_block_size) ${d##*/} END"; done'
vm_type zoo 'for n in /sys/class/net/*; do echo "CARD $(basename $(readlink $n/device/driver)) END"; done; echo "ALL" LISTED'
ok "disks and cards are listed" vm_wait zoo 120 'ALL LISTED'
seen() { ok "$2" grep -qaE "$1" "$(vm_log zoo)"; }
for i in "${!buses[@]}"; do
	sector=512
	[ "${buses[i]}" != scsi ] || sector=4096
	seen "DISK $(((11 + i) * 2048)) $sector [a-z0-9]+ END" "a disk on ${buses[i]}"
done
seen 'DISK 65536 512 mmcblk0 END' "an SD card"
for driver in e1000 "${drivers[@]}"; do
	seen "CARD $driver END" "a card for $driver"
done

# The 82551 is one that does not start without microcode; the sentence when it is not there is tests/qemu/missing.sh's.
if [ -s "$TOP/build/firmware/packages" ]; then
	vm_type zoo 'for n in /sys/class/net/*; do read -r link 2>/dev/null <$n/carrier || link=DOWN; echo "LINK $(basename $(readlink $n/device/driver)) $link END"; done; dmesg | grep ucode; echo "LINKS" LISTED'
	ok "links are listed" vm_wait zoo 120 'LINKS LISTED'
	seen 'LINK e100 1 END' "the cards that want firmware started"
	unlike "$(cat "$(vm_log zoo)")" 'LINK e100 DOWN|failed to load e100|asked for the firmware file' "all of them: no firmware is missing"
fi

ok "a USB disk is plugged in" vm_qmp zoo blockdev-add "{\"driver\":\"raw\",\"node-name\":\"late\",\"file\":{\"driver\":\"file\",\"filename\":\"$TAP_TMP/late.img\"}}"
ok "and there" vm_qmp zoo device_add '{"driver":"usb-storage","bus":"usb.0","id":"late","drive":"late"}'
vm_type zoo 'until grep -qx 20480 /sys/block/sd*/size; do sleep 1; done; echo "LATE DISK" SEEN'
ok "it is seen" vm_wait zoo 120 'LATE DISK SEEN'

card=$(grep -ao 'eth[0-9]*: address' "$(vm_log zoo)" | head -n 1)
card=${card%:*}
# It was said once already, before the card had its link.
cuts() { tr -d '\r' <"$(vm_log zoo)" | grep -ac "hoist: $card: no link"; }
before=$(cuts)
cut_again() { [ "$(cuts)" -gt "$before" ]; }
ok "the cable of $card is pulled" link net0 false
ok "which is noticed" wait_for 60 cut_again
acks=$(grep -c DHCPACK "$TAP_TMP/dhcp-lan.log")
ok "and plugged in again" link net0 true
asked_again() { [ "$(grep -c DHCPACK "$TAP_TMP/dhcp-lan.log")" -gt "$acks" ]; }
ok "the address is asked for at once" wait_for 60 asked_again

# By each of the others alone it registers as well.
last=net0
for i in "${!wired[@]}"; do
	link "$last" false
	last=wire$i
	ok "the cable is in the ${wired[i]}" link "$last" true
	lease() { awk -v mac="$(mac_of "$i")" '$2 == mac { print $3 }' "$TAP_TMP/leases-lan"; }
	has_lease() { [ -n "$(lease)" ]; }
	ok "which has an address" wait_for 90 has_lease
	vm_type zoo 'killall hoist-agent'
	# By that card's address, or by the one that it gives itself (RFC 4291, appendix A), should the answer to the announcement come by IPv6 first.
	registered() { grep -qE "machine_registered .* at ($(lease)|fe80::5054:ff:fe88:$i%br0)\"" "$TAP_TMP/server-lan.log"; }
	ok "and registers by it" wait_for 120 registered
done
done_testing
