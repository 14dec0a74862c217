#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Machines with no medium start from the network with the very files of `make netboot` and the dnsmasq.conf among them: BIOS by PXE, UEFI by
# PXE with Secure Boot enforced (but for a kernel of our own, which no firmware trusts), iPXE by a script of TFTP and by one of HTTP, UEFI by HTTP with the ISO: of HTTP, all from hoist-server.  Each registers: those of
# TFTP with the token that is in the settings, those of HTTP, where tokens are not handed out, once their code is confirmed and not before.  One finds the driver of its card only because
# that was added to the medium; the ISO has become longer by what was added.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/lan.sh"
. "$(dirname "$0")/../lib/migration.sh"
requires_root
requires qemu-system-x86_64 ip dnsmasq jq cpio xz perl
[ -e "$NETBOOT/vmlinuz" ] || bail_out "no $NETBOOT: make netboot"
files=$TAP_TMP/files
cp -r "$NETBOOT" "$files"
chmod -R a+rX "$TAP_TMP"
rm "$files/settings.cpio"
# Firmware that does not become smaller, so that the ISO has to grow.
mkdir -p "$TAP_TMP/add/lib/firmware"
head -c 3000000 /dev/urandom >"$TAP_TMP/add/lib/firmware/noise.bin"
(cd "$TAP_TMP/add" && find . | cpio --quiet -o -H newc) >"$TAP_TMP/noise.cpio"
ok "a name is written into the ISO, with firmware that is added" "$TOP/build/release/server/hoist" iso --in "$ISO" --out "$files/hoist.iso" \
	--set hostname=fromsettings --add "$TAP_TMP/noise.cpio"
ok "which has become longer" test "$(stat -c %s "$files/hoist.iso")" -gt "$(stat -c %s "$ISO")"
# An initramfs in which a driver goes by a name that nobody looks for, and that driver in an archive of its own.
perl -0777 -pe 's/e1000\.ko\.zst\0/e1000.ko.zsX\0/ or die' "$files/initramfs.img" >"$TAP_TMP/poor.img"
release=$(cat "$KERNEL/release")
mkdir -p "$TAP_TMP/driver/lib/modules/$release"
cp "$KERNEL/lib/modules/$release/kernel/drivers/net/ethernet/intel/e1000/e1000.ko" "$TAP_TMP/driver/lib/modules/$release/"
(cd "$TAP_TMP/driver" && find . | cpio --quiet -o -H newc | xz) >"$TAP_TMP/driver.cpio.xz"
ok "a driver is added to added.img" "$TOP/build/release/server/hoist" iso --in "$NETBOOT/added.img" --out "$TAP_TMP/added.img" --add "$TAP_TMP/driver.cpio.xz"

lan_up lan 10.0.0
# Nobody listens for broadcasts: machines know this address from their settings and from nowhere else.
ok "a server that hands out the files" server_up lan --media "$files" --boot 10.0.0.1:80 --listen 10.0.0.1:5000 --discovery no
ok "its address, its key and a token are written into settings.cpio" hoist lan iso --in "$NETBOOT/settings.cpio" --out "$files/settings.cpio" \
	--set server=https://10.0.0.1:5000 --new-token --set hostname=fromsettings
chmod a+r "$files"/* # in this LAN the token is nobody's secret
lan_stop dhcp-lan
# The example, with the test's folder; the LAN was made to have its addresses.
sed "s|^tftp-root=.*|tftp-root=$files|" "$files/dnsmasq.conf" >"$TAP_TMP/dnsmasq.conf"
serve() # what dnsmasq is to offer: lines of the example that are left out
{
	lan_stop boot
	grep -v -- "$1" "$TAP_TMP/dnsmasq.conf" >"$TAP_TMP/boot.conf"
	lan_start lan boot dnsmasq --no-daemon --user= --group= --pid-file= --interface=br0 --bind-interfaces --log-dhcp \
		--dhcp-leasefile="$TAP_TMP/leases" --conf-file="$TAP_TMP/boot.conf"
	lan_wait boot 20 'DHCP, IP range'
}

pairing_is_there() { [ "$(hoist lan pairings --json | jq '.pairings | length')" = 1 ]; }
registered() { hoist lan machines --json | jq "[.machines[] | select(.state == \"idle\" and .address == \"$1\")] | length"; }
# look NAME
look()
{
	ok "$1: init" vm_wait "$1" 400 'hoist: Hoist [0-9]'
	ok "$1: an address by DHCP" vm_wait "$1" 120 'eth0: address 10\.0\.0\.[0-9]+/24 by DHCP'
	address=$(sed -n 's/.*eth0: address \([0-9.]*\).*/\1/p' "$(vm_log "$1")" | tail -n 1)
	# Those that know their server by HTTP have no token: they wait until somebody says that the code is right.
	if [ "$1" = http ] || [ "$1" = script ]; then
		ok "$1: it knows the server, and shows it the code" vm_wait "$1" 90 "of server 'lift' at https://10\.0\.0\.1:5000"
		ok "$1: the server waits for that code" wait_for 60 pairing_is_there
		is "$(registered "$address")" 0 "$1: and has not registered it"
		read -ra pair < <(sed -n 's/.*  hoist \(pair \)/\1/p' "$(vm_log "$1")" | tr -d '\r')
		ok "$1: the command on its screen confirms it" hoist lan "${pair[@]:-pair}"
	fi
	isnt "$(machine_wait lan 120 ".state == \"idle\" and .address == \"${address:-none}\"")" '' "$1: it registers"
	ok "$1: under the name that the settings gave it" grep -q 'client provides name: fromsettings' "$TAP_TMP/boot.log"
	vm_stop "$1"
}

