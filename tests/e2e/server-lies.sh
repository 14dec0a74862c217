#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# An agent that lies: packs under their right names whose objects are not what their ids say, that swell, that claim more or less than they
# hold, nodes of chunks that nobody sent, another machine's job.  Nothing of it is kept, and the server stays small and well.
# shellcheck disable=SC2034,SC2154
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
requires curl jq xxd perl b3sum zstd

cd "$TAP_TMP" || exit
size=$((8 << 20))
start_server
make_machine other "{\"disks\":[$(disk_json file:a $size)]}"
other=$SECRET
make_machine liar "{\"disks\":[$(disk_json file:a $size)]}"
api POST /v1/jobs -d '{"kind":"capture","machine":"liar","image":"lies"}'
job=$(field .id)
mkdir packs

# pack NAME KIND CODEC COUNT PLAIN BODY-SIZE LENGTH:ID... <body: a pack as it is told.  "-" for the true size of the body.
pack()
{
	cat >"body.$1"
	perl -e 'my ($name, $kind, $codec, $count, $plain, $size, @table) = @ARGV;
		open(F, "<:raw", "body.$name") or die; local $/; my $body = <F>;
		$size = length($body) if $size eq "-";
		print "HPK1", pack("CCSVVV", $kind, $codec, 0, $count, $plain, $size);
		print pack("V", (split ":")[0]), pack("H*", (split ":")[1]) for @table;
		print $body;' "$@" >"packs/$1"
}
plain() { head -c "$1" /dev/zero | tr '\0' "${2:-x}"; }
id_of() { b3sum --no-names; }
a=$(plain 4096 a | id_of) b=$(plain 4096 b | id_of)
zlib() { perl -MCompress::Zlib -e 'my $d = deflateInit(-Level => 3); while (read STDIN, my $x, 1 << 20) { print scalar $d->deflate($x) } print scalar $d->flush'; }

plain 4096 b | pack wrong-id 1 0 1 4096 - "4096:$a"
{ plain 4096 a; plain 4096 a; } | pack one-of-two 1 0 2 8192 - "4096:$a" "4096:$b"
plain 1073741824 a | zlib | pack zlib-bomb 1 1 1 4096 - "4096:$a"
plain 1073741824 a | zstd -q -1 | pack zstd-bomb 1 2 1 4096 - "4096:$a"
plain 2048 a | zlib | pack zlib-short 1 1 1 4096 - "4096:$a"
plain 2048 a | zstd -q | pack zstd-short 1 2 1 4096 - "4096:$a"
{ plain 4096 a | zlib; echo more; } | pack zlib-tail 1 1 1 4096 - "4096:$a"
plain 3000 x | pack zlib-noise 1 1 1 4096 - "4096:$a"
plain 3000 x | pack zstd-noise 1 2 1 4096 - "4096:$a"
plain 4096 a | pack codec-9 1 9 1 4096 - "4096:$a"
plain 4096 a | pack kind-3 3 0 1 4096 - "4096:$a"
plain 4096 a | pack plain-huge 1 1 1 4294967295 - "4294967295:$a"
plain 4096 a | pack count-huge 1 0 4294967295 4096 - "4096:$a"
plain 4096 a | pack none 1 0 0 0 -
{ plain 4096 a; plain 4096 a; } | pack twice 1 0 2 8192 - "4096:$a" "4096:$a"
{ plain 4096 a; echo more; } | pack tail 1 0 1 4096 4096 "4096:$a"
plain 262144 a | pack chunk-too-long 1 0 1 262144 - "262144:$(plain 262144 a | id_of)"
pack_node()
{
	local n id
	n=$(stat -c %s node)
	id=$(id_of <node)
	pack "$1" 2 0 1 "$n" - "$n:$id" <node
}
# nodes: of a chunk that nobody sent; one whose lengths do not add up
{ printf HND1; perl -e 'print pack("VVV", 4194304, 2, 0x80001000), pack("H*", $ARGV[0]), pack("V", 4194304 - 4096)' "$a"; } >node
pack_node node
{ printf HND1; perl -e 'print pack("VVV", 4194304, 1, 4096)'; } >node
pack_node node-short

