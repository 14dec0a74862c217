#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A target is marked until it is whole, and only a disk with this job's mark is gone on with; docs/formats.md "Marker of a restore".
# shellcheck disable=SC2034,SC2154
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/agent.sh"
requires curl jq xxd sgdisk cmp blkid mkfs.btrfs

cd "$TAP_TMP" || exit
size=$((48 << 20))
truncate -s $size a.img
sgdisk -n1:2048:0 -c1:root a.img >a.sgdisk
for i in 0 1 2; do fill a.img $(((i << 24) + (2 << 20))) 12000000; done
printf 'boot code' | dd of=a.img conv=notrunc status=none
printf '\x55\xaa' | dd of=a.img bs=1 seek=510 conv=notrunc status=none
truncate -s 24M b.img
fill b.img 0 $((20 << 20))
# The second disk is a btrfs as a whole: by its superblock, at 64 KiB.
truncate -s 128M btrfs.img
mkfs.btrfs -q -L whole btrfs.img || bail_out "no btrfs"
dd if=btrfs.img of=b.img bs=4096 skip=16 seek=16 count=1 conv=notrunc status=none
start_server
make_token
start_agent src --disk a.img --disk b.img
ok "a machine of two disks appears" wait_for 30 machine_is_idle src
ok "its capture is ordered" order '{"kind":"capture","machine":"src","image":"web1","options":{"all_blocks":true}}'
ok "it ends" job_wait 120
is "$(field .state)" "done" "well" || diag "$BODY"
like "$(blkid -p b.img)" 'TYPE="btrfs"' "its second disk is a btrfs without partitions"
stop_agent src

is_marked() { [ "$(head -c 6 "$1")" = hoist: ] && grep -aqx "job $JOB" <(head -c 512 "$1") && grep -aqx "disk $2" <(head -c 512 "$1"); }
allocates() { [ "$(allocated "$1")" -ge "$2" ]; }
starts_nothing() { [ "$(xxd -s 446 -l 66 -p "$1" | tr -d '0\n')" = "" ] && ! head -c 131072 "$1" | grep -aq 'EFI PART' && [ -z "$(blkid -p "$1")" ]; }
one='{"kind":"restore","machine":"dst","image":"web1","end":"stay","disks":[{"source":"file:a.img","target":"file:t.img"}]'

registrations() { grep -c "machine_registered .*\"$1 at" "$TAP_TMP/server.log"; }
# The server knows the disks that it has now, not those of the agent before.
is_known_anew() { [ "$(registrations "$1")" -gt "$2" ] && machine_is_idle "$1"; }
# $1: size of the target. On return it is marked, some of it is written, and the agent killed.
begin()
{
	local before
	stop_agent dst
	rm -f t.img
	truncate -s "$1" t.img
	before=$(registrations dst)
	start_agent dst --workers 1 --disk t.img
	ok "a target appears" wait_for 30 is_known_anew dst "$before"
	ok "a restore is ordered" order_held dst "$one}"
	ok "it writes" valve "$(agent_pid dst)" 60 allocates t.img 15000000
	stop_agent dst KILL
	ok "the agent is killed in the middle" allocates t.img 15000000
	ok "the disk is marked" is_marked t.img 0
	ok "nothing starts from it" starts_nothing t.img
}

# ---- the same disk: it goes on
begin $((size + (5 << 20)))
start_agent dst --workers 1 --disk t.img
ok "it goes on by itself and ends" job_wait 120
is "$(field .state)" "done" "well" || diag "$BODY"
like "$(field '.log | join(" ")')" "going on restoring" "and says that it went on"
is "$(field '.report.disks[0] | "\(.kept_bytes > 12000000) \(.gpt)"')" "true moved" "what was written was kept, the GPT is moved" || diag "$BODY"
ok "its boot code is there" cmp -n 446 a.img t.img
like "$(sgdisk -v t.img)" "No problems found" "its GPT is right"
ok "and all the rest" cmp -i $((34 * 512)) -n $((size - 68 * 512)) a.img t.img

# ---- another disk, with something on it
begin $size
mv t.img begun.img
truncate -s $size t.img
fill t.img 0 $((30 << 20))
sum=$(sha256sum <t.img)
start_agent dst --workers 1 --disk t.img
ok "another disk in its place: the job ends" job_wait 60
is "$(field .state),$(field .code)" "failed,target_changed" "it is refused"
is "$(sha256sum <t.img)" "$sum" "and nothing was written to it"
like "$(field .message)" "its mark is gone.*order a restore anew.*Nothing was written to any target now" "it says so, and what to do"

