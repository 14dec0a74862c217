#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What may befall agent and server in the middle of a capture and of a restore, at random points.  Afterwards the disk is the source, bit for bit but
# for what its filesystems call free, or the job says truly why not; and what had been sent is not sent again.
#
#	N=3		each case three times; without it: some cases, chosen at random, once each
#	SEED=4711	the same points and choice again
#	CASES='WORD...'	only cases whose name has one of the words in it; net_cut_hour must be asked for so, since it takes an hour
#
# A case is KIND FAULT; its fault is a function that waits for nothing but what it needs to see.  All traffic goes through a slow wire
# (tests/lib/bad-wire), so that there is a middle, and is counted there.
# shellcheck disable=SC2034,SC2154
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/agent.sh"
. "$(dirname "$0")/../lib/wire.sh"
requires curl jq xxd cmp perl mke2fs mkntfs ntfscp sfdisk
export ASAN_OPTIONS=verify_asan_link_order=0
seed=${SEED:-$((RANDOM * 32768 + RANDOM))}
RANDOM=$((seed % 32768))
diag "SEED=$seed N=${N:-some}"
RATE=40000000
SIZE=148M
WIRE_PIECE=65536
YEARS=$((11 * 365 * 86400))
cd "$TAP_TMP" || exit

# ---- the disk: ext4 and NTFS with files, deleted ones too
make_source()
{
	mkdir files nt && for i in $(seq 100); do head -c $((i * 15000 + RANDOM)) /dev/urandom >"files/f$i"; done
	for i in $(seq 20); do head -c $((1500000 + RANDOM)) /dev/urandom >"nt/f$i"; done
	truncate -s $SIZE src.img
	printf 'label: dos\nstart=2048,size=196608,type=83\nstart=198656,size=98304,type=7\n' | sfdisk -q src.img || return
	truncate -s 96M ext.img && mke2fs -q -F -t ext4 -d files ext.img && debugfs -w -R 'rm f3' ext.img || return
	truncate -s 48M nt.img && mkntfs -q -F -Q nt.img || return
	for i in $(seq 20); do ntfscp -q nt.img "nt/f$i" "f$i" || return; done
	dd if=ext.img of=src.img bs=1M seek=1 conv=notrunc,sparse status=none && dd if=nt.img of=src.img bs=1M seek=97 conv=notrunc,sparse status=none || return
	rm -r files nt ext.img nt.img
	fill src.img 150000000 300000
	"$AGENT" map --json --extents src.img >map.json && "$TOP/tests/lib/extents-keep" map.json 0 src.img want.img || return
	! cmp -s --ignore-initial=150000000 --bytes=300000 src.img want.img || return # free by the map, and not zeros
	# of these one cannot be read, or written: all that is not zeros behind the partition table
	perl -e 'for (my $i = 0; read STDIN, my $d, 4096; $i++) { print "$i\n" if $i >= 256 && $d =~ /[^\0]/ }' <want.img >blocks
}

# ---- server and agent
port=$("$TOP/tests/lib/free-port")
up() # with $preload_server, or $cutter
{
	: >server.rules
	[ -z "$preload_server" ] || export LD_PRELOAD=$O/fault/faulty.so FAULTY=$TAP_TMP/server.rules
	[ -z "$cutter" ] || export LD_PRELOAD=$O/fault/cutter.so CUT_PATH=/v1/agent/ CUT_FIRST=$cutter CUT_COUNT=2 CUT_LOG=$TAP_TMP/cut.requests
	local often=(--stall 2 --away 2 --poll 2)
	[ "$fault" != net_cut_hour ] || often=()
	start_server --listen "127.0.0.1:$port" "${often[@]}" ${cutter:+--renew 2}
	unset LD_PRELOAD FAULTY
	URL=https://127.0.0.1:$port
}
rules() { rm -f "$1.rules.hits" && printf '%s\n' "${@:2}" >"$1.new" && mv "$1.new" "$1.rules"; }
has_acted() { [ -e "$1.rules.hits" ]; }
acted_or_ended() { has_acted "$1" || job_has_ended; }
agent_up() # the machine under test, with $preload_agent
{
	[ -z "$preload_agent" ] || export LD_PRELOAD=$O/fault/faulty.so FAULTY=$TAP_TMP/agent.rules
	URL=$WIRE_URL start_agent t --workers 2 --memory 64M --io-uring=no --level 1 --disk "$disk,name=t"
	unset LD_PRELOAD FAULTY
}
preload_server='' preload_agent='' cutter=''
restore_to() # FILE: of the latest version, with nothing in the way
{
	rm -f "$1" && truncate -s $SIZE "$1"
	rm -rf check.state
	start_agent check --disk "$1,name=t"
	wait_for 60 machine_is_idle check &&
		order '{"kind":"restore","machine":"check","image":"i","end":"stay"}' && job_wait 120
	[ "$(field .state)" = "done" ] || { diag "$BODY"; return 1; }
	stop_agent check
}

