#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Agents and a server as real programs: disks captured, restored, compared; what is not to be written is not.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/agent.sh"
requires curl jq xxd sgdisk cmp

cd "$TAP_TMP" || exit
start_server
make_token

# Two disks: one with 512-byte sectors, a GPT and a size that is no multiple of anything; one of 4096-byte sectors.
truncate -s $(((61 << 20) + 512 * 7)) one.img
sgdisk -n1:2048:+40M -c1:root -n2:0:0 one.img >one.sgdisk
fill one.img $((1 << 20)) 20000000
fill one.img $((50 << 20)) 3000000
fill one.img $(((61 << 20) + 512 * 6)) 512
sgdisk -e one.img >>one.sgdisk # the last sector is the backup header's again
truncate -s $((17 << 20)) two.img
fill two.img 4096 5000000
truncate -s $((9 << 20)) empty.img
sha256sum one.img two.img empty.img >sums

start_agent src --disk one.img --disk two.img,sector=4096 --disk empty.img
ok "the machine appears" wait_for 30 machine_is_idle src
ok "a capture of all its disks is ordered" order '{"kind":"capture","machine":"src","image":"web1"}'
ok "it ends" job_wait 120
is "$(field .state)" "done" "well" || diag "$BODY"
is "$(field '.report.disks | length')" 3 "with a report of three disks"
is "$(field '.report.disks[2].data_bytes')" 0 "the empty one has no data"
ok "the sources are as they were" sha256sum --quiet -c sums
like "$(field '.log | join(" ")')" "capturing disk 'file:two.img'" "its lines reach the operator"
root=$(field '.report.disks[0].root')
is "$(field '[.report.roots[] | .source == .server and .agree] | all')" true "the server has computed the roots that the agent has"
is "$(field '.report.roots[0].server') $(find "$DATA/store/indexes" -name "$root" | wc -l)" "$root 1" "over what it stores"
is "$(field '.report | (.rates | .read, .data, .wire), (.phases[] | select(.phase == "capture").rate) | . > 0')" \
	$'true\ntrue\ntrue\ntrue' "with rates"
is "$(field '.report | [.phases[].phase, .agent_version == .server.version] | map(tostring) | join(" ")')" \
	"check capture finish true" "phases and versions" || diag "$BODY"
before=$(packs)
isnt "$before" 0 "there are packs now"

ok "a second capture is ordered" order '{"kind":"capture","machine":"src","image":"web1"}'
ok "it ends" job_wait 120
is "$(field .state)" "done" "well"
is "$(packs)" "$before" "an unchanged machine sends no pack"
is "$(field .report.wire_bytes)" 0 "not a byte of one"

# A target machine: one larger than its source, one of the same size, one that is not empty.
truncate -s $((80 << 20)) t-one.img
truncate -s $((17 << 20)) t-two.img
truncate -s $((9 << 20)) t-three.img
start_agent dst --disk t-one.img --disk t-two.img,sector=4096 --disk t-three.img
ok "the target machine appears" wait_for 30 machine_is_idle dst
ok "a restore is ordered" order '{"kind":"restore","machine":"dst","image":"web1","end":"stay"}'
ok "it ends" job_wait 120
is "$(field .state)" "done" "well" || diag "$BODY"
ok "disk two is the same, byte for byte" cmp two.img t-two.img
ok "disk three is the same" cmp empty.img t-three.img
is "$(allocated t-three.img)" 0 "and nothing was written to it"
ok "disk one is the same but for the table's places" cmp -i 4096 -n $(((61 << 20) - 65536)) one.img t-one.img
is "$(field '[.report.roots[] | .source == .server and .target == .server and .agree] | [length, all] | map(tostring) | join(" ")')" \
	"3 true" "all three roots of each disk are the same" || diag "$BODY"
is "$(field '.report.roots[0].target') $(field '.report.disks[0].target_root')" "$root $root" "the source's"
is "$(field '.report | .rates.read, .rates.written, (.phases[] | select(.phase == "verify").rate) | . > 0')" \
	$'true\ntrue\ntrue' "the restore has rates, too"
is "$(field '.report | [.phases[].phase, .agent_version == .server.version] | map(tostring) | join(" ")')" \
	"check restore verify finish true" "phases and versions" || diag "$BODY"
is "$(field '.report.disks[0].gpt')" moved "its GPT was moved to the larger disk's end"
like "$(sgdisk -v t-one.img)" "No problems found" "and sgdisk finds no problem with it"
like "$(sgdisk -p t-one.img)" "root" "nor is a name lost"

