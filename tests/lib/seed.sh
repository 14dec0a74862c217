# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Random points that can be had again; after tap.sh.
#
#	take_seed		sets RANDOM by SEED, a random one if there is none, and says it; with N= it runs this test so often instead, each
#				time with the next seed and N empty but set (so that a test can ask ${N+more}), and ends
take_seed()
{
	local i
	seed=${SEED:-$((RANDOM % 30000 + 1))}
	if [ -n "${N-}" ]; then
		for ((i = 0; i < N; i++)); do ok "SEED=$((seed + i))" env N= SEED=$((seed + i)) bash "$0"; done
		done_testing
	fi
	RANDOM=$((seed % 32768))
	diag "SEED=$seed" # on stderr: also shown when the test fails
}
