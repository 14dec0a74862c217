#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A machine that starts from an iSCSI disk: its card's boot code (iPXE) logs in to the target, leaves the firmware's table (iBFT) in memory and starts the live
# image by HTTP.  At first the target refuses the password, which screen and server say; with the right one the disk is there.  It is captured, with
# the network cut in the middle, and what is restored of it to a disk in the machine is that disk, bit for bit.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/lan.sh"
. "$(dirname "$0")/../lib/migration.sh"
requires_root
requires qemu-system-x86_64 ip dnsmasq jq python3 tgtd tgtadm
net=$NETBOOT
[ -e "$net/vmlinuz" ] || bail_out "no $net: make netboot"
iqn=iqn.2026-11.test.hoist:boot
right=RightSecret4711 wrong=OtherSecret0815
web=$TAP_TMP/web
mkdir "$web"
head -c 24M /dev/urandom >"$TAP_TMP/boot.img"
truncate -s 32M "$TAP_TMP/local.img"
before=$(sha256sum <"$TAP_TMP/boot.img")

ok "a LAN" lan_up lan 10.0.0
ok "a server" server_up lan
ok "settings for it" hoist lan iso --in "$net/settings.cpio" --out "$web/settings.cpio" --new-token
cp "$net/vmlinuz" "$net/initramfs.img" "$web/"

# Its orders come over a socket of the whole machine, with a number.
control=$((20000 + RANDOM % 10000))
tgt() { lan_run lan tgtadm -C $control --lld iscsi "$@"; }
password() { tgt --op new --mode account --user machine --password "$1" && tgt --op bind --mode account --tid 1 --user machine; }
mkdir -p /run/tgtd
lan_start lan tgtd tgtd -f -C $control
cleanup_fn lan_stop tgtd
ok "a target" wait_for 20 tgt --op show --mode sys
ok "of a name" tgt --op new --mode target --tid 1 -T $iqn
ok "with a disk" tgt --op new --mode logicalunit --tid 1 --lun 1 -b "$TAP_TMP/boot.img"
# A volume of a storage server says that it writes in large pieces: 128 KiB.
ok "of large physical sectors" tgt --op update --mode logicalunit --tid 1 --lun 1 --params lbppbe=8
ok "for everybody" tgt --op bind --mode target --tid 1 -I ALL
ok "who has the password" password $right

cat >"$web/boot.ipxe" <<END
#!ipxe
set initiator-iqn iqn.2026-11.test.hoist:machine
set username machine
set password $right
set keep-san 1
sanhook iscsi:10.0.0.1:::1:$iqn || goto failed
kernel vmlinuz console=tty0 console=ttyS0,115200 quiet
initrd initramfs.img
initrd settings.cpio
imgfetch logged-in ||
boot
:failed
echo The disk is not to be had.
sleep 600
END
lan_start lan web python3 -u -m http.server --directory "$web" 80
lan_stop dhcp-lan
lan_start lan boot dnsmasq --no-daemon --conf-file=/dev/null --user= --group= --pid-file= --interface=br0 --bind-interfaces \
	--dhcp-range=10.0.0.100,10.0.0.200,255.255.255.0,2m --dhcp-leasefile="$TAP_TMP/leases" --dhcp-boot=http://10.0.0.1/boot.ipxe
lan_wait boot 20 'DHCP, IP range'
VM_MAC=52:54:00:77:00:01 ok "started by iPXE" vm_start san lan --netboot --mem 1024 --no-reboot --disk "$TAP_TMP/local.img,virtio,serial=LOCAL"
tap=tap1
ok "it has logged in and loaded the live image" lan_wait web 240 'GET /logged-in'
ok "the password changes" tgt --op delete --mode account --user machine
ok "to another" password $wrong

said() { ok "$2" vm_wait san "${3:-60}" "$1"; }
said "iSCSI disk $iqn at 10\\.0\\.0\\.1, port 3260, from which this machine starts \\(iBFT\\): the target refuses the name or the password \\(CHAP\\)" \
	"the machine says that it is refused" 400
machine=$(machine_wait lan 240 '.state == "idle"')
isnt "$machine" '' "it appears on the server"
like "$(hoist lan machine show "$machine")" "warning: +the iSCSI disk $iqn at 10\\.0\\.0\\.1, .* is not listed: the target refuses the name or the password" "which says so too"
disks() { hoist lan machine show "$machine" --json | jq -r "[(.inventory.disks // .disks)[] | $1] | join(\" \")"; }
is "$(disks .transport)" virtio "it has the local disk alone"
ok "the password of the firmware's table is right again" tgt --op delete --mode account --user machine
ok "at the target" password $right
said "iSCSI disk $iqn at 10\\.0\\.0\\.1, port 3260: logged in" "it tries again and gets in" 180
listed() { [ "$(disks .transport)" = 'iscsi virtio' ] || [ "$(disks .transport)" = 'virtio iscsi' ]; }
ok "the disk is listed" wait_for 60 listed
unlike "$(hoist lan machine show "$machine")" 'warning: +the iSCSI disk' "and nothing is missing any more"
id=$(disks 'select(.transport == "iscsi") | .id')
local=$(disks 'select(.transport == "virtio") | .id')
diag "$id and $local"

# At the highest level an emulated machine has a minute's work with it.
ok "its capture is ordered" hoist lan capture "$machine" --image net --disk "$id" --level 19
progress() { [ "$(hoist lan jobs --json | jq '.jobs[0].done // 0')" -gt 2000000 ]; }
job_state() { hoist lan jobs --json | jq -r '.jobs[0].state'; }
ok "it is under way" wait_for 120 progress
lan_run lan ip link set "$tap" nomaster
is "$(job_state)" running "in its middle the network is cut"
said 'iSCSI disk .*: the connection is broken' "which the machine says"
lan_run lan ip link set "$tap" master br0
said "iSCSI disk $iqn: logged in again" "when it is back, it logs in again" 120
job_is_over() { hoist lan jobs --json | jq -e '.jobs[0].state | IN("done", "failed", "cancelled")' >/dev/null; }
ok "the job ends" wait_for 300 job_is_over
is "$(job_state)" 'done' "and is done"
report=$(hoist lan image show net@1 --json)
is "$(jq -c '.report.disks[0].counters | [.locked, .writes[0] == .writes[1]]' <<<"$report")" '[true,true]' "the disk was locked, and not written to"
ok "the image is restored to the local disk" hoist lan restore net "$machine" --disk "$id=$local" --end stay --wait
ok "which is that disk now" cmp -n $((24 << 20)) "$TAP_TMP/local.img" "$TAP_TMP/boot.img"
is "$(sha256sum <"$TAP_TMP/boot.img")" "$before" "and that is as it was"
nok "no password was shown" grep -qaE "$right|$wrong" "$(vm_log san)"

# The DHCP server goes for longer than its leases: what the disk is reached by stays.
lan_stop boot
said 'eth0: the address stays without a lease' "a lease runs out, and the address stays" 240
is "$(job_state)" 'done' "the machine is still there"
ok "with its disk" hoist lan capture "$machine" --image net --disk "$id" --wait
vm_stop san
done_testing
