#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The whole way of an image by the wire alone: capture, a second capture that sends nothing, restore, with the server killed in between.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
requires curl jq xxd sha256sum

size=$((9 * 1024 * 1024 + 512)) # a short third window, and it is no multiple of a block
disk=$TAP_TMP/disk.img
head -c 3000000 /dev/urandom >"$disk"
truncate -s "$size" "$disk"
printf 'the end' | dd of="$disk" bs=1 seek=$((size - 7)) conv=notrunc status=none
"$WIRE" cut "$disk" "$TAP_TMP/cut" || bail_out "wire cut"
root=$(cat "$TAP_TMP/cut/root")

# bits FILE: how many bits are set in it.
bits() { xxd -b -c1 "$1" | cut -d' ' -f2 | tr -cd 1 | wc -c; }
ids() { echo $(($(stat -c %s "$1") / 32)); }
job_state() { api GET "/v1/jobs/$job" && field .state; }
send_packs()
{
	local pack
	for pack in "$TAP_TMP"/cut/packs/*; do
		call "$SECRET" PUT "/v1/agent/jobs/$job/packs/${pack##*.}" -T "$pack"
		[ "$STATUS" = 204 ] || { diag "$pack: $STATUS $BODY"; return 1; }
	done
}
post() { call "$SECRET" POST "/v1/agent/jobs/$job/$1" --data-binary "@$2"; }
windows() { call "$SECRET" PUT "/v1/agent/jobs/$job/disks/0/windows" -T "$1"; }
# finish [ROOT]
finish()
{
	call "$SECRET" POST "/v1/agent/jobs/$job/disks/0/finish" \
		-d "{\"root\":\"${1:-$root}\",\"sector_size\":512,\"physical_sector_size\":512,\"unreadable\":[]}"
}
# shows FILTER...: of $BODY, several fields with commas between
shows() { field "[$1] | map(tostring) | join(\",\")"; }

start_server
make_machine src "{\"memory\":1,\"disks\":[$(disk_json file:a "$size")]}"
api POST /v1/jobs -d '{"kind":"capture","machine":"src","image":"web1","options":{"level":3}}'
is "$STATUS $(field .state)" "201 waiting" "a capture is ordered"
job=$(field .id)
call "$SECRET" POST /v1/agent/poll -d '{"state":"idle","job":null}'
is "$(shows '.order | .job, .kind, .disks[0].disk, .disks[0].size, .options.level, .end')" \
	"$job,capture,file:a,$size,3,stay" "the machine gets its order"

post "lack?kind=chunk" "$TAP_TMP/cut/chunks.ids"
is "$STATUS $(bits "$TAP_TMP/body")" "200 $(ids "$TAP_TMP/cut/chunks.ids")" "at first every chunk is lacking"
is "$(job_state)" running "the first word about it makes the job run"
node_pack=$(find "$TAP_TMP/cut/packs" -name '*.nodes.*' | sort | head -n 1)
call "$SECRET" PUT "/v1/agent/jobs/$job/packs/${node_pack##*.}" -T "$node_pack"
is "$STATUS $(error_code)" "409 incomplete" "nodes before their chunks are refused"
windows "$TAP_TMP/cut/windows"
is "$STATUS $(error_code)" "409 incomplete" "windows before their nodes are refused"
call "$SECRET" PUT "/v1/agent/jobs/$job/packs/$root" -T "$node_pack"
is "$STATUS $(error_code)" "400 bad_pack" "a pack under another name is refused"

ok "all packs are taken" send_packs
ok "and once more" send_packs
post "lack?kind=chunk" "$TAP_TMP/cut/chunks.ids"
is "$(bits "$TAP_TMP/body")" 0 "no chunk is lacking any more"
stop_server KILL
start_server
post "lack?kind=node" "$TAP_TMP/cut/nodes.ids"
is "$STATUS $(bits "$TAP_TMP/body")" "200 0" "after a kill of the server: the session holds, and nothing was lost"

finish
is "$STATUS $(field '.missing | tojson') $(field .root)" "200 [[0,3]] null" "finish names the windows that are missing"
post "done" <(echo '{"report":{}}')
is "$STATUS $(error_code)" "409 incomplete" "done before finish is refused"
head -c 44 "$TAP_TMP/cut/windows" >"$TAP_TMP/one"
windows "$TAP_TMP/one"
finish
is "$(field '.missing | tojson')" "[[1,2]]" "one window is known"
windows "$TAP_TMP/cut/windows"
is "$STATUS" 204 "all windows are known"
finish "$(tr 0-9a-f 1-9a-f0 <<<"$root")"
is "$STATUS $(error_code)" "409 conflict" "another root than the server's own is refused"
finish
is "$STATUS $(field '.missing | tojson') $(field .root)" "200 [] $root" "the disk is sealed"
finish
is "$STATUS $(field .root)" "200 $root" "finish can be repeated"
post progress <(echo '{"phase":"finish","done":9,"total":9,"data":8,"sent":7,"log":["one line"]}')
is "$STATUS $(field .cancel)" "200 false" "progress is taken"
post "done" <(done_json file:a "$root" | jq '.report.reads = 7')
is "$STATUS" 200 "done commits the version"
post "done" <(done_json file:a "$root" | jq '.report.reads = 7')
is "$STATUS" 200 "done can be repeated"
api GET "/v1/jobs/$job"
is "$(shows '.state, .version, .done, .log[0], .report.reads, (.report.server.seconds | type)')" \
	"done,1,9,one line,7,number" "the job is done, with its version, numbers, log and report"
nok "the index in the making is gone" test -e "$DATA/jobs/$job.0.partial"
api GET /v1/images/web1
is "$(shows '.name, .latest, (.versions | length), .versions[0].machine_name, .versions[0].disks[0].root')" \
	"web1,1,1,src,$root" "the image is listed"
api GET /v1/images/web1/versions/1
is "$(shows '.hoist, .image, .version, .job, .inventory.memory, .disks[0].size, .report.reads')" \
	"1,web1,1,$job,1,$size,7" "the manifest holds what it should"
call "$SECRET" GET "/v1/agent/jobs/$job/disks/0/nodes?first=0&count=1"
is "$STATUS $(error_code)" "409 conflict" "an agent reaches nothing of a job that has ended"

# ---- again, unchanged: no pack has to be sent
api POST /v1/jobs -d '{"kind":"capture","machine":"src","image":"web1","disks":["file:a"]}'
job=$(field .id)
post "lack?kind=node" "$TAP_TMP/cut/nodes.ids"
is "$(bits "$TAP_TMP/body")" 0 "second capture: every window is known"
windows "$TAP_TMP/cut/windows"
finish
post "done" <(done_json file:a "$root")
is "$STATUS" 200 "second capture: committed without a pack"
api GET /v1/images
is "$(shows '.images[0] | .name, .latest, .versions, .size')" "web1,2,2,$size" "two versions"

# ---- restore
fp=$(printf 'f%.0s' {1..64})
make_machine dst "{\"disks\":[$(disk_json file:b $((size + 512))),$(disk_json file:small $((size - 512))),
	$(disk_json file:full $((size + 4096)) "{\"empty\":false,\"fingerprint\":\"$fp\"}"),$(disk_json file:ro $((size + 512)) '{"read_only":true}'),
	$(disk_json file:4k "$((size + 3584))" '{"sector_size":4096}'),$(disk_json file:bad $((size + 512)) '{"fingerprint":null,"error":"it could not be read"}')]}"
order()
{
	api POST /v1/jobs -d "{\"kind\":\"restore\",\"machine\":\"dst\",\"image\":\"web1\",\"disks\":[{\"source\":\"file:a\",\"target\":\"$1\"}]${2-}}"
}
order file:small
is "$STATUS $(error_code)" "409 target_too_small" "a target that is too small is refused"
like "$(field .error.message)" " $size are needed" "with the bytes needed"
order file:full
is "$STATUS $(error_code)" "409 target_holds_data" "one that holds data is refused"
like "$(field .error.message)" "$fp" "with its fingerprint"
order file:full ",\"overwrite\":[\"$(printf 'e%.0s' {1..64})\"]"
is "$STATUS $(error_code)" "409 target_holds_data" "another fingerprint does not help"
order file:ro
is "$STATUS $(error_code)" "409 write_error" "a read-only one is refused"
order file:4k
is "$STATUS $(error_code)" "409 sector_size" "another sector size is refused"
order file:bad
is "$STATUS $(error_code)" "409 read_error" "one that could not be read is refused"
order file:none
is "$STATUS $(error_code)" "409 disk_missing" "one that is not there is refused"
order file:b ',"version":9'
is "$STATUS $(error_code)" "404 not_found" "a version that is not there"
api POST /v1/jobs -d '{"kind":"restore","machine":"dst","image":"web1"}'
is "$STATUS $(error_code)" "409 disk_missing" "without pairs the numbers of disks must be equal"
api GET /v1/jobs?machine=dst
is "$(field '.jobs | length')" 0 "what was refused has made no job"
order file:full ",\"overwrite\":[\"$fp\"]"
is "$STATUS" 201 "with the fingerprint it may be overwritten"
job=$(field .id)
order file:b
is "$STATUS $(error_code)" "409 conflict" "one job at a time"
api POST "/v1/jobs/$job/cancel"
is "$STATUS $(field .state)" "200 cancelled" "cancelled"
for query in versions=1 version version= 'version=1&version=2' 'version=1&all'; do
	api DELETE "/v1/images/web1?$query"
	like "$STATUS" '^40[04]$' "nothing is removed by ?$query"
done
api DELETE '/v1/images/web1?version=1'
is "$STATUS" 204 "a version can be removed"
order file:b ',"end":"poweroff"'
job=$(field .id)
api DELETE /v1/images/web1
is "$STATUS $(error_code)" "409 conflict" "but none that a job uses"

call "$SECRET" POST /v1/agent/poll -d '{"state":"idle","job":null}'
is "$(shows '.order | .kind, .end, .disks[0].disk, .disks[0].overwrite, .disks[0].begun, .disks[0].source.root, .disks[0].source.size')" \
	"restore,poweroff,file:b,false,false,$root,$size" "the order of a restore"
post progress <(echo '{"phase":"restore","disk":0,"done":0,"total":1,"begun":[0]}')
is "$STATUS" 200 "begun is taken"
stop_server KILL
start_server
call "$SECRET" POST /v1/agent/poll -d '{"state":"idle"}'
is "$(field .order.disks[0].begun)" true "and was durable when it was answered"
call "$SECRET" GET "/v1/agent/jobs/$job/disks/0/nodes?first=0&count=3"
is "$STATUS" 200 "nodes are given"
cp "$TAP_TMP/body" "$TAP_TMP/nodes"
call "$SECRET" GET "/v1/agent/jobs/$job/disks/0/nodes?first=1&count=3"
is "$STATUS $(error_code)" "400 bad_request" "but not beyond the end"
"$WIRE" want "$TAP_TMP/nodes" 0 "$TAP_TMP/want"
post disks/0/chunks "$TAP_TMP/want"
is "$STATUS" 200 "chunks are given"
is "$("$WIRE" join "$TAP_TMP/nodes" "$TAP_TMP/body" "$TAP_TMP/restored")" "$(ids "$TAP_TMP/cut/chunks.ids")" "each once"
ok "and make up the disk" cmp "$disk" "$TAP_TMP/restored"
{ head -c 8 /dev/zero; tail -c 32 "$TAP_TMP/cut/chunks.ids"; } >"$TAP_TMP/alien"
post disks/0/chunks "$TAP_TMP/alien"
is "$STATUS $(error_code)" "403 forbidden" "a chunk of another window is refused"
post "lack?kind=chunk" "$TAP_TMP/cut/chunks.ids"
is "$STATUS $(error_code)" "403 forbidden" "a restore may not ask what is lacking"
post failed <(echo '{"code":"write_error","message":"The disk is gone.","report":{"written":5}}')
is "$STATUS" 200 "the agent may fail"
api GET "/v1/jobs/$job"
is "$(shows '.state, .code, .message, .report.written')" "failed,write_error,The disk is gone.,5" "and says why"

# ---- the state is lost: images come back from the manifests
stop_server
is "$SERVER_STATUS" 0 "a clean stop"
rm "$DATA"/state.db*
start_server
api GET /v1/images/web1
is "$(shows '.latest, (.versions | length), .versions[0].disks[0].root, .versions[0].machine_name')" \
	"2,1,$root,src" "without state.db the images are found again, and what was removed is not"
api DELETE /v1/images/web1
api GET /v1/images
is "$(field '.images | length')" 0 "the image is removed"
stop_server
rm "$DATA"/state.db*
start_server
api GET /v1/images
is "$(field '.images | length')" 0 "for good"
done_testing
