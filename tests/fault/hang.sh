#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The server's own work for a job, while its storage does not answer: verify, gc, and the end of a capture and of a restore.  Each is called stalled, with the
# reason, as one is that waits for its agent; goes on by itself; and nobody else is kept from anything meanwhile.
# shellcheck disable=SC2034,SC2154
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/agent.sh"
requires curl jq xxd cmp perl
export ASAN_OPTIONS=verify_asan_link_order=0
cd "$TAP_TMP" || exit

rules() { rm -f server.rules.hits && printf '%s\n' "$@" >server.new && mv server.new server.rules; }
port=$("$TOP/tests/lib/free-port")
up()
{
	: >server.rules
	export LD_PRELOAD=$O/fault/faulty.so FAULTY=$TAP_TMP/server.rules
	start_server --listen "127.0.0.1:$port" --stall 2 --away 100 --poll 2
	unset LD_PRELOAD FAULTY
	URL=https://127.0.0.1:$port
}
is_stalled() { job_is .stalled; }
events() { api GET /v1/events && field "[.events[] | select(.job == \"$JOB\" and (.event | test(\"stalled|recovered\"))).event] | unique | join(\",\")"; }
# hung NAME REGEX STATE: the job, whose files hang by now, stalls with that reason, and when they answer it ends so
hung()
{
	ok "$1: nothing is read, so it stalls" wait_for 60 is_stalled
	ok "$1: the storage was asked, and did not answer" test -e server.rules.hits
	like "$(field .message)" "^No progress for [0-9]+ s: the server $2, and its storage does not answer" "$1: the reason is said"
	is "$(field .state)" running "$1: it is under way still"
	like "$(events)" 'job_stalled' "$1: an event tells of it"
	api GET /v1/machines
	is "$STATUS" 200 "$1: the server answers others meanwhile"
	rules ''
	ok "$1: when the storage answers it goes on and ends" job_wait 120
	is "$(field '.state, .stalled' | tr '\n' ' ')" "$3 false " "$1: $3"
}

up
make_token
head -c 12M /dev/urandom >a.img
head -c 12M /dev/urandom >b.img
start_agent src --disk a.img,name=d
ok "a machine" wait_for 60 machine_is_idle src

# ---- the end of a capture.  Its index was sealed, and is read again before it becomes a version
ok "a capture" order_held src '{"kind":"capture","machine":"src","image":"i","options":{"all_blocks":true}}'
rules 'hang /store/indexes/'
kill -CONT "$(agent_pid src)"
hung capture "looks at what was captured once more, and writes the version" "done"

# ---- and of a restore
truncate -s 12M t.img
start_agent dst --disk t.img,name=d
ok "another machine" wait_for 60 machine_is_idle dst
ok "a restore" order '{"kind":"restore","machine":"dst","image":"i","end":"stay"}'
ok "ends" job_wait 120
ok "well" cmp a.img t.img

# ---- verify, with nothing in memory
stop_server
up
ok "a verify" order '{"kind":"verify","image":"i"}'
job_wait 60
is "$(field '.state, .stalled' | tr '\n' ' ')" "done false " "one that nothing hinders is not stalled"
rules 'hang /store/packs/'
ok "another one" order '{"kind":"verify","image":"i"}'
hung verify 'reads the store to verify the image' "done"

# ---- gc, of a version that is not there any more
cp b.img a.img
ok "the machine is there again" wait_for 60 machine_is_idle src
ok "another version" order '{"kind":"capture","machine":"src","image":"i","options":{"all_blocks":true}}'
job_wait 120
is "$(field .state)" "done" "is captured"
api DELETE '/v1/images/i?version=1'
stop_server
up
rules 'hang /store/packs/'
ok "a gc" order '{"kind":"gc"}'
hung gc 'goes through the store to see what is needed' "done"
is "$(field '.report.packs_removed > 0')" true "gc: and has removed something"
order '{"kind":"verify","image":"i"}'
job_wait 60
is "$(field .state)" "done" "what is left is whole"
done_testing
