#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# hoist iso: a finished medium gets its settings; nothing else of it changes, and the agent and cpio understand them.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/agent.sh"
. "$(dirname "$0")/../lib/cli.sh"
requires curl jq xxd cmp xorriso cpio bsdtar ssh-keygen

cd "$TAP_TMP" || exit
# A medium of 50 MB as scripts/mkiso lays it out, without what takes long to build.
mkdir -p tree/boot
head -c 50000000 /dev/urandom >tree/boot/initramfs.img
"$TOP/scripts/mksettings" tree/boot/settings.cpio
ok "a medium" xorriso -as mkisofs -quiet -V HOIST -r -o base.iso tree
before=$(sha256sum <base.iso)
# settings FILE: the settings as cpio takes them out of the file on the ISO.
settings()
{
	rm -rf out
	mkdir out
	xorriso -osirrox on -indev "$1" -extract /boot/settings.cpio out/area >/dev/null 2>&1
	(cd out && cpio --quiet -idm <area && cat hoist.d/settings)
}
outside() { cmp -l "$1" "$2" | awk -v from="$3" '$1 <= from || $1 > from + 65536' | wc -l; }

HOIST_DATA='' cli iso --in base.iso --out my.iso --server hoist.example:4648 --pin "$(printf 'ab%.0s' {1..32})" --token tok3n --set name=hall3 \
	--set interface=eth1 --set interface=eth2 --set memory=100M
is "$STATUS_CLI" 0 "settings without any server" || diag "$ERR"
is "$(settings my.iso)" "server=https://hoist.example:4648
pin=$(printf 'ab%.0s' {1..32})
name=hall3
interface=eth1
interface=eth2
memory=100M
token=tok3n" "are on the medium, as cpio unpacks it"
is "$(stat -c %a my.iso):$(stat -c %a out/hoist.d/settings)" "600:600" "readable by its owner alone"
unlike "$OUT" tok3n "the token is not printed"
at=$(LC_ALL=C grep -abo 'hoist.d/HOIST-SETTINGS-1' base.iso | cut -d: -f1)
is "$(outside base.iso my.iso $((at - 110)))" 0 "not a byte outside the area is different"
is "$(stat -c %s my.iso):$(sha256sum <base.iso)" "$(stat -c %s base.iso):$before" "the same size, and the original untouched"
mkdir second
took=
for _ in 1 2 3; do # whichever the machine has the time for
	start=$(date +%s%N)
	HOIST_DATA='' cli iso --in my.iso --out second/my.iso --set name=b
	now=$((($(date +%s%N) - start) / 1000000))
	[ "${took:-$now}" -lt "$now" ] || took=$now
done
is "$STATUS_CLI:$(settings second/my.iso)" "0:name=b" "a medium can be personalised again: the new settings replace the old"
ok "in under a second ($took ms)" test $took -lt 1000
cp my.iso same.iso
HOIST_DATA='' cli iso --in same.iso --out same.iso --set name=c
is "$STATUS_CLI:$(settings same.iso)" "0:name=c" "onto itself as well"
is "$(find . -name '*.iso.*' | wc -l)" 0 "nothing is left lying around"

HOIST_DATA='' cli iso --in base.iso --out net.iso --set name=n --bond bond0:eth0,eth1:mode=802.3ad --vlan bond0.5:bond0 --vlan vlan6:eth2 \
	--ip '[fd00::5]::[fd00::1]:64::bond0.5:none' --ip vlan6:dhcp --nameserver fd00::1 --route 10.9.0.0/16:10.0.0.1:vlan6 --set ifname=lan0:52:54:00:12:34:56
is "$STATUS_CLI:$(settings net.iso)" "0:bond=bond0:eth0,eth1:mode=802.3ad
vlan=bond0.5:bond0
vlan=vlan6:eth2
ip=[fd00::5]::[fd00::1]:64::bond0.5:none
ip=vlan6:dhcp
route=10.9.0.0/16:10.0.0.1:vlan6
nameserver=fd00::1
name=n
ifname=lan0:52:54:00:12:34:56" "the network's settings" || diag "$ERR"

# ---- show, reset
cli iso --show my.iso
is "$STATUS_CLI:$(tail -n 2 <<<"$OUT")" "0:memory=100M
token=***" "show: without secrets"
is "$(grep -c '^interface=eth[12]$' <<<"$OUT")" 2 "what stands there twice, twice"
cli iso --show my.iso --secrets --json
is "$(jq -r .token <<<"$OUT")" tok3n "show --secrets --json: with them"
cp my.iso reset.iso
ok "reset" cli iso --reset reset.iso
cli iso --show reset.iso
is "$STATUS_CLI:$OUT" "0:" "leaves none"
is "$(outside base.iso reset.iso $((at - 110)))" 0 "and the rest as it was"
nok "no trace of the token" grep -aq tok3n reset.iso

