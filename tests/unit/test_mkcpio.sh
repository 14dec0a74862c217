#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# mkcpio writes what the manifest says, whoever runs it and whatever the files are; mksettings lays out the settings area.
. "$(dirname "$0")/../lib/tap.sh"
requires cpio
cd "$TAP_TMP" || exit 1
mkcpio=$TOP/scripts/mkcpio

mkdir one two
printf 'content' >one/file
cp one/file two/file
chmod 700 two/file
manifest()
{
	cat <<-END
	#mtree
	/set type=dir uid=0 gid=0 mode=0755 time=1000000000.0
	./dir
	/set type=file mode=0644
	./dir/file contents=$PWD/$1/file uid=3
	./dir/empty contents=/dev/null mode=0600
	./link type=link mode=0777 link=dir/file
	./console type=char mode=0600 device=native,5,1
	END
}
manifest one >m1
manifest two >m2
"$mkcpio" m1 >a1
"$mkcpio" m2 >a2
ok "equal bytes from other files of the same content" cmp a1 a2
list=$(TZ=UTC cpio -itvn <a1 2>/dev/null | tr -s ' ')
is "$list" "drwxr-xr-x 2 0 0 0 Sep 9 2001 dir
-rw-r--r-- 1 3 0 7 Sep 9 2001 dir/file
-rw------- 1 0 0 0 Sep 9 2001 dir/empty
lrwxrwxrwx 1 0 0 8 Sep 9 2001 link -> dir/file
crw------- 1 0 0 5, 1 Sep 9 2001 console" "cpio reads it back"
is "$(cpio -i --to-stdout dir/file <a1 2>/dev/null)" content "and the content"
while IFS='>' read -r bad why; do
	out=$(printf '%b\n' "$bad" >m3; "$mkcpio" m3 2>&1 >/dev/null)
	isnt $? 0 "refused: $bad"
	like "$out" "$why" "and says why"
done <<'END'
a type=dir>mode of 'a'
a mode=0644>type of 'a'
a type=file mode=0644>contents of 'a'
a type=file mode=0644 contents=/none>open '/none'
a type=char mode=0644>device of 'a'
a type=char mode=0644 device=5,1>device='5,1'
a type=dir mode=0755 color=red>unknown keyword 'color'
a type=dir mode=0755\na type=dir mode=0755>named twice
a type=dir mode=0755\nb/c type=dir mode=0755>folder of 'b/c'
END

printf 'server=https://10.0.0.1:4647\ntoken=secret\n' >settings
"$TOP/scripts/mksettings" area settings
is "$(stat -c '%s %a' area)" "65536 600" "the settings area: size, and nobody else reads it"
is "$(head -c 6 area)" 070701 "its magic"
is "$(dd if=area bs=1 skip=110 count=24 status=none)" hoist.d/HOIST-SETTINGS-1 "its first name, where the specification has it"
is "$(dd if=area bs=1 skip=136 count=60 status=none)" "HOIST-SETTINGS-1 size=65536 7d6f0f5e0c1b4a3f9e2d8c5b6a790e13" "its marker"
is "$(cpio -i --to-stdout hoist.d/settings <area 2>/dev/null)" "$(cat settings)" "the settings come out again"
is "$(cpio -it <area 2>/dev/null | tr '\n' ' ')" "hoist.d/HOIST-SETTINGS-1 hoist.d/settings " "and nothing else"
"$TOP/scripts/mksettings" bare
is "$(cpio -i --to-stdout hoist.d/settings <bare 2>/dev/null)" '' "a bare area has none"
head -c 65400 /dev/zero >large
nok "too many settings" "$TOP/scripts/mksettings" area2 large
nok "leave nothing behind" test -e area2
done_testing
