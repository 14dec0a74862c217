#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# check-kernel-config accepts what holds and names what does not; select-modules follows its rules and dependencies.
. "$(dirname "$0")/../lib/tap.sh"
check=$TOP/scripts/check-kernel-config
select=$TOP/scripts/select-modules
cd "$TAP_TMP" || exit 1

printf 'CONFIG_X86_64=y\nCONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_S="text"\n' >config
line() { printf '%s\n' "$1" >f.config; "$check" config f.config 2>&1; }
for good in 'CONFIG_A=y # why' 'CONFIG_A=y|m # why' 'CONFIG_B=y|m # why' 'CONFIG_B=m	# why' 'CONFIG_C=n # why' \
	'CONFIG_NONE=n # why' 'CONFIG_S="text" # why' '# a comment' ''; do
	ok "holds: $good" line "$good"
done
while IFS='>' read -r bad why; do
	out=$(line "$bad")
	is $? 1 "does not hold: $bad"
	like "$out" "$why" "and says why"
done <<'END'
CONFIG_A=n # why>f.config:1: CONFIG_A is y, must be off \(why\)
CONFIG_B=y # why>CONFIG_B is m, must be y
CONFIG_C=y|m # why>CONFIG_C is off, must be y
CONFIG_NONE=y # why>CONFIG_NONE is off
CONFIG_AA=y # why>CONFIG_AA is off
CONFIG_A=y>want .CONFIG_NAME=VALUE # reason
CONFIG_A=y # >want .CONFIG_NAME=VALUE # reason
A=y # why>want .CONFIG_NAME=VALUE # reason
END
printf 'CONFIG_A=y # one\nCONFIG_A=m # two\n' >f.config
nok "an option asked for twice" "$check" config f.config
nok "no configuration at all" "$check" /dev/null f.config

# A tree of modules as depmod leaves it.
mkdir tree
cat >tree/modules.dep <<'END'
kernel/drivers/a/a-one.ko: kernel/lib/libone.ko kernel/lib/libtwo.ko
kernel/drivers/a/two.ko:
kernel/drivers/a/deep/three.ko:
kernel/drivers/b/four.ko: kernel/drivers/b/five.ko
kernel/drivers/b/five.ko:
kernel/lib/libone.ko:
kernel/lib/libtwo.ko:
kernel/crypto/sum-generic.ko:
kernel/crypto/six.ko:
END
printf 'alias pci:v0001* four\nalias crypto-sum sum_generic\n' >tree/modules.alias
printf 'softdep libtwo pre: crypto-sum\nsoftdep six pre: no-such-thing\n' >tree/modules.softdep
echo kernel/fs/built.ko >tree/modules.builtin
chosen() { printf '%s\n' "$@" >rules; "$select" rules tree 2>&1 | sed "/^kernel/{s,.*/,,; s,\.ko,,}" | tr '\n' ' '; }
is "$(chosen 'take drivers/a/*.ko # r')" "sum-generic a-one two libone libtwo " "one folder, with hard and soft dependencies"
is "$(chosen 'take drivers/a/** # r')" "sum-generic a-one three two libone libtwo " "and what is below it"
is "$(chosen 'take drivers/a/** # r' 'drop drivers/a/a-*.ko # r')" "three two " "the last rule decides"
is "$(chosen 'alias pci:* # r')" "five four " "by alias"
is "$(chosen 'alias pci:* # r' 'drop drivers/b/five.ko # r')" "five four " "what is needed is not dropped"
is "$(chosen 'take crypto/six.ko # r' 'take fs/*.ko # r')" "six " "built in, or missing soft dependency: no error"
like "$(chosen 'take drivers/c/** # r')" 'matches no module' "a dead rule is an error"
nok "and fails" "$select" rules tree
ok "unless lenient" "$select" --lenient rules tree
like "$(chosen 'take drivers/a/**')" 'want .take' "a rule without a reason is an error"
is "$(chosen 'take drivers/a/*.ko # r' 'drop drivers/a/deep/** # r' 'every drivers/a/** # r')" "sum-generic a-one two libone libtwo " "every module there is taken or dropped"
like "$(chosen 'take drivers/a/*.ko # r' 'every drivers/a/** # r')" 'rules line 2: no rule above is about kernel/drivers/a/deep/three.ko' "one that no rule is about is an error"
nok "and fails" "$select" rules tree
nok "even if lenient" "$select" --lenient rules tree
like "$(chosen 'take drivers/b/four.ko # r' 'every drivers/b/** # r')" 'about kernel/drivers/b/five.ko' "that another needs it is no rule"
done_testing
