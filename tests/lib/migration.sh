# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A server on a LAN and what an operator does with it; for tests and the demonstration.  After tests/lib/lan.sh:
#
#	server_up office [OPTION...]		hoist-server in that LAN, its data in $TAP_TMP/data-office
#	hoist office machines --json		the operator's command line, in that LAN
#	medium office my.iso [OPTION...]	a copy of the live image with this server's key and a new token in it, no address:
#						the machine finds the server by its broadcast
#	machine_ssh office ADDRESS KEY [OPTION...] COMMAND
#						root's command in the live image, whose medium has that key
#	machine_wait office 120 JQ-CONDITION	prints the id of the machine that appears and fulfils it (jq, `.` is the machine)
#
# A server that is stopped (server_stop) and started again (server_up) goes on with its data.

MIGRATION_BIN=${HOIST_BIN:-$LAN_TOP/build/release}

server_data() { echo "$TAP_TMP/data-$1"; }

server_up()
{
	lan_start "$1" "server-$1" "$MIGRATION_BIN/server/hoist-server" --data "$(server_data "$1")" --name lift "${@:2}"
	lan_wait "server-$1" 30 '^listening '
}
server_stop() { lan_stop "server-$1"; }

hoist() { local lan=$1; shift; lan_run "$lan" "$MIGRATION_BIN/server/hoist" --data "$(server_data "$lan")" "$@"; }

medium() { hoist "$1" iso --in "${ISO:-$LAN_TOP/build/hoist.iso}" --out "$2" --new-token "${@:3}"; }

machine_ssh()
{
	lan_run "$1" timeout -k 5 120 ssh -F /dev/null -i "$3" -o IdentitiesOnly=yes -o IdentityAgent=none -o StrictHostKeyChecking=no \
		-o UserKnownHostsFile=/dev/null -o LogLevel=ERROR "${@:4:$#-4}" "root@$2" "${@: -1}" </dev/null
}

machine_wait()
{
	local end=$((SECONDS + $2)) id
	while [ $SECONDS -lt $end ]; do
		id=$(hoist "$1" machines --json 2>/dev/null | jq -r "[.machines[] | select($3)][0].id // empty")
		[ -z "$id" ] || { echo "$id"; return 0; }
		sleep "${TAP_PACE:-0.5}"
	done
	diag "no machine fulfils $3: $(hoist "$1" machines 2>&1)"
	return 1
}
