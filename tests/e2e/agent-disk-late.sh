#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A disk of a job that comes up later than the machine, as after a restart in the middle of the job: it is waited for, and not for ever.
# shellcheck disable=SC2034,SC2154
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/agent.sh"
requires curl jq xxd cmp

cd "$TAP_TMP" || exit
size=$((48 << 20))
truncate -s $size a.img t.img
fill a.img 0 $((40 << 20))
port=$("$TOP/tests/lib/free-port")
up() { start_server --listen "127.0.0.1:$port" && URL=https://127.0.0.1:$port; }
up
make_token
written() { [ "$(allocated t.img)" -ge "$1" ]; }
is_waiting() { job_is '.state == "running" and ([.log[] | test("disk .file:[at].img. is not there; it is looked for again")] | any)'; }
# One that has seen its disk, as it was before the restart, and looks again when it hears of its job: then the disk is away.
start_without()
{
	local name=$1 disk=$2
	shift 2
	stop_server
	: >"$name.log"
	start_agent "$name" "$@" --workers 1 --disk "$disk"
	wait_line 60 "$name.log" 'trying again' && mv "$disk" away.img && up
}

# ---- a capture
start_agent src --workers 1 --disk a.img
ok "the machine appears" wait_for 30 machine_is_idle src
ok "a capture is ordered" order_held src '{"kind":"capture","machine":"src","image":"web1"}'
ok "some packs arrive" valve "$(agent_pid src)" 60 packs_at_least 8
stop_agent src KILL
ok "started again without its disk" start_without src a.img
ok "it looks for it again, and says so" wait_for 60 is_waiting
mv away.img a.img
ok "the disk comes up: the job goes on and ends" job_wait 120
is "$(field .state)" "done" "well" || diag "$BODY"
is "$(field '[.log[] | select(test("has come up"))] | length')" 1 "that it came is said, too"
stop_agent src

# ---- a restore
start_agent dst --workers 1 --disk t.img
ok "a target appears" wait_for 30 machine_is_idle dst
plain='{"kind":"restore","machine":"dst","image":"web1","end":"stay"}'
ok "a restore is ordered" order_held dst "$plain"
ok "it writes" valve "$(agent_pid dst)" 60 written 10000000
stop_agent dst KILL
ok "started again without its target" start_without dst t.img
ok "it looks for it again" wait_for 60 is_waiting
mv away.img t.img
ok "the target comes up: the job goes on and ends" job_wait 120
is "$(field .state)" "done" "well" || diag "$BODY"
ok "the target is the image" cmp a.img t.img
stop_agent dst

# ---- cancelled meanwhile
start_agent src --workers 1 --disk a.img
ok "the machine is there" wait_for 30 machine_is_idle src
mv a.img away.img
ok "a capture of a disk that has gone is ordered" order '{"kind":"capture","machine":"src","image":"web1"}'
ok "it is looked for" wait_for 60 is_waiting
api POST "/v1/jobs/$JOB/cancel"
ok "the job is cancelled: the machine waits for another one" wait_line 20 src.log ': cancelled'
stop_agent src
mv away.img a.img

# ---- for ever
start_agent src --workers 1 --disk-wait 1 --disk a.img
ok "the machine is there again" wait_for 30 machine_is_idle src
mv a.img away.img
ok "once more" order '{"kind":"capture","machine":"src","image":"web1"}'
ok "it does not come up: the job ends" job_wait 60
is "$(field .state),$(field .code)" "failed,disk_missing" "for that reason" || diag "$BODY"
is "$(field '[.log[] | select(test("is looked for again for 1 s"))] | length')" 1 "after it was waited for"
done_testing
