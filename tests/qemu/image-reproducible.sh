#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The ISO is built a second time by another user, in another folder, under another umask and time zone, with nothing
# at hand that the first build left: bit for bit the same.
. "$(dirname "$0")/../lib/tap.sh"
requires xorriso zstd setpriv
cd "$TOP" || exit 1
agent=${AGENT:-build/release/agent/hoist-agent} kernel=$TOP/build/kernel/debian
[ -e build/hoist.iso ] || bail_out "no build/hoist.iso: make iso"

other="$TAP_TMP/another place"
mkdir -p "$other"
cp -r scripts initramfs iso kernel-config VERSION build/image/debian/epoch build/efi "$other/"
cp "$agent" "$other/agent"
find "$other" -exec touch {} +
chmod -R go-w,a+rX "$TAP_TMP"

cat >"$TAP_TMP/build" <<END
set -e
umask 077
export TZ=Asia/Tokyo HOME=/nonexistent SOURCE_DATE_EPOCH=$(cat build/image/debian/epoch)
cd "$other"
mkdir built
scripts/mkinitramfs --kernel "$kernel" --agent agent --out built/initramfs.img
scripts/mksettings built/settings.cpio
scripts/mkiso --kernel "$kernel/vmlinuz" --initramfs built/initramfs.img --settings built/settings.cpio --efi efi --out built/hoist.iso
END
as=()
if [ "$(id -u)" = 0 ]; then
	chown -R 65534:65534 "$other"
	as=(setpriv --reuid 65534 --regid 65534 --clear-groups)
fi
ok "built again, without root" "${as[@]}" bash "$TAP_TMP/build"
for file in settings.cpio initramfs.img; do
	ok "$file is the same" cmp "build/image/debian/$file" "$other/built/$file"
done
ok "hoist.iso is the same" cmp build/hoist.iso "$other/built/hoist.iso"

size=$(stat -c %s build/hoist.iso)
ok "hoist.iso has at most 48 MB ($size bytes)" test "$size" -le 48000000
done_testing
