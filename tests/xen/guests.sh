#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Real Xen: a Debian dom0 in QEMU, and in it one guest that is captured and three empty ones, HVM, PV and PVH, that receive its image.
# What is done there is in dom0/steps; its TAP is this test's.
#	HOIST_XEN_KINDS="hvm"	only these kinds of empty guests (pv pvh hvm)
#	HOIST_XEN_SHELL=1	a root shell in dom0 at build/xen/shell.sock (socat - UNIX:build/xen/shell.sock), and dom0 runs on after the steps
#				until /lab/shell is removed there; QEMU's monitor at build/xen/monitor.sock
. "$(dirname "$0")/../lib/tap.sh"
requires_root
requires qemu-system-x86_64 mke2fs e2fsck debugfs fallocate tune2fs resize2fs blkid sfdisk mkswap
host=$TOP/build/xen/host
bin=${HOIST_BIN:-$TOP/build/release}
limit=${HOIST_XEN_SECONDS:-9000}
for file in "$host.img" "$TOP/build/guest/guest.img" "$TOP/build/hoist.iso" "$TOP/build/netboot/vmlinuz" "$bin/server/hoist-server"; do
	[ -e "$file" ] || bail_out "no $file: make check-xen makes it"
done

cd "$TAP_TMP" || exit
# The disk of the lab: what dom0 needs of this tree, and room.
lab=lab
mkdir -p "$lab/tests/xen" "$lab/build/release/server"
cp -r "$TOP/tests/lib" "$lab/tests"
cp -r "$TOP/tests/xen/dom0" "$lab/tests/xen"
ln -s tests/xen/dom0/init "$lab/init"
cp "$bin/server/hoist" "$bin/server/hoist-server" "$lab/build/release/server"
# With the libraries of the machine that they were linked on; dom0 has no others than it needs itself.
mkdir "$lab/lib"
"$TOP/scripts/elf-deps" "$bin/server/hoist" "$bin/server/hoist-server" >libraries || bail_out "not all libraries are here"
grep -vE '/(lib(c|m)\.so|ld-linux)' libraries | xargs cp -Lt "$lab/lib" || bail_out "not all libraries are here"
cp "$TOP/build/hoist.iso" "$lab/build"
cp -r "$TOP/build/netboot" "$lab/build"
cp --sparse=always "$TOP/build/guest/guest.img" "$lab/build/guest.img"
# An emulated Xen moves a megabyte a second or two: what the guest does not need to start is left out, and its list of files follows.
# Its journal is replayed here, not in minutes by the capture.  tests/qemu/migrate.sh has all of it.
# shellcheck disable=SC2317 # called at exit
leave_root() { ! mountpoint -q root || umount root; }
slim()
{
	# The root file system lies between 1 MiB and the swap; both become as small as the rest lets them: each byte of the disk is read four times.
	local boot_mib=1 root_mibs=1920 small_mibs=448 swap_mibs=32 swap
	swap=$(blkid -p -o value -s UUID -O $(((boot_mib + root_mibs) << 20)) "$1") || return
	dd if="$1" of=root.img bs=1M skip=$boot_mib count=$root_mibs conv=sparse status=none || return
	e2fsck -fp root.img || [ $? = 1 ] || return
	mkdir root && mount -o loop root.img root || return
	cleanup_fn leave_root
	rm -r root/usr/lib/modules/*/kernel/* root/usr/share/{doc,locale,man}/* root/usr/lib/udev/hwdb*
	grep -vE '  usr/(lib/modules/[^/]*/kernel|share/(doc|locale|man)|lib/udev/hwdb)' root/srv/MANIFEST.sha256 >list
	cp list root/srv/MANIFEST.sha256
	# Services are not given up after 90 seconds.
	mkdir -p root/etc/systemd/system.conf.d
	printf '[Manager]\nDefaultTimeoutStartSec=30min\nDefaultDeviceTimeoutSec=30min\n' >root/etc/systemd/system.conf.d/slow.conf
	umount root && tune2fs -O ^has_journal root.img && e2fsck -fp root.img && resize2fs root.img ${small_mibs}M || return
	tune2fs -j -J size=4 root.img && e2fsck -fp -E discard root.img && fallocate --dig-holes root.img || return
	truncate -s ${boot_mib}M "$1" && truncate -s $((boot_mib + small_mibs + swap_mibs))M "$1" || return
	sfdisk -q --no-reread "$1" <<-END || return
	label: dos
	label-id: 0x686f6973
	start=$((boot_mib << 11)), size=$((small_mibs << 11)), type=83, bootable
	start=$(((boot_mib + small_mibs) << 11)), size=$((swap_mibs << 11)), type=82
	END
	dd if=root.img of="$1" bs=1M seek=$boot_mib conv=notrunc,sparse status=none || return
	truncate -s ${swap_mibs}M swap.img && mkswap -q -U "$swap" swap.img &&
		dd if=swap.img of="$1" bs=1M seek=$((boot_mib + small_mibs)) conv=notrunc,sparse status=none && rm -r root root.img swap.img
}
echo "${HOIST_XEN_KINDS:-pv pvh hvm}" >"$lab/kinds"
shell=()
if [ "${HOIST_XEN_SHELL:-}" = 1 ]; then
	touch "$lab/shell"
	shell=(-chardev "socket,id=shell,path=$TOP/build/xen/shell.sock,server=on,wait=off" -device "pci-serial,chardev=shell"
		-monitor "unix:$TOP/build/xen/monitor.sock,server=on,wait=off")
