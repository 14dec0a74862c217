# shellcheck shell=bash disable=SC2034 # what is set here is for the tests
# SPDX-License-Identifier: GPL-3.0-or-later
# Filesystems that have lived: thousands of files, many deleted whose data still lies about.  After tap.sh; each kind has the same functions.
#
#	fs_sources			makes $FS_KEPT (2,000 files) and $FS_DOOMED (500, of $FS_STALE)
#	fs_make_KIND FILE SIZE [OPTION...]	a filesystem with both, then without the doomed ones; 77: this cannot be had here
#	fs_age_KIND FILE		some of the kept ones are deleted too; fails when that is not done for this kind
#	fs_check_KIND FILE		its own checker finds no fault
#	fs_sums_KIND FILE		checksums of all its files, sorted; fails when that cannot be told here
#	fs_has_stale FILE...		does any of it hold what was deleted?
#
# Kinds: ext, xfs, btrfs, ntfs (some of it compressed and sparse), fat, exfat, swap, md (one half of a RAID 1
# with ext4; OPTION: the version of its metadata, 1.2), none (no filesystem at all); lvm takes two files, FILE.img and FILE2.img, of one group
# with a volume over both disks and a striped one, or with the OPTION `one` just FILE.img.
#
# A copy of FILE that is to be looked at has its name, or that after "t-": lvm knows by it where the volumes are.
#
# With usage.sh, server.sh and agent.sh, in the current folder:
#
#	fs_add NAME HOW KIND SIZE [OPTION...]	makes NAME.img, to be captured, into the array `names`, with kind[NAME] and how[NAME] (map, raw, header)
#	fs_disks PREFIX		--disk PREFIXNAME.img for each of them, a word a line
#	fs_place NAME		its number among them
#	fs_sum_all		checksums of all the images
#	fs_expect		makes e-NAME.img: the source with zeros for whatever the map does not call used
#	fs_restored TITLE NAME...	every t-NAME.img is that, without stale data; of those named also by its own checker and file by file
#	fs_store_has_stale	does any pack hold what was deleted?
FS_STALE=STALE-DATA-OF-A-DELETED-FILE
FS_KEPT=$TAP_TMP/kept
FS_DOOMED=$TAP_TMP/doomed
FS_MNT=$TAP_TMP/mnt
mkdir -p "$FS_MNT"
fs_loops=()
fs_pid=
fs_detach() { [ ${#fs_loops[@]} = 0 ] || losetup -d "${fs_loops[@]}"; fs_loops=(); }
fs_cleanup()
{
	! mountpoint -q "$FS_MNT" || umount "$FS_MNT"
	fs_detach
}
cleanup_fn fs_cleanup

fs_sources()
{
	mkdir "$FS_KEPT" "$FS_DOOMED" && perl -e '
		my ($kept, $doomed, $stale) = @ARGV;
		srand(7);
		sub write_file { open my $f, ">", $_[0] or die "$_[0]: $!"; print $f $_[1]; close $f or die; }
		for my $i (0 .. 1999) {
			my $size = rand() < 0.98 ? int(rand(4000)) : int(rand(300000));
			my $line = "file $i, " . int(rand(1e9)) . "\n";
			mkdir "$kept/d" . $i % 20;
			write_file("$kept/d" . $i % 20 . "/f$i", substr($line x (1 + $size / length $line), 0, $size));
		}
		write_file("$doomed/s$_", "$stale $_\n" x (130 + rand(500))) for 0 .. 499;' "$FS_KEPT" "$FS_DOOMED" "$FS_STALE"
}
fs_has_stale() { grep -qa "$FS_STALE" "$@"; }
fs_sum_dir() { (cd "$1" && find . -type f -print0 | sort -z | xargs -0r sha256sum); }
fs_new() { rm -f "$1" && truncate -s "$2" "$1"; }
fs_mount() { [ "$(id -u)" = 0 ] && mount -o "$2" "$1" "$FS_MNT" 2>/dev/null; }
# A program that serves a filesystem goes on writing after umount, until it ends.
fs_umount() { umount "$FS_MNT" && { [ -z "$fs_pid" ] || wait "$fs_pid"; } && fs_pid= && fs_detach; }
# fs_serve PROGRAM...: one that stays in the foreground
fs_serve()
{
	"$@" >/dev/null 2>&1 &
	fs_pid=$!
	wait_for 20 sh -c "mountpoint -q '$FS_MNT' || ! kill -0 $fs_pid" 2>/dev/null
	mountpoint -q "$FS_MNT" || { fs_pid=; fs_detach; return 77; }
}
fs_loop() { [ "$(id -u)" = 0 ] && fs_loops+=("$(losetup -f --show "$1")") 2>/dev/null; }
# Kept ones on both sides of the deleted ones; those are deleted last, since ends of clusters keep what was there before.
fs_populate()
{
	cp -r "$FS_KEPT" "$FS_MNT/kept" && cp -r "$FS_DOOMED" "$FS_MNT/doomed" && cp -r "$FS_KEPT/d3" "$FS_MNT/late" &&
		sync -f "$FS_MNT" && rm -r "$FS_MNT/doomed" && fs_umount
}
fs_age_mounted() { find "$FS_MNT" -type f -name '*7' -delete && fs_umount; }
fs_sums_mounted() { fs_sum_dir "$FS_MNT" && fs_umount; }

# ---- ext2, ext3, ext4: without mounting

fs_make_ext()
{
	local all=$TAP_TMP/all
	[ -d "$all" ] || { mkdir "$all" && cp -r "$FS_KEPT" "$FS_DOOMED" "$all"; } || return
	fs_new "$1" "$2" && mke2fs -q -F -d "$all" "${@:3}" "$1" &&
		(cd "$all" && find doomed -type f -printf 'rm "/%p"\n') >"$TAP_TMP/rm" && debugfs -w -f "$TAP_TMP/rm" "$1" >/dev/null 2>&1
}
fs_age_ext()
{
	(cd "$TAP_TMP/all" && find kept -type f -name '*7' -printf 'rm "/%p"\n') >"$TAP_TMP/rm" && debugfs -w -f "$TAP_TMP/rm" "$1" >/dev/null 2>&1
}
fs_check_ext() { e2fsck -fn "$1"; }
fs_sums_ext()
{
	rm -rf "$TAP_TMP/dump" && mkdir "$TAP_TMP/dump" && debugfs -R "rdump / $TAP_TMP/dump" "$1" >/dev/null 2>&1 && fs_sum_dir "$TAP_TMP/dump"
}

# ---- XFS: by the kernel; a version that it does not mount is made from a list of files; then what xfs_db calls free is filled

fs_make_xfs()
{
	fs_new "$1" "$2" && mkfs.xfs -q "${@:3}" "$1" || return
	if fs_mount "$1" loop; then
		fs_populate
		return
	fi
	{
		printf 'x\n0 0\nd--755 0 0\n'
		find "$FS_KEPT" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort | while read -r d; do
			echo "$d d--755 0 0"
			find "$FS_KEPT/$d" -type f -printf '%f ---644 0 0 %p\n'
			echo '$'
		done
		echo '$'
	} >"$TAP_TMP/proto"
	mkfs.xfs -q -f -p "$TAP_TMP/proto" "${@:3}" "$1" 2>/dev/null &&
		xfs_db -r -c 'sb 0' -c 'p blocksize agblocks' -c 'freesp -d' "$1" | perl -e '
			open my $f, "+<:raw", $ARGV[0] or die;
			while (<STDIN>) {
				$sb{$1} = $2 if /^(\w+) = (\d+)/;
				/^\s*(\d+)\s+(\d+)\s+(\d+)\s*$/ && $3 > 15 or next; # single blocks may be the reserve of its trees
				my $length = $3 * $sb{blocksize};
				seek $f, ($1 * $sb{agblocks} + $2) * $sb{blocksize}, 0;
				print $f substr("$ARGV[1]\n" x (1 + ($length < 1 << 20 ? $length : 1 << 20) / length $ARGV[1]), 0, $length) or die;
			}' "$1" "$FS_STALE"
}
fs_age_xfs() { fs_mount "$1" loop && fs_age_mounted; }
fs_check_xfs() { xfs_repair -n "$1"; }
fs_sums_xfs() { fs_mount "$1" loop,ro && fs_sums_mounted; }

# ---- btrfs, NTFS, exFAT: mounted

fs_make_btrfs() { fs_new "$1" "$2" && mkfs.btrfs -q -f "${@:3}" "$1" && { fs_mount "$1" loop || return 77; } && fs_populate; }
fs_age_btrfs() { fs_mount "$1" loop && fs_age_mounted; }
fs_check_btrfs() { btrfs check --check-data-csum "$1"; }
fs_sums_btrfs() { fs_mount "$1" loop,ro && fs_sums_mounted; }

fs_mount_ntfs() { fs_serve ntfs-3g -o no_detach,compression,"${2:-rw}" "$1" "$FS_MNT"; }
# A sparse file, and a folder with FILE_ATTRIBUTE_COMPRESSED, which what is made in it inherits; both take less room than they have bytes.
fs_pack_ntfs()
{
	local file
	truncate -s 30M "$FS_MNT/sparse" && printf 'far out' | dd of="$FS_MNT/sparse" bs=1 seek=20000000 conv=notrunc status=none &&
		mkdir "$FS_MNT/compressed" && setfattr -h -v 0x00000810 -n system.ntfs_attrib_be "$FS_MNT/compressed" &&
		cp "$FS_KEPT"/d1/* "$FS_MNT/compressed/" && file=$(find "$FS_MNT/compressed" -size +60k | head -n 1) &&
		[ $(($(stat -c %b "$file") * 1024)) -lt "$(stat -c %s "$file")" ] && [ "$(stat -c %b "$FS_MNT/sparse")" -lt 1000 ]
}
fs_make_ntfs() { fs_new "$1" "$2" && mkntfs -q -F -Q "${@:3}" "$1" >/dev/null 2>&1 && fs_mount_ntfs "$1" && fs_pack_ntfs && fs_populate; }
fs_age_ntfs() { fs_mount_ntfs "$1" && fs_age_mounted; }
fs_check_ntfs() { ntfsresize -i -f -n "$1"; }
fs_sums_ntfs() { fs_mount_ntfs "$1" ro && fs_sums_mounted; }

fs_mount_exfat() { { fs_loop "$1" || return 77; } && fs_serve mount.exfat-fuse -d "${fs_loops[0]}" "$FS_MNT" ${2:+-o "$2"}; }
fs_make_exfat() { fs_new "$1" "$2" && mkfs.exfat "${@:3}" "$1" >/dev/null 2>&1 && fs_mount_exfat "$1" && fs_populate; }
fs_age_exfat() { fs_mount_exfat "$1" && fs_age_mounted; }
fs_check_exfat() { fsck.exfat -n "$1"; }
fs_sums_exfat() { fs_mount_exfat "$1" ro && fs_sums_mounted; }

# ---- FAT: by mtools

fs_make_fat()
{
	fs_new "$1" "$2" && mkfs.fat "${@:3}" "$1" >/dev/null 2>&1 && mcopy -s -Q -i "$1" "$FS_KEPT" :: &&
		mcopy -Q -i "$1" "$FS_DOOMED"/s?? :: && mdel -i "$1" '::s*'
}
fs_age_fat() { mdel -i "$1" '::kept/d7/*' '::kept/d12/*'; }
fs_check_fat() { fsck.fat -n "$1"; }
fs_sums_fat() { rm -rf "$TAP_TMP/dump" && mkdir "$TAP_TMP/dump" && mcopy -s -n -m -Q -i "$1" '::*' "$TAP_TMP/dump/" && fs_sum_dir "$TAP_TMP/dump"; }

# ---- LVM2, by its own program without device-mapper; the volumes are ext4

fs_lvm()
{
	local filter='' dev
	for dev in "${fs_loops[@]}"; do filter+="\"a|^$dev\$|\","; done
	lvm "$1" --driverloaded n --config "devices { scan=[\"/dev\"] filter=[$filter\"r|.*|\"] use_devicesfile=0 }
		activation { udev_sync=0 udev_rules=0 monitoring=0 } global { use_lvmpolld=0 }
		backup { backup=0 archive=0 } log { prefix=\"\" }" "${@:2}" 2>>"$TAP_TMP/lvm.log"
}
# fs_volume put|get FILE VOLUME CONTENT
fs_volume()
{
	sed -e "s,FIRST,$2," -e "s,SECOND,${2%.img}2.img," "$TAP_TMP/${2#t-}.layout" >"$TAP_TMP/layout.here" &&
		"$TOP/tests/lib/lv-io" "$1" "$TAP_TMP/layout.here" "$3" "$4"
}
fs_layout()
{
	local file=$1
	{
		fs_lvm pvs --noheadings --units b --nosuffix -o pv_name,pe_start
		fs_lvm lvs -a --noheadings --units b --nosuffix --separator ' ' -o lv_name,vg_extent_size,seg_start_pe,seg_size_pe,stripes,stripe_size,devices
	} | sed -e "s,${fs_loops[0]}\b,FIRST,g" -e "s,${fs_loops[1]-none}\b,SECOND,g" -e 's/[][]//g' >"$TAP_TMP/$file.layout"
}
fs_lvm_volumes()
{
	fs_lvm vgcreate -y lived "${fs_loops[@]}" && fs_lvm lvcreate -an -Zn -Wn -y -n gone -L 8M lived &&
		fs_lvm lvcreate -an -Zn -Wn -y -n fast -i ${#fs_loops[@]} -I 64k -L 64M lived && fs_lvm lvcreate -an -Zn -Wn -y -n root -L 160M lived &&
		fs_layout "$1"
}
fs_make_lvm()
{
	local file
	export LVM_SYSTEM_DIR=$TAP_TMP/lvm LVM_SUPPRESS_FD_WARNINGS=1
	mkdir -p "$TAP_TMP/lvm" || return
	for file in "$1" "${1%.img}2.img"; do
		[ "$file" = "$1" ] || [ "${3-}" != one ] || continue
		fs_new "$file" "$2" || return
		fs_loop "$file" || { fs_detach; return 77; }
	done
	fs_lvm_volumes "$1" && yes "$FS_STALE" | head -c 8388608 >"$TAP_TMP/gone" && fs_volume put "$1" gone "$TAP_TMP/gone" &&
		fs_lvm lvremove -y lived/gone && fs_layout "$1" && fs_detach &&
		fs_make_ext "$TAP_TMP/fs" 160M -t ext4 && fs_volume put "$1" root "$TAP_TMP/fs" &&
		fs_make_ext "$TAP_TMP/fs" 64M -t ext4 -b 1024 && fs_volume put "$1" fast "$TAP_TMP/fs"
}
fs_age_lvm() { fs_volume get "$1" root "$TAP_TMP/fs" && fs_age_ext "$TAP_TMP/fs" && fs_volume put "$1" root "$TAP_TMP/fs"; }
fs_check_lvm()
{
	local v
	for v in root fast; do fs_volume get "$1" $v "$TAP_TMP/fs" && e2fsck -fn "$TAP_TMP/fs" || return; done
}
fs_sums_lvm()
{
	local v
	for v in root fast; do fs_volume get "$1" $v "$TAP_TMP/fs" && fs_sums_ext "$TAP_TMP/fs" || return; done
}

# ---- MD RAID 1: a half with ext4

fs_md_offset()
{
	local sectors
	sectors=$(mdadm --examine "$1" 2>/dev/null | sed -n 's/^ *Data Offset : \([0-9]*\) sectors.*/\1/p')
	echo $((${sectors:-0} * 512)) # 0.90 does not say
}
fs_put_md() { dd if="$TAP_TMP/fs" of="$1" bs=1M seek="$(fs_md_offset "$1")" oflag=seek_bytes conv=notrunc status=none; }
fs_make_md()
{
	fs_make_ext "$TAP_TMP/fs" "$2" -t ext4 && fs_new "$1" "$2" && truncate -s +1M "$1" &&
		"$TOP/tests/lib/md-super" --metadata "${3:-1.2}" --name "$1" --uuid "$(md5sum <<<"$1" | cut -d ' ' -f 1)" "$1" && fs_put_md "$1"
}
fs_in_md() { dd if="$1" of="$TAP_TMP/fs" bs=1M skip="$(fs_md_offset "$1")" iflag=skip_bytes conv=sparse status=none; }
fs_age_md() { fs_in_md "$1" && fs_age_ext "$TAP_TMP/fs" && fs_put_md "$1"; }
fs_check_md() { mdadm --examine "$1" | grep -q 'Checksum .* correct' && fs_in_md "$1" && e2fsck -fn "$TAP_TMP/fs"; }
fs_sums_md() { fs_in_md "$1" && fs_sums_ext "$TAP_TMP/fs"; }

# ---- swap: full of what once was in memory

fs_make_swap()
{
	fs_new "$1" "$2" && yes "$FS_STALE" | head -c "$2" | dd of="$1" bs=64K conv=notrunc iflag=fullblock status=none &&
		mkswap -f -L swap0 "${@:3}" "$1" >/dev/null 2>&1
}
fs_age_swap() { return 1; }
fs_check_swap() { [ "$(blkid -p -s TYPE -o value "$1")" = swap ]; }
fs_sums_swap() { blkid -p -s UUID -s LABEL -o value "$1"; }

# ---- nothing that anybody knows

fs_make_none() { fs_new "$1" "$2" && openssl enc -aes-128-ctr -K 0 -iv 0 -in /dev/zero 2>/dev/null | head -c "$2" | dd of="$1" conv=notrunc status=none; }
fs_age_none() { return 1; }
fs_check_none() { :; }
fs_sums_none() { sha256sum <"$1"; }

# ---- captured and restored

declare -A kind=() how=()
names=()
fs_add()
{
	local name=$1 status=0
	"fs_make_$3" "$name.img" "${@:4}" >made.log 2>&1 || status=$?
	[ $status != 77 ] || { skip 1 "$name cannot be had here"; return; }
	tap_check $status "$name: made" $status 0 || { diag "$(tail -n 5 made.log)"; return; }
	names+=("$name")
	kind[$name]=$3
	how[$name]=$2
	[[ $2 = raw ]] || ok "$name: there is stale data on it" fs_has_stale "$name.img"
}
fs_disks() { local n; for n in "${names[@]}"; do printf -- '--disk\n%s%s.img\n' "$1" "$n"; done; }
fs_place() { local i; for i in "${!names[@]}"; do [ "${names[i]}" = "$1" ] && echo "$i"; done; }
fs_sum_all() { openssl dgst -sha256 "${names[@]/%/.img}"; } # much faster than sha256sum
fs_expect()
{
	local i
	map "${names[@]/%/.img}"
	for i in "${!names[@]}"; do
		rm -f "e-${names[i]}.img"
		keep "${names[i]}.img" "e-${names[i]}.img" "$i" || return
	done
}
fs_restored()
{
	local n
	for n in "${names[@]}"; do
		ok "$1, $n: restored, it is the source with zeros for what is free" cmp "e-$n.img" "t-$n.img" || continue
		nok "$1, $n: ... without the stale data" fs_has_stale "t-$n.img"
		[[ "${kind[$n]}" = none || " ${*:2} " != *" $n "* ]] && continue
		ok "$1, $n: ... its checker finds no fault" "fs_check_${kind[$n]}" "t-$n.img"
		if "fs_sums_${kind[$n]}" "$n.img" >want.sums 2>/dev/null; then
			"fs_sums_${kind[$n]}" "t-$n.img" >got.sums
			ok "$1, $n: ... every file is as it was ($(wc -l <want.sums) of them)" cmp want.sums got.sums
		fi
	done
}
fs_store_has_stale() { find "$DATA/store/packs" -type f -print0 | xargs -0 "$WIRE" plain | grep -qa "$FS_STALE"; }
