#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2153
# The bounds of docs/protocol.md that are not lengths of a body (server-limits.sh has those): at each bound all is well, one more is refused.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
requires curl jq xxd perl ss

# A disk of 4,100 windows (16 GiB, a sparse file), of which 20 are full; the last is short.
windows=4100 full=20
size=$((windows * 4194304 - 4096))
disk=$TAP_TMP/disk.img
head -c $((full * 4194304)) /dev/urandom >"$disk"
truncate -s "$size" "$disk"
"$WIRE" cut "$disk" "$TAP_TMP/cut" || bail_out "wire cut"
root=$(cat "$TAP_TMP/cut/root")

disks() { local n; for ((n = 0; n < $1; n++)); do disk_json "file:d$n" 8388608; done | jq -cs .; }
start_server
make_machine many "{\"disks\":$(disks 33)}"
names() { jq -cn "[range($1) | \"file:d\(.)\"]"; }
api POST /v1/jobs -d "{\"kind\":\"capture\",\"machine\":\"many\",\"image\":\"m\",\"disks\":$(names 33)}"
is "$STATUS $(error_code)" "400 bad_request" "a job for 33 disks is refused"
api POST /v1/jobs -d "{\"kind\":\"capture\",\"machine\":\"many\",\"image\":\"m\",\"disks\":$(names 32)}"
is "$STATUS" 201 "for 32 it is taken" || diag "$BODY"

# ---- JSON: depth, values
nested() { printf '{"phase":"check","log":%s%s}' "$(printf '%.0s[' $(seq "$1"))" "$(printf '%.0s]' $(seq "$1"))"; }
J=/v1/agent/jobs/$(field .id)
call "$SECRET" POST "$J/progress" -d "$(nested 31)" # and the object around it
unlike "$BODY" deep "brackets in 32 layers are read, and found to be no log"
is "$STATUS" 400 "which they are not"
call "$SECRET" POST "$J/progress" -d "$(nested 32)"
like "$BODY" deep "33 layers are not read"
# registration VALUES: a document with so many values
registration()
{
	perl -e 'my ($n) = @ARGV;
		# as common/json.c counts: one, what is behind a comma, each bracket
		printf q({"token":"x","machine_id":"%s","name":"n","agent_version":"1","inventory":{"more":[%s]}}), "b" x 32, join ",", (0) x ($n - 7)' "$1"
}
values_are_read() { call '' POST /v1/agent/register --data-binary @- < <(registration "$1") && [ "$(error_code)" = forbidden ]; }
most=524288
ok "$most values are read (and lack a token)" values_are_read "$most"
nok "one more is not" values_are_read $((most + 1))
like "$BODY" 'values' "and it says why"