fi
slim "$lab/build/guest.img" >slim.log 2>&1 || bail_out "the guest's disk: $(tail -n 3 slim.log)"
truncate -s 16G lab.img
mke2fs -q -t ext4 -L lab -d "$lab" lab.img || bail_out "no disk for the lab"
rm -r "$lab"

# One processor, without what emulated Xen does not survive (SMAP, MWAIT) or loses in its guests (AVX).
cpu=EPYC,-smap,-smep,-monitor,-rdtscp,-avx,-avx2,-f16c,-fma,-xsave,-misalignsse,-sha-ni,-rdseed
# An emulated Xen may halt its processor and wait for a timer that does not come (seen while an HVM guest started): a character on its console now and then
# is an interrupt that does.
# shellcheck disable=SC2317 # it is called
heartbeat() { while sleep 5 && printf '\n'; do :; done; }
timeout -k 10 "$limit" qemu-system-x86_64 -nodefaults -M q35 -accel 'tcg,thread=multi' -cpu $cpu -smp 1 -m 4096 -display none -no-reboot \
	-kernel "$host.xen" -append 'dom0_mem=1536M console=com1 com1=115200,8n1 mwait-idle=0 max_cstate=0' \
	-initrd "$host.vmlinuz root=LABEL=xenhost rw console=hvc0 quiet init=/sbin/lab,$host.initrd" \
	-drive "file=$host.img,format=raw,if=ide,snapshot=on" -drive "file=lab.img,format=raw,if=ide,cache=unsafe,discard=unmap" \
	-chardev stdio,id=xen,signal=off,logfile=xen.log -serial chardev:xen -serial file:tap.log "${shell[@]}" < <(heartbeat) >qemu.out 2>qemu.log &
qemu=$!
# shellcheck disable=SC2317 # called at exit
stop_host() { [ -z "$qemu" ] || kill "$qemu"; }
cleanup_fn stop_host
# As it comes: a run takes half an hour and more.  In the background, so that a signal ends the test at once, and QEMU with it.
touch tap.log
tail -f -n +1 --pid=$qemu tap.log | sed -u 's|\r$||' &
shown=$!
wait $qemu
status=$? qemu=
wait $shown
failed=0

# Half a test is none: there must be the plan, and as many results.
results=$(grep -acE '^(not )?ok [0-9]+' tap.log)
plan=$(sed -n 's/^1\.\.\([0-9]*\)\r*$/\1/p' tap.log)
if [ -z "$plan" ] || [ "$plan" != "$results" ]; then
	diag "dom0 ended early (QEMU: status $status): $(tail -n 20 xen.log | tr -d '\r')"
	failed=1
fi
! grep -aqE '^(not ok|Bail out)' tap.log || failed=1
# For whoever looks into it: the consoles of the guests.
if [ $failed = 1 ] || [ "${KEEP:-}" = 1 ]; then
	mkdir -p consoles && debugfs -R 'rdump /console consoles' lab.img 2>/dev/null
	debugfs -R 'rdump /var consoles' lab.img 2>/dev/null
fi
rm -f lab.img
# shellcheck disable=SC2034 # tests/lib/tap.sh
tap_done=yes tap_failed=$failed
exit $failed
