# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Disks with faults; source it after agent.sh.
#
#	faulty NAME	NAME.img with the faults of NAME.faults (see tests/e2e/faulty_disk.c) as NAME/disk, until the test ends
if [ ! -r /dev/fuse ] || [ ! -w /dev/fuse ]; then skip_all "needs /dev/fuse"; fi
FAULTY=$O/e2e/faulty_disk
declare -A FAULTY_PIDS=()
faulty()
{
	mkdir -p "$1" && touch "$1.faults"
	"$FAULTY" "$1.img" "$1.faults" "$1" >>"$1.failed" 2>&1 &
	FAULTY_PIDS[$1]=$!
	wait_for 20 test -e "$1/disk"
}
faulty_done()
{
	local name
	stop_agents
	for name in "${!FAULTY_PIDS[@]}"; do
		fusermount3 -u -z "$name" 2>/dev/null
		kill "${FAULTY_PIDS[$name]}" 2>/dev/null
		wait "${FAULTY_PIDS[$name]}" 2>/dev/null
	done
	return 0
}
cleanup_fn faulty_done
