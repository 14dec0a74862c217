#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A restore that is cancelled at the worst moments, the agent being the last to hear of it: its heartbeats are ten seconds apart, and a read of
# the target takes as long as the test wants (FUSE).
# shellcheck disable=SC2034,SC2154
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/agent.sh"
. "$(dirname "$0")/../lib/faulty.sh"
requires curl jq xxd cmp fusermount3

cd "$TAP_TMP" || exit
size=$((24 << 20))
truncate -s $size a.img
fill a.img 0 15000000
truncate -s $((size + (2 << 20))) t.img
fill t.img 0 3000000
if ! faulty t; then bail_out "no disk with faults: $(cat t.failed)"; fi
start_server
make_token
start_agent src --disk a.img
wait_for 30 machine_is_idle src || bail_out "the machine does not appear"
ok "its capture is ordered" order '{"kind":"capture","machine":"src","image":"web1","options":{"all_blocks":true}}'
ok "it ends" job_wait 120
is "$(field .state)" "done" "well" || diag "$BODY"
stop_agent src

is_held() { grep -qx held t.failed; }
holds() { : >t.failed && echo "hold $1 4096" >t.faults; }
goes_on() { known=$(registrations) && : >t.faults; }
has_begun() { job_is '.state == "running"'; }
registrations() { grep -c 'machine_registered .*"dst at' server.log; }
# The server knows the target as it is now: after each job the agent looks at it and registers.
is_there_again() { [ "$(registrations)" -gt "$known" ] && machine_is_idle dst; }
cancel() { api POST "/v1/jobs/$JOB/cancel"; }
restore()
{
	local overwrite
	overwrite=$(fingerprint_of dst)
	echo '{"kind":"restore","machine":"dst","image":"web1","end":"stay","overwrite":["'"$overwrite"'"],"disks":[{"source":"file:a.img","target":"file:t"}]}'
}
start_agent dst --workers 1 --progress-ms 10000 --disk t/disk,name=t
ok "a target appears" wait_for 30 machine_is_idle dst

# ---- before the first byte was written: the target stays what it was
sum=$(sha256sum <t.img)
one=$(restore)
holds 0
ok "a restore over a disk that holds something" order "$one"
ok "its agent has it, and looks at the target" wait_for 20 is_held
ok "it runs" wait_for 20 has_begun
cancel
is "$STATUS $(field .message)" "200 Cancelled by the operator." "it is cancelled, nothing was written"
goes_on
ok "the agent is there for another job" wait_for 20 is_there_again
is "$(sha256sum <t.img)" "$sum" "the target is what it was, to the byte"
like "$(tail -n 4 dst.log)" "cancelled.*Nothing was written to any target" "and the machine's screen says so"

# ---- when all was written and verified: nothing starts from it
is_marked() { [ "$(head -c 6 t.img)" = hoist: ] && grep -aqx "job $JOB" <(head -c 512 t.img); }
# $1: a place that is read at the end.  On return that read waits.
until_the_end()
{
	one=$(restore)
	holds $((8 << 20))
	ok "another restore" order "$one"
	ok "is under way" wait_for 60 is_held
	holds "$1"
	ok "all is written, and the end of it waits" wait_for 60 is_held
	like "$(tail -n 1 dst.log)" "all is written, reading it again" "and verified"
}
until_the_end $((size + (1 << 20)))
cancel
like "$STATUS $(field .message)" "^200 .*it holds no complete image.$" "it is cancelled then"
ok "marked" is_marked
goes_on
ok "the agent is there for another job" wait_for 20 is_there_again
ok "the target bears its mark" is_marked
like "$(tail -n 4 dst.log)" "restore: cancelled.*nothing starts from it" "and the machine's screen says so"

# ---- when its agent had leave: the message does not say what may be wrong
until_the_end 0
cancel
like "$STATUS $(field .message)" "^200 .*had leave to make the target startable.*unless it still bears its mark" "it is cancelled too late, and the message says so"
goes_on
ok "the agent is there for another job" wait_for 20 is_there_again
ok "the target is the image" cmp -n $size a.img t.img
api GET "/v1/jobs/$JOB"
is "$(field .state)" cancelled "the job stays cancelled"

# ---- a cut has torn the first sector: nobody knows whose the target is
one=$(restore)
holds $((8 << 20))
ok "another restore" order "$one"
ok "is under way" wait_for 60 is_held
kill -KILL "$(agent_pid dst)"
echo 'bad 0 512' >t.faults # and nothing held, or it would not end
stop_agent dst KILL
start_agent dst --workers 1 --progress-ms 10000 --disk t/disk,name=t
ok "the first sector cannot be read any more: the job ends" job_wait 60
is "$(field .state),$(field .code)" failed,read_error "for that reason" || diag "$BODY"
like "$(field .message)" "the beginning of target 'file:t' .* cannot be read, .*first 4096 bytes mend it; .*Input/output error.* Nothing was written to any target now" "and says what to do"
stop_agent dst
: >t.faults

# ---- two targets: the disk from which a machine starts is made startable last
truncate -s $size v.img w.img
if ! faulty v || ! faulty w; then bail_out "no disks with faults: $(cat v.failed)"; fi
held_by() { grep -qx held "$1.failed"; }
hold() { : >"$1.failed" && echo "hold $2 4096" >"$1.faults"; }
start_agent two --workers 1 --disk v/disk,name=v --disk w/disk,name=w
ok "a machine of two targets appears" wait_for 30 machine_is_idle two
hold v $((8 << 20))
ok "a restore onto both" order \
	'{"kind":"restore","machine":"two","image":"web1","end":"stay","disks":[{"source":"file:a.img","target":"file:v"},{"source":"file:a.img","target":"file:w"}]}'
ok "is under way" wait_for 60 held_by v
hold v 0
ok "all is verified, and the first disk's end waits" wait_for 60 held_by v
hold w 0 && : >v.faults
ok "then the second's" wait_for 20 held_by w
is "$(head -c 6 v.img)$(head -c 6 w.img)" hoist:hoist: "both are marked"
hold v 0 && : >w.faults
ok "then the first sector of the first disk is there" wait_for 20 held_by v
ok "so it is" cmp -n 512 a.img v.img
ok "and that of the second was there before" cmp -n 512 a.img w.img
: >v.faults
ok "it ends" job_wait 60
is "$(field .state)" "done" "well" || diag "$BODY"
stop_agent two
done_testing