# ---- the disk of another job's restore
begin $size
cp t.img mine.img
other=$(tr 0-9a-f 1-9a-f0 <<<"$JOB")
sed -i "s/^job $JOB$/job $other/" t.img
sum=$(sha256sum <t.img)
start_agent dst --workers 1 --disk t.img
ok "a disk with another job's mark: the job ends" job_wait 60
is "$(field .state),$(field .code)" "failed,target_changed" "it is refused"
is "$(sha256sum <t.img)" "$sum" "and nothing was written to it"
ok "the machine is there for another job" wait_for 30 machine_is_idle dst
is "$(api GET /v1/machines/dst && field '.disks[0].content | "\(.type) \(.label)"')" "unfinished_restore job $other" \
	"the inventory says what that disk is"
nok "it is not overwritten without its fingerprint" order "$one}"
ok "with it a new restore is ordered" order "$one,\"overwrite\":[\"$(fingerprint_of dst)\"]}"
ok "it ends" job_wait 120
is "$(field .state)" "done" "well" || diag "$BODY"
ok "and the disk is the image" cmp a.img t.img

# ---- the server knows that it had begun, and the mark was not yet written
begin $size
rm t.img
truncate -s $size t.img
start_agent dst --workers 1 --disk t.img
ok "a disk that is as ordered: the job goes on and ends" job_wait 120
is "$(field .state)" "done" "well" || diag "$BODY"
ok "and the disk is the image" cmp a.img t.img

# ---- all was written, and the agent did not come to say so
begin $size
cp a.img t.img
touch -d '2020-01-01' t.img
start_agent dst --workers 1 --disk t.img
ok "a disk that is whole: the job ends" job_wait 120
is "$(field .state),$(field '.report.disks[0] | .written_bytes + .zeroed_bytes + .fetched_bytes'),$(field '.report.roots[0].agree')" "done,0,true" \
	"well, it was compared with the image" || diag "$BODY"
is "$(stat -c %y t.img | cut -c1-10)" 2020-01-01 "and not written to"

# ---- one that was whole, and whose system was started since
begin $size
cp a.img t.img
fill t.img $((40 << 20)) 4096
sum=$(sha256sum <t.img)
start_agent dst --workers 1 --disk t.img
ok "a disk that was whole and has changed: the job ends" job_wait 120
is "$(field .state),$(field .code)" "failed,target_changed" "it is refused"
is "$(sha256sum <t.img)" "$sum" "and nothing was written to it"

# ---- the same, of a disk whose fingerprint is what it was before the restore, as where all that is on it is encrypted: an older version was on it
stop_agent dst
cp a.img t.img
fill t.img $((20 << 20)) 20000000
before=$(registrations dst)
start_agent dst --workers 1 --disk t.img
ok "a disk with an older version appears" wait_for 30 is_known_anew dst "$before"
print=$(fingerprint_of dst)
ok "a restore onto it is ordered" order_held dst "$one,\"overwrite\":[\"$print\"]}"
has_part() { cmp -s -i $((20 << 20)) -n 4000000 a.img t.img; }
ok "it writes" valve "$(agent_pid dst)" 60 has_part
stop_agent dst KILL
ok "it is marked" is_marked t.img 0
call "$(cat dst.state/session-secret)" POST "/v1/agent/jobs/$JOB/progress" -d '{"phase":"finish","released":[0]}'
is "$STATUS" 200 "its agent had leave to make it startable"
cp a.img t.img
fill t.img $((40 << 20)) 4096
sum=$(sha256sum <t.img)
start_agent dst --workers 1 --disk t.img
ok "it was whole and has changed since: the job ends" job_wait 120
is "$(field .state),$(field .code)" "failed,target_changed" "it is refused" || diag "$BODY"
is "$(sha256sum <t.img)" "$sum" "and nothing was written to it"
ok "the machine is there for another job" wait_for 30 machine_is_idle dst
is "$(fingerprint_of dst)" "$print" "though its fingerprint is the one that was ordered"

# ---- cancelled
begin $size
went=$(grep -c 'going on restoring' dst.log)
goes_on() { [ "$(grep -c 'going on restoring' dst.log)" -gt "$went" ]; }
start_agent dst --workers 1 --disk t.img
ok "it goes on" valve "$(agent_pid dst)" 60 goes_on
api POST "/v1/jobs/$JOB/cancel"
kill -CONT "$(agent_pid dst)"
ok "cancelled, the agent is there for another job" wait_for 30 machine_is_idle dst
ok "the disk is marked still" is_marked t.img 0
ok "and the machine's screen says what that means" wait_line 20 dst.log 'nothing starts from it'
stop_agent dst

