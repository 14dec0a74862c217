# shellcheck shell=bash disable=SC2034 # what is set here is for the tests
# SPDX-License-Identifier: GPL-3.0-or-later
# A wire with faults between agents and the server (tests/lib/bad-wire); after server.sh.
#
#	wire_up RATE [COMMAND...]	to $URL, from now on; sets WIRE_URL for agents.  COMMAND... (as `ip netns exec NS`) runs it
#	wire_say COMMAND...		see bad-wire --help
#	wire_count N			the Nth of its numbers: 1 bytes to the server, 2 from it, 3 connections, 4 resets, 5 turns,
#				6 and 7: of 1 and 2, what was of turns that ended in a reset
#	wire_down
# WIRE_RECORD is a file for all that comes by; WIRE_TO, an ADDR:PORT in the place of $URL; WIRE_PIECE, see there --piece.
WIRE_PID=
wire_up()
{
	local rate=$1 port
	shift
	port=$("$TOP/tests/lib/free-port")
	rm -f "$TAP_TMP/wire.fifo" "$TAP_TMP/wire.stat"
	mkfifo "$TAP_TMP/wire.fifo"
	"$@" "$TOP/tests/lib/bad-wire" --listen "${WIRE_ADDRESS:-127.0.0.1}:$port" --to "${WIRE_TO:-${URL#https://}}" --stat "$TAP_TMP/wire.stat" \
		--seed "${seed:-1}" ${WIRE_RECORD:+--record "$WIRE_RECORD"} ${WIRE_PIECE:+--piece "$WIRE_PIECE"} <"$TAP_TMP/wire.fifo" 2>>"$TAP_TMP/wire.log" &
	WIRE_PID=$!
	exec 9>"$TAP_TMP/wire.fifo"
	WIRE_URL=https://${WIRE_ADDRESS:-127.0.0.1}:$port
	wire_say rate "$rate"
	wait_for 20 test -s "$TAP_TMP/wire.stat"
}
wire_say() { echo "$*" >&9; }
wire_count() { cut -d' ' -f"$1" "$TAP_TMP/wire.stat"; }
wire_down()
{
	[ -n "$WIRE_PID" ] || return 0
	exec 9>&-
	kill "$WIRE_PID" 2>/dev/null
	wait "$WIRE_PID" 2>/dev/null
	WIRE_PID=
}
cleanup_fn wire_down
