#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Whole machines fail in the middle of a job.  The very ISO captures the disk of one and restores an image to the disk of another, side by side and slowly,
# so that there is a middle.  Both lose their power (QEMU is killed) and get it again; later the one being captured gets another address while it runs,
# and the other is reset; the points are random (SEED= repeats them).  With N= all is done so often, and what befalls which of them when is random too.
# Nobody orders anything anew: both jobs end well, what was captured and what was restored equals the source, and what was sent before is not sent again:
# no more than 1 % and what was on its way, for each of the two times.
#
# What is sent is what crosses the taps of the machines, so nothing that goes over the network is left out.
# shellcheck disable=SC2154
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/lan.sh"
. "$(dirname "$0")/../lib/migration.sh"
. "$(dirname "$0")/../lib/seed.sh"
requires_root
requires qemu-system-x86_64 ip dnsmasq jq perl mke2fs debugfs sfdisk
[ -e "$ISO" ] || bail_out "no $ISO: make iso"
agent=$MIGRATION_BIN/agent/hoist-agent
iso=$TAP_TMP/my.iso
take_seed
RATE=3000000 # bytes a second that a disk gives or takes
cd "$TAP_TMP" || exit

# make_disk NAME: NAME.img with 80 MiB of files on ext4, and one more that was deleted; NAME.want is what a restore of it would have.
make_disk()
{
	local i
	mkdir files || return
	for i in $(seq 21); do head -c 4M /dev/urandom >"files/f$i" || return; done
	truncate -s 200M ext.img && mke2fs -q -F -t ext4 -d files ext.img && debugfs -w -R 'rm f3' ext.img || return
	truncate -s 201M "$1.img" && printf 'label: dos\nstart=2048,type=83\n' | sfdisk -q "$1.img" &&
		dd if=ext.img of="$1.img" bs=1M seek=1 conv=notrunc,sparse status=none || return
	rm -r files ext.img
	"$agent" map --json --extents "$1.img" >"$1.map" && "$TOP/tests/lib/extents-keep" "$1.map" 0 "$1.img" "$1.want"
}
data_of() { perl -e 'local $/ = \4096; my $n = 0; while (<STDIN>) { $n += 4096 if /[^\0]/ } print $n' <"$1"; }

# ---- an agent on a file, for the other end of each job
fingerprint='' token=''
file_machine() # NAME FILE
{
	lan_start lan "$1" "$agent" run --server https://10.77.1.1:4647 --pin "$fingerprint" --token "$token" --id "$1" --name "$1" --discovery=no \
		--state "$TAP_TMP/$1.state" --disk "$2,name=d"
	machine_wait lan 60 ".name == \"$1\" and .state == \"idle\""
}

# ---- the two machines.  One processor, so two workers: what may be on its way is known
declare -A disk=([source]='source.img,ide,serial=SRC1' [target]='target.img,virtio,serial=DST1')
declare -A card=([source]=52:54:00:77:01:01 [target]=52:54:00:77:01:02)
# of a capture four packs of 1 MiB, each on a connection of its own, and what is in sockets; of a restore two windows of 4 MiB and that
declare -A allowance=([source]=$((5 << 20)) [target]=$((9 << 20)))
declare -A phase=([source]=capture [target]=restore) taps=([source]='' [target]='') base=([source]=0 [target]=0) whole=() jobs=()
power()
{
	local read=0 write=0
	VM_NIC=virtio-net-pci VM_MAC=${card[$1]} vm_start "$1" lan --iso "$iso" --disk "${disk[$1]}" --mem 512 --cpus 1 || return
	taps[$1]+=" tap$lan_taps"
	[ "$1" = source ] && read=$RATE || write=$RATE
	vm_qmp "$1" block_set_io_throttle "{\"device\":\"disk0\",\"bps\":0,\"bps_rd\":$read,\"bps_wr\":$write,\"iops\":0,\"iops_rd\":0,\"iops_wr\":0}"
}
cut_power() { kill -9 "${lan_pids[$1]}" && vm_wait_off "$1" 20 && power "$1"; }
reset() { vm_qmp "$1" system_reset; }
# Its cable is put where the DHCP server gives other addresses, and knows nothing of the old one.
links_lost() { tr -d '\r' <"$(vm_log "$1")" | grep -ac 'hoist: eth0: no link'; }
has_lost() { [ "$(links_lost "$1")" -gt "$2" ]; }
move()
{
	local before
	before=$(links_lost "$1")
	lan_stop dhcp-lan
	rm -f leases-lan
	lan_dhcp lan 10.77.1 210 250 &&
		vm_qmp "$1" set_link '{"name":"net0","up":false}' &&
		wait_for 60 has_lost "$1" "$before" &&
		vm_qmp "$1" set_link '{"name":"net0","up":true}' &&
		vm_wait "$1" 60 'eth0: address 10\.77\.1\.2[0-9]*/24 by DHCP'
}

