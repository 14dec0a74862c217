# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
# TAP for tests in bash.  At the top of a test:
#
#	. "$(dirname "$0")/../lib/tap.sh"
#	requires xorriso qemu-system-x86_64
#
# and at its end `done_testing`.  It sets:
#	TOP		the repository		TAP_TMP		a fresh directory, removed after success
#	ISO NETBOOT	the live image that boots, as a medium and as files, and what it is
#	KERNEL IMAGE	made of: with HOIST_KERNEL=source those that `make KERNEL=source iso netboot` made
#
#	ok NAME COMMAND...		the command succeeds		nok NAME COMMAND...	it fails
#	is GOT WANT NAME		equal strings			isnt GOT NOT NAME
#	like GOT REGEX NAME		bash (extended) regex		unlike GOT REGEX NAME
#	pass NAME / fail NAME / skip N WHY / note TEXT / diag TEXT / bail_out WHY
#	skip_all WHY			the whole test does not apply here
#	requires COMMAND...		skip_all unless all are there	requires_root
#	cleanup_fn COMMAND...		run at exit, last one first, whatever happens
#	wait_for SECONDS COMMAND...	until the command succeeds; 1 when the time is over
#			(looks ten times a second; TAP_PACE=5 for where looking costs more than waiting)
#	wait_line SECONDS FILE REGEX	until a line of FILE matches (grep -E); prints the first that does
#
# ok, nok, is, ... return 0 or 1 as the check went, so `is ... || diag ...` works.  A command whose check
# fails has its output shown.  A test that ends without done_testing has failed: half a test is none.
# HOIST_TEST_SKIP_FAILS=1 (CI, and `make check` after deps) makes skip_all a failure, so that nothing is left out unseen.
set -u
export LC_ALL=C.UTF-8

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export HOIST_KERNEL=${HOIST_KERNEL:-debian}
variant=
[ "$HOIST_KERNEL" = debian ] || variant=-$HOIST_KERNEL
# shellcheck disable=SC2034 # for the test
KERNEL=$TOP/build/kernel/$HOIST_KERNEL IMAGE=$TOP/build/image/$HOIST_KERNEL \
	ISO=$TOP/build/hoist$variant.iso NETBOOT=$TOP/build/netboot$variant
unset variant
mkdir -p "$TOP/build/tmp"
TAP_TMP=$(mktemp -d "$TOP/build/tmp/$(basename "$0" .sh).XXXXXX")
tap_count=0
tap_failed=0
tap_done=
tap_pid=$BASHPID
tap_cleanups=()

note() { printf '%s\n' "$*" | sed 's/^/# /'; }
diag() { printf '%s\n' "$*" | sed 's/^/# /' >&2; }
pass() { tap_count=$((tap_count + 1)); printf 'ok %d - %s\n' "$tap_count" "${1//#/}"; }

fail()
{
	tap_count=$((tap_count + 1))
	tap_failed=$((tap_failed + 1))
	printf 'not ok %d - %s\n' "$tap_count" "${1//#/}"
	diag "failed: $1 (line $(tap_line) of $0)"
	return 1
}

# The line of the test itself, not of this file.
tap_line()
{
	local i
	for ((i = 1; i < ${#BASH_SOURCE[@]}; i++)); do
		if [ "${BASH_SOURCE[i]}" != "${BASH_SOURCE[0]}" ]; then
			echo "${BASH_LINENO[i - 1]}"
			return
		fi
	done
	echo '?'
}

tap_run()
{
	"$@" >"$TAP_TMP/.output" 2>&1
}

ok()
{
	local name=$1 status=0
	shift
	tap_run "$@" || status=$?
	if [ $status = 0 ]; then
		pass "$name"
	else
		fail "$name"
		diag "exit status $status: $*"
		diag "$(tail -n 20 "$TAP_TMP/.output")"
		return 1
	fi
}

nok()
{
	local name=$1
	shift
	if ! tap_run "$@"; then
		pass "$name"
	else
		fail "$name"
		diag "should have failed: $*"
		diag "$(tail -n 20 "$TAP_TMP/.output")"
		return 1
	fi
}

# tap_check STATUS NAME GOT WANTED
tap_check()
{
	if [ "$1" = 0 ]; then
		pass "$2"
	else
		fail "$2"
		diag "    got:    $3"
		diag "    wanted: $4"
		return 1
	fi
}

is() { [ "$1" = "$2" ]; tap_check $? "$3" "$1" "$2"; }
isnt() { [ "$1" != "$2" ]; tap_check $? "$3" "$1" "anything but $2"; }
like() { [[ $1 =~ $2 ]]; tap_check $? "$3" "$1" "a match of $2"; }
unlike() { ! [[ $1 =~ $2 ]]; tap_check $? "$3" "$1" "no match of $2"; }

skip()
{
	local i
	for ((i = 0; i < $1; i++)); do
		tap_count=$((tap_count + 1))
		printf 'ok %d # SKIP %s\n' "$tap_count" "$2"
	done
}

skip_all()
{
	tap_done=yes
	if [ "${HOIST_TEST_SKIP_FAILS:-}" = 1 ]; then
		fail "may not be skipped: $1"
		echo "1..$tap_count"
		exit 1
	fi
	echo "1..0 # SKIP $1"
	exit 0
}

bail_out()
{
	tap_done=yes
	tap_failed=$((tap_failed + 1))
	echo "Bail out! $1"
	exit 1
}

requires()
{
	local command
	for command; do
		command -v "$command" >/dev/null || [ -x "/usr/sbin/$command" ] || [ -x "/sbin/$command" ] ||
			skip_all "needs $command (scripts/install-deps)"
	done
	PATH=$PATH:/usr/sbin:/sbin
}

requires_root() { [ "$(id -u)" = 0 ] || skip_all "needs root (network namespaces)"; }

cleanup_fn()
{
	local quoted
	printf -v quoted '%q ' "$@"
	tap_cleanups+=("$quoted")
}

# Polls, because what is waited for is often in another program or a guest; the pace is no part of the result.
wait_for()
{
	local end=$((SECONDS + $1))
	shift
	while :; do
		"$@" >"$TAP_TMP/.wait" 2>&1 && return 0
		[ $SECONDS -lt $end ] || break
		sleep "${TAP_PACE:-0.1}"
	done
	diag "no success within the time: $*"
	diag "$(tail -n 5 "$TAP_TMP/.wait")"
	return 1
}

wait_line()
{
	wait_for "$1" grep -aqE -- "$3" "$2" && grep -am1 -E -- "$3" "$2"
}

done_testing()
{
	tap_done=yes
	echo "1..$tap_count"
	exit $((tap_failed != 0))
}

tap_exit()
{
	local status=$? i
	[ "$BASHPID" = "$tap_pid" ] || return
	trap '' INT TERM
	if [ -z "$tap_done" ]; then
		fail "the test ended early (status $status), without done_testing"
		echo "1..$tap_count"
		status=1
	fi
	for ((i = ${#tap_cleanups[@]} - 1; i >= 0; i--)); do
		eval "${tap_cleanups[i]}" >&2 || diag "cleanup failed: ${tap_cleanups[i]}"
	done
	if [ $tap_failed = 0 ] && [ "${KEEP:-}" != 1 ]; then
		rm -rf "$TAP_TMP"
	else
		diag "kept: $TAP_TMP"
	fi
	exit "$status"
}
trap tap_exit EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
