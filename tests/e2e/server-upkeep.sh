#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2153
# verify finds damage and says so, a restore does not give it out, a new capture mends it; gc gives room back and nothing else.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
requires curl jq xxd

send_disk() # DIR: a capture of what wire cut has made, sent whole; lacking packs only
{
	local pack
	job=$1
	for pack in "$2"/packs/*; do
		call "$SECRET" PUT "/v1/agent/jobs/$job/packs/${pack##*.}" -T "$pack"
		[ "$STATUS" = 204 ] || return 1
	done
	call "$SECRET" PUT "/v1/agent/jobs/$job/disks/0/windows" -T "$2/windows"
	call "$SECRET" POST "/v1/agent/jobs/$job/disks/0/finish" -d "{\"root\":\"$(cat "$2/root")\",\"sector_size\":512,\"physical_sector_size\":512}"
	[ "$(field '.missing | length')" = 0 ] || return 1
	call "$SECRET" POST "/v1/agent/jobs/$job/done" -d "$(done_json file:a "$(cat "$2/root")")"
	[ "$STATUS" = 200 ]
}
capture() # IMAGE DIR
{
	api POST /v1/jobs -d "{\"kind\":\"capture\",\"machine\":\"m1\",\"image\":\"$1\"}"
	send_disk "$(field .id)" "$2"
}
ended() { api GET "/v1/jobs/$job?seq=${seq:-0}&wait=5"; seq=$(field .seq); [[ $(field .state) =~ done|failed|cancelled ]]; }
# upkeep JSON: does such a job, to its end
upkeep()
{
	api POST /v1/jobs -d "$1"
	job=$(field .id) seq=0
	wait_for 60 ended
}
packs() { api GET /v1/server; field .store.packs; }

size=8388608
for n in 1 2; do
	head -c 3000000 /dev/urandom >"$TAP_TMP/disk$n"
	truncate -s $size "$TAP_TMP/disk$n"
	"$WIRE" cut "$TAP_TMP/disk$n" "$TAP_TMP/cut$n"
done
start_server
make_machine m1 "{\"disks\":[$(disk_json file:a $size)]}"
ok "image one" capture one "$TAP_TMP/cut1"
ok "image two" capture two "$TAP_TMP/cut2"
all=$(packs)

upkeep '{"kind":"verify","image":"one"}'
is "$(field '[.state, .version, .report.damaged, .code] | map(tostring) | join(",")')" "done,1,0,null" "nothing is damaged"
ok "and all of it was read" test "$(field .done)" -ge 3000000
is "$(field '.report | .rates.read > 0, (.server.version | type), (.server.ended | type), (.roots[0].server | length)')" \
	$'true\nstring\nstring\n64' "the report has rate, version, time and root"
upkeep '{"kind":"gc"}'
is "$(field '[.state, .report.packs_removed, .machine] | map(tostring) | join(",")') $(packs)" "done,0,null $all" "there is nothing to be cleared away"
is "$(field '.report | (.rates.read | type), (.server.version | type)')" $'number\nstring' "rate and version are in its report"
gc=$job
upkeep '{"kind":"verify","image":"two"}'
api GET /v1/audit
is "$(field '[.audit[] | select(.action == "job.create") | .object] | .[0, -2, -1] | sub("^[0-9a-f]{16}"; "ID")')" $'ID: capture one m1\nID: gc\nID: verify two' "the audit log tells what was ordered, without a machine as well"
is "$(field '[.audit[].object] | .[-2, -1] | .[:16]')" "$gc"$'\n'"$job" "and which job it is"
api POST /v1/jobs -d '{"kind":"verify","image":"none"}'
is "$STATUS $(error_code)" "404 not_found" "an image that is not there"
api POST /v1/jobs -d '{"kind":"verify","image":"one","version":2}'
is "$STATUS $(error_code)" "404 not_found" "a version that is not there"

# ---- damage
pack=$(find "$TAP_TMP/cut1/packs" -name '*.chunks.*' | sort | head -n 1)
id=${pack##*.}
file=$DATA/store/packs/${id:0:2}/$id
printf X | dd of="$file" bs=1 seek=5000 conv=notrunc status=none
api POST /v1/jobs -d "{\"kind\":\"restore\",\"machine\":\"m1\",\"image\":\"one\"}"
job=$(field .id)
call "$SECRET" GET "/v1/agent/jobs/$job/disks/0/nodes?first=0&count=2"
cp "$TAP_TMP/body" "$TAP_TMP/nodes"
"$WIRE" want "$TAP_TMP/nodes" 0 "$TAP_TMP/want"
call "$SECRET" POST "/v1/agent/jobs/$job/disks/0/chunks" --data-binary "@$TAP_TMP/want"
is "$STATUS $(error_code)" "500 store_damaged" "a restore is given no damaged pack"
api POST "/v1/jobs/$job/cancel"
upkeep '{"kind":"verify","image":"one"}'
is "$(field '[.state, .code] | join(",")')" "failed,store_damaged" "verify finds it"
like "$(field .report.damage)" "$id|chunk" "and says what"
ok "and how much" test "$(field .report.damaged)" -ge 1
api GET /v1/images
is "$(field '[.images[] | .name, .damaged] | map(tostring) | join(",")')" "one,true,two,false" "the image is marked, the other one is not"
api GET /v1/images/one
is "$(field '.versions[0].damaged')" true "and its version"
api POST /v1/jobs -d '{"kind":"restore","machine":"m1","image":"one"}'
is "$STATUS $(error_code)" "500 store_damaged" "no restore of it is begun, which could not end well"
like "$(field .error.message)" "Version 1 of image 'one' is damaged" "and why is said"
ok "a new capture sends what is gone" capture one "$TAP_TMP/cut1"
upkeep '{"kind":"verify","image":"one"}'
is "$(field '[.state, .version] | map(tostring) | join(",")')" "done,2" "and is whole"
upkeep '{"kind":"verify","image":"one","version":1}'
is "$(field .state)" "done" "the old version is, too, since it is the same content"
api GET /v1/images/one
is "$(field '.damaged')" false "and no longer marked"
api POST /v1/jobs -d '{"kind":"restore","machine":"m1","image":"one","version":1}'
is "$STATUS" 201 "it can be restored again"
api POST "/v1/jobs/$(field .id)/cancel"

# ---- gc
api DELETE /v1/images/two
is "$STATUS" 204 "an image is removed"
is "$(packs)" "$all" "which frees nothing yet"
upkeep '{"kind":"gc"}'
is "$(field .state)" "done" "gc"
ok "packs were removed" test "$(field .report.packs_removed)" -ge 3
ok "bytes were freed" test "$(field .report.bytes_freed)" -ge 2900000
upkeep '{"kind":"verify","image":"one","version":2}'
is "$(field .state)" "done" "the other image is whole"
upkeep '{"kind":"gc"}'
is "$(field .report.packs_removed)" 0 "nothing is left to be removed"

# ---- a capture that runs is safe from gc; so is one whose disk is sealed
api POST /v1/jobs -d '{"kind":"capture","machine":"m1","image":"three"}'
capture_job=$(field .id)
for pack in "$TAP_TMP/cut2"/packs/*; do
	call "$SECRET" PUT "/v1/agent/jobs/$capture_job/packs/${pack##*.}" -T "$pack"
done
call "$SECRET" PUT "/v1/agent/jobs/$capture_job/disks/0/windows" -T "$TAP_TMP/cut2/windows"
upkeep '{"kind":"gc"}'
call "$SECRET" POST "/v1/agent/jobs/$capture_job/disks/0/finish" -d "{\"root\":\"$(cat "$TAP_TMP/cut2/root")\",\"sector_size\":512,\"physical_sector_size\":512}"
is "$STATUS $(field .missing)" "200 []" "gc takes nothing from a capture that runs"
upkeep '{"kind":"gc"}'
call "$SECRET" POST "/v1/agent/jobs/$capture_job/done" -d '{}'
is "$STATUS $(error_code)" "400 bad_request" "a capture whose agent does not say what it has read is not done"
call "$SECRET" POST "/v1/agent/jobs/$capture_job/done" -d "$(done_json file:a "$(cat "$TAP_TMP/cut2/root")")"
is "$STATUS" 200 "nor from a disk that is sealed"
upkeep '{"kind":"verify","image":"three"}'
is "$(field .state)" "done" "its image is whole"

# ---- a manifest that is lost
rm "$(find "$DATA/store/manifests" -type f | head -n 1)"
damaged() { upkeep '{"kind":"verify","image":"one","version":1}'; a=$(field .state); upkeep '{"kind":"verify","image":"one","version":2}'; b=$(field .state); upkeep '{"kind":"verify","image":"three"}'; echo "$a $b $(field .state)" | tr ' ' '\n' | grep -c failed; }
is "$(damaged)" 1 "a lost manifest is damage, of one version"

# ---- waiting upkeep outlives the server, and can be cancelled
stop_server KILL
start_server
api POST /v1/jobs -d '{"kind":"verify","image":"three"}'
job=$(field .id) seq=0
api POST "/v1/jobs/$job/cancel"
like "$STATUS" '^(200|409)$' "upkeep can be cancelled"
ok "and ends" wait_for 20 ended
done_testing