# ---- their jobs
moved() # NAME: bytes, of a source from it, of a target to it; by all its taps, since it was started first
{
	local tap n=0 count=rx_bytes
	[ "$1" = source ] || count=tx_bytes
	for tap in ${taps[$1]}; do n=$((n + $(lan_run lan cat "/sys/class/net/$tap/statistics/$count"))); done
	echo $((n - ${base[$1]}))
}
order() # NAME COMMAND...: of hoist
{
	base[$1]=0
	base[$1]=$(moved "$1")
	jobs[$1]=$(hoist lan "${@:2}" --json | jq -r .id)
	[ -n "${jobs[$1]}" ]
}
job() { hoist lan job show "${jobs[$1]}" --json | jq -r "$2"; }
has_ended() { [[ $(job "$1" .state) =~ ^(done|failed|cancelled)$ ]]; }
# at PERCENT COMMAND COMMAND: what befalls source and target, each as soon as that much has been sent and its job runs
at()
{
	local end=$((SECONDS + 400)) name
	local -A todo=([source]=$2 [target]=$3)
	while [ ${#todo[@]} -gt 0 ] && [ $SECONDS -lt $end ]; do
		for name in "${!todo[@]}"; do
			[ "$(moved "$name")" -ge $((whole[$name] * $1 / 100)) ] || continue
			[ "$(job "$name" '"\(.state) \(.phase)"')" = "running ${phase[$name]}" ] || { job "$name" .; return 1; }
			${todo[$name]} "$name" || return
			unset "todo[$name]"
		done
		sleep 0.2
	done
	[ ${#todo[@]} = 0 ]
}

ok "a disk to capture" make_disk source
ok "and another, whose image is to be restored" make_disk seed
truncate -s "$(stat -c %s seed.img)" target.img
before=$(sha256sum <source.img)
whole=([source]=$(data_of source.want) [target]=$(data_of seed.want))
ok "a LAN" lan_up lan
# By addresses within the link the server would be reached whatever DHCP gives.
lan_run lan sysctl -qw net.ipv6.conf.br0.disable_ipv6=1
ok "a server" server_up lan
ok "a medium for it" medium lan "$iso"
fingerprint=$(sed -n 's/^fingerprint //p' server-lan.log)
token=$(hoist lan token create --uses 2 2>token.log)
ok "the source starts" power source
ok "the target starts" power target
ok "a machine with the other disk" file_machine seed seed.img
ok "is captured" hoist lan capture seed --image seed --wait
lan_stop seed

id=$(machine_wait lan 400 '.state == "idle" and any(.disks[]; .serial == "SRC1")')
ok "the source is to be captured" order source capture "$id" --image lifted
id=$(machine_wait lan 400 '.state == "idle" and any(.disks[]; .serial == "DST1")')
ok "the target to be restored to" order target restore seed "$id" --end stay
# Where the second comes must leave time for what befalls the other one first.
points=($((25 + RANDOM % 11)) $((50 + RANDOM % 11))) faults=(cut_power cut_power move reset)
if [ -n "${N+random}" ]; then # one gets another address at most: there is no third network
	points=($((10 + RANDOM % 30)) $((45 + RANDOM % 16)))
	for i in "${!faults[@]}"; do [ $((RANDOM % 2)) = 0 ] && faults[i]=cut_power || faults[i]=reset; done
	faults[RANDOM % 4]=move
fi
for i in 0 1; do
	what="source: ${faults[2 * i]}, target: ${faults[2 * i + 1]}"
	ok "in the middle of it, at ${points[i]} %: $what" at "${points[i]}" "${faults[@]:2 * i:2}"
done
moved_one=source
[[ "${faults[1]} ${faults[3]}" != *move* ]] || moved_one=target
for name in source target; do
	ok "$name: its job ends" wait_for 600 has_ended "$name"
	is "$(job "$name" .result)" "done" "$name: and it is done" || diag "$(job "$name" .)"
done
address=$(tr -d '\r' <"$(vm_log $moved_one)" | sed -n 's|.*eth0: address \(10[.0-9]*\)/24 by DHCP.*|\1|p' | tail -n 1)
like "$address" '^10\.77\.1\.2' "the $moved_one has another address"
ok "at the server too" machine_wait lan 10 ".address == \"${address:-none}\" and any(.disks[]; .serial == \"$([ $moved_one = source ] && echo SRC1 || echo DST1)\")"
vm_stop target

# judge NAME: how much was sent
judge()
{
	local sent allowed
	sent=$(moved "$1")
	allowed=$((${whole[$1]} + 2 * (${whole[$1]} / 100 + ${allowance[$1]})))
	ok "$1: $((${whole[$1]} >> 10)) KiB of data, $(((sent - ${whole[$1]}) >> 10)) KiB more went over the network, $(((allowed - ${whole[$1]}) >> 10)) are allowed" \
		test "$sent" -ge "${whole[$1]}" -a "$sent" -le $allowed
}
judge source
judge target
is "$(sha256sum <source.img)" "$before" "the source disk has not changed"
ok "the target equals what its image is of" cmp target.img seed.want
ok "the new image verifies" hoist lan image verify lifted --wait
truncate -s "$(stat -c %s source.img)" check.img
ok "a machine to look at it" file_machine check check.img
ok "has it restored" hoist lan restore lifted check --end stay --wait
ok "which equals the source" cmp check.img source.want
for vm in source target; do is "$(vm_broke $vm)" '' "nothing broke on the $vm"; done
done_testing
