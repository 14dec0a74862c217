#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Images that others made, many of them broken on purpose: those in the sources of e2fsprogs and util-linux, fetched from Debian's archive into
# build/.  None makes the mapper crash, hang or fail, and none is mapped to less than e2fsprogs' own view of what is in use: what its
# bitmaps say, and what e2fsck would add to them.
. "$(dirname "$0")/../lib/tap.sh"
. "$TOP/tests/lib/usage.sh"
requires apt-get dumpe2fs e2fsck gunzip xz

SOURCES=$TOP/build/sources
IMG=$TAP_TMP/image
status=0
"$TOP/tests/lib/fetch-sources" "$SOURCES" e2fsprogs util-linux 2>"$TAP_TMP/log" || status=$?
[ $status != 3 ] || skip_all "Debian's archive cannot be reached, so no public image was looked at: $(tail -n 1 "$TAP_TMP/log")"
[ $status = 0 ] || bail_out "fetch-sources: $(cat "$TAP_TMP/log")"

# try FILE: maps it, as $IMG; says what went wrong
try()
{
	local status=0
	case $1 in
	*.gz) gunzip -c "$1" >"$IMG" ;;
	*.xz) xz -dc "$1" >"$IMG" ;;
	esac 2>/dev/null
	[ -s "$IMG" ] || return 1
	truncate -s %512 "$IMG"
	timeout -k 5 60 "$AGENT" map --json --extents "$IMG" >"$MAP" 2>"$TAP_TMP/err" || status=$?
	[ $status = 0 ] || echo "$(basename "$(dirname "$1")")/$(basename "$1"): status $status: $(tail -n 3 "$TAP_TMP/err")"
}

# Blocks that e2fsck says are used by files and free by the bitmap, in bytes.
e2fsck_used()
{
	local block
	block=$(dumpe2fs -h "$IMG" 2>/dev/null | sed -n 's/^Block size: *//p')
	timeout -k 5 60 e2fsck -fn "$IMG" 2>/dev/null | perl -e '
		while (<STDIN>) {
			next unless s/^Block bitmap differences: //;
			for (split) {
				if (/^\+\((\d+)--(\d+)\)/) { printf "%d %d\n", $1 * $ARGV[0], ($2 - $1 + 1) * $ARGV[0]; }
				elsif (/^\+(\d+)/) { printf "%d %d\n", $1 * $ARGV[0], $ARGV[0]; }
			}
		}' "${block:-0}"
}

# That nothing was looked at is for where there is no archive, and only there.
fetch() { ARCHIVE=$1 "$TOP/tests/lib/fetch-sources" "$TAP_TMP/sources" e2fsprogs; }
mkdir "$TAP_TMP/empty"
fetch http://127.0.0.1:1/debian >/dev/null 2>&1
is $? 3 'an archive that cannot be reached is known as such'
fetch "file:$TAP_TMP/empty" >/dev/null 2>&1
is $? 1 '... from one that lacks what is asked for'

tried=0
mapped=0
wrong=$TAP_TMP/wrong
less=$TAP_TMP/less
: >"$wrong"
: >"$less"
while read -r file; do
	try "$file" >>"$wrong" || continue
	tried=$((tried + 1))
	[ "$(get '.partitions[0] | .how + (.content | .[0:3])' 2>/dev/null)" = mapext ] || continue
	mapped=$((mapped + 1))
	for view in dumpe2fs_used e2fsck_used; do
		"$view" "$IMG" | awk -v size="$(stat -c %s "$IMG")" '$1 < size { print $1, ($1 + $2 > size ? size - $1 : $2) }' >"$PEER"
		[ -s "$PEER" ] || continue # it adds nothing
		read -r missing _ < <("$TOP/tests/lib/extents-diff" "$MAP" "$PEER")
		[ "$missing" = 0 ] || echo "$file: $missing bytes of $view are left out" >>"$less"
	done
done < <(find "$SOURCES/e2fsprogs/tests" -name '*.gz' | sort)
ok "e2fsprogs: there are images ($tried)" test $tried -gt 150
ok "e2fsprogs: some are good enough to be mapped ($mapped)" test $mapped -gt 5
is "$(cat "$wrong")" '' 'e2fsprogs: none makes it crash, hang or fail'
is "$(cat "$less")" '' 'e2fsprogs: none is mapped to less than e2fsprogs itself says'

tried=0
: >"$wrong"
while read -r file; do
	try "$file" >>"$wrong" || continue
	tried=$((tried + 1))
done < <(find "$SOURCES/util-linux/tests/ts/blkid" "$SOURCES/util-linux/tests/ts/cramfs" -name '*.img.[gx]z' -o -name '*.gz' -o -name '*.xz' | sort)
ok "util-linux: there are images ($tried)" test $tried -gt 80
is "$(cat "$wrong")" '' 'util-linux: none makes it crash, hang or fail'
done_testing