# What holds data is only overwritten by its fingerprint.
ok "the target is back, with its new content" wait_for 30 machine_is_idle dst
nok "a second restore without its fingerprint is refused" order '{"kind":"restore","machine":"dst","image":"web1","end":"stay"}'
is "$(error_code)" target_holds_data "because it holds data"
one=$(fingerprint_of dst 0)
printf 'x' | dd of=t-two.img bs=1 seek=8000000 conv=notrunc status=none
sum=$(sha256sum <t-two.img)
nok "naming one of two is not enough" order "{\"kind\":\"restore\",\"machine\":\"dst\",\"image\":\"web1\",\"end\":\"stay\",\"overwrite\":[\"$one\"]}"
is "$(sha256sum <t-two.img)" "$sum" "and nothing is written"
two=$(fingerprint_of dst 1)
restore="{\"kind\":\"restore\",\"machine\":\"dst\",\"image\":\"web1\",\"end\":\"stay\",\"overwrite\":[\"$one\",\"$two\"]}"
stop_agent dst
printf 'x' | dd of=t-two.img bs=1 seek=1000 conv=notrunc status=none # in the first MiB, while nobody looks
sum=$(sha256sum <t-two.img)
ok "named, both are accepted by the server" order "$restore"
start_agent dst --disk t-one.img --disk t-two.img,sector=4096 --disk t-three.img
ok "but the agent looks again" job_wait 60
is "$(field .state),$(field .code)" "failed,target_changed" "and refuses what has changed since"
is "$(sha256sum <t-two.img)" "$sum" "nothing was written"
like "$(field .message)" "Nothing was written" "and it says so"
ok "the machine registers anew" wait_for 30 machine_is_idle dst
two=$(fingerprint_of dst 1)
restore="{\"kind\":\"restore\",\"machine\":\"dst\",\"image\":\"web1\",\"end\":\"stay\",\"overwrite\":[\"$one\",\"$two\"]}"
ok "with what is there now it is ordered again" order "$restore"
ok "it ends" job_wait 120
is "$(field .state)" "done" "well" || diag "$BODY"
ok "disk two is right again" cmp two.img t-two.img
is "$(field '.report.disks[1].written_bytes < 500000')" true "only what differed was written"
is "$(field '.report.disks[1].fetched_bytes < 500000')" true "or fetched"

# Too small by one sector.
truncate -s $(((61 << 20) + 512 * 6)) small.img
start_agent small --disk small.img
ok "a small machine appears" wait_for 30 machine_is_idle small
nok "a target one sector too small is refused" order \
	'{"kind":"restore","machine":"small","image":"web1","disks":[{"source":"file:one.img","target":"file:small.img"}]}'
is "$(error_code)" target_too_small "before anything is sent"
like "$(field .error.message)" "$(((61 << 20) + 512 * 7))" "with the bytes that are needed"
is "$(allocated small.img)" 0 "nothing was written to it"
nok "other sectors are refused" order \
	'{"kind":"restore","machine":"small","image":"web1","disks":[{"source":"file:two.img","target":"file:small.img"}]}'
is "$(error_code)" sector_size "by their size"

# As many workers as may be asked for, and the senders beside them.
start_agent many --disk one.img --workers 32 --memory 4G
ok "a machine of many workers appears" wait_for 30 machine_is_idle many
ok "its capture is ordered" order '{"kind":"capture","machine":"many","image":"many"}'
ok "it ends" job_wait 120
is "$(field .state) $(field '.report.disks[0].root')" "done $root" "well, as the same disk" || diag "$BODY"

# A GPT whose check sum is wrong is not moved.
truncate -s 4M odd.img
sgdisk -n1:2048:+1M odd.img >odd.sgdisk
printf 'xxxx' | dd of=odd.img bs=1 seek=$((512 + 16)) conv=notrunc status=none
truncate -s 6M t-odd.img
start_agent odd --disk odd.img
start_agent t-odd --disk t-odd.img
ok "two machines appear" wait_for 30 machine_is_idle odd
ok "both" wait_for 30 machine_is_idle t-odd
ok "the first is captured" order '{"kind":"capture","machine":"odd","image":"odd"}'
ok "to its end" job_wait 120
ok "and restored to the second, which has a larger disk" order '{"kind":"restore","machine":"t-odd","image":"odd","end":"stay"}'
ok "to its end" job_wait 120
is "$(field .state) $(field '.report.disks[0].gpt')" "done failed" "well, but for the GPT's place" || diag "$BODY"
like "$(field '.log | join(" ")')" "its check sum is wrong.*found by the primary table if that is sound.*'sgdisk --verify'.*'sgdisk --move-second-header'.*restore onto a disk of 4194304 bytes" \
	"which it warns of, and says what to do"

stop_agent src
is "$AGENT_STATUS" 0 "an agent that is told to end does so"
done_testing
