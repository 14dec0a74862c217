#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# tests/lib/tap.sh reports failures as failures: small tests are written, run, and their output and status looked at.
# shellcheck disable=SC2016 # the tests within are text, expanded when they run
. "$(dirname "$0")/../lib/tap.sh"

# run TEXT: a test of that text; sets out and status.
run()
{
	mkdir -p "$TAP_TMP/tests/lib" "$TAP_TMP/tests/unit"
	cp "$TOP/tests/lib/tap.sh" "$TAP_TMP/tests/lib/"
	# shellcheck disable=SC2016
	printf '. "$(dirname "$0")/../lib/tap.sh"\n%s\n' "$1" >"$TAP_TMP/tests/unit/t.sh"
	out=$(env -u HOIST_TEST_SKIP_FAILS "${env[@]}" bash "$TAP_TMP/tests/unit/t.sh" 2>"$TAP_TMP/err")
	status=$?
	err=$(cat "$TAP_TMP/err")
}
env=(A=b)

run 'ok good true; nok bad false; is a a same; isnt a b other; like abc "b." part; unlike abc x none; done_testing'
is $status 0 "all pass: status"
is "$(grep -c '^ok ' <<<"$out")" 6 "all pass: lines"
like "$out" '1\.\.6$' "all pass: plan"

for check in 'ok x false' 'nok x true' 'is a b x' 'isnt a a x' 'like abc z x' 'unlike abc b x' 'fail x' \
	'ok x wait_for 1 false' 'ok x wait_line 1 /dev/null something'; do
	run "$check; done_testing"
	is $status 1 "'$check' fails: status"
	like "$out" '^not ok 1 - x' "'$check' fails: line"
done
run 'ok x false; done_testing'
like "$err" 'line 2' "the line of the test is named"

run 'pass one; exit 0'
is $status 1 "no done_testing: status"
like "$out" 'not ok 2 .*ended early' "no done_testing: line"

run 'requires no-such-command-here; pass one; done_testing'
is "$status $out" "0 1..0 # SKIP needs no-such-command-here (scripts/install-deps)" "requires skips all"
env=(HOIST_TEST_SKIP_FAILS=1)
run 'requires no-such-command-here; pass one; done_testing'
is $status 1 "skips that are forbidden fail"
env=(A=b)

run 'cleanup_fn echo "first one"; cleanup_fn echo "second  one"; pass x; done_testing'
like "$err" $'second  one\nfirst one' "cleanups run backwards, quoted"
run 'cleanup_fn echo cleaned; kill -TERM $$; sleep 5; pass x; done_testing'
is $status 1 "a killed test fails"
like "$err" cleaned "a killed test cleans up"

run '(sleep 0.3; echo now here >"$TAP_TMP/f") & ok x wait_line 10 "$TAP_TMP/f" "now.*here"; wait; done_testing'
is $status 0 "wait_line waits for a file and its line"
run 'echo "$TAP_TMP"; pass x; done_testing'
nok "the directory is gone after success" test -e "${out%%$'\n'*}"
run 'echo "$TAP_TMP"; ok x false; done_testing'
ok "and kept after a failure" test -d "${out%%$'\n'*}"
done_testing
