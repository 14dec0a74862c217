#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A kernel of our own is built a second time by another user, in another folder, under another umask and time zone, with
# an environment that would change it: bit for bit the kernel that `make KERNEL=source iso` built.  An hour of a processor.
# AGAIN=FOLDER: keep the second one there, to look at what differs; one that was built there before is compared only.
. "$(dirname "$0")/../lib/tap.sh"
requires_root
requires setpriv
KERNEL=$TOP/build/kernel/source
again=${AGAIN:-$TAP_TMP}/another-place # make wants no blanks
[ -e "$KERNEL/release" ] || bail_out "no $KERNEL: make KERNEL=source iso"
release=$(cat "$KERNEL/release")

if [ ! -e "$again/out/release" ]; then
	mkdir -p "$again"
	cp -r "$TOP/scripts" "$TOP/kernel-config" "$TOP/VERSION" "$TOP/build/kernel/debian" "$again/"
	chmod a+rx "$TAP_TMP"
	chmod -R a+rX "$again"
	chown -R 65534:65534 "$again"
	# shellcheck disable=SC2016 # the inner shell's
	ok "built again, without root" env TZ=Asia/Tokyo HOME=/nonexistent SOURCE_DATE_EPOCH=1 KCFLAGS=-O0 JOBS="$(nproc)" \
		setpriv --reuid 65534 --regid 65534 --clear-groups bash -c 'umask 077 && cd "$1" && scripts/mkkernel debian out' - "$again"
fi
for file in vmlinuz config release package; do
	ok "$file is the same" cmp "$KERNEL/$file" "$again/out/$file"
done
modules() { (cd "$1/lib/modules" && find . -printf '%y %P %l\n' | LC_ALL=C sort); }
is "$(modules "$again/out")" "$(modules "$KERNEL")" "the same modules"
ok "and $(find "$KERNEL/lib/modules/$release" -name '*.ko' | wc -l) of them to the bit" diff -rq "$KERNEL/lib/modules" "$again/out/lib/modules"
done_testing
