#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A job ends though its reason is longer than a message may be: the disk's name takes all of it, in characters of one byte and of two.
# shellcheck disable=SC2034,SC2154
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/agent.sh"
requires curl jq xxd

cd "$TAP_TMP" || exit
truncate -s 4M a.img
start_server
make_token
start_agent src --disk a.img
wait_for 30 machine_is_idle src || bail_out "the machine does not appear"
ok "its capture is ordered" order '{"kind":"capture","machine":"src","image":"web1"}'
ok "it ends" job_wait 60
stop_agent src

letters() { printf "$1%.0s" {1..110}; }
rounds() { grep -c "job $JOB: restore" "$1.log"; }
n=0
for name in "$(letters xy)" "$(letters é)" "x$(letters é)"; do
	n=$((n + 1))
	mkdir -p "$n$name/$name"
	disk=$n$name/$name/t.img
	truncate -s 4M "$disk"
	start_agent "dst$n" --disk "$disk"
	ok "a target with a name of $(wc -c <<<"$name") bytes, twice" wait_for 30 machine_is_idle "dst$n"
	ok "a restore is ordered" order_held "dst$n" '{"kind":"restore","machine":"dst'$n'","image":"web1","end":"stay"}'
	echo changed | dd of="$disk" conv=notrunc status=none
	kill -CONT "$(agent_pid "dst$n")"
	ok "the target is another: the job ends" job_wait 20
	is "$(field '[.state, .code] | join(",")')" failed,target_changed "as it should" || diag "$BODY"
	is "$(rounds "dst$n")" 1 "at the first time"
	like "$(field .message)" "…\. Nothing was written to any target\.$" "the reason is cut, and what became of the targets is said" || diag "$BODY"
	ok "in no more than 511 bytes" test "$(field .message | wc -c)" -le 512
	stop_agent "dst$n"
done
done_testing
