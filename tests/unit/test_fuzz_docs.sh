#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Every fuzz target has a corpus and stands in the table of docs/fuzzing.md, and no other does.
. "$(dirname "$0")/../lib/tap.sh"

cd "$TOP" || exit
# The last column, but for what is behind a semicolon.
documented() { sed -n '/^## Every decoder/,/^Without/p' docs/fuzzing.md | awk -F '|' 'NF > 4 && $4 !~ /---|target/ { sub(/;.*/, "", $4); print $4 }' | tr -s ', ' '\n' | sed '/^$/d' | sort -u; }
targets() { printf '%s\n' tests/fuzz/fuzz_*.c | sed 's,.*/fuzz_,,; s,\.c$,,' | sort; }
is "$(documented)" "$(targets)" "the table names every target"
empty=$(targets | while read -r t; do [ -n "$(ls "tests/fuzz/corpus/$t" 2>/dev/null)" ] || echo "$t"; done)
is "$empty" "" "each has inputs to begin with"
is "$(ls tests/fuzz/corpus)" "$(targets)" "no inputs are without a target"
done_testing
