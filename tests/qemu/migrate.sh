#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The whole job: a Debian machine is captured over the network by the very ISO and restored into an empty machine, which then boots from
# its own disk.  Discovery is by broadcast on a LAN of its own; nobody touches a keyboard.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/lan.sh"
. "$(dirname "$0")/../lib/migration.sh"
requires_root
requires qemu-system-x86_64 ip dnsmasq jq perl
guest=$TOP/build/guest/guest.img
iso=$TAP_TMP/my.iso
[ -e "$guest" ] || bail_out "no $guest: make guest"
[ -e "$ISO" ] || bail_out "no $ISO: make iso"

ok "a LAN" lan_up lan
ok "a server" server_up lan
ok "a medium for it" medium lan "$iso"
cp --sparse=always "$guest" "$TAP_TMP/source.img"
truncate -s "$(stat -c %s "$guest")" "$TAP_TMP/target.img"
before=$(sha256sum <"$TAP_TMP/source.img")

ok "the physical machine starts from the medium" vm_start source lan --iso "$iso" --disk "$TAP_TMP/source.img,ide,serial=SRC1" --mem 512
source=$(machine_wait lan 300 '.state == "idle"')
isnt "$source" '' "it appears on the server"
ok "its disk is captured" hoist lan capture "$source" --image web1 --wait
is "$(sha256sum <"$TAP_TMP/source.img")" "$before" "the source disk has not changed"
vm_stop source
ok "the image verifies" hoist lan image verify web1 --wait

# The console of the source told all of it, and nothing was refused.
like "$(tr -d '\r' <"$(vm_log source)")" 'capture' "the console says what was done"
is "$(vm_broke source)" '' "nothing broke on the source"

ok "an empty machine starts from the same medium" vm_start target lan --iso "$iso" --disk "$TAP_TMP/target.img,virtio,serial=DST1" --mem 512 --no-reboot
target=$(machine_wait lan 300 ".state == \"idle\" and .id != \"$source\"")
isnt "$target" '' "it appears on the server"
ok "the image is restored to it" hoist lan restore web1 "$target" --end reboot --wait
ok "it restarts" vm_wait_off target 120
# What is free was left out, and is zeros; a sector that is neither the source's nor zeros is none that was copied.
read -r wrong zeros < <(perl -e '
	my ($wrong, $zeros) = (0, 0);
	my @f = map { open my $f, "<:raw", $_ or die "$_: $!"; $f } @ARGV;
	while (read($f[0], my $a, 65536)) {
		read $f[1], my $b, 65536;
		next if $a eq $b;
		for (my $i = 0; $i < length $a; $i += 512) {
			my ($x, $y) = (substr($a, $i, 512), substr($b, $i, 512));
			next if $x eq $y;
			$y =~ /[^\0]/ ? $wrong++ : $zeros++;
		}
	}
	print $wrong, " ", $zeros * 512, "\n";' "$TAP_TMP/source.img" "$TAP_TMP/target.img")
report=$(hoist lan image show web1@1 --json | jq '.report.disks[0]')
is "$wrong" 0 "its disk equals the source, or is zeros"
ok "... nowhere but where nothing is in use ($zeros bytes)" test "$zeros" -le "$(jq .skipped_bytes <<<"$report")"
is "$(jq -r '[.map.partitions[].how] | join(" ")' <<<"$report")" 'map header' "the root filesystem was copied by its map, swap by its header"
is "$(jq '.used_bytes < .size / 2' <<<"$report")" true "less than half of the disk was copied"

ok "it starts from its own disk" vm_start target lan --disk "$TAP_TMP/target.img,virtio,serial=DST1" --mem 512
ok "the migrated Debian verifies its files" vm_wait target 400 'HOIST-GUEST: files [0-9]+ ok'
ok "it comes up to its login" vm_wait target 300 'login:'
is "$(hoist lan jobs --json | jq -r '[.jobs[].state] | unique | join(",")')" 'done' "every job says done"
done_testing
