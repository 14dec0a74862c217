#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# XFS of version 4, which many kernels do not mount any more, the live image's does: it is lived in there, mapped here, and what a capture
# keeps of it shows every file there again.
# shellcheck disable=SC2016 # the machine expands what is typed
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/lan.sh"
. "$(dirname "$0")/../lib/usage.sh"
requires qemu-system-x86_64 mkfs.xfs xfs_repair partclone.xfs
net=$NETBOOT
[ -e "$net/vmlinuz" ] || bail_out "no $net: make netboot"
cd "$TAP_TMP" || exit

mkdir src
fill src 4 2400
{
	printf 'x\n0 0\nd--755 0 0\n'
	for d in src/*; do
		echo "${d##*/} d--755 0 0"
		find "$d" -type f -printf '%f ---644 0 0 %p\n'
		echo '$'
	done
	echo '$'
} >proto
truncate -s 320M disk.img
ok "made, with 2400 files" mkfs.xfs -q -m crc=0 -p proto disk.img

# in_machine NAME IMAGE COMMANDS: in a shell of the live image, with the filesystem at /mnt; the digest of all that is in it then
in_machine()
{
	ok "$1: started" vm_start "$1" - --kernel "$net/vmlinuz" --initrd "$net/initramfs.img" \
		--append 'console=ttyS0,115200 quiet hoist.shell hoist.discovery=no' --mem 512 --disk "$TAP_TMP/$2,virtio" --no-reboot
	ok "$1: its shell" vm_wait "$1" 200 'hoist: starting the agent'
	vm_type "$1" 'modprobe xfs; mkdir -p /mnt; mount -t xfs /dev/vda /mnt && echo "MOUNT" DONE'
	ok "$1: mounted" vm_wait "$1" 60 'MOUNT DONE'
	vm_type "$1" "$3"
	vm_type "$1" 'cd /mnt; set -- $(find . -type f | sort | xargs sha256sum | sha256sum); echo "DIGEST" "$1" $(find . -type f | wc -l) END; cd /; umount /mnt; sync; echo "ALL" OVER'
	ok "$1: over" vm_wait "$1" 200 'ALL OVER'
	vm_stop "$1"
	digest=$(tr -d '\r' <"$(vm_log "$1")" | sed -n 's/.*DIGEST \([0-9a-f]\{64\} [0-9]*\) END.*/\1/p' | tail -n 1)
}
in_machine life disk.img 'cp -r /mnt/d1 /mnt/copy; yes STALE-DATA-OF-A-DELETED-FILE | head -c 3000000 >/mnt/doomed; sync; rm -r /mnt/doomed /mnt/d2 /mnt/d3 /mnt/d4 /mnt/d5 /mnt/d6; for i in $(seq 400); do echo $i >/mnt/small.$i; done; sync'
before=$digest
like "$before" '^[0-9a-f]{64} [0-9]{4}$' "thousands of files are left in it"
ok "of which many were deleted" test "${before#* }" -gt 1500 -a "${before#* }" -lt 2700
ok "deleted data stands in the free space" grep -qa STALE-DATA-OF disk.img
map disk.img
is_map xfs "it is mapped"
peer xfs disk.img
like_peer "by partclone"
keep disk.img kept.img
ok "xfs_repair finds no fault in what is kept" xfs_repair -n kept.img
nok "no deleted data in it" grep -qa STALE-DATA-OF kept.img
in_machine after kept.img true
is "$digest" "$before" "and every file"
done_testing
