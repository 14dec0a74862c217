#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The service as `make install` lays it out and systemd starts it, with each of the unit's filters in force: it serves, finds machines, captures, restores, and
# asks for passwords; it is stopped, killed and started again; it has port 80 by the way that the unit's comments tell.  All that once more where a
# call that the filters refuse ends it, so that nothing is refused unseen; and a filter that is too strict is seen.
. "$(dirname "$0")/../lib/own-mounts.sh"
. "$(dirname "$0")/../lib/tap.sh"
. "$TOP/tests/lib/systemd.sh"
requires_root
requires unshare nsenter ip make curl jq openssl
[ "${B:-release}" = release ] || skip_all "the sanitizers do what the unit forbids"

stage=$TAP_TMP/stage
head -c 100000 /dev/urandom >"$TAP_TMP/hoist.iso"
mkdir -p "$stage/usr/lib" && ln -s usr/lib "$stage/lib" # as Debian has it
ok "make install" make -C "$TOP" -o all -o "$TAP_TMP/hoist.iso" install DESTDIR="$stage" PREFIX=/usr ISO="$TAP_TMP/hoist.iso"
systemd_up "$stage"
pass "systemd runs: $(inside systemctl --version | head -n 1)"
unit=$INSIDE/usr/lib/systemd/system/hoist-server.service
address=10.77.9.1
cable() { inside ip link add eth0 type veth peer name far0 && inside ip link set far0 up && inside ip link set eth0 up && inside ip addr add $address/24 broadcast + dev eth0; }
ok "a network in it" cable

