#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The server's machine loses its power in the middle of a capture and of a restore that run side by side: QEMU is killed, at two random points (SEED=
# repeats them; N= runs all so often), and what the kernel in it had not yet written to the disk is gone.  It gets its power again, and nobody orders anything anew: both jobs end well, the
# restored disk and the new image equal their sources, the store verifies, and what was made sure is not sent again: no more than 1 %, one checkpoint and what
# was on its way, for each of the two times.
#
# The machine is the real server on a kernel with an ext4 disk and nothing else; the agents are real ones, on files.  What is sent is what crosses the wire
# between them (tests/lib/bad-wire), which is slow, so that there is a middle.
# shellcheck disable=SC2154
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/lan.sh"
. "$(dirname "$0")/../lib/migration.sh"
. "$(dirname "$0")/../lib/wire.sh"
. "$(dirname "$0")/../lib/seed.sh"
requires_root
requires qemu-system-x86_64 ip dnsmasq jq perl mke2fs e2fsck busybox cpio
[ -e "$KERNEL/vmlinuz" ] || bail_out "no $KERNEL: make kernel"
agent=$MIGRATION_BIN/agent/hoist-agent
take_seed
RATE=2000000 # bytes a second, both ways together
cd "$TAP_TMP" || exit

# ---- the server's machine: initramfs and disk
load() { modprobe -S "$(cat "$KERNEL/release")" -d "$KERNEL" --show-depends -a virtio_pci virtio_blk virtio_net ext4 crc32c_generic | sed -n 's/^insmod //p'; }
make_machine()
{
	local file root=root
	mkdir -p $root/{bin,dev,proc,sys,tmp,data,modules,lib/x86_64-linux-gnu} && ln -s lib/x86_64-linux-gnu $root/lib64 || return
	cp "$(command -v busybox)" "$MIGRATION_BIN/server/hoist-server" $root/bin/ || return
	for file in $("$TOP/scripts/elf-deps" $root/bin/*); do cp -L "$file" $root/lib/x86_64-linux-gnu/ || return; done
	load | awk '!seen[$1]++ { print $1 }' >modules || return
	while read -r file; do cp "$file" $root/modules/ && echo "insmod /modules/${file##*/}"; done <modules >loads || return
	cat >$root/init <<-END
		#!/bin/busybox sh
		/bin/busybox --install -s /bin
		export PATH=/bin
		mount -t devtmpfs dev /dev
		exec >/dev/console 2>&1
		mount -t proc proc /proc
		mount -t sysfs sys /sys
		$(cat loads)
		mount -t ext4 /dev/vda /data || poweroff -f
		ip link set lo up
		ip addr add 10.77.1.2/24 dev eth0
		ip link set eth0 up
		hoist-server --data /data --listen 10.77.1.2:4647 --discovery no --reserve 16M --poll 2
		echo "the server has ended: \$?"
		poweroff -f
	END
	chmod 755 $root/init && (cd $root && find . | cpio --quiet -o -H newc) >server.cpio || return
	truncate -s 700M server.img && mke2fs -q -F -t ext4 -d "$(server_data lan)" server.img
}
power()
{
	VM_NIC=virtio-net-pci VM_MAC=52:54:00:77:01:09 vm_start server lan --kernel "$KERNEL/vmlinuz" --initrd server.cpio --append 'console=ttyS0,115200 quiet panic=-1' \
		--disk server.img,virtio --mem 512 --cpus 1 --no-reboot && vm_wait server 120 'listening https://10\.77\.1\.2:4647'
}
cut_power() { kill -9 "${lan_pids[server]}" && vm_wait_off server 20; }
remote() { lan_run lan timeout 60 "$MIGRATION_BIN/server/hoist" --server https://10.77.1.2:4647 --pin "$fingerprint" --token-file "$(server_data lan)/operator.token" "$@"; }

# ---- two machines, and their jobs
machine() # NAME FILE
{
	lan_start lan "$1" "$agent" run --server "$WIRE_URL" --pin "$fingerprint" --token "$token" --id "$1" --name "$1" --discovery=no --workers 1 \
		--state "$TAP_TMP/$1.state" --disk "$2,name=d"
	wait_for 60 is_idle "$1"
}
is_idle() { remote machine show "$1" --json 2>/dev/null | jq -e '.state == "idle"' >/dev/null; }
declare -A jobs=() column=([source]=1 [target]=2) base=([source]=0 [target]=0) whole=()
# of a capture four packs of 1 MiB, what is in sockets, and what came since the last checkpoint, which is every 5 s; of a restore two windows of 4 MiB and
# what is in sockets
declare -A allowance=([source]=$(((5 << 20) + 5 * RATE)) [target]=$((9 << 20)))
moved() { echo $(($(wire_count "${column[$1]}") - ${base[$1]})); }
order()
{
	base[$1]=0
	base[$1]=$(moved "$1")
	jobs[$1]=$(remote "${@:2}" --json | jq -r .id)
	[ -n "${jobs[$1]}" ]
}
job() { remote job show "${jobs[$1]}" --json | jq -r "$2"; }
has_ended() { [[ $(job "$1" .state 2>/dev/null) =~ ^(done|failed|cancelled)$ ]]; }
percent() { echo $(($(moved "$1") * 100 / whole[$1])); }
# The faster of the two is so far, whichever it is, so that neither is over; and the other has begun.
one_at()
{
	local a b
	a=$(percent source) b=$(percent target)
	[ $((a > b ? a : b)) -ge "$1" ] && [ $((a < b ? a : b)) -ge 2 ]
}

for name in source seed; do head -c $((48 << 20)) /dev/urandom >$name.img; done
truncate -s $((48 << 20)) target.img check.img
whole=([source]=$((48 << 20)) [target]=$((48 << 20)))
before=$(sha256sum <source.img)
ok "a LAN" lan_up lan
ok "a server, to begin its folder" server_up lan
fingerprint=$(sed -n 's/^fingerprint //p' server-lan.log)
token=$(hoist lan token create --uses 4 2>token.log)
server_stop lan
ok "a machine for it" make_machine
ok "which serves" power
WIRE_ADDRESS=10.77.1.1 WIRE_TO=10.77.1.2:4647 wire_up 0 ip netns exec "$(lan_ns lan)"
ok "a machine with another disk" machine seed seed.img
ok "is captured" remote capture seed --image seed --wait
lan_stop seed
ok "the source" machine source source.img
ok "the target" machine target target.img
wire_say rate $RATE
ok "the source is to be captured" order source capture source --image lifted
ok "the target to be restored to" order target restore seed target --end stay
for point in $((15 + RANDOM % 20)) $((50 + RANDOM % 25)); do
	ok "the faster is at $point %" wait_for 200 one_at $point
	note "of the capture $(percent source) %, of the restore $(percent target) %"
	is "$(job source .state) $(job target .state)" "running running" "and run"
	ok "the server's machine loses its power" cut_power
	ok "and has it again" power
done
for name in source target; do
	ok "$name: its job ends" wait_for 400 has_ended $name
	is "$(job $name .result)" "done" "$name: and it is done" || diag "$(job $name .)"
	sent=$(moved $name)
	allowed=$((whole[$name] + 2 * (whole[$name] / 100 + allowance[$name])))
	ok "$name: $((whole[$name] >> 10)) KiB of data, $(((sent - whole[$name]) >> 10)) KiB more went over the wire, $(((allowed - whole[$name]) >> 10)) are allowed" \
		test "$sent" -ge "${whole[$name]}" -a "$sent" -le $allowed
done
wire_say rate 0
ok "the target equals what its image is of" cmp target.img seed.img
is "$(sha256sum <source.img)" "$before" "the source has not changed"
for image in seed lifted; do ok "the image '$image' verifies" remote image verify $image --wait; done
ok "a machine to look at the new one" machine check check.img
ok "has it restored" remote restore lifted check --end stay --wait
ok "which equals the source" cmp check.img source.img
cut_power
is_sound() { e2fsck -fp server.img; [ $? -le 1 ]; } # 1: what the journal held was written
ok "the disk's filesystem is sound" is_sound
is "$(vm_broke server)" '' "nothing broke on the machine"
unlike "$(cat vm-server/serial.log*)" 'the server has ended' "the server did not end by itself"
done_testing
