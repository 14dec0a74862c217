# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
# This machine's own systemd as process 1 of namespaces, over this machine's /usr and what `make install` puts there: an emulated machine's verdict on a unit,
# since filters, capabilities and mounts are this kernel's, in the time of a shell script.  Its /etc and /var are empty, its network is of its own, and of
# systemd's units it starts none but those that are asked for.  Needs root.  After own-mounts.sh and tap.sh:
#
#	systemd_up STAGE		starts it; STAGE is what `make install DESTDIR=STAGE PREFIX=/usr` laid out.  It ends with the test.  Where the
#					machine does not allow the namespaces, the whole test is skipped, and says why
#	inside COMMAND...		a command in it, as root
#	$INSIDE				its files, seen from outside
#	pid_outside UNIT		the unit's main process, as it is numbered outside
SYSTEMD=/lib/systemd/systemd
INSIDE=
systemd_pid=
systemd_cgroups=$TAP_TMP/cgroups

# In the new namespaces; what this machine does not allow ends it, and is the last line that it says.
systemd_boot()
{
	local root=$TAP_TMP/root name
	set -e
	exec 2>&1
	mount --make-rprivate /
	mount -t tmpfs -o mode=755 root "$root"
	cd "$root"
	mkdir -p usr etc/systemd/system var/lib proc sys dev run tmp root home srv old
	chmod 1777 tmp
	mount -t overlay -o "ro,lowerdir=$1/usr:/usr" overlay usr
	for name in bin sbin lib lib32 lib64 libx32; do ln -s "usr/$name" "$name"; done
	# Those alone are started that are asked for: others set the kernel's variables or load modules, which would be this machine's.
	mkdir none
	for name in usr/lib/systemd/system/*.target.wants usr/lib/systemd/system-generators; do mount --bind none "$name"; done
	echo 'root:x:0:0::/root:/bin/bash' >etc/passwd
	echo 'root:x:0:' >etc/group
	echo lifter >etc/hostname
	cp /etc/ld.so.cache etc/
	: >etc/machine-id
	mount -t proc proc proc
	mount --bind proc/sys proc/sys
	mount -o remount,bind,ro proc/sys
	mount -t sysfs -o ro sysfs sys
	mount -t tmpfs -o mode=755 cgroups sys/fs/cgroup # where there are those of version 1
	mount -t cgroup2 cgroup2 sys/fs/cgroup
	mount -t tmpfs -o mode=755 dev dev
	for name in null zero full random urandom tty; do : >"dev/$name" && mount --bind "/dev/$name" "dev/$name"; done
	mkdir dev/{hugepages,mqueue,pts,shm} # which PrivateDevices takes along
	mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
	ln -s pts/ptmx dev/ptmx
	mount -t tmpfs run run
	ip link set lo up
	pivot_root . old
	umount -l /old
	echo ready
	exec env -i container=test PATH=/usr/sbin:/usr/bin "$SYSTEMD" --unit=sysinit.target --show-status=no </dev/null
}

# What is left out because of a kernel or a container, not for want of a package: named, and no failure anywhere.
systemd_cannot()
{
	skip 1 "systemd cannot run in namespaces here: $1"
	done_testing
}

systemd_up()
{
	local why=$TAP_TMP/systemd.log
	[ -x "$SYSTEMD" ] || skip_all "needs systemd (scripts/install-deps)"
	mkdir -p "$TAP_TMP/root" "$systemd_cgroups"
	if ! mount -t cgroup2 cgroup2 "$systemd_cgroups" 2>"$why" || ! mkdir "$systemd_cgroups/hoist-$$" 2>>"$why"; then
		systemd_cannot "no cgroup of version 2: $(head -n 1 "$why")"
	fi
	cleanup_fn systemd_down
	(
		echo $BASHPID >"$systemd_cgroups/hoist-$$/cgroup.procs"
		export SYSTEMD TAP_TMP
		export -f systemd_boot
		exec unshare --cgroup --mount --ipc --uts --net --pid --fork --kill-child bash -c "systemd_boot $(printf %q "$1")"
	) >"$why" 2>&1 &
	systemd_pid=$!
	wait_for 30 eval "systemd_runs || ! kill -0 $systemd_pid"
	systemd_runs && return
	grep -qx ready "$why" || systemd_cannot "$(grep -v 'dmesg(1)' "$why" | tail -n 1)"
	bail_out "systemd does not run: $(tail -n 5 "$why")"
}
systemd_runs()
{
	local pid
	pid=$(head -n 1 "$systemd_cgroups/hoist-$$/init.scope/cgroup.procs" 2>/dev/null) && [ -n "$pid" ] || return
	INSIDE=/proc/$pid/root
	inside systemctl is-active -q sysinit.target && inside systemctl start systemd-journald
}
inside() { nsenter -t "$(basename "$(dirname "$INSIDE")")" -m -p -n -i -u -C -- "$@"; }
pid_outside() { head -n 1 "$systemd_cgroups/hoist-$$$(inside systemctl show -p ControlGroup --value "$1")/cgroup.procs"; }

# Its process 1 takes all others with it; their cgroups are there until the last has gone.
systemd_down()
{
	kill -9 "$systemd_pid" 2>/dev/null
	wait "$systemd_pid" 2>/dev/null
	wait_for 20 systemd_is_gone
	umount "$systemd_cgroups"
}
systemd_is_gone() { find "$systemd_cgroups/hoist-$$" -depth -type d -exec rmdir {} +; [ ! -e "$systemd_cgroups/hoist-$$" ]; }
