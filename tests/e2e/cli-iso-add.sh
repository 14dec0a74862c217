#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# hoist iso --add: archives go onto a finished medium in the one form that the kernel unpacks; what could replace a part of the live image is refused; a
# medium that grows stays one that xorriso, sgdisk and sfdisk read.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/cli.sh"
requires xorriso cpio bsdtar zstd xz jq cmp perl sfdisk ssh-keygen

cd "$TAP_TMP" || exit
export HOIST_DATA=
release=6.1.0-99-amd64
# A medium as scripts/mkiso makes it, without what takes long to build.
mkdir efi
head -c 1000000 /dev/urandom >efi/BOOTX64.EFI
cp efi/BOOTX64.EFI efi/grubx64.efi
head -c 3000000 /dev/urandom >kernel
head -c 9000000 /dev/urandom >initramfs
"$TOP/scripts/mkcpio" /dev/null >none
"$TOP/scripts/mksettings" settings
"$TOP/scripts/mkadded" $release added.img
ok "a medium" env SOURCE_DATE_EPOCH=0 "$TOP/scripts/mkiso" --kernel kernel --initramfs initramfs --firmware none --added added.img --settings settings \
	--efi efi --out base.iso
base=$(sha256sum <base.iso)

# ---- what there is to add
mkdir -p one/usr/lib/firmware/acme one/usr/share/doc/acme one/lib/firmware two/lib/modules/$release/kernel/net/acme
head -c 3000 /dev/urandom >one/usr/lib/firmware/acme/card.bin
ln -s acme/card.bin one/usr/lib/firmware/card.bin
ln one/usr/lib/firmware/acme/card.bin one/usr/lib/firmware/acme/same.bin
ln one/usr/lib/firmware/acme/card.bin one/usr/lib/firmware/acme/third.bin
echo words >one/usr/share/doc/acme/copyright
# pack FOLDER: as an initramfs
pack() { (cd "$1" && find . | sort | cpio --quiet -o -H newc); }
pack one >one.cpio
{ printf '\177ELF'; head -c 2000 /dev/zero; printf '\0vermagic=%s SMP preempt mod_unload modversions \0' $release; head -c 5000000 /dev/urandom; } \
	>two/lib/modules/$release/kernel/net/acme/acme.ko
head -c 900 /dev/urandom >two/lib/modules/$release/kernel/net/acme/libacme.ko.xz
touch two/lib/modules/$release/modules.dep
tar -C two -cJf two.tar.xz lib
pack one | zstd -q >one.cpio.zst
pack one | gzip >one.cpio.gz

# added FILE: unpack what the kernel would, into out/
added()
{
	rm -rf out
	mkdir out
	case $1 in
	*.iso) xorriso -osirrox on -indev "$1" -extract /boot/added.img out.img >/dev/null 2>&1; chmod u+w out.img ;;
	*) cp "$1" out.img ;;
	esac
	"$TAP_TMP/unpack" out.img out
	rm -f out.img
}
# The kernel's own rules: zeros between archives are passed over, an archive is one that begins with 070701, or compressed.
cat >unpack <<'END'
#!/usr/bin/perl
use strict; use warnings;
my ($file, $out) = @ARGV;
open(my $in, '<:raw', $file) or die; local $/; my $all = <$in>;
my $cpio = '';
sub cpio_end { my ($b, $at) = @_;
	for (;;) { die "no cpio at $at\n" unless substr($b, $at, 6) eq '070701';
		my ($size, $name) = map { hex substr $b, $at + 6 + 8 * $_, 8 } 6, 11;
		my $n = substr $b, $at + 110, $name - 1;
		$at += (110 + $name + 3 & ~3) + ($size + 3 & ~3); return $at if $n eq 'TRAILER!!!'; } }
my $at = 0; my $i = 0;
while ($at < length $all) {
	if (substr($all, $at, 1) eq "\0") { $at++; next }
	die "at $at: not a multiple of 4\n" if $at % 4;
	my $part;
	if (substr($all, $at, 6) eq '070701') { my $end = cpio_end($all, $at); $part = substr $all, $at, $end - $at; $at = $end }
	else { my $next = index($all, "\0hoist.d/added-", $at); $next = length $all;
		for (my $p = $at + 512 - $at % 512; $p < length $all; $p += 512) { if (substr($all, $p, 6) eq '070701') { $next = $p; last } }
		open(my $z, '>:raw', 'frame') or die; print $z substr $all, $at, $next - $at; close $z;
		open(my $p, '-|:raw', 'zstd -dcq frame 2>/dev/null') or die; $part = <$p>; $at = $next; }
	open(my $c, '|-', "cd '$out' && cpio --quiet -idum 2>/dev/null") or die; binmode $c; print $c $part; close $c or die "cpio: $at\n";
}
END
chmod +x unpack