ok "dnsmasq takes the example" serve 'tag:ipxe'
ok "started by BIOS, PXELINUX" vm_start bios lan --netboot --no-reboot
look bios
ok "by PXELINUX" grep -q 'sent .*pxelinux.cfg/default' "$TAP_TMP/boot.log"

cp "$TAP_TMP/poor.img" "$files/initramfs.img"
cp "$TAP_TMP/added.img" "$files/added.img"
chmod a+r "$files"/*
ok "with iPXE known" serve 'no such line'
ok "started by iPXE" vm_start ipxe lan --netboot --no-reboot
look ipxe
ok "by the script" grep -q 'sent .*boot.ipxe' "$TAP_TMP/boot.log"
ok "the driver came from the archive" grep -qa 'hoist: added to this medium: driver.cpio.xz, 1 files' "$(vm_log ipxe)"
cp "$NETBOOT/initramfs.img" "$files/"

# iPXE again, but all behind its own first file by HTTP from hoist-server, which does not hand out a token so.
sed -i 's|^dhcp-boot=tag:ipxe,.*|dhcp-boot=tag:ipxe,http://10.0.0.1/boot.ipxe|' "$TAP_TMP/dnsmasq.conf"
screen_has() { vm_screen "$1" | grep -qF -- "$2"; }
ok "with iPXE sent to hoist-server" serve 'no such line'
ok "started by iPXE" vm_start refused lan --netboot --no-reboot
ok "settings with a token are refused, which the screen says" wait_for 240 screen_has refused 'settings.cpio is not to be had'
ok "with the reason" screen_has refused 'there is a token or another secret in it'
vm_stop refused
cp "$files/settings.cpio" "$TAP_TMP/with-token.cpio"
ok "settings without one" "$TOP/build/release/server/hoist" iso --in "$NETBOOT/settings.cpio" --out "$files/settings.cpio" --set hostname=fromsettings
chmod a+r "$files/settings.cpio"
ok "started again" vm_start script lan --netboot --no-reboot
look script
ok "by the script" grep -qE 'bootfile-name +http://10\.0\.0\.1/boot\.ipxe' "$TAP_TMP/boot.log"
is "$(grep -c 'tftp: sent' "$TAP_TMP/boot.log")" 0 "and not a file by TFTP"
cp "$TAP_TMP/with-token.cpio" "$files/settings.cpio"

VM_NIC=virtio-net-pci ok "started by UEFI, $LAN_UEFI" vm_start uefi lan --netboot --mem 1024 --firmware "$LAN_UEFI" --no-reboot
look uefi
ok "by the signed GRUB" grep -q 'sent .*grub/grub.cfg' "$TAP_TMP/boot.log"

ok "only HTTP is offered" serve 'dhcp-boot=tag:uefi'
VM_NIC=virtio-net-pci ok "started by UEFI" vm_start http lan --netboot --mem 1024 --firmware uefi --no-reboot -- \
	-fw_cfg name=opt/org.tianocore/IPv4PXESupport,string=no -fw_cfg name=opt/org.tianocore/IPv6PXESupport,string=no # else it asks both for minutes first
look http
ok "what was added is there" grep -qa 'hoist: added to this medium: noise.cpio, 1 files' "$(vm_log http)"
ok "over HTTP" grep -qa 'starting Boot.*UEFI HTTPv4' "$(vm_log http)"
nok "and not a file by TFTP" grep -q 'tftp: sent' "$TAP_TMP/boot.log"
done_testing
