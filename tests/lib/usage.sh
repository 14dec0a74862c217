# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
# For tests of `hoist-agent map`; after tap.sh.
#
#	map IMAGE... [OPTION...]	run it, the result in $MAP
#	get JQ			a value from the result
#	keep IMAGE OUT [N]	OUT: what a capture by $MAP of IMAGE (the Nth disk, from 0) gives back
#	keep_hard IMAGE OUT [N]	the same with 5Ah, not zeros, where nothing was copied
#	peer TYPE IMAGE		what partclone.TYPE calls used, in $PEER
#	dumpe2fs_used IMAGE	what dumpe2fs calls used, as "OFFSET LENGTH" of bytes
#	sums DIR		the checksums of all files in DIR, in $TAP_TMP/sums
#	fill DIR SEED COUNT [SMALL]	COUNT files of all sizes in some folders; SMALL more, of less than 500 bytes, in DIR/small
#	is_map CONTENT NAME	the first partition was mapped, and is of that content
#	is_raw REGEX NAME	the first partition is raw, whole, for a reason that matches
#	used_by TYPE IMAGE	how many bytes partclone.TYPE calls used
#	is_close NAME COPIED USED	COPIED is USED at least, and at most 1 MiB + 3 % more
#	like_peer NAME [OFFSET SIZE]	nothing that $PEER calls used is missing, and there is at most 1 MiB + 3 % more
AGENT=$TOP/${O:-build/release}/agent/hoist-agent
MAP=$TAP_TMP/map.json
PEER=$TAP_TMP/peer.domain

requires jq perl
[ -x "$AGENT" ] || bail_out "there is no $AGENT: run make"

map() { "$AGENT" map --json --extents "$@" >"$MAP"; }
get() { jq -r "$1" "$MAP"; }
keep() { "$TOP/tests/lib/extents-keep" "$MAP" "${3:-0}" "$1" "$2"; }
keep_hard() { "$TOP/tests/lib/extents-keep" "$MAP" "${3:-0}" "$1" "$2" 90; }
peer() { rm -f "$PEER" && "partclone.$1" -D -s "$2" -o "$PEER" -q -L "$TAP_TMP/partclone.log" >/dev/null 2>&1; }
used_by() { peer "$1" "$2" && "$TOP/tests/lib/extents-diff" "$PEER" "$PEER" | cut -d ' ' -f 3; }
is_close()
{
	ok "$1: copied is what its peers call used, and little more ($2, $3)" test -n "$3" -a "$2" -ge "${3:-0}" -a "$2" -le $((${3:-0} + ${3:-0} * 3 / 100 + 1048576))
}

# What dumpe2fs calls free, turned round: "OFFSET LENGTH" of what is used.
dumpe2fs_used()
{
	dumpe2fs "$1" 2>/dev/null | perl -e '
		my ($size, $count, $cluster, @free);
		while (<STDIN>) {
			$count = $1 if /^Block count:\s+(\d+)/;
			$size = $1 if /^Block size:\s+(\d+)/;
			$cluster = $1 if /^Cluster size:\s+(\d+)/;
			push @free, map { /(\d+)-(\d+)/ ? [$1, $2] : [$_, $_] } split /, /, $1 if /^  Free blocks: (\S.*)$/;
		}
		# of a range of clusters it prints the first block of each
		if ($cluster) { $_->[1] += $cluster / $size - 1 for @free; }
		my $at = 0;
		for my $f (sort { $a->[0] <=> $b->[0] } @free) {
			printf "%d %d\n", $at * $size, ($f->[0] - $at) * $size if $f->[0] > $at;
			$at = $f->[1] + 1;
		}
		printf "%d %d\n", $at * $size, ($count - $at) * $size if $count > $at;'
}

sums() { (cd "$1" && find . -type f -print0 | sort -z | xargs -0r sha256sum) >"$TAP_TMP/sums"; }

fill()
{
	perl -e '
		my ($dir, $seed, $count, $small) = @ARGV;
		srand($seed);
		for my $i (0 .. $count - 1) {
			my $sub = "$dir/d" . int(rand(20));
			mkdir $sub;
			my $size = rand() < 0.9 ? int(rand(20000)) : int(rand(400000));
			open my $f, ">", "$sub/f$i" or die "$sub/f$i: $!";
			my $line = "file $i of $seed, " . int(rand(1e9)) . "\n";
			print $f substr($line x (1 + $size / length $line), 0, $size);
			close $f or die;
		}
		$small and mkdir "$dir/small" || die "$dir/small: $!";
		for my $i (1 .. $small // 0) {
			open my $f, ">", "$dir/small/s$i" or die "$dir/small/s$i: $!";
			print $f substr("small file $i of $seed\n" x 30, 0, int(rand(500)));
			close $f or die;
		}' "$@"
}

is_map()
{
	is "$(get '.partitions[0] | .how + " " + .content + ": " + .why')" "map $1: " "$2"
}

is_raw()
{
	like "$(get '.partitions[0] | .how + ": " + .why')" "^raw: .*$1" "$2" &&
		is "$(get '.partitions[0] | .copied == .size and .used == .size')" true "... and it is copied whole"
}

like_peer()
{
	local missing extra common
	read -r missing extra common < <("$TOP/tests/lib/extents-diff" "$MAP" "$PEER" "${@:2}")
	is "${missing:-none}" 0 "$1: nothing that partclone copies is left out"
	ok "... and little is added (${extra:-?} bytes to ${common:-?})" test "${extra:-999999999999}" -le $((1048576 + ${common:-0} * 3 / 100))
}
