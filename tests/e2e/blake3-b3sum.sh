#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Every code path of common/blake3 against Debian's b3sum, on thousands of random lengths from 0 to 200,000 bytes,
# on all up to 192 and on those around every chunk (1 KiB) up to 140 of them; at once and in pieces.
. "$(dirname "$0")/../lib/tap.sh"
requires b3sum
sum=$TOP/${O:-build/release}/e2e/blake3_sum
[ -x "$sum" ] || bail_out "$sum is missing: make check-e2e"

seed=${SEED:-$(date +%s)}
diag "SEED=$seed repeats this run"
mkdir "$TAP_TMP/files"
cd "$TAP_TMP/files" || bail_out "no directory for the files"
ok "files are made" "$sum" make . "$seed"
files=$(find . -type f | wc -l)
ok "there are thousands of lengths ($files)" test "$files" -gt 2000
b3sum ./* >../want || bail_out "b3sum failed"
is "$(wc -l <../want)" "$files" "b3sum hashed them all"

for path in $("$sum" paths); do
	if "$sum" hash "$path" ./* >../got; then
		ok "$path gives the hashes of b3sum" cmp ../got ../want
	else
		fail "$path hashes all files"
	fi
done
done_testing
