#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The ISO is built a second time by another user, in another folder, under another umask and time zone, with nothing
# at hand that the first build left, the agent from a copy of its sources: bit for bit the same.
. "$(dirname "$0")/../lib/tap.sh"
requires xorriso zstd xz setpriv bsdtar make strip
cd "$TOP" || exit 1
agent=build/release/agent/hoist-agent
lenient= # a kernel of our own has no modules where Debian's has some
[ "$HOIST_KERNEL" = debian ] || lenient=--lenient
[ -e "$ISO" ] || bail_out "no $ISO: make iso"

other="$TAP_TMP/another place"
sources=$TAP_TMP/somewhere/else # make wants no blanks
mkdir -p "$other" "$sources"
cp -r scripts initramfs iso kernel-config VERSION "$IMAGE/epoch" build/efi build/firmware "$other/"
cp -r Makefile VERSION agent common "$sources/"
find "$other" "$sources" -exec touch {} +
compiler=$(sed 's| -std=.*||' build/release/flags)
chmod -R go-w,a+rX "$TAP_TMP"

cat >"$TAP_TMP/build" <<END
set -e
umask 077
export TZ=Asia/Tokyo HOME=/nonexistent SOURCE_DATE_EPOCH=$(cat "$IMAGE/epoch") CCACHE_DISABLE=1
# what make gives to what it calls, and what changes what is built
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES B CFLAGS LDFLAGS WERROR
mkdir "$sources/initramfs" "$sources/iso"
make -C "$sources" -j$(nproc) CC='$compiler' $agent
cd "$other"
cp "$sources/$agent" agent
mkdir built
scripts/mkinitramfs $lenient --kernel "$KERNEL" --agent agent --out built/initramfs.img
scripts/mkfirmware $lenient --kernel "$KERNEL" --firmware firmware --out built/firmware.img
scripts/mkcpio /dev/null >built/none
scripts/mkadded "\$(cat "$KERNEL/release")" built/added.img
scripts/mksettings built/settings.cpio
iso() { scripts/mkiso --kernel "$KERNEL/vmlinuz" --initramfs built/initramfs.img --firmware built/\$1 --added built/added.img --settings built/settings.cpio --efi efi --out built/\$2; }
iso firmware.img hoist.iso
iso none base.iso
END
as=()
if [ "$(id -u)" = 0 ]; then
	chown -R 65534:65534 "$other" "$sources"
	as=(setpriv --reuid 65534 --regid 65534 --clear-groups)
fi
ok "built again, without root" "${as[@]}" bash "$TAP_TMP/build"
strip --strip-all --remove-section=.note.gnu.build-id -o "$TAP_TMP/agent" "$agent"
ok "its agent is the same, but for what a debugger wants" cmp "$TAP_TMP/agent" "$other/built/initramfs.img.work/agent"
for file in settings.cpio added.img initramfs.img firmware.img; do
	ok "$file is the same" cmp "$IMAGE/$file" "$other/built/$file"
done
ok "hoist.iso is the same" cmp "$ISO" "$other/built/hoist.iso"

size=$(stat -c %s "$other/built/base.iso")
ok "without firmware it has at most 48 MB ($size bytes)" test "$size" -le 48000000
size=$(stat -c %s "$ISO")
ok "with firmware at most 128 MB ($size bytes)" test "$size" -le 128000000
if [ -s build/firmware/packages ]; then
	ok "it has firmware" grep -q '^have e100/d102e_ucode.bin firmware-misc-nonfree .* BSD-3-clause-Intel$' "$IMAGE/firmware.img.txt"
	ok "and is told what is not to be had" grep -q '^missing wd719x-risc.bin wd719x$' "$IMAGE/firmware.img.txt"
	zstd -dcq "$IMAGE/firmware.img" 2>/dev/null | bsdtar -tf - >"$TAP_TMP/names" # behind it are zeros to a multiple of four
	for name in e100/d102e_ucode.bin rtl_nic/rtl8168h-2.fw bnx2/bnx2-mips-09-6.2.1b.fw ql2400_fw.bin phanfw.bin.xz hoist/FILES hoist/firmware-bnx2.copyright.xz; do
		ok "in the archive: $name" grep -qx "lib/firmware/$name" "$TAP_TMP/names"
	done
	is "$(sed -n 's/^have \([^ ]*\).*/lib\/firmware\/\1/p' "$IMAGE/firmware.img.txt" | LC_ALL=C sort | LC_ALL=C comm -23 - <(sed 's/\.xz$//' "$TAP_TMP/names" | LC_ALL=C sort) | wc -l)" 0 \
		"all that is said to be in it is"
fi
done_testing
