#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A neighbour who holds all of dropbear's places for those who have not logged in: 30, of an address 5.  Who wants to come in has to wait; who is in stays
# in, and the agent's work goes on.
# shellcheck disable=SC2034,SC2153,SC2154
# In a network and with a home of root of its own
[ "${APART-}" ] || [ "$(id -u)" != 0 ] || APART=yes exec unshare -mn "$0" "$@"
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/agent.sh"
requires_root
requires curl jq perl ss xxd ip ssh ssh-keygen /usr/sbin/dropbear /usr/bin/dropbearkey

cd "$TAP_TMP" || exit
if ! mount -t tmpfs -o mode=0700 none /root || ! ip link set lo up; then bail_out "no network of its own"; fi
ssh-keygen -q -N '' -C jo@desk -t ed25519 -f jo
echo "ssh-key=$(cat jo.pub)" >settings
"$AGENT" ssh --settings settings --home /root --state "$TAP_TMP/state" --dropbear /usr/sbin/dropbear --dropbearkey /usr/bin/dropbearkey >ssh.log 2>&1 &
keeper=$!
end() { kill "$1" 2>/dev/null; wait "$1" 2>/dev/null; return 0; }
cleanup_fn end $keeper
listens() { ss -Hltn 'sport = 22' | grep -q LISTEN; }
ok "it listens" wait_for 60 listens

log_in_by_key() # COMMAND...: from 127.0.0.1
{
	timeout -k 5 60 ssh -F /dev/null -i jo -o IdentitiesOnly=yes -o IdentityAgent=none -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
		-o LogLevel=ERROR -o BatchMode=yes -o ConnectTimeout=20 root@127.0.0.1 "$@"
}
# hold ADDRESSES: ten connections from each, which say nothing; lines: how many of them have heard from the server, that is have a place
hold()
{
	exec perl -MSocket -e '
		$| = 1;
		my @all;
		for my $n (1 .. $ARGV[0] * 10) {
			socket(my $s, AF_INET, SOCK_STREAM, 0) or die $!;
			bind $s, pack_sockaddr_in(0, inet_aton("127.0.3." . (1 + $n % $ARGV[0]))) or die $!;
			connect($s, pack_sockaddr_in(22, INADDR_LOOPBACK)) or next;
			push @all, $s;
		}
		my $got = 0;
		for my $s (@all) { $got++ if sysread $s, my $banner, 64 }
		print "$got\n";
		sleep 1000' "$1"
}
is "$(log_in_by_key id -u)" 0 "the operator gets in"
log_in_by_key -tt 'echo in; sleep 600' >in.out 2>&1 </dev/null &
in=$!
cleanup_fn end $in
ok "and one stays" wait_line 30 in.out in

# ---- the control: one address has five places, whatever it opens
hold 1 >one.out 2>&1 &
holder=$!
cleanup_fn end $holder
ok "one neighbour opens ten connections" wait_for 60 test -s one.out
is "$(cat one.out)" 5 "of which five get a place"
is "$(log_in_by_key id -u)" 0 "the operator gets in beside him"
end $holder
no_strangers() { [ "$(ss -Htn state established 'sport = 22' 'dst 127.0.3.0/24' | wc -l)" = 0 ]; }
ok "he goes" wait_for 60 no_strangers

# ---- eight addresses
hold 8 >eight.out 2>&1 &
holder=$!
cleanup_fn end $holder
ok "eight neighbours open eighty" wait_for 60 test -s eight.out
is "$(cat eight.out)" 30 "of which thirty get a place: all there are"
nok "nobody else gets in" log_in_by_key true
ok "who is in stays in" kill -0 $in
truncate -s 64M a.img
fill a.img 0 $((40 << 20))
start_server
make_token
start_agent src --workers 1 --disk a.img
ok "the machine appears at its server" wait_for 60 machine_is_idle src
ok "a capture is ordered" order '{"kind":"capture","machine":"src","image":"web1"}'
ok "and ends" job_wait 120
is "$(field .state)" "done" "well" || diag "$BODY"
nok "still nobody gets in" log_in_by_key true
end $holder
ok "they go" wait_for 60 no_strangers
is "$(log_in_by_key id -u)" 0 "and the operator gets in"
done_testing
