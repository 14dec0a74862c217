#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Real Xen: a Debian dom0 in QEMU, and in it one guest that is captured and three empty ones, HVM, PV and PVH, that receive its image.
# What is done there is in dom0/steps; its TAP is this test's.
. "$(dirname "$0")/../lib/tap.sh"
requires qemu-system-x86_64 mke2fs debugfs
host=$TOP/build/xen/host
bin=${HOIST_BIN:-$TOP/build/release}
limit=${HOIST_XEN_SECONDS:-5400}
for file in "$host.img" "$TOP/build/guest/guest.img" "$TOP/build/hoist.iso" "$TOP/build/netboot/vmlinuz" "$bin/server/hoist-server"; do
	[ -e "$file" ] || bail_out "no $file: make check-xen makes it"
done

# The disk of the lab: what dom0 needs of this tree, and room.
lab=$TAP_TMP/lab
mkdir -p "$lab/tests/xen" "$lab/build/release/server"
cp -r "$TOP/tests/lib" "$lab/tests"
cp -r "$TOP/tests/xen/dom0" "$lab/tests/xen"
ln -s tests/xen/dom0/init "$lab/init"
cp "$bin/server/hoist" "$bin/server/hoist-server" "$lab/build/release/server"
cp "$TOP/build/hoist.iso" "$lab/build"
cp -r "$TOP/build/netboot" "$lab/build"
cp --sparse=always "$TOP/build/guest/guest.img" "$lab/build/guest.img"
truncate -s 16G "$TAP_TMP/lab.img"
mke2fs -q -t ext4 -L lab -d "$lab" "$TAP_TMP/lab.img" || bail_out "no disk for the lab"
rm -r "$lab"

# One processor, without what emulated Xen does not survive (SMAP, MWAIT) or loses in its guests (AVX).
cpu=EPYC,-smap,-smep,-monitor,-rdtscp,-avx,-avx2,-f16c,-fma,-xsave,-misalignsse,-sha-ni,-rdseed
cd "$TAP_TMP" || exit
timeout -k 10 "$limit" qemu-system-x86_64 -nodefaults -M q35 -accel 'tcg,thread=multi' -cpu $cpu -smp 1 -m 4096 -display none -no-reboot \
	-kernel "$host.xen" -append 'dom0_mem=1536M console=com1 com1=115200,8n1 mwait-idle=0 max_cstate=0' \
	-initrd "$host.vmlinuz root=LABEL=xenhost rw console=hvc0 quiet init=/sbin/lab,$host.initrd" \
	-drive "file=$host.img,format=raw,if=ide,snapshot=on" -drive "file=lab.img,format=raw,if=ide,cache=unsafe,discard=unmap" \
	-serial file:xen.log -serial file:tap.log >qemu.log 2>&1 &
qemu=$!
cleanup_fn kill $qemu
# As it comes: a run takes a quarter of an hour and more.
touch tap.log
tail -f -n +1 --pid=$qemu tap.log | tr -d '\r'
wait $qemu
status=$?
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
