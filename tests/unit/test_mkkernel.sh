#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# mkkernel with a source whose compiling is to write down what reaches it: a build that was interrupted goes on where it was, one whose
# inputs have changed does not, and nothing of the caller's environment gets into the kernel.
. "$(dirname "$0")/../lib/tap.sh"
requires make xz
debian=$TOP/build/kernel/debian
if [ ! -e "$debian/release" ] || ! "$TOP/scripts/install-deps" --kernel --check >/dev/null 2>&1; then
	skip 1 "no build/kernel/debian (make kernel), or not the packages of 'scripts/install-deps --kernel'"
	done_testing
	exit
fi
cd "$TAP_TMP" || exit 1

mkdir -p linux/scripts/kconfig debian
cp -r "$debian"/{config,release,lib} debian/
cat >linux/Makefile <<'END'
olddefconfig localmodconfig modules:
bzImage:
	echo >>compiled; test ! -e $(TAP_TMP)/stop
	mkdir -p arch/x86/boot
	printf '%s\n' "$$KBUILD_BUILD_TIMESTAMP" "$$KBUILD_BUILD_USER@$$KBUILD_BUILD_HOST" "$(KCFLAGS)$(V)$$SOURCE_DATE_EPOCH" `date +%Z` >arch/x86/boot/bzImage
modules_install:
	mkdir -p $(INSTALL_MOD_PATH)/lib/modules/6.1.0-x
	wc -l <compiled >$(INSTALL_MOD_PATH)/lib/modules/6.1.0-x/compiled
	touch $(INSTALL_MOD_PATH)/lib/modules/6.1.0-x/modules.order $(INSTALL_MOD_PATH)/lib/modules/6.1.0-x/modules.builtin $(INSTALL_MOD_PATH)/lib/modules/6.1.0-x/modules.builtin.modinfo
kernelrelease:
	@echo 6.1.0-x
END
cat >linux/scripts/kconfig/merge_config.sh <<'END'
#!/bin/sh
sed -n 's/^\(CONFIG_[A-Za-z0-9_]*\)=.*/^\1=/p; s/^# \(CONFIG_[A-Za-z0-9_]*\) is.*/^\1=/p' "$3" >names
grep -v -f names .config >rest
cat rest "$3" >.config
END
chmod +x linux/scripts/kconfig/merge_config.sh
touch -d @1700000000 linux/Makefile
tar -cJf linux.tar.xz linux
export TAP_TMP
build() { HOIST_KERNEL_SOURCE=$TAP_TMP/linux.tar.xz timeout 120 "$TOP/scripts/mkkernel" debian "$1"; }
compiled() { cat "$1/lib/modules/6.1.0-x/compiled"; }

touch stop
nok "interrupted" build out
ok "what it has is kept" test -e out/tree/compiled
rm stop
like "$(build out)" 'going on where it was interrupted' "it goes on"
is "$(compiled out)" 2 "with what was there"
nok "nothing is left over" test -e out/tree
is "$(cat out/vmlinuz)" "$(printf '%s\n' 'Tue Nov 14 22:13:20 UTC 2023' hoist@hoist '' UTC)" "the time is the source's, user and machine are nobody's"
touch stop
nok "interrupted" build out
rm stop
echo '# another' >>debian/config
unlike "$(build out)" 'going on' "with other inputs it begins again"
is "$(compiled out)" 1 "from nothing"
ok "with much in the environment" env TZ=Asia/Tokyo SOURCE_DATE_EPOCH=5 KCFLAGS=-O0 V=1 MAKEFLAGS=V=1 KBUILD_BUILD_USER=me KBUILD_BUILD_TIMESTAMP=now \
	HOIST_KERNEL_SOURCE="$TAP_TMP/linux.tar.xz" "$TOP/scripts/mkkernel" debian other
ok "it is the same kernel" cmp out/vmlinuz other/vmlinuz
done_testing