for bomb in zlib-bomb zstd-bomb; do ok "$bomb: $(stat -c %s packs/$bomb) bytes that are a pack's at most" test "$(stat -c %s packs/$bomb)" -lt $((8 << 20)); done
rss() { awk '/^VmHWM/ { print int($2 / 1024) }' "/proc/$SERVER_PID/status"; }
before=$(rss)
for p in packs/*; do
	name=$(basename "$p")
	call "$SECRET" PUT "/v1/agent/jobs/$job/packs/$(id_of <"$p")" -T "$p"
	want="400 bad_pack"
	[ "$name" != node ] || want="409 incomplete"
	is "$STATUS $(error_code)" "$want" "refused: $name" || diag "$BODY"
done
api GET /v1/server
is "$(field '.store | .packs, .objects' | tr '\n' ' ')" "0 0 " "nothing of it was kept"
is "$(find "$DATA/store/packs" "$DATA/store/tmp" -type f | wc -l)" 0 "nor is it on disk"
# a sixteenth of what one bomb would be
ok "in little memory (now $(rss) MiB, $before before)" test $(($(rss) - before)) -lt 64

# What it says it holds it does not: the node is nowhere, so the window is not taken, and nothing is committed.
entry() { printf '%b' "\\x$1\\0\\0\\0\\0\\0\\0\\0\\x$2\\x$3\\0\\0"; id_of <node | xxd -r -p; }
entry 00 01 00 >windows
call "$SECRET" PUT "/v1/agent/jobs/$job/disks/0/windows" -T windows
is "$STATUS $(error_code)" "409 incomplete" "a window whose node is nowhere"
call "$SECRET" PUT "/v1/agent/jobs/$job/disks/1/windows" -T windows
is "$STATUS $(error_code)" "404 not_found" "a disk that is not of the job"
for lie in "00 00 00" "00 03 00" "01 02 00" "02 01 00" "00 01 01"; do
	# shellcheck disable=SC2086 # three words
	entry $lie >lie.bin
	call "$SECRET" PUT "/v1/agent/jobs/$job/disks/0/windows" -T lie.bin
	is "$STATUS $(error_code)" "400 bad_request" "windows that are not of the disk: $lie"
done
finish="{\"root\":\"$a\",\"sector_size\":512,\"physical_sector_size\":512,\"unreadable\":[]}"
call "$SECRET" POST "/v1/agent/jobs/$job/disks/0/finish" -d "$finish"
is "$(field '.missing | tojson') $(field .root)" "[[0,2]] null" "a disk of which nothing came"
call "$SECRET" POST "/v1/agent/jobs/$job/done" -d '{}'
is "$STATUS $(error_code)" "409 incomplete" "nor is it done"

# Another machine's: its job, with its own secret, and its session.
for path in "lack?kind=chunk" disks/0/finish "done" failed progress; do
	call "$other" POST "/v1/agent/jobs/$job/$path" -d '{"code":"x","message":"y","phase":"check","root":"'"$a"'"}'
	is "$STATUS $(error_code)" "404 not_found" "another machine's job: $path"
done
call "$OPERATOR" POST "/v1/agent/jobs/$job/done" -d '{}'
is "$STATUS" 401 "an operator is no agent"
call "$SECRET" GET /v1/machines
is "$STATUS" 401 "nor an agent an operator"

# And an honest pack is taken as if nothing had been.
plain 4096 a | pack honest 1 0 1 4096 - "4096:$a"
call "$SECRET" PUT "/v1/agent/jobs/$job/packs/$(id_of <packs/honest)" -T packs/honest
is "$STATUS" 204 "an honest pack is taken"
api GET /v1/images
is "$(field '.images | length')" 0 "no image came of the lies"

# ---- more than it can have: a pack of 8 MiB again and again, for a disk of one
make_machine endless "{\"disks\":[$(disk_json file:a 1048576)]}"
api POST /v1/jobs -d '{"kind":"capture","machine":"endless","image":"endless"}'
job=$(field .id)
table=()
for ((i = 0; i < 128; i++)); do
	perl -e 'print pack("V", $ARGV[0] + 1) x 16384' $i >chunk
	cat chunk
	table+=("65536:$(id_of <chunk)")
	printf '%s\n' "${table[@]}" >table
done >plain.many
mapfile -t table <table
zstd -q -1 <plain.many | pack many 1 2 128 8388608 - "${table[@]}"
name=$(id_of <packs/many)
n=0
while [ $n -lt 60 ] && call "$SECRET" PUT "/v1/agent/jobs/$job/packs/$name" -T packs/many && [ "$STATUS" = 204 ]; do n=$((n + 1)); done
is "$n $STATUS $(error_code)" "33 413 too_large" "after twice its disk and 256 MiB no more is taken"
api GET "/v1/jobs/$job"
is "$(field '.state, .code' | tr '\n' ' ')" "failed too_large " "and the job has failed"
like "$(field .message)" '^The agent has sent 264 MiB, which is more than twice' "with a sentence"
call "$SECRET" PUT "/v1/agent/jobs/$job/packs/$name" -T packs/many
is "$STATUS $(error_code)" "409 conflict" "which does not go on"

stop_server
is "$SERVER_STATUS" 0 "nothing of this hurt the server"

done_testing
