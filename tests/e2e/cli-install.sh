#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What is made from the tables (manual pages, completion), and `make install`.
. "$(dirname "$0")/../lib/tap.sh"
requires man make
B=${B:-release}
O=$TOP/build/$B
to=$TAP_TMP/root

# ---- manual pages: what is committed is what the programs say, and man(1) has nothing against it
while read -r program page; do
	ok "$page is as $program makes it (else: make man)" cmp <("$O/$program" --print-man) "$TOP/docs/man/$page"
	is "$(LC_ALL=C.UTF-8 MANROFFSEQ='' man --warnings -E UTF-8 -l -Tutf8 -Z "$TOP/docs/man/$page" 2>&1 >/dev/null)" "" "man has no complaint about $page"
done <<-END
	server/hoist hoist.1
	server/hoist-server hoist-server.8
	agent/hoist-agent hoist-agent.8
END
text=$(MANWIDTH=80 man -l "$TOP/docs/man/hoist.1" | col -b)
for word in 'hoist capture MACHINE' '--overwrite FINGERPRINT' 'EXIT STATUS' 'HOIST_TOKEN_FILE'; do
	like "$text" "$word" "hoist(1) has: $word"
done

# ---- install
ok "make install" make -C "$TOP" -o all B="$B" install DESTDIR="$to" PREFIX=/usr
is "$(cd "$to" && find . -type f ! -name hoist.iso -printf '%m %P\n' | sort -k2)" "644 lib/systemd/system/hoist-server.service
755 usr/bin/hoist
755 usr/sbin/hoist-agent
755 usr/sbin/hoist-server
644 usr/share/bash-completion/completions/hoist
644 usr/share/man/man1/hoist.1
644 usr/share/man/man8/hoist-agent.8
644 usr/share/man/man8/hoist-server.8" "puts these files where they belong"
ok "the installed hoist runs" "$to/usr/bin/hoist" --version
like "$(cat "$to/lib/systemd/system/hoist-server.service")" "ExecStart=/usr/sbin/hoist-server --data /var/lib/hoist" "the unit has the path"
if command -v systemd-analyze >/dev/null; then
	is "$(systemd-analyze verify --man=no --root="$to" hoist-server.service 2>&1 | grep hoist | grep -v sysinit.target)" "" "systemd has no complaint about the unit"
else
	skip 1 "no systemd-analyze"
fi

# ---- completion
# complete_words WORD...: what bash offers for the last word.
complete_words()
{
	bash -c '. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _hoist; echo "${COMPREPLY[*]}"' - \
		"$to/usr/share/bash-completion/completions/hoist" "$@"
}
is "$(complete_words hoist mach)" "machines machine" "completion: commands"
is "$(complete_words hoist image '')" "show verify rm" "completion: the second word"
is "$(complete_words hoist image rm --a)" "--all" "completion: a command's options"
is "$(complete_words hoist capture web1 --im)" "--image" "completion: options after an operand"
is "$(complete_words hoist capture web1 --end r)" "reboot" "completion: values"
is "$(complete_words hoist operator add bob --role '')" "viewer operator admin" "completion: values of every option that has a few"
is "$(complete_words hoist capture web1 --image '')" "" "completion: none where a person must know"
is "$(complete_words hoist iso --set '')" "" "completion: whose name is a part of another's as well"
ok "completion: files" grep -qF -- '--add) compopt -o default' "$to/usr/share/bash-completion/completions/hoist"
done_testing