# ---- keys for SSH
keygen() { ssh-keygen -q -N '' -C "$1@desk" -t "$2" -f "$1" "${@:3}"; }
keygen jo ed25519
keygen al ecdsa
keygen weak rsa -b 1024
{ echo '# those of hall 3'; echo; sed 's/ /\t /' al.pub; echo "$(cut -d ' ' -f 1-2 jo.pub)  "; } >authorized_keys
HOIST_DATA='' cli iso --in base.iso --out keys.iso --set name=k --ssh-key jo.pub --ssh-key authorized_keys
jo="ssh-ed25519 $(ssh-keygen -lf jo.pub | cut -d ' ' -f 2)" al="ecdsa-sha2-nistp256 $(ssh-keygen -lf al.pub | cut -d ' ' -f 2)"
is "$STATUS_CLI:$(settings keys.iso)" "0:name=k
ssh-key=$(cat jo.pub)
ssh-key=$(cat al.pub)
ssh-key=$(cut -d ' ' -f 1-2 jo.pub)" "keys are on the medium, one a line" || diag "$ERR"
shown="ssh-key=$jo jo@desk
ssh-key=$al al@desk
ssh-key=$jo"
is "$(grep ^ssh-key <<<"$OUT")" "$shown" "shown by type, fingerprint and comment"
cli iso --show keys.iso
is "$(grep ^ssh-key <<<"$OUT")" "$shown" "--show as well"
cli iso --show keys.iso --json
is "$(jq -r '."ssh-key"[0]' <<<"$OUT")" "$(cat jo.pub)" "--show --json: whole, so that they can be set again"
HOIST_DATA='' cli iso --in base.iso --out keys2.iso --set "ssh-key=$(jq -r '."ssh-key"[1]' <<<"$OUT")"
is "$STATUS_CLI:$(settings keys2.iso)" "0:ssh-key=$(cat al.pub)" "by --set"
cli iso --reset keys2.iso
is "$(settings keys2.iso)" "" "--reset takes them away"

# ---- refusals: nothing is written
refused()
{
	local status=$1 sentence=$2
	shift 2
	cli iso "$@"
	like "$STATUS_CLI:$ERR" "^$status:.*$sentence" "refused: $(printf '%q ' "$@")"
}
export HOIST_DATA=
cat base.iso >two.iso
dd if=base.iso of=two.iso bs=2048 skip=$(((at - 110) / 2048)) count=32 seek=8 conv=notrunc status=none
head -c $((at + 30000)) base.iso >cut.iso
head -c 1000000 /dev/urandom >noise.iso
refused 1 "there is no place for settings in it" --in noise.iso --out bad.iso --set name=b
refused 1 "more than one place" --in two.iso --out bad.iso --set name=b
refused 1 "cut off" --in cut.iso --out bad.iso --set name=b
mkfifo pipe
for which in "--in pipe --out bad.iso --set name=b" "--show pipe" "--in base.iso --out bad.iso --ssh-key pipe"; do
	# shellcheck disable=SC2086 # words
	like "$(timeout 20 "$HOIST" iso $which 2>&1; echo $?)" "'pipe': .*1\$" "a pipe is not waited for: $which"
