# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The test that sources this, before all else, runs in a mount namespace of its own: whoever makes one meanwhile (unshare -m, ip netns exec) would keep what is
# mounted here, and the filesystem would not be unmounted when the test thinks so.
if [ -z "${HOIST_UNSHARED:-}" ] && unshare -m true 2>/dev/null; then
	HOIST_UNSHARED=yes exec unshare -m bash "$0" "$@"
fi
