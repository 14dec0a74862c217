#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# hoist vmdef: the definition of an empty VM says what the captured machine was, and xl can read it.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/agent.sh"
. "$(dirname "$0")/../lib/cli.sh"
requires curl jq xxd python3

cd "$TAP_TMP" || exit
start_server
# shellcheck disable=SC2034 # start_agent uses it
TOKEN=$("$HOIST" token create --uses 10 2>/dev/null)
truncate -s 20M a.img
truncate -s 12345344 b.img
start_agent src --disk a.img --disk b.img,sector=4096
ok "the machine appears" wait_for 30 machine_is_idle src
cli capture src --image web1 --wait
is "$STATUS_CLI" 0 "captured" || diag "$ERR"

# What xl reads is what Python reads: names, strings, numbers, lists.  The result as JSON.
read_cfg() { python3 -c 'import json, sys; c = {}; exec(sys.stdin.read(), {"__builtins__": {}}, c); print(json.dumps(c))' <<<"$OUT" >cfg.json; }
cfg() { jq -r "$1" cfg.json; }

cli vmdef web1
is "$STATUS_CLI:$ERR" "0:" "a definition"
ok "that is well-formed" read_cfg
is "$(cfg '[.name, .type, .boot] | join(" ")')" "web1 hvm cd" "an HVM that starts from its disk, else from the CD"
cli image show web1@1 --json
inventory=$(jq -c .inventory <<<"$OUT")
is "$(cfg .firmware)" "$(jq -r .firmware.kind <<<"$inventory")" "the firmware of the machine"
is "$(cfg .vcpus)" "$(jq .cpu.threads <<<"$inventory")" "its processors"
is "$(cfg '.memory % 128')" 0 "memory in steps"
ok "as much as it had" test "$(cfg '.memory')" -ge "$(jq '.memory / 1048576 | ceil' <<<"$inventory")"
is "$(cfg '.disk | length')" 3 "two disks and the medium"
is "$(cfg '.disk[0]')" "format=raw,vdev=xvda,access=rw,target=/var/lib/xen/images/web1-a.raw" "the first disk"
is "$(cfg '.disk[2]')" "format=raw,vdev=hdd,access=ro,devtype=cdrom,target=/var/lib/xen/images/hoist.iso" "the CD, where no disk is"
is "$(cfg '.vif | length')" "$(jq '[.nics | length, 1] | max | [., 8] | min' <<<"$inventory")" "its network cards"
like "$(cfg '.vif[0]')" '^mac=00:16:3e:[0-7][0-9a-f](:[0-9a-f]{2}){2},bridge=xenbr0,model=e1000$' "with a MAC address of Xen's"
mac=$(cfg '.vif[0]')
uuid=$(cfg .uuid)
like "$uuid" '^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$' "a UUID"
cli vmdef web1@1
read_cfg
is "$(cfg '.vif[0], .uuid' | tr '\n' ' ')" "$mac $uuid " "both the same at each call"
like "$OUT" "#	truncate -s 20971520 '/var/lib/xen/images/web1-a.raw'" "how to make a disk"
like "$OUT" "# Disk xvdb had sectors of 4096 bytes" "what a file cannot be"
like "$OUT" "# An empty VM for image web1@1 \(machine 'src', captured 20" "what it is for"

cli vmdef web1 --type pvh --name other --bridge br7 --disks /srv/x --kernel /k --ramdisk /r --vcpus 3 --memory 700M
read_cfg
is "$(cfg '[.name, .type, .kernel, .ramdisk, .vcpus, .memory, .on_reboot] | map(tostring) | join(" ")')" "other pvh /k /r 3 700 destroy" "a PVH that is started with our kernel"
is "$(cfg '.disk | join(" ")')" "format=raw,vdev=xvda,access=rw,target=/srv/x/other-a.raw format=raw,vdev=xvdb,access=rw,target=/srv/x/other-b.raw" "and no CD"
unlike "$(cfg '.vif[0]')" "$mac" "another name, another MAC address"
isnt "$(cfg .uuid)" "$uuid" "and another UUID"
like "$(cfg '.vif[0]')" 'bridge=br7$' "the bridge, and no emulated card"
like "$OUT" "#	cat initramfs.img settings.cpio >'/r'" "how to make the ramdisk"
for type in pvh pv; do
	cli vmdef web1 --type $type --from-disk
	ok "$type from its disk is well-formed" read_cfg
	like "$(cfg '[.kernel, .bootloader] | join(" ")')" '^(/usr/lib/grub-xen/grub-i386-xen_pvh.bin | pygrub)$' "by a boot loader"
	is "$(cfg '.ramdisk, .uuid' | tr '\n' ' ')" "null $uuid " "and not our initramfs; the same machine"
done

kept=$(jq -r '[.nics[] | .permanent_mac // .mac][0] // empty' <<<"$inventory")
cli vmdef web1 --keep-mac
read_cfg
like "$(cfg '.vif[0]')" "mac=${kept:-00:16:3e}" "--keep-mac: the machine's own"

# ---- many disks: the CD keeps its place
stop_agent src
disks=()
for n in {1..30}; do
	truncate -s 1M "d$n.img"
	disks+=(--disk "d$n.img")
done
start_agent many "${disks[@]}"
ok "a machine with 30 disks appears" wait_for 30 machine_is_idle many
cli capture many --image many --wait
cli vmdef many
ok "30 disks" read_cfg
is "$(cfg '[.disk[] | capture("vdev=(?<v>[a-z]+)").v] | (unique | length), (index("hdd") != null), (index("xvdd") == null), (index("xvdae") != null)' | tr '\n' ' ')" "31 true true true " "no two at one place, none at the CD's"

# ---- what is refused
for usage in "vmdef" "vmdef web1 --format ovf" "vmdef web1 --type vm" "vmdef web1 --name a/b" "vmdef web1 --memory 1M" "vmdef web1 --vcpus 0"; do
	# shellcheck disable=SC2086 # words
	cli $usage
	is "$STATUS_CLI:$OUT" "2:" "wrong usage: '$usage'"
done
for text in 'a"b' "a'b" 'a,b' 'a\b' $'a\nb' ''; do
	cli vmdef web1 --bridge "$text"
	is "$STATUS_CLI:$OUT" "2:" "no place for it in a definition: '${text//$'\n'/ }'"
done
cli vmdef nothing
is "$STATUS_CLI:$OUT" "1:" "an image that is not there"
cli vmdef web1@7
is "$STATUS_CLI:$OUT" "1:" "a version that is not there"
done_testing
