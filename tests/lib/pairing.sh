# shellcheck shell=bash disable=SC2004,SC2034,SC2154 # what is set here is for the tests
# SPDX-License-Identifier: GPL-3.0-or-later
# Machines that pair; source it after agent.sh.
#
#	start_bare NAME [OPTION...]	an agent that knows only the address $URL; its log (and screen) is $TAP_TMP/NAME.log
#	codes_of NAME			all codes that its screen has shown, each once: "482 913 207 551"
#	code_of NAME			the latest one
#	shared CODE			the part of it that the server has too: "482913"
#	has_codes NAME N		it has shown so many
#	pairing_state NAME		at the server, of the latest one
start_bare()
{
	local name=$1
	shift
	"$AGENT" run --server "$URL" --id "$name" --name "$name" --discovery=no \
		--state "$TAP_TMP/$name.state" --progress-ms 100 "$@" >>"$TAP_TMP/$name.log" 2>&1 &
	AGENT_PIDS[$name]=$!
}
codes_of() { sed -n 's/.*PAIRING CODE  \([0-9 ]*\)$/\1/p' "$TAP_TMP/$1.log" | awk '!seen[$0]++'; }
shared() { tr -d ' ' <<<"$1" | cut -c1-6; }
code_of() { codes_of "$1" | tail -n 1; }
has_codes() { [ "$(codes_of "$1" | wc -l)" -ge "$2" ]; }
pairing_state() { api GET /v1/pairings && field "[.pairings[] | select(.name == \"$1\") | .state] | last"; }
