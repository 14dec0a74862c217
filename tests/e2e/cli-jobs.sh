#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A migration by the operator's command alone: capture, show, verify, restore, remove; --wait and its exit status.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/agent.sh"
. "$(dirname "$0")/../lib/cli.sh"
requires curl jq xxd cmp script

cd "$TAP_TMP" || exit
start_server
# shellcheck disable=SC2034 # start_agent uses it
TOKEN=$("$HOIST" token create --uses 10 2>/dev/null)
truncate -s $((20 << 20)) a.img b.img
fill a.img 0 3000000
fill b.img $((9 << 20)) 3000000
start_agent src --disk a.img --disk b.img
ok "the machine appears" wait_for 30 machine_is_idle src

# ---- capture
cli capture src --image web1 --wait
is "$STATUS_CLI" 0 "capture --wait: status 0" || diag "$ERR"
like "$OUT" "^captured web1@1: 40.0 MiB of disks, 5.7 MiB of data, [0-9.]+ MiB sent$" "what was done, on standard output"
like "$ERR" "^job [0-9a-f]{16} \(it goes on" "the job at once, on standard error"
unlike "$ERR" $'[\r\033]' "lines, not a bar, where there is no terminal"
cli images
like "$OUT" "web1 +1 +1 +40.0 MiB  20.*  good" "images: the line"
cli image show web1
like "$OUT" " 1  20.*  src +2  40.0 MiB  5.7 MiB  good" "image show: the version"
cli image show web1@1
like "$OUT" "file:a.img  20.0 MiB +512  2.9 MiB +0 B  [0-9a-f]{16}" "image show: a disk of the version"
cli image show web1@1 --json
is "$(jq -r '"\(.image) \(.version) \(.disks | length)"' <<<"$OUT")" "web1 1 2" "image show --json: the manifest"
cli image show web1@2
is "$STATUS_CLI" 1 "a version that is not there"
cli capture src --image web1 --disk file:b --wait --json
is "$STATUS_CLI $(jq -r '"\(.state) \(.version) \(.sent)"' <<<"$OUT")" "0 done 2 0" "capture --wait --json: the job, of one disk, by the beginning of its id"
cli image show web1@2 --json
is "$(jq -r '[.disks[].disk] | join(" ")' <<<"$OUT")" "file:b.img" "only that disk"
job=$("$HOIST" jobs --json | jq -r '.jobs[0].id')
cli job show "$job"
like "$OUT" "state: +done.*image: +web1@2.*report: +hoist job report $job$" "job show: state, image, where the report is"
cli job report "$job"
like "$OUT" "image +web1@2.*by the source +([0-9a-f]{64}).*by the server +[0-9a-f]{64}.*agree +yes, both are the same" "job report: the roots"
like "$OUT" "Rates.*read +[0-9.]+ [KM]iB/s.*Versions.*agent +[^ ]+.*server +" "rates and versions"
cli job report "$job" --html
like "$OUT" "^<!DOCTYPE html>.*<td>web1@2</td>.*</html>$" "as HTML"
cli job report "$job" --json
is "$(jq -r '.roots[0].agree' <<<"$OUT")" true "as JSON"

# ---- with a terminal: a bar that is drawn over, and gone at the end
script -qec "stty cols 80; '$HOIST' capture src --image web1 --wait" "$TAP_TMP/tty" </dev/null >/dev/null 2>&1
like "$(cat "$TAP_TMP/tty")" $'\r.*\033\\[K' "a bar on a terminal"
like "$(cat "$TAP_TMP/tty")" $'\r\033\\[Kcaptured web1@3' "which is gone at the end"
TERM=dumb script -qec "'$HOIST' capture src --image dumb --wait" "$TAP_TMP/tty" </dev/null >/dev/null 2>&1
cli image rm dumb
like "$(cat "$TAP_TMP/tty")" "captured dumb@1" "a capture on a terminal that cannot draw a line again"
nok "is told in lines" grep -q $'\033' "$TAP_TMP/tty"

