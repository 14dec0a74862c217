#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# lib/hoist/agent of the live image: how long it waits for the hardware.
. "$(dirname "$0")/../lib/tap.sh"
run=$TAP_TMP/run console=$TAP_TMP/console
mkdir -p "$TAP_TMP/disks/0:0:1:0/device/block" "$TAP_TMP/disks/0:0:2:0/device" "$TAP_TMP/bin" "$run" "$TAP_TMP/module/good" "$TAP_TMP/module/sick" "$TAP_TMP/module/also_sick"
echo live >"$TAP_TMP/module/good/initstate"
echo coming | tee "$TAP_TMP/module/sick/initstate" >"$TAP_TMP/module/also_sick/initstate"
# Time passes as it is called; after 100 times the hardware has settled, if the test wants it to.
cat >"$TAP_TMP/bin/sleep" <<'END'
#!/bin/sh
echo >>"$TAP_TMP/slept"
[ -z "$SETTLES" ] || [ "$(wc -l <"$TAP_TMP/slept")" -lt 100 ] || : >"$TAP_TMP/run/settled"
END
cat >"$TAP_TMP/bin/hoist-agent" <<'END'
#!/bin/sh
echo "the agent: $*"
END
chmod +x "$TAP_TMP/bin"/*
sed -e "s|^\. .*|. '$TOP/initramfs/rootfs/lib/hoist/functions'; CONSOLE_LOG=$console SCSI_DISKS=$TAP_TMP/disks|; s|^RUN=.*|RUN=$run|; s|/sys/module|$TAP_TMP/module|; s|^PATIENCE=3000|PATIENCE=150|" \
	"$TOP/initramfs/rootfs/lib/hoist/agent" >"$TAP_TMP/script"
export TAP_TMP
start() { rm -f "$TAP_TMP/slept" "$console" && SETTLES=$1 PATH=$TAP_TMP/bin:$PATH timeout 60 sh "$TAP_TMP/script"; }

ok "the hardware settles" start yes
is "$(wc -l <"$TAP_TMP/slept")" 101 "the agent is started then"
like "$(cat "$console")" 'looking for hardware.*starting the agent.*the agent: run --image' "which is said"
nok "and nothing of drivers" grep -q drivers "$console"
rm "$run/settled"
ok "it does not" start ''
like "$(cat "$console")" 'the agent: run --image' "the agent is started all the same"
like "$(cat "$console")" 'hoist: drivers have been busy with hardware of this machine for ten minutes \(also_sick, sick, disk 0:0:2:0\): ' "the screen says why, and which drivers"
is "hoist: $(cat "$run/unsettled")" "$(grep drivers "$console")" "and so does what the agent reads"
ok "it ends, and is started again" start ''
is "$(wc -l <"$TAP_TMP/slept")" 1 "without another wait"
done_testing
