#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A machine with a card and a controller that have no driver, and a card whose driver finds no firmware: screen, serial line and
# server say so, with what to look for.  It has two paths to one disk as well, which are one for the server, and of which the one that is in use
# goes away in the middle of a capture; and firmware that names an iSCSI disk, at an address where nobody answers.  Machines with too little memory say so before that.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/lan.sh"
. "$(dirname "$0")/../lib/migration.sh"
requires_root
requires qemu-system-x86_64 ip dnsmasq jq
net=$NETBOOT
[ -e "$net/vmlinuz" ] || bail_out "no $net: make netboot"

# ---- memory that is missing
lean='console=tty0 console=ttyS0,115200 quiet'
ok "a machine of 256 MiB" vm_start lean - --kernel "$net/vmlinuz" --initrd "$net/initramfs.img" --append "$lean" --mem 256 --no-reboot
ok "says that this is too little, and how much it has" vm_wait lean 240 'TOO LITTLE MEMORY: [12][0-9][0-9] MiB are left beside the kernel, and Hoist wants a machine with 512 MiB'
ok "and goes on" vm_wait lean 120 'hoist: starting the agent'
vm_stop lean
ok "one of 160 MiB" vm_start tiny - --kernel "$net/vmlinuz" --initrd "$net/initramfs.img" --append "$lean" --mem 160 --no-reboot
ok "has no room for the image" vm_wait tiny 240 'Initramfs unpacking failed: write error'
ok "and says so last" vm_wait tiny 120 'No working init found'
vm_stop tiny

