# shellcheck shell=bash disable=SC2034 # what is set here is for the tests
# SPDX-License-Identifier: GPL-3.0-or-later
# Real agents on plain files; source it after server.sh.
#
#	make_token			sets TOKEN
#	start_agent NAME [OPTION...]	the machine NAME at $URL with $FINGERPRINT and $TOKEN; ends with the test.  Its log is $TAP_TMP/NAME.log
#	stop_agent NAME [SIGNAL]	and wait for it; AGENT_STATUS is how it ended
#	agent_pid NAME
#	order JSON			POST /v1/jobs; sets JOB, or fails with the answer in $BODY
#	order_held NAME JSON		the same with the agent NAME stopped, so that a valve sees the job from its beginning, on a machine of any speed
#	job_wait SECONDS		until JOB has ended; its JSON in $BODY
#	job_is JQ-CONDITION		of JOB now
#	packs				how many the store has
#	packs_at_least N		in the store
#	fingerprint_of MACHINE [N]	of its disk number N (0)
#	allocated FILE			bytes on disk
#	valve PID SECONDS COMMAND...	let the process run in short slices until the command succeeds, then leave it stopped: a
#					moment in the middle of something, on a machine of any speed
#	fill FILE OFFSET SIZE		random bytes into a file
AGENT=$O/agent/hoist-agent
declare -A AGENT_PIDS=()
TOKEN=

make_token()
{
	api POST /v1/tokens -d '{"uses":1000}'
	TOKEN=$(field .token)
}

start_agent()
{
	local name=$1
	shift
	"$AGENT" run --server "$URL" --pin "$FINGERPRINT" --token "$TOKEN" --id "$name" --name "$name" --discovery=no \
		--state "$TAP_TMP/$name.state" --progress-ms 100 "$@" >>"$TAP_TMP/$name.log" 2>&1 &
	AGENT_PIDS[$name]=$!
}
agent_pid() { echo "${AGENT_PIDS[$1]}"; }
stop_agent()
{
	local pid=${AGENT_PIDS[$1]-}
	AGENT_STATUS=0
	[ -n "$pid" ] || return 0
	kill -CONT "$pid" 2>/dev/null
	kill -"${2:-TERM}" "$pid" 2>/dev/null
	wait "$pid" 2>/dev/null || AGENT_STATUS=$?
	unset "AGENT_PIDS[$1]"
}
stop_agents()
{
	local name
	for name in "${!AGENT_PIDS[@]}"; do stop_agent "$name" KILL; done
}
cleanup_fn stop_agents

order()
{
	api POST /v1/jobs -d "$1"
	JOB=$(field .id)
	[ "$STATUS" = 201 ]
}
order_held() { kill -STOP "$(agent_pid "$1")" && order "$2"; }
job_is() { api GET "/v1/jobs/$JOB" && [ "$(field "$1")" = true ]; }
job_has_ended() { job_is '.state | . == "done" or . == "failed" or . == "cancelled"'; }
job_wait() { wait_for "$1" job_has_ended; }
packs() { api GET /v1/server && field .store.packs; }
packs_at_least() { [ "$(find "$DATA/store/packs" -type f | wc -l)" -ge "$1" ]; }
machine_is_idle() { api GET "/v1/machines/$1" && [ "$(field .state)" = idle ]; }
fingerprint_of() { api GET "/v1/machines/$1" && field ".disks[${2:-0}].fingerprint"; }
allocated() { echo $(($(stat -c %b "$1") * 512)); }

valve()
{
	local pid=$1 end=$((SECONDS + $2))
	shift 2
	while kill -CONT "$pid" && sleep 0.03 && kill -STOP "$pid" && [ $SECONDS -lt $end ]; do
		"$@" && return 0
	done
	diag "not seen in time: $*"
	return 1
}

fill() { head -c "$3" /dev/urandom | dd of="$1" bs=64K seek="$2" oflag=seek_bytes conv=notrunc iflag=fullblock status=none; }