# ---- restore
truncate -s $((20 << 20)) x.img y.img
fill y.img 5000 5000
start_agent dst --disk x.img --disk y.img
ok "the target appears" wait_for 30 machine_is_idle dst
cli restore web1@1 dst --end stay
is "$STATUS_CLI:$OUT" "1:" "restore onto a disk that holds data is refused"
like "$ERR" "'file:y.img' holds data.*repeat the command with --overwrite and that fingerprint" "with what to do"
nok "nothing was written" cmp -s a.img x.img
fingerprint=$("$HOIST" machine show dst --json | jq -r '.disks[1].fingerprint')
cli restore web1@1 dst --end stay --overwrite "${fingerprint:0:15}"
is "$STATUS_CLI" 2 "15 digits of a fingerprint are too few"
cli restore web1@1 dst --end stay --overwrite "$(tr 0-9a-f 1-9a-f0 <<<"$fingerprint")"
is "$STATUS_CLI" 1 "another fingerprint does not help"
cli restore web1@1 dst --end stay --overwrite "${fingerprint:0:16}" --wait
is "$STATUS_CLI" 0 "with the right one it is done" || diag "$ERR"
like "$OUT" "^restored web1@1 onto dst and verified it: " "and says so"
ok "disk one is the same" cmp a.img x.img
ok "disk two is the same" cmp b.img y.img
cli restore web1@2 dst --disk file:b=file:x --end stay --wait
is "$STATUS_CLI" 1 "one disk onto another that now holds data: refused"
fingerprint=$("$HOIST" machine show dst --json | jq -r '.disks[0].fingerprint')
cli restore web1@2 dst --disk file:b=file:x --overwrite "$fingerprint" --end stay --wait
is "$STATUS_CLI" 0 "with its fingerprint: done" || diag "$ERR"
ok "disk one is the image's other one" cmp b.img x.img
cli restore web1 dst --disk file:b
is "$STATUS_CLI" 2 "--disk without '=': wrong usage"

# ---- the server goes away while somebody waits
truncate -s $((400 << 20)) big.img
fill big.img 0 $((60 << 20))
start_agent big --disk big.img
ok "a machine with more to send" wait_for 30 machine_is_idle big
"$HOIST" capture big --image big --wait >wait.out 2>wait.err &
waiter=$!
wait_line 60 wait.err '^capture' >/dev/null
stop_server KILL
ok "the one who waits says that the server is away" wait_line 30 wait.err 'trying again'
start_server --listen "${URL#https://}"
wait "$waiter"
is "$?" 0 "and comes back to the job when the server does"
like "$(cat wait.out)" "^captured big@1: " "which it saw end"

# ---- a job that is cancelled while somebody waits: status 1
stop_agent big
rm wait.err # what it said before is no answer
"$HOIST" capture big --image big --wait >wait.out 2>wait.err &
waiter=$!
ok "it waits for the machine" wait_line 30 wait.err '^waiting'
job=$("$HOIST" jobs --machine big --json | jq -r '.jobs[0].id')
cli job cancel "$job"
wait "$waiter"
is "$?:$(cat wait.out)" "1:" "cancelled by another: status 1"
like "$(cat wait.err)" "hoist: capture cancelled: " "and the sentence"

# ---- verify, rm, gc
cli image verify web1@1 --wait
is "$STATUS_CLI" 0 "image verify: good" || diag "$ERR"
cmp_both() { cmp a.img "$1" && cmp b.img "$2"; }
# ---- nobody orders anything: the token does
# shellcheck disable=SC2034 # start_agent uses it
TOKEN=$("$HOIST" token create --job restore=web1@1 2>/dev/null)
truncate -s $((20 << 20)) c.img d.img
start_agent self --disk c.img --disk d.img
self_is() { [ "$("$HOIST" jobs --machine self --json | jq -r '.jobs[] | "\(.kind) \(.state)"')" = "$1" ]; }
ok "a machine that a token with a job lets in restores by itself" wait_for 60 self_is "restore done"
ok "all of it" cmp_both c.img d.img
stop_agent self

cli image rm web1
is "$STATUS_CLI:$OUT" "1:" "an image of several versions is not removed just so"
like "$ERR" "image 'web1' has 3 versions; nothing was removed" "and says why"
cli image rm web1@2
is "$STATUS_CLI" 0 "one version is"
cli image show web1 --json
is "$(jq -r '[.versions[].version] | sort | join(" ")' <<<"$OUT")" "1 3" "only that one"
ok "all of it with --all" cli image rm web1 --all
cli images
unlike "$OUT" web1 "it is gone"
before=$("$HOIST" server info --json | jq .store.bytes)
cli gc --wait
is "$STATUS_CLI" 0 "gc --wait" || diag "$ERR"
ok "gives room back" test "$("$HOIST" server info --json | jq .store.bytes)" -lt "$before"
began=$SECONDS packs=$("$HOIST" server info --json | jq .store.packs)
cli image verify big --wait --json
seq=$(jq .seq <<<"$OUT")
ok "a verify of $packs packs tells who follows it twice a second ($seq)" test "$seq" -le $((8 + 2 * (SECONDS - began)))
# damage: a byte of a pack
pack=$(find "$DATA/store/packs" -type f -size +100k | head -n 1)
printf x | dd of="$pack" bs=1 seek=50000 conv=notrunc status=none
cli image verify big --wait
is "$STATUS_CLI" 1 "image verify of a damaged image: status 1"
like "$ERR" "hoist: verify failed: .*damage" "with the sentence"
id=${pack##*/}
like "$ERR" $'\n  .*'"${id:0:16}" "and what is damaged" || diag "$ERR"
cli images
like "$OUT" "big .* damaged" "images says it, too"
done_testing