# ---- what has no driver, or no firmware
ok "a LAN" lan_up lan
ok "a server" server_up lan
ok "settings for it" hoist lan iso --in "$net/settings.cpio" --out "$TAP_TMP/settings.cpio" --new-token
cat "$net/initramfs.img" "$TAP_TMP/settings.cpio" >"$TAP_TMP/initrd"
truncate -s 16M "$TAP_TMP/good.img" "$TAP_TMP/hidden.img"
head -c 60M /dev/urandom >"$TAP_TMP/two.img"
before=$(sha256sum <"$TAP_TMP/two.img")
# way N: a path to that disk over a controller of its own; slow, so that there is a middle.
way()
{
	ways+=(-device "virtio-scsi-pci,id=hba$1" -drive "id=way$1,if=none,format=raw,file.locking=off,throttling.bps-read=2000000,file=$TAP_TMP/two.img"
		-device "scsi-hd,bus=hba$1.0,drive=way$1,id=path$1,wwn=0x5000c5000000beef,serial=TWOWAYS,share-rw=on")
}
ways=()
# The firmware's table of an iSCSI disk that the machine starts from: what is behind a header of 36 bytes.  Initiator, card, which has a fixed address, and
# target, which nobody answers at; then the names.
mac=52:54:00:77:00:05
perl -e 'my ($mac) = @ARGV; my @names = ("iqn.2026-11.test.hoist:machine", "iqn.2026-11.test.hoist:boot"); my $t = "\0" x 364;
	my $put = sub { substr($t, $_[0] - 36, length $_[1]) = $_[1] }; my $ip = sub { ("\0" x 10) . "\xff\xff" . pack "C4", split /\./, $_[0] };
	$put->(48, pack "CCvCCvvvv", 1, 1, 18, 0, 0, 0, 72, 152, 256);
	$put->(72, pack "CCvCC", 2, 1, 74, 0, 3); $put->(72 + 70, pack "vv", length $names[0], 320);
	$put->(152, pack("CCvCC", 3, 1, 102, 0, 3) . $ip->("10.77.1.77") . pack("CC", 24, 1) . $ip->("10.77.1.1")); $put->(152 + 90, pack "H12", $mac =~ s/://gr);
	$put->(256, pack("CCvCC", 4, 1, 54, 0, 3) . $ip->("10.77.1.9") . pack("v", 3260)); $put->(256 + 34, pack "vv", length $names[1], 360);
	$put->(320, $names[0]); $put->(360, $names[1]); print $t' "$mac" >"$TAP_TMP/ibft"
way 0
way 1
# The kernel is told not to load two modules; QEMU's 82551 is one whose driver wants microcode and does not start it without.
VM_MAC=$mac ok "started" vm_start poor lan --kernel "$net/vmlinuz" --initrd "$TAP_TMP/initrd" \
	--append "console=tty0 console=ttyS0,115200 quiet module_blacklist=8139cp,8139too,sym53c8xx" --mem 512 \
	--disk "$TAP_TMP/good.img,ide" --disk "$TAP_TMP/hidden.img,lsi" -- -device rtl8139 -device i82551 "${ways[@]}" \
	-acpitable "sig=iBFT,rev=1,data=$TAP_TMP/ibft"
machine=$(machine_wait lan 400 '.state == "idle"')
isnt "$machine" '' "it appears on the server"
said() { ok "$2" grep -qaE "$1" "$(vm_log poor)"; }
what='look for another port or card, or a medium with its driver \(hoist iso --add\)'
sentences=("PCI device 10ec:8139, Realtek [^:]*RTL-?8[^:]* at [0-9a-f:.]+: Ethernet controller without a driver, so what hangs on it is not seen; $what"
	"PCI device 1000:00[0-9a-f]{2}, [^:]*53[cC]8[^:]* at [0-9a-f:.]+: SCSI controller without a driver, so what hangs on it is not seen; $what"
	"the driver e100 asked for the firmware file 'e100/d102e_ucode.bin' for PCI device 8086:1209, Intel Corporation [^:]* at 0000:[0-9a-f:.]+, and this medium has not got it: .* a medium with that file \(hoist iso --add\)")
said "${sentences[0]}" "the card without a driver is named"
said "${sentences[1]}" "and the controller"
said "${sentences[2]}" "and the missing firmware"
said 'eth[0-9]: address 10\.77\.1\.77/24, gateway 10\.77\.1\.1' "the card has the address of the firmware's table"
disk='iSCSI disk iqn\.2026-11\.test\.hoist:boot at 10\.77\.1\.9'
said "$disk, port 3260, from which this machine starts \\(iBFT\\): the target cannot be reached \\(No route to host\\); look at it and at this machine's network" \
	"and the disk from which it starts is elsewhere"
# The screen breaks lines wherever its edge is.
screen=$(vm_screen poor | tr -d ' \n')
for sentence in "${sentences[@]}"; do
	like "$screen" "${sentence// /}" "the screen says the same: ${sentence:0:24}"
done
shown=$(hoist lan machine show "$machine")
like "$shown" "no driver: +10ec:8139 Ethernet controller without a driver: Realtek .* at 0000:[0-9a-f:.]+; $what" "the server has the card"
like "$shown" "no driver: +1000:00.. SCSI controller without a driver: .* at 0000:[0-9a-f:.]+; $what" "the controller"
like "$shown" "warning: +the driver e100 asked for the firmware file 'e100/d102e_ucode.bin' for PCI device 8086:1209, Intel Corporation " "and the firmware"
like "$shown" "warning: +the $disk, from which this machine starts \\(iBFT\\), is not listed: the target cannot be reached" "and the iSCSI disk"
disks() { hoist lan machine show "$machine" --json | jq -c "[(.inventory.disks // .disks)[] | $1]"; }
is "$(disks .kind)" '["disk","multipath"]' "the one disk that is seen is listed, and the one with two paths"
is "$(disks '.paths | length')" '[0,2]' "of which it knows both"
is "$(disks .wwn)" '[null,"naa.5000c5000000beef"]' "and its name"
said '2 paths lead to the disk wwn:naa.5000c5000000beef: they are used as one' "the console says so"
like "$shown" 'wwn:naa.5000c5000000beef +dm-0, 2 paths' "and the server"

# The path that is in use goes in the middle: QEMU knows which one it is.
read_by() { vm_qmp poor query-blockstats | jq "[.. | objects | select(.device == \"way$1\") | .stats.rd_bytes][0] // 0"; }
start=("$(read_by 0)" "$(read_by 1)")
hoist lan capture "$machine" --image two --disk wwn:naa.5000c5000000beef >"$TAP_TMP/job"
progress() { [ "$(hoist lan jobs --json | jq '.jobs[0].done // 0')" -gt 4000000 ]; }
ok "a capture is under way" wait_for 120 progress
middle=("$(read_by 0)" "$(read_by 1)")
used=$((middle[1] - start[1] > middle[0] - start[0]))
other=$((1 - used))
diag "read so far: $((middle[0] - start[0])) bytes over the first path, $((middle[1] - start[1])) over the second"
ok "over one of the two paths" test $((middle[used] - start[used])) -ge 4000000
ok "and not over the other" test $((middle[other] - start[other])) -lt 100000
ok "the path in use goes away" vm_qmp poor device_del "{\"id\":\"path$used\"}"
job_is_over() { hoist lan jobs --json | jq -e '.jobs[0].state | IN("done", "failed", "cancelled")' >/dev/null; }
ok "the job ends" wait_for 240 job_is_over
is "$(hoist lan jobs --json | jq -r '.jobs[0].state')" 'done' "and is done"
ok "the rest was read over the other path" test $(($(read_by $other) - middle[other])) -ge 10000000
report=$(hoist lan image show two@1 --json)
diag "$(jq -c '[.disks[0], .report.disks[0].counters]' <<<"$report")"
is "$(jq -c '.report.disks[0].counters | [.locked, .writes[0] == .writes[1]]' <<<"$report")" '[true,true]' "the disk was locked, and not written to"
is "$(sha256sum <"$TAP_TMP/two.img")" "$before" "it is as it was"
ok "the image verifies" hoist lan image verify two --wait
vm_stop poor
done_testing
