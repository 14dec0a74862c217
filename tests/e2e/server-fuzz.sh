#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Structured nonsense at every route of a running server, by agents and by operators of each role, while a machine is captured: the server neither breaks nor says
# "internal" nor does what the caller has no right to, and what it was given by others is there, verifies, and is the machine.  FUZZ_SECONDS and FUZZ_SEED make it
# longer and again the same.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/agent.sh"
requires curl jq xxd python3 b3sum

cd "$TAP_TMP" || exit
size=$((4 << 20))
truncate -s $size disk
head -c 1500000 /dev/urandom | dd of=disk conv=notrunc bs=4096 seek=16 status=none
mkdir -p cut/packs
ok "packs to spoil" "$WIRE" cut disk cut
truncate -s 48M victim.img
fill victim.img 0 30000000
mkdir -p media/grub
"$TOP/scripts/mksettings" media/settings.cpio
cp media/settings.cpio media/grub/
echo menu >media/menu
start_server --media media --boot 127.0.0.1:0 --connections-per-peer 40 --inactivity 5 --poll 1 --pairing-expiry 20 --pairings-per-peer 200
BOOT=$(sed -n 's/^booting //p' "$TAP_TMP/server.out")
make_token
start_agent victim --disk victim.img
ok "a machine that behaves" wait_for 60 machine_is_idle victim
ok "its capture is ordered" order '{"kind":"capture","machine":"victim","image":"victim"}'
victim=$JOB

seed=${FUZZ_SEED:-$RANDOM}
surface() { timeout -k 10 $((${FUZZ_SECONDS:-12} + 240)) "$TOP/tests/fuzz/http-surface" --url "$URL" --boot "$BOOT" --operator "$DATA/operator.token" --packs cut --size $size "$@"; }
nonsense() # NUMBER
{
	surface --routes "$TOP/server/api/routes.c" --seconds "${FUZZ_SECONDS:-12}" --seed $((seed + $1)) >"fuzz.log.$1" 2>&1
}
sed '/HTTP_GET, AUTH_ANYONE, "\/v1\/info"/a {HTTP_GET, AUTH_ADMIN, "/v1/audit/all", BODY_NONE, 0, x, NULL},' "$TOP/server/api/routes.c" >one-more.c
nok "a route that it does not call is told of" surface --routes one-more.c --seconds 0 --seed "$seed"
like "$(cat "$TAP_TMP/.output")" 'no honest call of GET /v1/audit/all' "by its name"
# Four at once, and all of them went through.
all_nonsense()
{
	local pids=() pid result=0
	for i in 1 2 3 4; do nonsense $i & pids+=($!); done
	for pid in "${pids[@]}"; do wait "$pid" || result=1; done
	return $result
}
ok "${FUZZ_SECONDS:-12} seconds of nonsense" all_nonsense
diag "$(cat fuzz.log.*)"
ok "the server is there" kill -0 "$SERVER_PID"
unlike "$(cat server.log)" 'Sanitizer|runtime error' "and nothing was found in it"
JOB=$victim
job_wait 120
is "$(field .state)" 'done' "the capture is done" || diag "$BODY"
ok "a verify is ordered" order '{"kind":"verify","image":"victim"}'
job_wait 120
is "$(field .state)" 'done' "the image verifies" || diag "$BODY"
truncate -s 48M target.img
start_agent target --disk target.img
ok "an empty machine" wait_for 60 machine_is_idle target
ok "a restore is ordered" order '{"kind":"restore","machine":"target","image":"victim"}'
job_wait 120
is "$(field .state)" 'done' "is done" || diag "$BODY"
ok "and is the machine, bit for bit" cmp victim.img target.img
stop_server
is "$SERVER_STATUS" 0 "the server ends as it should"
unlike "$(cat server.log)" 'Sanitizer|runtime error' "nothing was found at its end"
done_testing
