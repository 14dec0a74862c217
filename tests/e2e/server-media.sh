#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The server's boot files: to operators over HTTPS, with settings written into them on the way; to boot loaders over plain HTTP, with the server's own
# address and key and never with a secret; nothing outside the folder, nothing of the API there.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/cli.sh"
requires curl jq xxd cmp xorriso cpio ssh-keygen

cd "$TAP_TMP" || exit
mkdir -p media/grub tree/boot media/.hidden
head -c 9000001 /dev/urandom >tree/boot/initramfs.img
"$TOP/scripts/mksettings" tree/boot/settings.cpio
xorriso -as mkisofs -quiet -V HOIST -r -o media/hoist.iso tree
cp tree/boot/settings.cpio media/
echo 'menu' >media/grub/grub.cfg
echo 'secret' >media/.hidden/x
echo 'outside' >outside
mkfifo media/pipe
: >media/empty
cp media/settings.cpio mine.cpio
cli_out() { HOIST_DATA='' "$O/server/hoist" iso "$@" >/dev/null 2>&1; }
ok "a file with settings of its own" cli_out --in mine.cpio --out media/own.cpio --set hostname=hall3
ok "and one with a token" cli_out --in mine.cpio --out media/token.cpio --set hostname=hall3 --token tok3n
before=$(cat media/*.iso media/*.cpio | sha256sum)
cp media/token.cpio media/token.old

start_server
api GET /v1/media
is "$STATUS:$BODY" '200:{"media":[]}' "without --media: no files"
api GET /v1/media/hoist.iso
is "$STATUS:$(error_code)" "404:not_found" "and none to be had"
stop_server
"$SERVER" --data "$DATA" --boot 127.0.0.1:0 >out 2>err
is "$?" 1 "--boot alone is refused"
like "$(cat err)" '--media is missing' "with the reason"
"$SERVER" --data "$DATA" --media "$TAP_TMP/nowhere" --listen 127.0.0.1:0 >out 2>err
like "$?:$(cat err)" "^1:.*nowhere': No such file" "a folder that is not there is refused"

start_server --media "$TAP_TMP/media" --boot 127.0.0.1:0
BOOT=$(sed -n 's/^booting //p' "$TAP_TMP/server.out")
like "$BOOT" '^http://127.0.0.1:[0-9]+$' "the address is printed"
at=$(LC_ALL=C grep -abo 'hoist.d/HOIST-SETTINGS-1' media/hoist.iso | cut -d: -f1)
at=$((at - 110))
settings() # FILE OFFSET: the text
{
	rm -rf out
	mkdir out
	tail -c +$(($2 + 1)) "$1" | head -c 65536 | (cd out && cpio --quiet -idm && cat hoist.d/settings)
}
outside() { cmp -l "$1" "$2" | awk -v from="$3" '$1 <= from || $1 > from + 65536' | wc -l; }

# ---- operators
api GET /v1/media
is "$(jq -c '[.media[] | [.name, .size, .settings]]' <<<"$BODY")" \
	"[[\"grub/grub.cfg\",5,false],[\"hoist.iso\",$(stat -c %s media/hoist.iso),true],[\"own.cpio\",65536,true],[\"settings.cpio\",65536,true],[\"token.cpio\",65536,true],[\"token.old\",65536,true]]" \
	"listed: files of the folder and of its folders"
call "" GET /v1/media/hoist.iso
is "$STATUS" 401 "nobody else gets them over HTTPS"
curl -sk --pinnedpubkey "$PIN" -H "Authorization: Bearer $OPERATOR" -o got "$URL/v1/media/hoist.iso"
ok "as it is" cmp got media/hoist.iso
curl -sk --pinnedpubkey "$PIN" -H "Authorization: Bearer $OPERATOR" -o got "$URL/v1/media/grub/grub.cfg"
ok "from a folder" cmp got media/grub/grub.cfg
make() { curl -sk --pinnedpubkey "$PIN" -H "Authorization: Bearer $OPERATOR" -o got -w '%{http_code}' -d "$2" "$URL/v1/media/$1"; }
is "$(make hoist.iso '{"settings":{"hostname":"web1","interface":["eth0","eth1"],"token":"t0k"}}')" 200 "with settings"
is "$(settings got "$at")" "hostname=web1
interface=eth0
interface=eth1
token=t0k
pin=$FINGERPRINT" "these are in it, and the server's key; not an address that only this machine has"
is "$(outside media/hoist.iso got "$at"):$(stat -c %s got)" "0:$(stat -c %s media/hoist.iso)" "and nothing else is different"
is "$(make hoist.iso '{"settings":{"hostname":"web1"},"server":false}'):$(settings got "$at")" "200:hostname=web1" "without the server"
is "$(make settings.cpio "{\"settings\":{\"server\":\"https://[fd00::1]:4647\"}}"):$(settings got 0)" "200:server=https://[fd00::1]:4647" "with another server"
for bad in '{"settings":{"nonsense":"1"}}' '{"settings":{"memory":"lots"}}' '{"settings":{"hostname":1}}' '{"settings":[]}' '{"server":1}' '{"settings":{"hostname":"a\nb"}}' '{"settings":{"ssh-key":"command=\"x\" ssh-ed25519 AAAA"}}'; do
	is "$(make hoist.iso "$bad"):$(jq -r .error.code got)" "400:bad_request" "refused: $bad"
done
is "$(make grub/grub.cfg '{}'):$(jq -r .error.code got)" "409:conflict" "a file without a place for settings"
ssh-keygen -q -N '' -C jo@desk -t ed25519 -f jo
is "$(make hoist.iso "{\"settings\":{\"ssh-key\":[\"$(cat jo.pub)\"]},\"server\":false}"):$(settings got "$at")" "200:ssh-key=$(cat jo.pub)" "a key for SSH"
many=$(printf ",\"$(cat jo.pub)\"%.0s" {1..17})
is "$(make hoist.iso "{\"settings\":{\"ssh-key\":[${many:1}]}}"):$(jq -r .error.code got)" \
	"400:bad_request" "refused: more of them than a medium takes"
is "$(cat media/*.iso media/*.cpio | sha256sum)" "$before" "the folder is as it was"

cli iso --download hoist.iso --out my.iso --set hostname=dl --new-token
is "$STATUS_CLI" 0 "hoist iso --download" || diag "$ERR"
like "$(settings my.iso "$at" | tr '\n' ' ')" "pin=$FINGERPRINT hostname=dl token=[0-9a-f]{64} " "has key, setting, token"
is "$(outside media/hoist.iso my.iso "$at")" 0 "and nothing else is different"
cli iso --download nothing.iso --out no.iso --set hostname=dl
like "$STATUS_CLI:$ERR" "^1:.*'nothing.iso' of the server: there is no boot file" "one that is not there"
cli iso --download grub/grub.cfg --out no.iso --set hostname=dl
like "$STATUS_CLI:$ERR" "^1:.*no place for settings" "one without a place"
is "$(find . -maxdepth 1 -name 'no.iso*')" '' "leaves nothing"
cli media
like "$OUT" 'hoist.iso +9\.0 MiB +yes' "hoist media"

# ---- boot loaders
plain() { curl -s -o got -D headers -w '%{http_code}' --path-as-is "$@"; }
is "$(plain "$BOOT/hoist.iso"):$(settings got "$at")" "200:pin=$FINGERPRINT" "plain: the ISO, with the server's key"
is "$(outside media/hoist.iso got "$at")" 0 "and nothing else is different"
cp got whole
is "$(plain "$BOOT/grub/grub.cfg"):$(cat got)" "200:menu" "a file in a folder"
is "$(plain "$BOOT/own.cpio"):$(settings got 0 | tr '\n' ' ')" "200:hostname=hall3 pin=$FINGERPRINT " "settings that are there stay"
is "$(plain "$BOOT/token.cpio"):$(jq -r .error.code got)" "403:forbidden" "a token is not sent in the clear"
unlike "$(cat got)" 'tok3n' "nor in the refusal"
is "$(plain "$BOOT/token.old"):$(jq -r .error.code got)" "403:forbidden" "whatever the name of the file"
{ head -c 10001 /dev/urandom; cat media/token.cpio; } >media/initrd
is "$(plain "$BOOT/initrd"):$(jq -r .error.code got)" "409:conflict" "nor where nobody looks for settings"
api GET /v1/media
is "$STATUS:$(field '.media[] | select(.name == "initrd") | .settings')" "200:false" "which is listed all the same"
rm media/initrd
is "$(plain -I "$BOOT/hoist.iso"):$(tr -d '\r' <headers | sed -n 's/^Content-Length: //p')" "200:$(stat -c %s media/hoist.iso)" "HEAD tells the length"
is "$(plain -r $((at - 5))-$((at + 70000)) "$BOOT/hoist.iso"):$(tr -d '\r' <headers | sed -n 's/^Content-Range: //p')" \
	"206:bytes $((at - 5))-$((at + 70000))/$(stat -c %s media/hoist.iso)" "a part"
tail -c +$((at - 4)) whole | head -c 70006 >part
ok "the same bytes as in the whole" cmp part got
is "$(plain -r 9000000000- "$BOOT/hoist.iso"):$(stat -c %s got)" "200:$(stat -c %s media/hoist.iso)" "a part that is not there: all"
for path in / /.hidden/x /../outside /grub/../../outside /%2e%2e/outside /..%2foutside /grub%2fgrub.cfg /pipe /empty /grub /grub/ /v1/info /v1/machines /a/b/c /hoist.iso%00; do
	is "$(plain --max-time 20 "$BOOT$path")" 404 "not to be had: $path"
done
is "$(plain -X POST -d x "$BOOT/hoist.iso")" 405 "nothing but GET and HEAD"
is "$(plain -H "Authorization: Bearer $OPERATOR" "$BOOT/v1/machines")" 404 "not even for the operator"

# ---- replaced under way
head -c 3000000 /dev/urandom >media/new.img
cp media/new.img new.img
curl -s --limit-rate 500K -o slow "$BOOT/new.img" &
slow=$!
ok "a slow download has begun" wait_for 20 test -s slow
head -c 3000000 /dev/urandom >media/other
mv media/other media/new.img
ok "it ends" wait "$slow"
ok "with the file that it began with" cmp slow new.img
stop_server
is "$SERVER_STATUS" 0 "the server ends"
done_testing