# ---- what an earlier life left at the end of a larger disk
large=$((size + (3 << 20)))
begin $large
rm t.img
truncate -s $large t.img
fill t.img $size $((3 << 20))
dd if=t.img of=tail.img bs=1M skip=48 count=2 status=none
stop_agent dst
start_agent dst --workers 1 --disk t.img
ok "a disk with something at its end is another: the job ends" job_wait 60
is "$(field .code)" target_changed "it is refused"
ok "the machine is there for another job" wait_for 30 machine_is_idle dst
plain='{"kind":"restore","machine":"dst","image":"plain","end":"stay","disks":[{"source":"file:b.img","target":"file:t.img"}]'
plain=${plain/\"plain\"/\"web1\"}
ok "it is ordered anew" order "$plain,\"overwrite\":[\"$(fingerprint_of dst)\"]}"
ok "it ends" job_wait 120
is "$(field .state),$(field '.report.disks[0].cleared_bytes')" "done,1048576" "well, and its last MiB was cleared" || diag "$BODY"
ok "all of it" cmp -n 1048576 /dev/zero <(tail -c 1048576 t.img)
ok "and no more" cmp tail.img <(dd if=t.img bs=1M skip=48 count=2 status=none)
stop_agent dst

# ---- two disks: none is whole before all are
rm -f t.img u.img
truncate -s $size t.img
truncate -s 24M u.img
start_agent two --workers 1 --disk t.img --disk u.img
ok "a machine of two targets appears" wait_for 30 machine_is_idle two
both='{"kind":"restore","machine":"two","image":"web1","end":"stay","disks":[{"source":"file:a.img","target":"file:t.img"},{"source":"file:b.img","target":"file:u.img"}]}'
ok "a restore of both is ordered" order_held two "$both"
ok "the first is being written" valve "$(agent_pid two)" 60 allocates t.img 8000000
ok "the second is marked by then" is_marked u.img 1
ok "the second is being written" valve "$(agent_pid two)" 60 allocates u.img 8000000
is "$(blkid -p u.img)" "" "and no btrfs yet: a guest that has it for its root does not mount half of it"
ok "the first is written" cmp -i 131072 a.img t.img
ok "and marked" is_marked t.img 0
ok "as is the second" is_marked u.img 1
stop_agent two KILL
# The second became whole, and the first did not: as after a cut between the first sectors of two disks.
cp b.img u.img
fill t.img $((40 << 20)) 1000000
start_agent two --workers 1 --disk t.img --disk u.img
written() { [ "$(cmp -l -i 131072 a.img t.img | head -n 1)" = "" ]; }
ok "gone on with, the first is written" valve "$(agent_pid two)" 60 written
ok "the second, which was whole, is marked again" is_marked u.img 1
like "$(cat two.log)" "file:u.img' .* is whole; it is marked again until the others are" "and the machine says so"
stop_agent two KILL
cp b.img u.img
fill t.img $((40 << 20)) 1000000
start_agent two --workers 1 --disk t.img --disk u.img
ok "once more, to its end" job_wait 120
is "$(field .state),$(field '.report.disks[1] | .written_bytes + .zeroed_bytes + .fetched_bytes')" "done,0" "well, nothing was fetched for the second" || diag "$BODY"
ok "the first is the image" cmp a.img t.img
ok "and the second" cmp b.img u.img

# ---- one of them is not there any more
rm -f t.img u.img
truncate -s $size t.img
truncate -s 24M u.img
stop_agent two
before=$(registrations two)
start_agent two --workers 1 --disk t.img --disk u.img
ok "two new targets" wait_for 30 is_known_anew two "$before"
ok "a restore of both is ordered" order_held two "$both"
ok "the second is being written" valve "$(agent_pid two)" 60 allocates u.img 8000000
stop_agent two KILL
mv t.img x.img
start_agent two --workers 1 --disk-wait 0 --disk x.img --disk u.img
ok "without the first the job ends" job_wait 60
is "$(field .code)" disk_missing "since it is not there"
ok "the second is marked still" is_marked u.img 1
stop_agent two

# ---- a target that was locked, as where people are let in by SSH, and is refused
is_locked() { [ "$(blockdev --getro "$1")" = 1 ]; }
if [ "$(id -u)" = 0 ] && truncate -s $size l.img && loop=$(losetup -f --show l.img 2>/dev/null); then
	cleanup_fn losetup -d "$loop"
	cleanup_fn blockdev --setrw "$loop" # it would outlive the disk
	start_agent loop --workers 1 --disk "$loop"
	ok "a machine with a disk appears" wait_for 30 machine_is_idle loop
	ok "a restore is ordered" order_held loop \
		'{"kind":"restore","machine":"loop","image":"web1","end":"stay","disks":[{"source":"file:a.img","target":"file:'"${loop##*/}"'"}]}'
	ok "it writes" valve "$(agent_pid loop)" 60 allocates l.img 15000000
	stop_agent loop KILL
	fill "$loop" 0 1000000
	blockdev --setro "$loop"
	start_agent loop --workers 1 --disk "$loop"
	ok "another's data have come onto it: the job ends" job_wait 60
	is "$(field .state),$(field .code)" "failed,target_changed" "it is refused" || diag "$BODY"
	ok "and locked as before" wait_for 10 is_locked "$loop"
	stop_agent loop
else
	skip 6 "needs root and loop devices"
fi
done_testing