done
head -c $(($(stat -c %s base.iso) - 10000)) base.iso >cut.iso
refused 1 "cut.iso': it is cut off: it has" --in cut.iso --out bad.iso --set name=b
refused 1 "No such file" --in none.iso --out bad.iso --set name=b
refused 1 "not a regular file" --in base.iso --out second --set name=b
refused 2 "not the name of a setting" --in base.iso --out bad.iso --set A=b
refused 2 "KEY=VALUE" --in base.iso --out bad.iso --set a
refused 2 "begins or ends with a blank" --in base.iso --out bad.iso --set 'name=b '
refused 2 "control character" --in base.iso --out bad.iso --set $'name=b\nc=d'
refused 2 "64 hexadecimal digits" --in base.iso --out bad.iso --set pin=12
refused 2 "takes no setting 'wrong-one' from its medium" --in base.iso --out bad.iso --set wrong-one=1
refused 2 "takes no setting 'shell'" --in base.iso --out bad.iso --set shell=1
refused 2 "from 1 to 65535" --in base.iso --out bad.iso --set discovery-port=70000
refused 2 "'10.0.0.300' is not an IP address" --in base.iso --out bad.iso --ip 10.0.0.300:::24::eth0:none
refused 2 "'dhxp' is not one of dhcp" --in base.iso --out bad.iso --set ip=eth0:dhxp
refused 2 "is not the name of a VLAN" --in base.iso --out bad.iso --vlan five:eth0
refused 2 "belongs to bond0" --in base.iso --out bad.iso --bond bond0:eth0,eth1 --set ip=eth1:dhcp
for i in {1..17}; do cat jo.pub; done >many
sed 's/^/command="reboot" /' jo.pub >options
: >empty
head -c 70000 /dev/zero | tr '\0' '#' >large
refused 2 "'jo': line 1: this is a private key.*\.pub" --in base.iso --out bad.iso --ssh-key jo
unlike "$ERR" "BEGIN|$(sed -n 2p jo)" "and nothing of it is printed"
refused 2 "takes the name of a file" --in base.iso --out bad.iso --ssh-key "$(cat jo.pub)"
refused 2 "takes the name of a file|control character" --in base.iso --out bad.iso --ssh-key "$(cat jo)"
unlike "$ERR" "BEGIN|$(sed -n 2p jo)" "nor of one in place of the file"
refused 2 "control character" --in base.iso --out bad.iso --set "ssh-key=$(cat jo)"
unlike "$ERR" "BEGIN|$(sed -n 2p jo)" "nor of one by --set"
refused 2 "'options': line 1: options before a key" --in base.iso --out bad.iso --ssh-key options
refused 2 "'weak.pub': line 1: an RSA key of 1024 bits is too weak" --in base.iso --out bad.iso --ssh-key weak.pub
refused 2 "there are 17 keys, and a medium takes 16" --in base.iso --out bad.iso --ssh-key many
refused 2 "there is no key in it" --in base.iso --out bad.iso --ssh-key empty
refused 2 "no file of public keys" --in base.iso --out bad.iso --ssh-key large
refused 1 "'none.pub': it cannot be read: No such file" --in base.iso --out bad.iso --ssh-key none.pub
refused 2 "does not begin with the type" --in base.iso --out bad.iso --set ssh-key=x
refused 2 "nothing to write" --in base.iso --out bad.iso
refused 2 "exclude each other" --in base.iso --out bad.iso --token a --new-token --server x --pin "$(printf 'ab%.0s' {1..32})"
refused 2 "add --new-token" --in base.iso --out bad.iso --server x --pin "$(printf 'ab%.0s' {1..32})" --job capture
for limit in "--uses 5" "--expires 2d" "--note hall"; do
	# shellcheck disable=SC2086 # words
	refused 2 "are of a token that the server makes" --in base.iso --out bad.iso --server x --pin "$(printf 'ab%.0s' {1..32})" --token a $limit
	# shellcheck disable=SC2086
	refused 2 "for the medium: add --new-token" --in base.iso --out bad.iso --add two.iso $limit
done
refused 2 "one of these" --in base.iso --show my.iso
refused 2 "it is not known where the server is" --in base.iso --out bad.iso --new-token
for i in {1..20}; do big+=(--set "console=$i$(head -c 4000 /dev/zero | tr '\0' x)"); done
cli iso --in base.iso --out bad.iso "${big[@]}"
like "$STATUS_CLI:$ERR" "^1:.*do not fit" "refused: more than 64 KiB"
is "$(find . -name 'bad.iso*' | wc -l)" 0 "nothing was written"
export HOIST_DATA=$DATA

# ---- with a server: the agent registers with nothing but these settings
start_server
cli iso --in base.iso --out lan.iso --new-token --uses 7 --expires 2d
is "$STATUS_CLI:$(settings lan.iso | cut -c1-6)" "0:pin=${FINGERPRINT:0:2}
token=" "by --data: fingerprint and token, no address"
made=$(tail -n 1 <<<"$OUT")
cli token list
like "$OUT" " 7  +7 " "the server made that token"
id=$(sed -n 's/ .*medium lan\.iso$//p' <<<"$OUT")
expires=$(api GET /v1/tokens && field '.tokens[0].expires')
is "$made" "token $id: enrols up to 7 machines, until ${expires:0:10} (hoist token revoke $id ends it)" "which one is said, and its note is the medium's name"
cli iso --in base.iso --out $'second/b\xc3\xa4d\xff.iso' --new-token --expires never --uses 1 --json
is "$(jq -r '"\(.token) " + (.new_token | "\(.uses) \(.expires) \(.note) \(.token)")' <<<"$OUT")" $'*** 1 null medium b\xc3\xa4d\xef\xbf\xbd.iso null' \
	"--json: its fields without the secret; a name that is no text is cleaned"