# ---- faults.  Each leaves things as they were before, but for what lasts
is_stalled() { job_is '.stalled and (.message | length) > 0'; }
stalled_or_ended() { is_stalled || job_has_ended; }
# It may have been over before the fault came: then it is tried again, earlier.
until_stalled() # [REGEX of the reason, which may become another one as time goes [SECONDS]]
{
	silent=${1-}
	wait_for "${2:-60}" stalled_so_or_ended || wrong="it does not stall, or the reason is another one: $(outcome)"
	said=$(field '.message // ""')
	! job_has_ended || was_over=yes
}
stalled_so_or_ended() { job_has_ended || { is_stalled && [[ $(field .message) =~ $silent ]]; }; }
lose_state() { rm -rf t.state; }
agent_kill() { stop_agent t KILL; agent_up; }
agent_stop() { kill -STOP "$(agent_pid t)"; until_stalled 'not been heard'; kill -CONT "$(agent_pid t)"; }
agent_restart() { stop_agent t KILL; lose_state; agent_up; }
server_kill() { stop_server KILL; up; }
server_stop() { kill -STOP "$SERVER_PID"; sleep $((1 + RANDOM % 6)); kill -CONT "$SERVER_PID"; }
server_restart() { stop_server KILL; stop_agent t KILL; lose_state; up; agent_up; }
net_cut() { wire_say cut; until_stalled 'its agent has not been heard'; wire_say heal; }
# For longer than either side lets a connection be silent: both have given up when it heals.
net_cut_long()
{
	local end=$((SECONDS + 75))
	wire_say cut
	until_stalled 'its agent has not been heard'
	while [ $SECONDS -lt $end ]; do sleep 1; done
	wire_say heal
}
# And for longer than a session's secret is renewed, with a server whose times are those that it has without options.
net_cut_hour()
{
	local end=$((SECONDS + 3700)) healed
	wire_say cut
	until_stalled 'its agent has not been heard' 500
	while [ $SECONDS -lt $end ] && [ -z "$wrong$was_over" ]; do sleep 1; done
	[ -n "$wrong$was_over" ] || job_is '.state == "running" and .stalled' || wrong="after an hour it does not wait any more: $(outcome)"
	said=$(field '.message // ""')
	wire_say heal
	healed=$SECONDS
	[ -n "$wrong$was_over" ] || wait_for 120 job_is '.stalled == false' || wrong="it has not gone on two minutes after: $(outcome)"
	said+=" Goes on after $((SECONDS - healed)) s."
}
# Late and losing it is a slow wire: so for some of it, and to the very end.
net_loss()
{
	local here
	here=$((point + 5))
	wire_say bad 200 5
	soon $((${whole[$kind]} * here / 100))
	wire_say bad 0 0
	soon $((${whole[$kind]} * 97 / 100))
	wire_say bad 200 5
}
# To the very end, so that every kind of request that is still to come is met: before it, within it, and within its answer.  A dozen at first, since each takes
# a while to recover from.
net_reset()
{
	local resets
	resets=$(($(wire_count 4) + 12))
	wire_say turns $((3 + RANDOM % 3))
	wait_for 200 resets_or_ended "$resets"
	wire_say turns 0
	soon $((${whole[$kind]} * 98 / 100))
	wire_say turns $((3 + RANDOM % 3))
	job_wait 200
	wire_say turns 0
	[ "$(wire_count 4)" -ge 1 ] || wrong="not one reset"
	said="$(wire_count 4) resets in $(wire_count 5) turns"
}
resets_or_ended() { [ "$(wire_count 4)" -ge "$1" ] || job_has_ended; }
# Each kind of request, by a server that resets connections (cutter.c), from the first request of the agent on; so nothing is left to do here.
net_reset_each() { :; }
net_reset_failed() { agent_eio_write; }
# another address of the server, and another port, as after a move: the agent is told by whoever starts it
net_moved()
{
	stop_agent t TERM
	wait_for 20 wire_is_still
	moved_before=$(wire_count "$way")
	wire_down
	wire_up $RATE
	agent_up
}
wire_is_still() { local before; before=$(<wire.stat) && sleep 0.1 && [ "$(<wire.stat)" = "$before" ]; }
server_full()
{
	dd if=/dev/zero of=full/balloon bs=64K 2>/dev/null # until nothing is left
	truncate -s -100000 full/balloon
	if [ "$kind" = capture ]; then
		wait_for 60 job_is '.message != null and (.message | test("goes on by itself"))' || wrong="it does not say that the disk is full: $(outcome)"
		said=$(field '.message // ""')
	else # which needs no room for its data
		wait_for 60 moved $(($(wire_count "$way") + (8 << 20))) || wrong="the disk is full, and the restore does not go on: $(outcome)"
		sleep $((RANDOM % 4))
	fi
	rm full/balloon
}
server_sick() # RULE...: until one of them has acted, and on for a while
{
	rules server "$@"
	wait_for 60 acted_or_ended server || wrong="no fault in a minute"
	has_acted server || was_over=yes
	sleep "$((RANDOM % 3)).$((RANDOM % 9 + 1))"
	rules server ''
}
server_eio_sync() { server_sick 'sync /store/'; }
# For a while, and then until that is said.
server_eio_write()
{
	server_sick 'write /store/' 'write /jobs/'
	rules server 'write /store/' 'write /jobs/'
	wait_for 60 says_or_ended 'Input/output error.*goes on by itself' || wrong="it does not say what is wrong with the store: $(outcome)"
	said=$(field '.message // ""')
	! job_has_ended || was_over=yes
	rules server ''
}
says_or_ended() { job_has_ended || [[ $(field '.message // ""') =~ $1 ]]; }
server_eio_state() { server_sick 'write /state.db' 'sync /state.db'; }
server_eio_read()
{
	rules server 'read /store/packs/'
	wait_for 60 stalled_or_ended
	said=$(field '.message // ""')
	rules server ''
	[ "$kind" = capture ] || { [ -z "$said" ] && job_has_ended; } || [[ $said =~ 'Input/output error' ]] || wrong="it does not say what is wrong with the store: $said"
}
# The state folder is full from when the agent starts anew: it works without, and registers again each time.
agent_full()
{
	stop_agent t KILL
	lose_state
	rules agent 'full t.state'
	agent_up
	wait_for 60 acted_or_ended agent
	has_acted agent || was_over=yes
	stop_agent t KILL
	agent_up
}
agent_short() { rules agent 'short .img'; }
agent_eio_read() { rules agent "read src.img $bad_at $((bad_at + 4096))"; }
agent_eio_reread() { rules agent "read dst.img $bad_at $((bad_at + 4096))"; }
agent_eio_sync() { rules agent 'sync dst.img'; }
agent_eio_write() { rules agent "write dst.img $bad_at $((bad_at + 4096))"; }
agent_clock_on() { rules agent "clock $YEARS"; }
agent_clock_back() { rules agent "clock -$YEARS"; }
server_clock_on() { rules server "clock $YEARS"; }
server_clock_back() { rules server "clock -$YEARS"; }
# The control of the count of bytes: what had been sent is not there any more.
loss()
{
	if [ "$kind" = capture ]; then
		stop_server KILL
		rm -rf "$DATA"/store/packs/* "$DATA"/store/objects.db* "$DATA"/jobs/*
		up
	else
		stop_agent t KILL
		truncate -s 0 dst.img && truncate -s $SIZE dst.img
		agent_up
	fi
}
none() { :; }

cases='capture:agent_kill restore:agent_kill capture:agent_stop restore:agent_stop capture:agent_restart restore:agent_restart
	capture:server_kill restore:server_kill capture:server_stop restore:server_stop capture:server_restart restore:server_restart
	capture:net_cut restore:net_cut capture:net_loss restore:net_loss capture:net_reset restore:net_reset capture:net_moved restore:net_moved
	capture:net_reset_each restore:net_reset_each restore:net_reset_failed
	capture:agent_full restore:agent_full capture:server_full restore:server_full capture:server_eio_sync capture:server_eio_write capture:server_eio_state restore:server_eio_state
	capture:server_eio_read restore:server_eio_read capture:agent_short restore:agent_short
	capture:agent_eio_read restore:agent_eio_write restore:agent_eio_sync restore:agent_eio_reread
	capture:agent_clock_on restore:agent_clock_on capture:agent_clock_back restore:agent_clock_back
	capture:server_clock_on restore:server_clock_on capture:server_clock_back restore:server_clock_back'

# ---- one case
moved() { [ "$(wire_count "$way")" -ge "$1" ] || job_has_ended; }
soon() { local end=$((SECONDS + 120)); until moved "$1"; do [ $SECONDS -lt $end ] || return; sleep 0.02; done; }

# What the job is to have come to: in $wrong what it has not.
judge()
{
	local state bytes=0
	job_wait 240 || { wrong="it does not end: $(outcome)"; return; }
	state=$(field .state)
	case $fault in
	agent_eio_read) # those bytes are zeros and counted, all others are there
		[ "$(field .result) $(field .unreadable)" = "done_with_unreadable 4096" ] || wrong="the sectors that could not be read are not told: $(outcome)"
		image_verifies
		restore_to check.img || wrong="it cannot be restored"
		is_source_but_for "$bad_at" check.img || wrong="other bytes in the image"
		return
		;;
	agent_eio_write | net_reset_failed)
		ends_soon
		[ "$state $(field .code)" = "failed write_error" ] && [[ $(field .message) =~ at\ byte\ [0-9]{4} ]] || wrong="not failed with the offset: $(outcome)"
		said=$(field .message)
		look_at_image
		return
		;;
	agent_eio_sync)
		ends_soon
		[ "$state $(field .code)" = "failed write_error" ] || wrong="not failed: $(outcome)"
		said=$(field .message)
		look_at_image
		return
		;;
	agent_eio_reread)
		ends_soon
		[ "$state $(field .code)" = "failed verify_failed" ] && [[ $(field .message) =~ at\ byte\ [0-9]{4} ]] || wrong="not failed with the offset: $(outcome)"
		said=$(field .message)
		look_at_image
		return
		;;
	esac
	[[ $fault =~ ^(agent|server)_(short|clock) ]] && ! has_acted "${BASH_REMATCH[1]}" && wrong="the fault has not acted"
	[ "$(field .result)" = "done" ] || { wrong="it ends as $(outcome)"; return; }
	bytes=$(($(wire_count "$way") + moved_before))
	[ "$fault" = none ] && whole[$kind]=$bytes
	allowed=$((${whole[$kind]} + ${whole[$kind]} / 100))
	[ "$fault" != net_reset_each ] || said="$(wire_count 4) resets"
	if [[ $fault =~ ^net_reset ]]; then # as much as each of them took, which is known
		allowed=$((allowed + $(wire_count $((way + 5)))))
	else
		allowed=$((allowed + allowance[$kind]))
	fi
	again=$((bytes - ${whole[$kind]}))
	# What a sick or full store refuses is sent again, each time that it is tried; and a sync that failed takes all with it that no checkpoint
	# had covered, which here is the whole disk.
	[ $bytes -le $allowed ] || [[ $fault =~ ^server_(eio|full) ]] || wrong="$bytes bytes went over the wire, $allowed are allowed"
	if [ "$kind" = capture ]; then
		look_at_image
	else
		image_verifies
		cmp dst.img want.img || wrong="other bytes on the target"
	fi
}
# A target that cannot be written is no reason to go on with the rest: the job has ended soon after.  What is to be told of it may have to be told again.
ends_soon()
{
	local limit=10 took
	[ "$fault" != net_reset_failed ] || limit=60
	took=$(($(date -d "$(field .ended)" +%s) - $(stat -c %Y agent.rules.hits || echo 0)))
	[ $took -le $limit ] || wrong="it has ended $took s after the error, $limit are allowed"
}
image_verifies()
{
	order '{"kind":"verify","image":"i"}' && job_wait 120
	[ "$(field .state)" = "done" ] || wrong="the image is not whole: $(outcome)"
}
look_at_image()
{
	image_verifies
	restore_to check.img || wrong="it cannot be restored"
	cmp check.img want.img || wrong="other bytes in the image"
}
outcome() { field '[.state, .code, .message, .result, .unreadable] | map(tostring) | join(" ")'; }
# Block by block what is in use, or what is on the disk where the map could not be made; zeros where nothing could be read.
is_source_but_for() # OFFSET FILE
{
	perl -e 'my ($bad, @f) = @ARGV; my @h = map { open my $h, "<", $_ or die; binmode $h; $h } @f;
		for (my $at = 0; ; $at += 4096) {
			my ($n, @b) = (0); for (0 .. 2) { my $d; $n = read $h[$_], $d, 4096; push @b, $d; }
			last unless $n;
			my $good = $at == $bad ? $b[0] !~ /[^\0]/ : $b[0] eq $b[1] || $b[0] eq $b[2];
			if (!$good) { print "at $at\n"; exit 1; }
		}' "$1" "$2" want.img src.img && cmp <(stat -c %s "$2") <(stat -c %s src.img)
}
# In flight when it happens: of a capture up to four packs of 1 MiB, each on a connection of its own; of a restore both workers' windows of 4 MiB;
# and what is in sockets and in the wire.  Nothing that was acknowledged.
declare -A allowance=([capture]=$((5 << 20)) [restore]=$((9 << 20)))
declare -A whole=()
ways=$((RANDOM % 4)) # the first way in which requests are cut
run_case()
{
	local name=$1 point tries=''
	kind=${1%%:*} fault=${1#*:}
	preload_server='' preload_agent='' cutter=''
	point=$((5 + RANDOM % 75))
	bad_at=$(($(sed -n "$((1 + (RANDOM * 32768 + RANDOM) % $(wc -l <blocks)))p" blocks) * 4096))
	[[ $fault =~ ^server_(eio|clock) ]] && preload_server=yes
	[[ $fault =~ ^(agent_(eio|clock|short|full)|net_reset_failed) ]] && preload_agent=yes
	[[ $fault =~ ^net_reset_(each|failed) ]] && cutter=$ways point=0 ways=$(((ways + 2) % 4))
	[[ $fault =~ eio_(read|write)$ && $preload_agent ]] && point=0
	[ "$fault" = loss ] && point=$((25 + RANDOM % 50)) # more than is allowed
	[ "$name" = capture:server_full ] && point=$((point / 2)) # before the end of what is sent
	if [ "$fault" = server_full ]; then
		[ "$(id -u)" = 0 ] || { skip 1 "$name: needs root for a filesystem of its own"; return; }
		mkdir -p full
		mount -t tmpfs -o size=200m none full || { skip 1 "$name: no tmpfs here"; return; }
		umount full
	fi
	attempt
	while [ -n "$was_over" ] && [ -z "$wrong" ] && [ ${#tries} -lt 2 ]; do
		point=$((point / 3 + 1)) tries+=.
		attempt
	done
	[ -z "$was_over" ] || [ -n "$wrong" ] || wrong="three times it was over before the fault had come"
	if [ -n "$wrong" ]; then
		fail "$name at $point %: $wrong"
		diag "$(tail -n 4 t.log)"
		diag "$(grep -v ' debug ' server.log | tail -n 4)"
	else
		pass "$name at $point %${again:+: $((again / 1024)) KiB more than without}${said:+; \"$said\"}"
	fi
}
# The case once, at $point.  Sets $wrong; $was_over when there was no middle any more.
attempt()
{
	wrong='' said='' was_over='' again=0 moved_before=0
	rm -rf "$TAP_TMP/data" t.state t.log dst.img
	: >agent.rules
	rm -f ./*.rules.hits
	DATA=$TAP_TMP/data
	if [ "$fault" = server_full ]; then
		mount -t tmpfs -o size=200m none full
		DATA=$TAP_TMP/full/data
	fi
	disk=src.img way=1
	if [ "$kind" = restore ]; then
		cp -a --reflink=auto template "$DATA"
		truncate -s $SIZE dst.img
		disk=dst.img way=2
	fi
	up
	make_token
	wire_up 0
	agent_up
	wait_for 150 machine_is_idle t || wrong="no machine" # the hour's server lets a machine that lost its state in again after a minute
	wire_say rate $RATE
	[ $point = 0 ] && $fault
	order "{\"kind\":\"$kind\",\"machine\":\"t\",\"image\":\"i\",\"end\":\"stay\"}" || wrong="not ordered: $BODY"
	if [ "$fault" != none ] && [ $point != 0 ]; then
		soon $((${whole[$kind]} * point / 100)) || wrong="it does not get to $point %"
		if job_is '.state == "running"'; then $fault; else was_over=yes; fi
	fi
	[ -n "$wrong" ] || judge
	if [ "$fault" = loss ]; then
		[[ $wrong =~ bytes\ went\ over\ the\ wire ]] && said="$wrong" wrong='' || wrong="it is not seen that all was sent again: $wrong"
	fi
	stop_agents
	wire_down
	stop_server KILL
	! mountpoint -q full || umount full
}
cleanup_fn eval '! mountpoint -q full || umount full'

ok "a disk with ext4 and NTFS" make_source || bail_out "no disk"
run_case capture:none
rm -rf template
cp -a --reflink=auto data template
run_case restore:none
run_case capture:loss
run_case restore:loss
# What takes long is for runs of all.
[ -z "${N-}" ] || cases+=' capture:net_cut_long restore:net_cut_long'
[[ ${CASES-} != *net_cut_hour* ]] || cases+=' capture:net_cut_hour restore:net_cut_hour'
if [ -n "${CASES-}" ]; then
	# shellcheck disable=SC2086
	cases=$(printf '%s\n' $cases | grep -E "${CASES// /|}")
fi
# shellcheck disable=SC2086
[ -n "${N-}" ] || cases=$(shuf -n 6 --random-source=<(yes $seed) -e $cases)
for ((n = 0; n < ${N:-1}; n++)); do
	for c in $cases; do run_case "$c"; done
done
# ---- resets in each request, but for pairing: that comes before any job
request_kinds() { sed -n 's|.*{HTTP_\([A-Z]*\), AUTH_[A-Z]*, "\(/v1/agent/[^"]*\)".*|\1 \2|p' "$TOP/server/api/routes.c" | grep -v ' /v1/agent/pair' | sort; }
if [[ -n "${N-}" && "$cases" = *net_reset_each*net_reset_failed* ]]; then
	ok "the kinds of request are known" test "$(request_kinds | wc -l)" -ge 12
	is "$(comm -23 <(request_kinds) <(sed 's/ [a-z-]*$//' cut.requests | sort -u))" "" "each kind of request lost its connection"
fi
[ ! -e cut.requests ] || note "requests that were cut: $(sort cut.requests | uniq -c | awk '{ print $2, $3, $4, "(" $1 ")" }' | paste -sd,)"
done_testing
