#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A disk with places that cannot be read, by real reads (FUSE, O_DIRECT, io_uring): what is lost is known to the byte, and everywhere said.
# shellcheck disable=SC2034,SC2154
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/agent.sh"
. "$(dirname "$0")/../lib/cli.sh"
. "$(dirname "$0")/../lib/faulty.sh"
requires curl jq xxd cmp fusermount3

cd "$TAP_TMP" || exit

truncate -s 96M src.img
fill src.img 0 70000000
truncate -s 96M dst.img
if ! faulty src || ! faulty dst; then bail_out "no disks with faults: $(cat src.failed)"; fi
start_server
make_token
start_agent src --disk src/disk,name=s
wait_for 30 machine_is_idle src || bail_out "the machine does not appear"

# ---- bad places: a sector, a run over the edge of a window, 64 KiB, the last sector in use
bad=(409600 512 12581888 2048 41943040 65536 69999616 512)
lost=0
cp src.img want.img
for ((i = 0; i < ${#bad[@]}; i += 2)); do
	echo "bad ${bad[i]} ${bad[i + 1]}" >>src.faults
	dd if=/dev/zero of=want.img bs=512 seek=$((bad[i] / 512)) count=$((bad[i + 1] / 512)) conv=notrunc status=none
	lost=$((lost + bad[i + 1]))
done
cli capture src --image sick --rescue-retries 2 --wait
is "$STATUS_CLI" 3 "capture --wait: a status of its own" || diag "$ERR"
like "$OUT" "^captured sick@1: .*; $lost bytes could not be read and are zeros$" "and the number"
like "$ERR" "unreadable: file:s: 512 bytes at 409600" "with the places"
cli jobs
like "$OUT" "capture +done with $lost unreadable bytes" "jobs: another word than done"
JOB=$("$HOIST" jobs --json | jq -r '.jobs[0].id')
api GET "/v1/jobs/$JOB"
is "$(field '[.state, .result, .unreadable, .report.disks[0].unreadable_bytes, .report.disks[0].unreadable_extents] | join(" ")')" \
	"done done_with_unreadable $lost $lost 4" "API: the result and the numbers" || diag "$BODY"
is "$(field '[.report.disks[0].unreadable[] | .offset, .length] | join(" ")')" "${bad[*]}" "the report has the very places"
is "$(field '.report.disks[0].io_uring_bytes > 50000000')" true "most of it was read by io_uring" || note "no io_uring here"
cli job show "$JOB"
like "$OUT" "state: +done with $lost unreadable bytes" "job show: the word"
like "$OUT" "lost: +file:s: 2048 bytes at 12581888" "and the places"
cli images
like "$OUT" $'\n'"sick +1 .* $lost unreadable bytes$" "images: the number, in place of good"
cli image show sick
like "$OUT" $'\n'" +1 .* $lost unreadable bytes" "image show: the same"
api GET /v1/images
is "$(field '.images[] | [.name, .unreadable_bytes, .damaged] | join(" ")')" "sick $lost false" "API: images"
api GET /v1/images/sick
is "$(field '.versions[0].unreadable_bytes')" "$lost" "API: versions"
cli image show sick@1
like "$OUT" "Could not be read, and are zeros:"$'\n'".*file:s: 512 bytes at 409600" "and the places of a version"
like "$(cat src.log)" "capture: done with $lost unreadable bytes" "the machine's screen says it"
api GET /v1/events
is "$(field '[.events[] | select(.event == "job_done_with_unreadable")] | length')" 1 "so do the events"
cli image verify sick --wait
is "$STATUS_CLI" 0 "the image is whole for what it is"

# ---- restored: zeros where nothing could be read, said before and after
start_agent dst --disk dst/disk,name=d
ok "a target appears" wait_for 30 machine_is_idle dst
cli restore sick dst --end stay --wait
is "$STATUS_CLI" 3 "restore --wait: the same status" || diag "$ERR"
like "$ERR" "warning: $lost bytes of sick@1 could not be read when it was captured; they are restored as zeros" "said before"
like "$OUT" "^restored sick@1 .*verified it: .*; $lost bytes could not be read and are zeros$" "and after"
ok "the target is the source with zeros for what was lost" cmp dst.img want.img
like "$(cat dst.log)" "warning: $lost bytes in 4 places of disk 'file:s' could not be read when it was captured, and are zeros" \
	"the target's screen says so"
api GET /v1/events
like "$(field '[.events[] | select(.event == "job_done_with_unreadable").text] | last')" "^restore of sick, version 1: $lost bytes" "and the events"
is "$(field '[.events[] | select(.event == "job_done" and (.text | startswith("restore")))] | length')" 0 "none of which calls it done"

# ---- the disk recovers: another capture tries those places again, and sends little more than them
: >src.faults
cli capture src --image sick --wait --json
is "$STATUS_CLI $(jq -r '[.result, .unreadable] | join(" ")' <<<"$OUT")" "0 done 0" "healed: another capture is done"
is "$(jq -r '.sent < 2000000' <<<"$OUT")" true "and sends what was lacking"
cli images
like "$OUT" $'\n'"sick +2 .* good$" "the image's latest version is good"

# ---- slow: the limit holds
echo 'bad 20971520 8388608' >src.faults
echo 'slow 50' >>src.faults
begin=$SECONDS
cli capture src --image slow --rescue-time 3s --rescue-area-time 2s --rescue-retries 0 --wait --json
is "$STATUS_CLI" 3 "a region that fails slowly" || diag "$ERR"
is "$(jq -r '.unreadable >= 8388608 and .unreadable <= 12582912' <<<"$OUT")" true "is given up, little more than that" || diag "$OUT"
ok "in time" [ $((SECONDS - begin)) -lt 60 ]

# ---- it dies in the middle
: >src.faults
fill src.img 0 70000000
packs_at_least() { [ "$(find "$DATA/store/packs" -type f | wc -l)" -ge "$1" ]; }
have=$(find "$DATA/store/packs" -type f | wc -l)
stop_agent src
start_agent src --workers 1 --disk src/disk,name=s
ok "the machine comes back" wait_for 30 machine_is_idle src
ok "a capture is ordered" order_held src '{"kind":"capture","machine":"src","image":"dying"}'
ok "it is at work" valve "$(agent_pid src)" 60 packs_at_least $((have + 5))
echo dead >src.faults
kill -CONT "$(agent_pid src)"
ok "the disk died: the job ends" job_wait 120
is "$(field '.state + " " + .code + " " + .result')" "failed disk_gone failed" "as failed" || diag "$BODY"
is "$(field '.message | test("does not answer any more")')" true "which says why" || diag "$BODY"
api GET /v1/images/dying
is "$STATUS" 404 "there is no image of bad sectors"
: >src.faults
ok "it lives again" wait_for 30 machine_is_idle src
cli capture src --image dying --wait --json
is "$STATUS_CLI" 0 "another capture goes on" || diag "$ERR"
is "$(jq -r '.sent < .data - 4000000' <<<"$OUT")" true "with what is there" || diag "$OUT"

# ---- nothing can be read
ok "idle" wait_for 30 machine_is_idle src
echo dead >src.faults
cli capture src --image none --wait
is "$STATUS_CLI" 1 "a disk of which nothing can be read is no image"
like "$ERR" "nothing of disk .* can be read|does not answer any more" "which says why"

# ---- the target cannot be written to
echo 'nowrite 33554432 4096' >dst.faults
dd if=/dev/urandom of=dst.img bs=1M seek=32 count=4 conv=notrunc status=none
ok "the target is idle" wait_for 30 machine_is_idle dst
stop_agent dst
start_agent dst --disk dst/disk,name=d
ok "it comes back" wait_for 30 machine_is_idle dst
cli restore dying dst --end stay --overwrite "$(fingerprint_of dst)" --wait
is "$STATUS_CLI" 1 "a target that cannot be written to fails" || diag "$OUT"
like "$ERR" "write '.*' at byte 33554432: Input/output error" "with the place" || diag "$ERR"
JOB=$("$HOIST" jobs --json | jq -r '.jobs[0].id')
api GET "/v1/jobs/$JOB"
is "$(field .code)" write_error "and its code"

# ---- the target reads otherwise than it was written
echo 'bend 50000000' >dst.faults
ok "the target is idle" wait_for 30 machine_is_idle dst
stop_agent dst
start_agent dst --disk dst/disk,name=d
ok "it comes back" wait_for 30 machine_is_idle dst
cli restore dying dst --end stay --overwrite "$(fingerprint_of dst)" --wait
is "$STATUS_CLI" 1 "a target that lies fails" || diag "$OUT"
like "$ERR" "does not hold what was written to it: it differs at byte 499" \
	"with the place" || diag "$ERR"
JOB=$("$HOIST" jobs --json | jq -r '.jobs[0].id')
api GET "/v1/jobs/$JOB"
is "$(field '[.state, .code] | join(" ")')" "failed verify_failed" "as what it is"
is "$(field '.report.roots[0] | [.source == .server, .target, .agree] | map(tostring) | join(" ")')" "true null null" \
	"its report has the image's root, and none of the target" || diag "$BODY"
cli job report "$JOB"
like "$OUT" "because +verify_failed: .*differs at byte.*read again +-.*agree +not known: one is lacking" "so has the page" || diag "$OUT"
: >dst.faults
ok "the target is idle" wait_for 30 machine_is_idle dst
stop_agent dst
start_agent dst --disk dst/disk,name=d
ok "it tells the truth again" wait_for 30 machine_is_idle dst
cli restore dying dst --end stay --overwrite "$(fingerprint_of dst)" --wait --json
is "$STATUS_CLI $(jq -r '.report.roots[0] | [.source == .server, .target == .server, .agree] | map(tostring) | join(" ")' <<<"$OUT")" \
	"0 true true true" "then all three roots are the same" || diag "$ERR"
done_testing