hoist() { inside env HOME=/root timeout 60 hoist "$@"; }
remote() { inside env HOME=/home timeout 60 hoist "$@" --server $address --pin "$fingerprint"; }
status() { sed -n "s/^$1:\t//p" "/proc/$(pid_outside hoist-server)/status"; }
property() { inside systemctl show -p "$1" --value hoist-server; }
is_active() { [ "$(property ActiveState).$(property SubState)" = active.running ]; }
data=$INSIDE/var/lib/private/hoist
logs() { inside journalctl -u hoist-server --no-pager -n 10 -o cat; }
# drop_in LINE...: lines of [Service] beside the unit; none: the unit alone
drop_in()
{
	local folder=$INSIDE/etc/systemd/system/hoist-server.service.d
	rm -rf "$folder"
	[ $# = 0 ] || { mkdir -p "$folder" && printf '%s\n' '[Service]' "$@" >"$folder/override.conf"; }
	# More than five starts in ten seconds would be too many.
	inside systemctl daemon-reload && inside systemctl reset-failed hoist-server
}

# machine NAME: with a full disk and an empty one; it finds the server by broadcast
machine()
{
	head -c 3000000 /dev/urandom >"$INSIDE/root/$1.img"
	truncate -s 8M "$INSIDE/root/$1.img" "$INSIDE/root/$1-empty.img"
	inside hoist-agent run --pin "$fingerprint" --token "$(hoist token create)" --id "$1" --name "$1" --disk "/root/$1.img,name=full" --disk "/root/$1-empty.img,name=empty" \
		--state "/root/$1.state" >"$TAP_TMP/$1.log" 2>&1 &
	wait_for 60 machine_is_idle "$1"
}
machine_is_idle() { [ "$(hoist machine show "$1" --json | jq -r .state)" = idle ]; }

# works NAME: what the service is there for, with a machine of that name
works()
{
	machine "$1" && hoist capture "$1" --disk file:full --image "$1" --wait && hoist image verify "$1" --wait &&
		hoist restore "$1" "$1" --disk file:full=file:empty --end stay --wait && cmp "$INSIDE/root/$1.img" "$INSIDE/root/$1-empty.img" &&
		hoist gc --wait && logs_in "$1"
}
# logs_in NAME: an operator of that name is made, gets in by the password, and by no other
logs_in()
{
	echo "password of $1" >"$INSIDE/root/password"
	echo "password of nobody" >"$INSIDE/root/wrong"
	hoist operator add "$1" --role viewer --password-file /root/password && ! remote login "$1" --password-file /root/wrong &&
		remote login "$1" --password-file /root/password && remote whoami | grep -w "$1"
}
serves_boot_files() { inside curl -sf --max-time 20 "http://$address/hoist.iso" | cmp - "$TAP_TMP/hoist.iso"; }

# ---- the unit as it is
ok "systemctl enable --now" inside systemctl enable --now hoist-server || bail_out "the service does not start: $(logs)"
like "$(inside systemctl status hoist-server --no-pager)" 'Active: active \(running\)' "it is active"
is "$(inside systemctl is-enabled hoist-server)" enabled "and will be, from the machine's start on"
uid=$(status Uid | cut -f1)
ok "it runs as nobody that passwd knows ($uid)" test "$uid" -ge 61184 -a "$uid" -le 65519
is "$(status Uid):$(status NoNewPrivs):$(status Seccomp)" "$uid	$uid	$uid	$uid:1:2" "for good, and under a filter of system calls"
is "$(status CapInh):$(status CapPrm):$(status CapEff):$(status CapBnd):$(status CapAmb)" "$(printf ':%016d' 0 0 0 0 0 | cut -c2-)" "without a capability, nor a way to one"
is "$(stat -c '%a %u' "$data" "$data/key.pem" "$data/operator.token" | tr '\n' ,)" "700 $uid,600 $uid,600 $uid," "its folder and its secrets are its own"
ok "it has made a certificate" openssl x509 -in "$data/cert.pem" -noout -checkend 86400
fingerprint=$(hoist server info --json | jq -r .fingerprint)
ok "it works" works one || diag "$(cat "$TAP_TMP/one.log")" "$(logs)"
# What is forbidden is forbidden: the same process's view.
view() { inside nsenter -t "$(property MainPID)" -m -- "$@"; }
nok "it sees no file of another user's home" view ls /root/one.img
nok "nor writes one outside its folder" view touch /var/lib/other

# ---- stopped, started, killed
ok "it is stopped" inside systemctl stop hoist-server
is "$(property Result):$(property ActiveState)" "success:inactive" "which it does by itself, and in time"
ok "and started again" inside systemctl start hoist-server
is "$(hoist server info --json | jq -r .fingerprint)" "$fingerprint" "with the same key"
ok "and the same image" hoist image verify one --wait
ok "the machine is back" wait_for 60 machine_is_idle one
before=$(property MainPID)
ok "it is killed" inside systemctl kill -s KILL --kill-whom=main hoist-server
is_anew() { is_active && [ "$(property NRestarts)" = 1 ] && [ "$(property MainPID)" != "$before" ]; }
ok "systemd starts it again" wait_for 30 is_anew
ok "with the image" hoist image verify one --wait

# ---- port 80, by the comments of the unit
boot=(ExecStart= 'ExecStart=/usr/sbin/hoist-server --data /var/lib/hoist --media /usr/share/hoist --boot 0.0.0.0:80')
mapfile -t remedy < <(sed -n '/--boot 0.0.0.0:80/,/^[^#]/s/^#\t\([A-Z][A-Za-z]*=.*\)/\1/p' "$unit")
is "${#remedy[@]}" 3 "the unit's comments have three lines for port 80"
drop_in "${boot[@]}" Restart=no
nok "without them there is no port 80" inside systemctl restart hoist-server
like "$(logs)" 'listen.*80.*Permission denied' "as the log says"
drop_in "${boot[@]}" "${remedy[@]}"
ok "with them it starts" inside systemctl restart hoist-server || diag "$(logs)"
ok "and serves the boot files there" serves_boot_files
is "$(status CapEff):$(status NoNewPrivs):$(status Seccomp)" "0000000000000400:1:2" "with that one capability"
ok "to a machine that was there before" wait_for 60 machine_is_idle one
drop_in
ok "back to the unit alone" inside systemctl restart hoist-server
ok "it has its data" hoist image verify one --wait

# ---- nothing is refused unseen
drop_in SystemCallErrorNumber=kill
ok "a refused call ends it" inside systemctl restart hoist-server || diag "$(logs)"
ok "it works so too" works two || diag "$(cat "$TAP_TMP/two.log")" "$(logs)"
is "$(property NRestarts)" 0 "it was not ended"
drop_in "ExecStartPre=/usr/bin/chown $uid /var/lib/hoist/key.pem" Restart=no
nok "what the filter of system calls alone forbids" inside systemctl restart hoist-server
like "$(logs)" "chown: .*key.pem': Operation not permitted" "is forbidden"
drop_in SystemCallErrorNumber=kill 'SystemCallFilter=~renameat renameat2' Restart=no
ok "(where a filter is too strict it starts" inside systemctl restart hoist-server || bail_out "it does not start: $(logs)"
ok "has machines" machine three
ok "is told to capture one" hoist capture three --disk file:full --image three
was_ended() { [[ $(property Result) =~ ^(signal|core-dump)$ ]]; }
ok "and that is seen)" wait_for 60 was_ended
done_testing
