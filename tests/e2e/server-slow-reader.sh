#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2153
# Who reads an answer as slowly as he can holds it only so long.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
requires perl

# Of 160,000 bytes: 3 s, and 39 more
mkdir "$TAP_TMP/media"
head -c 160000 /dev/urandom >"$TAP_TMP/media/file"
start_server --media "$TAP_TMP/media" --boot 127.0.0.1:0 --body-time 3 --inactivity 60
BOOT=$(sed -n 's/^booting //p' "$TAP_TMP/server.out")
# read_at RATE: reads the answer at so many bytes a second for 55 s, and then what there still is; prints how many came.  Small buffers and segments:
# else the kernel takes the whole of it at once, and the server has nothing to hold.
read_at()
{
	perl -MSocket=:DEFAULT,IPPROTO_TCP,TCP_MAXSEG -MTime::HiRes=sleep,time -e '
		my ($port, $rate) = @ARGV;
		socket(my $s, AF_INET, SOCK_STREAM, 0) or die $!;
		setsockopt($s, SOL_SOCKET, SO_RCVBUF, 2048) && setsockopt($s, IPPROTO_TCP, TCP_MAXSEG, 536) or die $!;
		connect($s, sockaddr_in($port, INADDR_LOOPBACK)) or die $!;
		syswrite $s, "GET /file HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
		my ($start, $got, $n) = (time, 0);
		$got += $n, sleep(time - $start < 55 ? $n / $rate : 0) while $n = sysread $s, my $buf, 512;
		printf "%d\n", $got' "${BOOT##*:}" "$1"
}
got=$(read_at 500)
note "at 500 bytes a second: $got bytes"
[ "$got" -gt 10000 ] && [ "$got" -lt 160000 ]
is $? 0 "an answer that is read too slowly is not sent to its end"
ok "since its connection is ended" grep -q 'connection_ended.*too long' "$TAP_TMP/server.log"
got=$(read_at 16000)
note "at 16,000 bytes a second: $got bytes"
[ "$got" -gt 160000 ]
is $? 0 "one that is read slowly, but not too slowly, is"
stop_server
is "$SERVER_STATUS" 0 "nothing of this hurt it"
done_testing
