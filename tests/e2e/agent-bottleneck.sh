#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What holds a capture up is named: each of disk, cpu, network and server is made the slowest, for real.
if [ -z "${HOIST_UNSHARED:-}" ] && unshare -rn true 2>/dev/null; then
	HOIST_UNSHARED=yes exec unshare -rn bash "$0" # a loopback of our own, to be slowed down
fi
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/agent.sh"
requires curl jq xxd strace tc ip openssl
[ -n "${HOIST_UNSHARED:-}" ] || skip_all "no network namespace can be made here"
ok "a loopback of our own" ip link set lo up
export ASAN_OPTIONS=detect_leaks=0 # it cannot, while somebody else traces

# slowed SYSCALLS MICROSECONDS PROGRAM: a program whose every such call takes so much longer; prints its path.
slowed()
{
	local path=$TAP_TMP/slow-${3##*/}
	cat >"$path" <<-END
		#!/bin/sh
		exec strace -D -f -qq -o /dev/null -e trace=$1 -e inject=$1:delay_enter=$2 "$3" "\$@"
	END
	chmod +x "$path"
	echo "$path"
}

real_agent=$AGENT
cd "$TAP_TMP" || exit
start_server
make_token

# Random bytes do not compress; their hexadecimal digits do.
truncate -s 96M random.img text.img
fill random.img 0 $((96 << 20))
openssl enc -aes-128-ctr -nosalt -pass pass:text -in /dev/zero 2>/dev/null | xxd -p | head -c $((24 << 20)) >text
dd if=text of=text.img conv=notrunc bs=1M status=none

# capture MACHINE OPTIONS: JOB, running
capture() { order "{\"kind\":\"capture\",\"machine\":\"$1\",\"image\":\"$1\",\"options\":$2}"; }
# check WHAT: of JOB, which runs: named meanwhile, and in the report
check()
{
	ok "$1: it is named while the job runs" wait_for 120 job_is ".bottleneck == \"$1\""
	if [ "${2:-}" = shown ]; then
		like "$("$O/server/hoist" --data "$DATA" job show "$JOB" 2>&1)" "bottleneck[: ]*$1" "$1: and the operator sees it"
	fi
	ok "$1: the capture ends" job_wait 240
	is "$(field '.state + " " + .report.bottleneck')" "done $1" "$1: and the report names it" || diag "$BODY"
	is "$(field '[.report.time[].share] | add | . > 0.999 and . < 1.001')" true "$1: the shares are all of it"
	is "$(field .bottleneck)" null "$1: a job that has ended has none"
	note "$(field '.report.time | map_values(.share * 100 | round) | tostring')"
}

AGENT=$(slowed pread64 100000 "$real_agent")
start_agent slowdisk --disk random.img --workers 2 --io-uring=no
AGENT=$real_agent
ok "a machine with a slow disk" wait_for 60 machine_is_idle slowdisk
ok "disk: a capture is ordered" capture slowdisk '{"level":1}'
check disk shown
is "$(field '.report.disks[0] | "\(.io_uring_bytes) \(.read_bytes)"')" "0 $((96 << 20))" "disk: read without io_uring, as it was told to"
ok "disk: and its own screen says so" wait_line 1 slowdisk.log 'limit: disk'
stop_agent slowdisk

start_agent slowcpu --disk text.img
ok "a machine that has to compress hard" wait_for 60 machine_is_idle slowcpu
ok "cpu: a capture is ordered" capture slowcpu '{"level":19}'
check cpu
stop_agent slowcpu

# Other bytes, so that they have to be sent.
fill random.img 0 $((40 << 20))
truncate -s 40M random.img
start_agent slownet --disk random.img
ok "a machine with a slow network" wait_for 60 machine_is_idle slownet
ok "network: slowed down" tc qdisc add dev lo root tbf rate 40mbit burst 128k latency 400ms
ok "network: a capture is ordered" capture slownet '{"level":1}'
check network
ok "network: fast again" tc qdisc del dev lo root
stop_agent slownet

stop_server
SERVER=$(slowed rename,renameat,renameat2 300000 "$SERVER")
start_server --listen 127.0.0.1:"${URL##*:}"
fill random.img 0 $((40 << 20))
start_agent slowserver --disk random.img
ok "a server with a slow disk" wait_for 60 machine_is_idle slowserver
ok "server: a capture is ordered" capture slowserver '{"level":1}'
check server
stop_agent slowserver
done_testing
