#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# lib/hoist/coldplug of the live image: when the hardware has settled.
. "$(dirname "$0")/../lib/tap.sh"
root=$TAP_TMP/root disks=$TAP_TMP/root/sys/class/scsi_disk
mkdir -p "$TAP_TMP/bin" "$root/sys/devices/controller" "$root/sys/kernel" "$disks/0:0:0:0/device/block"
echo pci:v1 >"$root/sys/devices/controller/modalias"
# Time passes as it is called; after SPUN times there is the block device of the second disk, which is an event.
cat >"$TAP_TMP/bin/sleep" <<'END'
#!/bin/sh
echo >>"$TAP_TMP/slept"
[ "$(wc -l <"$TAP_TMP/slept")" != "$SPUN" ] || { mkdir "$TAP_TMP/root/sys/class/scsi_disk/0:0:1:0/device/block" && echo 101 >"$TAP_TMP/root/sys/kernel/uevent_seqnum"; }
END
cat >"$TAP_TMP/bin/modprobe" <<'END'
#!/bin/sh
echo "$*" >>"$TAP_TMP/loaded"
END
chmod +x "$TAP_TMP/bin"/*
for file in coldplug functions; do
	sed -e "s|^\. .*|. $TAP_TMP/functions|; s|^/lib/hoist/iscsi||; s|/bin/modprobe|modprobe|; s|/lib/modules|$root/modules|; s|/run/hoist|$root/run|g; s|/sys/|$root/sys/|g" \
		"$TOP/initramfs/rootfs/lib/hoist/$file" >"$TAP_TMP/$file"
done
export TAP_TMP
start() { rm -rf "$TAP_TMP/slept" "$TAP_TMP/loaded" "$root/run" && mkdir "$root/run" && echo 100 >"$root/sys/kernel/uevent_seqnum" && SPUN=$1 PATH=$TAP_TMP/bin:$PATH timeout 60 sh "$TAP_TMP/coldplug"; }
slept() { wc -l <"$TAP_TMP/slept"; }

ok "hardware that is all there" start 0
is "$(cat "$TAP_TMP/loaded")" '-abq -- pci:v1' "its drivers are loaded"
is "$(slept)" 5 "it has settled after two seconds without news"
ok "which others are told" test -e "$root/run/settled"
mkdir -p "$disks/0:0:1:0/device"
ok "a disk that is being spun up for twenty seconds" start 40
is "$(slept)" 45 "is waited for"
rm -r "$disks/0:0:1:0/device/block"
ok "one for a minute and a half" start 180
is "$(slept)" 185 "as well"
ok "which others are told" test -e "$root/run/settled"
done_testing
