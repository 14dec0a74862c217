#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2153
# Memory for bodies: who takes all that he can get of it, and lets go of it as slowly as he may, keeps nobody else from sending.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
requires curl jq openssl

# Of 64 MiB: a machine 8, the machines of one address 32, all machines and operators 56; strangers 8, an address of theirs 2.
start_server --memory 64M
PACK=8388608
INVENTED=/v1/agent/jobs/0123456789abcdef/packs/$FINGERPRINT

holders=()
let_all_go()
{
	[ ${#holders[@]} = 0 ] && return
	kill "${holders[@]}" 2>/dev/null
	wait "${holders[@]}" 2>/dev/null
	holders=()
}
cleanup_fn let_all_go
held=0
# hold_body ADDRESS SECRET METHOD PATH LENGTH: begins a body from there that goes on by a byte now and then; HELD is what the server says to its head
hold_body()
{
	local out=$TAP_TMP/hold.$((++held))
	: >"$out"
	{
		printf '%s\r\n' "$3 $4 HTTP/1.1" 'Host: x' ${2:+"Authorization: Bearer $2"} "Content-Length: $5" 'Expect: 100-continue' ''
		while sleep 0.5; do printf ' '; done
	} | timeout 300 openssl s_client -quiet -bind "$1:0" -connect "${URL#https://}" >"$out" 2>/dev/null &
	holders+=($!)
	wait_line 30 "$out" '^HTTP/1.1 ' >/dev/null
	HELD=$(sed -n 's/^HTTP.1.1 \([0-9]*\) .*/\1/p' "$out" | head -n 1)
}
zeros() { head -c "$1" /dev/zero; }
# A pack of an invented job, which is answered as that once there was room for it
pack_is_read() { call "$SECRET" PUT "$INVENTED" --data-binary @- "$@" < <(zeros "$PACK") && [ "$(error_code)" = not_found ]; }
big=$(jq -cn '{more: [range(3000)]}') # an inventory that is not a small body
registers() # NAME ADDRESS
{
	call '' POST /v1/agent/register --interface "$2" -d "$(jq -cn --arg token "$token" --arg name "$1" --argjson inventory "$big" \
		'{token: $token, machine_id: ("0" * 32), name: $name, agent_version: "test", inventory: $inventory}')" && [ "$STATUS" = 200 ]
}
# Everybody's small bodies, now
small_ones() # WHEN
{
	call "$SECRET" POST "/v1/agent/jobs/$job/progress" -d '{"phase":"check"}'
	is "$STATUS" 200 "$1 a machine says how far it is"
	call "$SECRET" POST /v1/agent/poll -d '{"state":"busy","job":"0123456789abcdef"}'
	is "$STATUS" 200 "$1 it asks what to do"
	api POST /v1/jobs -d '{"kind":"gc"}'
	is "$STATUS" 201 "$1 jobs are ordered"
	log_in somebody
	is "$STATUS" 201 "$1 operators log in" || diag "$BODY"
	call '' POST /v1/agent/pair -d "{\"machine_id\":\"$(printf '%032x' $((++pairs)))\",\"name\":\"m\",\"agent_version\":\"1\",\"commitment\":\"$FINGERPRINT\"}"
	is "$STATUS" 201 "$1 a machine begins to pair" || diag "$BODY"
}
pairs=0

make_operator somebody operator
api POST /v1/tokens -d '{"uses":50}'
token=$(field .token)
secrets=()
for n in 1 2 3 4 5 6 7; do make_machine "hostile$n" && secrets+=("$SECRET"); done
make_machine good "{\"disks\":[$(disk_json file:a 8388608)]}"
api POST /v1/jobs -d '{"kind":"capture","machine":"good","image":"i"}'
job=$(field .id)

# ---- one machine
hold_body 127.0.0.9 "${secrets[0]}" PUT "$INVENTED" "$PACK"
is "$HELD" 100 "a machine has as much as one may have"
for _ in 1 2 3 4 5 6; do
	hold_body 127.0.0.9 "${secrets[0]}" PUT "$INVENTED" "$PACK"
	is "$HELD" 503 "and gets no more"
done
ok "a pack of another machine is taken at once" pack_is_read
ok "of the same address, too" pack_is_read --interface 127.0.0.9
small_ones "meanwhile"

# ---- many of them, which have everything together: what is slow gives way
for n in 1 2 3; do hold_body 127.0.0.9 "${secrets[n]}" PUT "$INVENTED" "$PACK" && is "$HELD" 100 "machine $n has its part"; done
hold_body 127.0.0.9 "${secrets[4]}" PUT "$INVENTED" "$PACK"
is "$HELD" 503 "the fifth gets nothing, since half of all is held by its address"
for n in 4 5 6; do hold_body 127.0.0.10 "${secrets[n]}" PUT "$INVENTED" "$PACK" && is "$HELD" 100 "machine $n from elsewhere has its part"; done
gave_way() { grep -c 'connection_ended.*slow' "$TAP_TMP/server.log"; }
small_ones "with all taken"
is "$(gave_way)" 0 "for which nobody had to give way"
ok "soon a pack is taken" wait_for 30 pack_is_read
is "$(gave_way)" 1 "for which one had to"
let_all_go
ok "with nobody there a pack is taken at once" wait_for 20 pack_is_read

# ---- strangers
hold_body 127.0.0.9 '' POST /v1/agent/register 4194304
is "$HELD" 100 "a stranger begins a registration"
hold_body 127.0.0.9 '' POST /v1/agent/register 4194304
is "$HELD" 503 "but one"
ok "a machine elsewhere registers at once" registers one 127.0.0.2
for n in 10 11 12; do hold_body 127.0.0.$n '' POST /v1/agent/register 4194304 && is "$HELD" 100 "another address begins one, too"; done
small_ones "with all that strangers may have taken"
ok "a pack is taken at once" pack_is_read
is "$(gave_way)" 1 "for which nobody had to give way"
ok "soon a large registration is" wait_for 30 registers two 127.0.0.2
is "$(gave_way)" 2 "for which one had to"
let_all_go
stop_server
is "$SERVER_STATUS" 0 "nothing of this hurt it"
done_testing