cli iso --in base.iso --out one.iso --add one.cpio
is "$STATUS_CLI:$OUT" "0:one.iso:
added one.cpio: lib/firmware/acme/card.bin (3000 bytes)
added one.cpio: lib/firmware/acme/same.bin (3000 bytes)
added one.cpio: lib/firmware/acme/third.bin (3000 bytes)
added one.cpio: lib/firmware/card.bin (13 bytes)" "firmware is added" || diag "$ERR"
added one.iso
is "$(cd out && find . -type f | sort | tr '\n' ' ')" "./hoist.d/HOIST-ADDED-1 ./hoist.d/added-1 ./lib/firmware/acme/card.bin ./lib/firmware/acme/same.bin ./lib/firmware/acme/third.bin " \
	"the kernel unpacks it, with its list, without the rest"
ok "the files are the same" cmp one/usr/lib/firmware/acme/card.bin out/lib/firmware/acme/same.bin
is "$(readlink out/lib/firmware/card.bin)" acme/card.bin "and the link"
is "$(sha256sum <base.iso)" "$base" "the original is as it was"
tar -C one -cf one.cpio.tar usr
for kind in zst gz tar; do
	cli iso --in base.iso --out kind.iso --add one.cpio.$kind
	added kind.iso
	ok "the same from .$kind" cmp one/usr/lib/firmware/acme/card.bin out/lib/firmware/acme/card.bin
	ok "and its hard links" cmp one/usr/lib/firmware/acme/card.bin out/lib/firmware/acme/third.bin
done

# ---- more than there is room for: the ISO grows
cli iso --in one.iso --out two.iso --add two.tar.xz --set name=b
is "$STATUS_CLI" 0 "modules are added to that, and settings" || diag "$ERR"
added two.iso
is "$(cd out && find lib -type f | sort | tr '\n' ' ')" \
	"lib/firmware/acme/card.bin lib/firmware/acme/same.bin lib/firmware/acme/third.bin lib/modules/$release/updates/acme.ko lib/modules/$release/updates/libacme.ko.xz " \
	"what was there stays, modules go to updates, indexes stay away"
ok "a module is the same" cmp two/lib/modules/$release/kernel/net/acme/acme.ko out/lib/modules/$release/updates/acme.ko
ok "the medium has grown" test "$(stat -c %s two.iso)" -gt $(($(stat -c %s base.iso) + 4000000))
is $(($(stat -c %s two.iso) % 1048576)) 0 "by whole MiB"
for f in vmlinuz initramfs.img efi.img firmware.img settings.cpio; do
	rm -f a b
	xorriso -osirrox on -indev base.iso -extract /boot/$f a -indev two.iso -extract /boot/$f b >/dev/null 2>&1
	if [ $f = settings.cpio ]; then nok "its $f is another" cmp -s a b; else ok "its $f is the same" cmp a b; fi
done
report() { xorriso -indev "$1" -report_system_area plain 2>/dev/null | grep -E "$2"; }
blocks=$(($(stat -c %s two.iso) / 512))
is "$(report two.iso 'ISO image size/512')" "ISO image size/512 : $blocks" "the volume is as long as the file"
is "$(report two.iso '^MBR partition .*: +1 ' | awk '{ print $NF }')" $blocks "its first partition too"
is "$(report two.iso '^GPT lba range' | awk '{ print $NF }')" $((blocks - 1)) "and the second GPT is at its end"
# What sfdisk and sgdisk have to say against an isohybrid ISO, they have against the original as well.
says() { sfdisk --verify "$1" 2>&1 | tail -n +2 | sed 's/[0-9]\{3,\}/N/g'; }
is "$(says two.iso)" "$(says base.iso)" "sfdisk finds no other fault than in the original"
if command -v sgdisk >/dev/null; then
	is "$(sgdisk -v two.iso 2>&1 | sed 's/[0-9]\{3,\}/N/g')" "$(sgdisk -v base.iso 2>&1 | sed 's/[0-9]\{3,\}/N/g')" "nor does sgdisk"
	perl -e 'open F, "+<", shift; seek F, 512 + 60, 0; print F "X"' two.iso
	like "$(sgdisk -v two.iso 2>&1)" 'backup|CRC' "which would find one"
	cli iso --in one.iso --out two.iso --add two.tar.xz --set name=b
