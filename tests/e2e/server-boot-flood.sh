#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2034,SC2153,SC2154
# Somebody on the network from which machines boot opens connections to --boot by the thousand: mute ones, halves of heads, downloads that are never read.
# Logins, registrations and a capture go on beside it; and when it ends, downloads do.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/agent.sh"
requires curl jq perl ss xxd

cd "$TAP_TMP" || exit
mkdir media
head -c 30000000 /dev/urandom >media/large
truncate -s 64M a.img
fill a.img 0 $((40 << 20))
# Of --boot's own 64: 32 for strangers, as all are there
start_server --media "$TAP_TMP/media" --boot 127.0.0.1:0 --connections 64 --connections-per-peer 16
BOOT=$(sed -n 's/^booting //p' server.out)
boot_port=${BOOT##*:}
make_operator alice operator
make_token
start_agent src --workers 1 --disk a.img
wait_for 60 machine_is_idle src || bail_out "the machine does not appear"

# flood: a thousand at a time from twenty addresses, of three kinds in turn, each opened again when the server has ended it; says how many it has opened
flood()
{
	exec perl -MSocket -MErrno=EINPROGRESS -MFcntl -MIO::Select -e '
		my ($port, $n, @held) = ($ARGV[0], 0);
		$| = 1;
		my @say = ("", "GET /large HTTP/1.1\r\nHost: x\r\nX-Endless: ", "GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
		while (1) {
			if (@held >= 1000) {
				my @old = splice @held, 0, 100;
				close $_->[0] for @old;
			}
			for (1 .. 50) {
				socket(my $s, AF_INET, SOCK_STREAM, 0) or die $!;
				bind $s, pack_sockaddr_in(0, inet_aton("127.0.7." . (1 + $n % 20))) or die $!;
				fcntl $s, F_SETFL, O_NONBLOCK;
				connect($s, pack_sockaddr_in($port, INADDR_LOOPBACK)) or $!{EINPROGRESS} or next;
				push @held, [$s, $say[$n++ % 3]];
			}
			select undef, undef, undef, 0.05;
			for (@held[($#held > 49 ? $#held - 49 : 0) .. $#held]) { syswrite $_->[0], $_->[1] if length $_->[1] }
			print "$n\n";
		}' "$boot_port"
}
opened() { tail -n 1 flood.out; }
opened_at_least() { [ "$(opened)" -ge "$1" ] 2>/dev/null; }
held_by_server() { ss -Htn state established "sport = :$boot_port" src 127.0.0.1 | wc -l; }
flood >flood.out 2>flood.err &
flood=$!
end_flood() { [ -n "$flood" ] && kill -9 "$flood" && wait "$flood"; flood=; } 2>/dev/null
cleanup_fn end_flood
ok "a thousand connections come to the boot files" wait_for 60 opened_at_least 1000

# ---- what it must not hinder
log_in alice
is "$STATUS" 201 "an operator logs in"
make_machine late
is "$STATUS" 200 "a machine registers" || diag "$BODY"
before=$(opened)
ok "a capture is ordered" order '{"kind":"capture","machine":"src","image":"web1"}'
ok "it ends" job_wait 120
is "$(field .state)" "done" "well" || diag "$BODY"
log_in alice
is "$STATUS" 201 "an operator logs in again"
# The control: it was a flood, all the time, and the port that it came to was full.
ok "meanwhile the flood went on ($before to $(opened))" test "$(opened)" -gt "$before"
ok "with thousands" wait_for 60 opened_at_least 3000
ok "of which the server ended most" test "$(grep -c connection_ended server.log)" -gt 500
ok "and kept no more than it may ($(held_by_server))" test "$(held_by_server)" -le 64
kill -0 $flood
is "$?" 0 "and was not over"
end_flood
ok "afterwards the boot files are to be had" curl -s --max-time 60 --retry 20 --retry-all-errors --retry-delay 1 -o got "$BOOT/large"
ok "whole" cmp got media/large
stop_server
is "$SERVER_STATUS" 0 "nothing of this hurt the server"
done_testing