is "$(jq -r .new_token.id <<<"$OUT")" "$(api GET /v1/tokens && field '.tokens[0].id')" "and the id"
cli iso --in base.iso --out second/noted.iso --new-token --expires never --uses 1 --note 'hall 3'
like "$OUT" "token [0-9a-f]{8}: enrols up to 1 machine, never expires \(" "a token that never expires"
is "$(api GET /v1/tokens && field '.tokens[0].note')" "hall 3" "--note is the note"
cli iso --in base.iso --out second/job.iso --new-token --uses 2 --job capture=hall3
like "$OUT" "token [0-9a-f]{8}: enrols up to 2 machines for capture=hall3, until" "a token with a job"
refused 1 "not a job for a token" --in base.iso --out bad.iso --new-token --job sleep
cli token list
like "$OUT" "  valid +capture=hall3 +medium job.iso" "the list has it"

# ---- no token without a medium
tokens() { api GET /v1/tokens && field '.tokens | length'; }
count=$(tokens)
refused 1 "No such file" --in none.iso --out bad.iso --new-token
refused 1 "no place for settings" --in noise.iso --out bad.iso --new-token
refused 1 "more than one place" --in two.iso --out bad.iso --new-token
refused 1 "No such file" --in base.iso --out none/bad.iso --new-token
refused 1 "not a regular file" --in base.iso --out second --new-token
refused 2 "not the name of a setting" --in base.iso --out bad.iso --new-token --set A=b
# Settings that fit, but not together with a token.
fill=(--set "pin=$FINGERPRINT")
for i in {1..20}; do fill+=(--set "console=$i$(head -c 3100 /dev/zero | tr '\0' x)"); done
low=0 high=4000
while [ $((high - low)) -gt 1 ]; do
	size=$(((low + high) / 2))
	rest=$(head -c $size /dev/zero | tr '\0' x)
	if HOIST_DATA='' cli iso --in tree/boot/settings.cpio --out fits.cpio "${fill[@]}" --set "id=$rest"; then low=$size; else high=$size; fi
done
rest=$(head -c $low /dev/zero | tr '\0' x)
cli iso --in tree/boot/settings.cpio --out bad.iso --new-token "${fill[@]}" --set "id=$rest"
like "$low:$STATUS_CLI:$ERR" "^[1-9][0-9]+:1:.*do not fit" "refused: no room for the token"
is "$(tokens)" "$count" "what is refused leaves no token"
# The server stands still while the copy is there, and the copy goes: nothing is written after the token was made.
kill -STOP "$SERVER_PID"
cli iso --in base.iso --out gone.iso --new-token &
gone=$!
ok "the copy is there before the token" wait_for 30 compgen -G 'gone.iso.*'
rm -f gone.iso.*
kill -CONT "$SERVER_PID"
wait $gone
is "$?" 1 "the medium cannot be written once the token is made"
id=$(api GET /v1/tokens && field '.tokens[0] | select(.note == "medium gone.iso" and .revoked) | .id')
like "$id:$(cat cli.err)" "^([0-9a-f]{8}):.*token $id, made for the medium, was revoked" "the token is revoked, and that is said"
cli iso --in base.iso --out wan.iso --new-token --server "$URL"
settings wan.iso >wan.settings
like "$(cat wan.settings)" "^server=$URL
pin=$FINGERPRINT
token=[0-9a-f]{64}$" "with --server: its address as well"
truncate -s 1M disk.img
"$AGENT" run --settings wan.settings --disk disk.img --discovery=no --id one --name one --state "$TAP_TMP/state" >agent.log 2>&1 &
cleanup_fn kill $!
ok "a machine with these settings registers" wait_for 30 machine_is_idle one
echo "tok-from-stdin" | HOIST_DATA='' "$HOIST" iso --in base.iso --out stdin.iso --token - >/dev/null 2>&1
is "$(settings stdin.iso)" "token=tok-from-stdin" "--token - reads standard input"
HOIST_DATA='' cli iso --in base.iso --out note.iso --set name=b
like "$ERR" "without a token.*paired by hand" "a medium without a token: a note"
HOIST_DATA='' cli iso --in base.iso --out note.iso --token t0k
like "$ERR" "without a fingerprint.*to no server" "a token without a fingerprint: a note"
done_testing