fi
cli iso --show two.iso --json
is "$(jq -c '[.name, (.added_archives[] | .name, (.files | length))]' <<<"$OUT")" '["b","one.cpio",4,"two.tar.xz",2]' "show lists them, and the settings"
cli iso --in two.iso --out three.iso --add one.cpio
cli iso --show three.iso --json
is "$(jq -c '[.name, (.added_archives | length)]' <<<"$OUT")" '["b",3]' "settings stay when only something is added"
ssh-keygen -q -N '' -C jo -t ed25519 -f jo
cli iso --in two.iso --out named.iso --add one.cpio --ip eth0:dhcp
cli iso --show named.iso --json
is "$(jq -c '[.name, .ip, (.added_archives | length)]' <<<"$OUT")" '[null,"eth0:dhcp",3]' "and are replaced when any are named: those of the network"
cli iso --in two.iso --out named.iso --add one.cpio --ssh-key jo.pub
cli iso --show named.iso --json
is "$(jq -c '[.name, ."ssh-key", (.added_archives | length)]' <<<"$OUT")" "[null,\"$(cat jo.pub)\",3]" "a key for SSH"
cp three.iso reset.iso
cli iso --reset reset.iso
is "$STATUS_CLI:$OUT" "0:the settings were removed, and what was added" "reset takes it out again"
added reset.iso
is "$(cd out && find . -type f)" ./hoist.d/HOIST-ADDED-1 "nothing is left"
nok "no trace of it" grep -aq 'hoist.d/added-' reset.iso
cli iso --in reset.iso --out again.iso --add two.tar.xz
added again.iso
ok "and there is room for the next" cmp two/lib/modules/$release/kernel/net/acme/acme.ko out/lib/modules/$release/updates/acme.ko
is "$(stat -c %s again.iso)" "$(stat -c %s reset.iso)" "without growing again"

# ---- for starting from the network: the file alone
cli iso --in added.img --out net.img --add one.cpio --add two.tar.xz
is "$STATUS_CLI" 0 "added to added.img" || diag "$ERR"
added net.img
ok "the same" cmp two/lib/modules/$release/kernel/net/acme/acme.ko out/lib/modules/$release/updates/acme.ko
cli iso --show net.img --json
is "$(jq -c '[.added_archives[].name]' <<<"$OUT")" '["one.cpio","two.tar.xz"]' "show"
ok "reset" cli iso --reset net.img
ok "leaves what the build made" cmp added.img net.img