# ---- windows in one entry of a PUT
make_machine src "{\"disks\":[$(disk_json file:a "$size")]}"
api POST /v1/jobs -d '{"kind":"capture","machine":"src","image":"i"}'
job=$(field .id)
J=/v1/agent/jobs/$job
for pack in "$TAP_TMP"/cut/packs/*; do
	call "$SECRET" PUT "$J/packs/${pack##*.}" -T "$pack"
	[ "$STATUS" = 204 ] || bail_out "$pack: $STATUS $BODY"
done
empty=$(tail -c 76 "$TAP_TMP/cut/windows" | head -c 32 | xxd -p -c 64)   # of the last but one: whole and empty
le() { perl -e 'print unpack "H*", pack $ARGV[0], $ARGV[1]' "$@"; }
# run FIRST COUNT: an entry for so many empty windows
run() { xxd -r -p <<<"$(le 'Q<' "$1")$(le 'L<' "$2")$empty"; }
put() { call "$SECRET" PUT "$J/disks/0/windows" --data-binary @-; }
put < <(run "$full" 256)
is "$STATUS" 204 "256 windows in one entry are taken" || diag "$BODY"
for bad in "$full 257" "$full 0" "$((windows - 2)) 3" "$windows 1" "18446744073709551615 2" "$full 4294967295"; do
	# shellcheck disable=SC2086 # two words
	put < <(run $bad)
	is "$STATUS $(error_code)" "400 bad_request" "not so many from there: $bad" || diag "$BODY"
done
put <"$TAP_TMP/cut/windows"
is "$STATUS $(error_code)" "413 too_large" "4,100 entries are too many"
put < <(head -c $((4096 * 44)) "$TAP_TMP/cut/windows")
is "$STATUS" 204 "4,096 are taken" || diag "$BODY"
put < <(tail -c +$((4096 * 44 + 1)) "$TAP_TMP/cut/windows")
call "$SECRET" POST "$J/disks/0/finish" -d "{\"root\":\"$root\",\"sector_size\":512,\"physical_sector_size\":512,\"unreadable\":[]}"
is "$STATUS $(field .root)" "200 $root" "what was refused left nothing behind"
call "$SECRET" POST "$J/done" -d "$(done_json file:a "$root")"
is "$STATUS" 200 "a version"

# ---- what a restore may ask for
make_machine dst "{\"disks\":[$(disk_json file:b "$size")]}"
api POST /v1/jobs -d '{"kind":"restore","machine":"dst","image":"i","disks":[{"source":"file:a","target":"file:b"}]}'
J=/v1/agent/jobs/$(field .id)
nodes() { call "$SECRET" GET "$J/disks/0/nodes?first=$1&count=$2"; }
nodes 0 4096
is "$STATUS" 200 "4,096 windows may be asked for"
# entries: count (4), size (4), node
entries() { perl -e 'local $/; $_ = <STDIN>; my ($n, $at) = (0, 0); while ($at < length) { my ($c, $s) = unpack "L<2", substr $_, $at, 8; $at += 8 + $s; $n++ } print $n' <"$TAP_TMP/body"; }
is "$(entries)" 16 "16 nodes are answered"
cp "$TAP_TMP/body" "$TAP_TMP/nodes"
for bad in "0 4097" "0 0" "$windows 1" "99999999999999999999 1" "-1 1"; do
	# shellcheck disable=SC2086 # two words
	nodes $bad
	is "$STATUS $(error_code)" "400 bad_request" "not so many windows: $bad" || diag "$BODY"
done
"$WIRE" want "$TAP_TMP/nodes" 0 "$TAP_TMP/want" || bail_out "wire want"
# How many of its rows (window, id) are of the first four windows, which are 16 MiB together
rows=$(perl -e 'local $/; $_ = <STDIN>; my $n = 0; for (my $at = 0; $at < length; $at += 40) { last if unpack("Q<", substr $_, $at, 8) > 3; $n++ } print $n' <"$TAP_TMP/want")
diag "$rows chunks in four windows"
head -c $((rows * 40)) "$TAP_TMP/want" >"$TAP_TMP/most"
head -c $((rows * 40 + 40)) "$TAP_TMP/want" >"$TAP_TMP/too-much"
call "$SECRET" POST "$J/disks/0/chunks" --data-binary "@$TAP_TMP/most"
is "$STATUS" 200 "chunks of 16 MiB are sent"
ok "all of them" test "$(stat -c %s "$TAP_TMP/body")" -gt 16777216
call "$SECRET" POST "$J/disks/0/chunks" --data-binary "@$TAP_TMP/too-much"
is "$STATUS $(error_code)" "413 too_large" "with one more none is"
stop_server

# ---- connections, as many as there may be by default
start_server
port=${URL##*:}
make_machine known
call "$SECRET" POST /v1/agent/poll -d '{"state":"idle"}' &
polling=$!
perl -MIO::Socket::INET -e '
	$| = 1;
	for my $n (1 .. 12) {
		for (1 .. 80) { push @held, IO::Socket::INET->new(LocalAddr => "127.0.1.$n", PeerAddr => "127.0.0.1", PeerPort => $ARGV[0]) or die "127.0.1.$n: $!"; }
	}
	print "held\n";
	sleep 300' "$port" >"$TAP_TMP/holder" &
holder=$!
let_go_all() { kill "$holder" "$polling" 2>/dev/null; wait "$holder" "$polling" 2>/dev/null; true; }
cleanup_fn let_go_all
ok "960 connections of twelve addresses" wait_line 60 "$TAP_TMP/holder" '^held'
held() { ss -Htn state established "sport = :$port" | wc -l; }
held_by() { ss -Htn state established "sport = :$port" dst "$1" | wc -l; }
at_most() { [ "$("${@:2}")" -le "$1" ]; }
ok "256 of them are held at most, with one that is known" wait_for 30 at_most 257 held
ok "64 of one address at most" at_most 64 held_by 127.0.1.12
ok "and not much fewer" test "$(held)" -ge 200
for n in 1 2 3 4; do call '' GET /v1/info --max-time 10; done
is "$STATUS" 200 "who asks meanwhile is served"
ok "who is known was not touched" kill -0 "$polling"
let_go_all
stop_server
is "$SERVER_STATUS" 0 "nothing of this hurt it"
done_testing
