#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A job whose `done` is refused, as it would be each time, ends with the reason.
# shellcheck disable=SC2034,SC2154
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/agent.sh"
requires curl jq xxd sqlite3

cd "$TAP_TMP" || exit
for disk in a b; do
	truncate -s 48M $disk.img
	fill $disk.img 0 $((48 << 20))
done
port=$("$TOP/tests/lib/free-port")
up() { start_server --listen "127.0.0.1:$port" && URL=https://127.0.0.1:$port; }
up
make_token
start_agent src --workers 1 --disk a.img --disk b.img
wait_for 30 machine_is_idle src || bail_out "the machine does not appear"
ok "a capture is ordered" order_held src '{"kind":"capture","machine":"src","image":"web1","disks":["file:a.img"]}'
ok "some packs arrive" valve "$(agent_pid src)" 60 packs_at_least 3
stop_server
# From here on the two are at odds over the disk: what the agent says at the end is no account of the job, to this server.
ok "the server believes it to be another disk" sqlite3 "$DATA/state.db" "UPDATE job_disks SET disk = 'file:b.img'"
up
kill -CONT "$(agent_pid src)"
ok "the job ends" job_wait 120
is "$(field '[.state, .code] | join(",")')" failed,internal "as failed" || diag "$BODY"
like "$(field .message)" "^The agent has done all of the job, and the server does not take its account of that: .*does not name the root of disk 0 \(file:b.img\)" \
	"with the server's reason" || diag "$BODY"
is "$(grep -c "job $JOB: capture" src.log)" 1 "it was done once"
ok "the machine's screen says so" grep -q 'the server does not take the end of the job: .*does not name the root' src.log
ok "the machine waits for orders" wait_for 30 machine_is_idle src
ok "another capture" order '{"kind":"capture","machine":"src","image":"web1","disks":["file:a.img"]}'
ok "ends" job_wait 60
is "$(field .state)" "done" "well"
done_testing
