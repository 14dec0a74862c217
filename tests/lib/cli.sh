# shellcheck shell=bash disable=SC2034 # what is set here is for the tests
# SPDX-License-Identifier: GPL-3.0-or-later
# The operator's command in tests; source it after server.sh.
#
#	cli WORD...	runs hoist with a home of its own: standard output in $OUT, standard error in $ERR, status in $STATUS_CLI (and
#			returned)
#	Connection: HOIST_DATA=$DATA unless a test says otherwise; nothing of the caller's environment or home counts.
HOIST=$O/server/hoist
unset HOIST_SERVER HOIST_PIN HOIST_TOKEN_FILE XDG_CONFIG_HOME
export HOME=$TAP_TMP/home HOIST_DATA=$DATA TZ=UTC
mkdir -p "$HOME"

cli()
{
	STATUS_CLI=0
	"$HOIST" "$@" >"$TAP_TMP/cli.out" 2>"$TAP_TMP/cli.err" </dev/null || STATUS_CLI=$?
	OUT=$(cat "$TAP_TMP/cli.out")
	ERR=$(cat "$TAP_TMP/cli.err")
	return $STATUS_CLI
}