# ---- refusals: nothing is written
refused()
{
	local sentence=$1
	shift
	cli iso "$@"
	like "$STATUS_CLI:$ERR" "^[12]:.*$sentence" "refused: $(printf '%q ' "$@")"
}
# bad NAME COMMAND: an archive of the folder in which COMMAND made something
bad()
{
	rm -rf bad
	mkdir bad
	(cd bad && eval "$2")
	(cd bad && find . | cpio --quiet -o -H newc) >"$1.cpio"
}
bad init 'echo x >init'
refused "'init' would replace a part of Hoist" --in base.iso --out bad.iso --add init.cpio
bad settings 'mkdir hoist.d; echo server=evil >hoist.d/settings'
refused "'hoist.d/settings' would replace" --in base.iso --out bad.iso --add settings.cpio
bad files 'mkdir -p lib/firmware/hoist; echo x >lib/firmware/hoist/FILES'
refused "'lib/firmware/hoist/FILES' would replace" --in base.iso --out bad.iso --add files.cpio
bad link 'mkdir -p lib/firmware; ln -s ../../init lib/firmware/x'
refused "'lib/firmware/x' is neither a file nor a link to one" --in base.iso --out bad.iso --add link.cpio
bad node 'mkdir -p lib/firmware; mkfifo lib/firmware/x'
refused "'lib/firmware/x' is neither" --in base.iso --out bad.iso --add node.cpio
bad other "mkdir -p lib/modules/6.1.0-1-amd64; cp '$TAP_TMP/two/lib/modules/$release/kernel/net/acme/acme.ko' lib/modules/6.1.0-1-amd64"
refused "is a module for the kernel 6.1.0-1-amd64, and this medium has $release" --in base.iso --out bad.iso --add other.cpio
bad magic "mkdir -p lib/modules/$release; sed s/$release/6.1.0-98-amd64/ '$TAP_TMP/two/lib/modules/$release/kernel/net/acme/acme.ko' >lib/modules/$release/a.ko"
refused "was not built for the kernel of this medium" --in base.iso --out bad.iso --add magic.cpio
bad text "mkdir -p lib/modules/$release; echo x >lib/modules/$release/a.ko"
refused "is not a kernel module" --in base.iso --out bad.iso --add text.cpio
bad gz "mkdir -p lib/modules/$release; echo x >lib/modules/$release/a.ko.gz"
refused "is no module that the live image can load" --in base.iso --out bad.iso --add gz.cpio
bad empty 'mkdir -p lib/firmware'
refused "there is neither a module nor firmware in it" --in base.iso --out bad.iso --add empty.cpio
perl -e 'printf "070701" . "%08x" x 13 . "lib/firmware/../../init\0" . "\0" x 2 . "x\0\0\0", 1, 0100644, 0, 0, 1, 0, 1, 0, 0, 0, 0, 24, 0' >up.cpio
refused "a file with an impossible name" --in base.iso --out bad.iso --add up.cpio
mkdir -p big/lib/firmware
truncate -s 260M big/lib/firmware/big
pack big >big.cpio
refused "more than 256 MiB" --in base.iso --out bad.iso --add big.cpio
# Many links to one file, which need no room in the archive; once as tar has them, once as cpio does.
mkdir -p links/lib/firmware
head -c 30000000 /dev/zero >links/lib/firmware/a
for i in 1 2 3 4 5 6 7 8 9; do ln links/lib/firmware/a links/lib/firmware/a$i; done
tar -C links -cf links.tar lib
pack links >links.cpio
for f in links.tar links.cpio; do
	ok "an archive of less than 256 MiB" test "$(stat -c %s $f)" -lt 40000000
	refused "more than 256 MiB" --in base.iso --out bad.iso --add $f
done
long=$(printf 'x%.0s' {1..255})
perl -e '$n = "lib/firmware/" . shift; printf "070701" . "%08x" x 13, 1, 0100644, 0, 0, 1, 0, 4, 0, 0, 0, 0, 1 + length $n, 0; print $n . "\0" x (4 - (110 + length $n) % 4), "data"' \
	"${long}x" >long.cpio
refused "a file with an impossible name" --in base.iso --out bad.iso --add long.cpio
# Some forms libarchive hands to programs.
mkdir programs
for f in lrzip lzop grzip; do printf '#!/bin/sh\necho %s >>"%s/started"\n' $f "$TAP_TMP" >programs/$f; done
chmod +x programs/*
printf 'LRZI\0\6%2000s' '' >program.lrz
printf '\x89LZO\0\r\n\x1a\n%2000s' '' >program.lzo
printf 'GRZipII\0\2\4:)%2000s' '' >program.grz
for f in lrz lzo grz; do PATH=$TAP_TMP/programs:$PATH refused "program.$f" --in base.iso --out bad.iso --add program.$f; done
nok "no program is started for an archive" test -e started
head -c 3000 one.cpio >cut.cpio
refused "cut.cpio" --in base.iso --out bad.iso --add cut.cpio
head -c 9000 /dev/urandom >noise.cpio
refused "noise.cpio" --in base.iso --out bad.iso --add noise.cpio
refused "none.cpio" --in base.iso --out bad.iso --add none.cpio
refused "no place for more archives" --in settings --out bad.iso --add one.cpio
# A medium that somebody else wrote anew may have something behind the file.
mkdir tree
xorriso -osirrox on -indev base.iso -extract / tree >/dev/null 2>&1
chmod -R u+w tree
xorriso -as mkisofs -quiet -V HOIST -r -o foreign.iso tree 2>/dev/null
refused "it is not as the build of Hoist makes it" --in foreign.iso --out bad.iso --add one.cpio
cp base.iso tail.iso
perl -e 'open F, "+<", $ARGV[0]; seek F, (-s F) - 100000, 0; print F "X"' tail.iso
refused "something is behind /boot/added.img" --in tail.iso --out bad.iso --add one.cpio
cat base.iso added.img >double.iso
refused "more than one place for archives" --in double.iso --out bad.iso --add one.cpio
head -c 5000000 base.iso >short.iso
refused "cut off" --in short.iso --out bad.iso --add one.cpio
is "$(find . -name 'bad.iso*' | wc -l)" 0 "nothing was written"
done_testing
