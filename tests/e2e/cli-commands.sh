#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# hoist against a real server: where the server is, what is listed, what is refused, and with which exit status.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/cli.sh"
requires curl jq xxd

# ---- usage: nothing is asked of anybody
cli
is "$STATUS_CLI:$OUT" "2:" "no command: status 2, nothing on standard output"
like "$ERR" "^Usage: hoist COMMAND" "but the usage on standard error"
cli --help
is "$STATUS_CLI:$ERR" "0:" "--help: status 0, nothing on standard error"
# Every command's help, as the general one names them.
names() { "$HOIST" --help | sed -n '/^Commands/,/^$/s/^  \([a-z][a-z -]*[a-z]\).*/\1/p'; }
helps()
{
	local a b
	"$HOIST" --help
	names | while read -r a b; do "$HOIST" "$a" ${b:+"$b"} --help; done
}
helps >"$TAP_TMP/helps" 2>"$TAP_TMP/helps.err"
is "$(grep -c '^Usage: hoist ' "$TAP_TMP/helps"):$(cat "$TAP_TMP/helps.err")" "$(($(names | wc -l) + 1)):" "every command has its help, on standard output"
nok "no line of it has more than 80 columns" grep -nE '^.{81}' "$TAP_TMP/helps"
for usage in "frobnicate" "machine" "machine show" "machine show a b" "jobs --state odd" "capture m" "capture m --image a/b" \
	"restore i@0 m" "jobs --nonsense" "token create --uses 0" "token create --expires soon" "completion fish" "iso" "operator role alice king"; do
	# shellcheck disable=SC2086 # words
	cli $usage
	is "$STATUS_CLI:$OUT" "2:" "wrong usage: '$usage'"
	like "$ERR" "Try 'hoist|one of these is meant" "with what to try"
done
cli machine show ''
like "$STATUS_CLI $ERR" "^2 hoist: MACHINE is empty"$'\n' "an empty word is none"
cli --data "$TAP_TMP"
like "$STATUS_CLI $ERR" "^2 hoist: no command is named"$'\n' "options alone are no command"
cli operator role alice
like "$ERR" "what is missing is: ROLE"$'\n' "what is missing, and not what was given"
cli --version
is "$OUT" "hoist $(cat "$TOP/VERSION")" "--version"

# ---- where the server is
HOIST_DATA='' cli machines
is "$STATUS_CLI" 2 "no server known: wrong usage"
like "$ERR" "give --data DIR, elsewhere --server, --pin and --token-file" "with what to give"
HOIST_DATA='' cli login alice
like "$STATUS_CLI $ERR" "^2 hoist: it is not known where the server is" "so it is for a login"
cli machines
is "$STATUS_CLI" 1 "a data folder without a server"
like "$ERR" "is '$DATA' the data folder of a hoist-server, and was it started" "says so"
start_server
ok "by HOIST_DATA" cli machines
like "$ERR" "No machine has registered yet" "an empty list says where to look"
HOIST_DATA='' cli --data "$DATA" server info
is "$STATUS_CLI" 0 "by --data, before the command as well"
like "$OUT" "fingerprint: +$FINGERPRINT" "server info has the fingerprint"
like "$OUT" 'memory: +[0-9.]+ [KM]i?B, of it [0-9.]+ [A-Za-z]+ in caches' "and the memory that it takes"
api GET /v1/server
is "$(field '.memory | .resident > 1000000 and .index > 10000 and ([.packs, .index, .recent, .working] | add) < (if .allocated == 0 then .resident else .allocated end)')" true "with all its parts" || diag "$(field .memory)"
cp "$DATA/operator.token" "$TAP_TMP/token"
HOIST_DATA='' HOIST_SERVER=$URL HOIST_PIN=$FINGERPRINT HOIST_TOKEN_FILE=$TAP_TMP/token cli machines
is "$STATUS_CLI" 0 "by the environment"
mkdir -p "$HOME/.config/hoist"
printf '# mine\nserver = %s\npin=%s\ntoken-file=%s\n' "$URL" "$FINGERPRINT" "$TAP_TMP/token" >"$HOME/.config/hoist/config"
HOIST_DATA='' cli machines
is "$STATUS_CLI" 0 "by the configuration file"
HOIST_DATA='' HOIST_PIN=$(tr 0-9a-f 1-9a-f0 <<<"$FINGERPRINT") cli machines
is "$STATUS_CLI" 2 "the environment is stronger than the file"
like "$ERR" "no token for the server with this key" "and the file's token is not for another server"
HOIST_DATA='' HOIST_PIN=$(tr 0-9a-f 1-9a-f0 <<<"$FINGERPRINT") HOIST_TOKEN_FILE=$TAP_TMP/token cli machines
is "$STATUS_CLI" 1 "a server that has not this key"
like "$ERR" "does not have the key with the fingerprint .* nothing was sent to it" "another key: a clear sentence"
HOIST_PIN=$(tr 0-9a-f 1-9a-f0 <<<"$FINGERPRINT") cli machines --pin "$FINGERPRINT"
is "$STATUS_CLI" 0 "options are the strongest"
echo 'bogus=1' >>"$HOME/.config/hoist/config"
cli machines
is "$STATUS_CLI" 2 "a bad line in the file"
like "$ERR" "config': line 5: 'bogus' is not a known setting" "is named"
rm "$HOME/.config/hoist/config"
HOIST_DATA='' cli machines --server "$URL"
is "$STATUS_CLI" 2 "a server without a fingerprint is not talked to"
like "$ERR" "the fingerprint of the server's key is missing" "and says what is missing"
head -c 64 /dev/zero | tr '\0' a >"$TAP_TMP/wrong"
chmod 600 "$TAP_TMP/wrong"
cli machines --token-file "$TAP_TMP/wrong"
is "$STATUS_CLI" 1 "another token is refused"
like "$ERR" "Is --token-file a copy of this server's operator.token" "with what to look at"
cli machines --token-file "$TAP_TMP/none"
like "$STATUS_CLI $ERR" "^1 hoist: the operator's token: open '.*none': No such file" "a token file that is not there"
chmod 644 "$TAP_TMP/token"
cli machines --token-file "$TAP_TMP/token"
like "$STATUS_CLI $ERR" "^0 hoist: warning: others can read" "a token that others can read: a warning"
cli machines --server 127.0.0.1:1
like "$STATUS_CLI $ERR" "^1 .*Connection refused.*Is hoist-server running there" "nobody there"

# ---- machines
make_machine web1 "{\"memory\":536870912,\"hypervisor\":{\"kind\":\"xen\",\"guest\":\"pvh\",\"version\":\"4.17.2\"},\"firmware\":{\"kind\":\"uefi\",\"secure_boot\":true},\"disks\":[$(disk_json file:a 1048576 \
	'{"model":"Fast Disk","empty":false,"table":{"type":"gpt"},"partitions":[{"content":{"type":"ext4"}},{"content":null}]}'),$(disk_json file:b 8589934592)]}"
web1=$MACHINE
cli machines
like "$OUT" "${web1:0:8}  web1 .* uefi, secure boot  512.0 MiB +2  +8.0 GiB" "machines: a line with memory, disks, firmware"
cli machines --json
is "$(jq -r '[.machines[].name] | .[0]' <<<"$OUT")" web1 "machines --json"
cli machine show "${web1:0:6}"
like "$OUT" "machine: +$web1" "machine show by the beginning of an id"
like "$OUT" "file:a +file:a +1.0 MiB +512  Fast Disk  0{16}  gpt: ext4, [?]" "machine show: a disk with its content"
like "$OUT" "file:b +file:b +8.0 GiB +512  - +0{16}  empty" "machine show: an empty one"
like "$OUT" "hypervisor: +xen 4.17.2, pvh" "machine show: on which Xen, and as what"
cli machine show web1 --json
is "$(jq -r .id <<<"$OUT")" "$web1" "machine show --json by name"
cli machine show nobody
is "$STATUS_CLI:$OUT" "1:" "machine show: none"
like "$ERR" "nobody" "is named"

# ---- tokens
cli token create --uses 3 --expires 2d --note 'hall 3'
like "$OUT" "^[0-9a-f]{64}$" "token create: the token alone on standard output"
like "$ERR" "enrols 3 machines, expires 20" "and what it is good for on standard error"
cli token create --expires never --json
is "$(jq -r '"\(.uses) \(.expires)"' <<<"$OUT")" "1 null" "token create --json: one use, never expires"
id=$(jq -r .id <<<"$OUT")
secret=$(jq -r .token <<<"$OUT")
cli token list
like "$OUT" " 3  +3  20.* valid +- +hall 3" "token list: uses and note"
unlike "$OUT" "$secret" "never the token itself"
ok "token revoke by the beginning of an id" cli token revoke "${id:0:6}"
cli token list
like "$OUT" "$id .* never +revoked" "it is revoked"
cli token revoke 00000000000
is "$STATUS_CLI" 1 "token revoke: none"

# ---- jobs that wait for a machine, and what is refused
cli capture web1 --image web1 --disk file:a --level 3 --end poweroff
is "$STATUS_CLI" 0 "capture: taken"
like "$OUT" "^job [0-9a-f]{16}: capture is waiting" "capture: says the job"
job=${OUT#job } job=${job%%:*}
# shellcheck disable=SC2153 # make_machine sets it
call "$SECRET" POST /v1/agent/poll -d '{"state":"idle","job":null}'
cli job show "${job:0:5}" --json
is "$(jq -r '"\(.id) \(.state) \(.machine_name)"' <<<"$OUT")" "$job waiting web1" "job show by the beginning of an id"
cli jobs --state waiting --machine web1
like "$OUT" "${job:0:8}  capture  waiting  web1 " "jobs: the line"
cli jobs --state failed
unlike "$OUT" "$job" "jobs --state: not the others"
cli capture web1 --image other
is "$STATUS_CLI:$OUT" "1:" "a second job for the machine is refused"
cli capture web1 --image other --disk file:zzz
like "$STATUS_CLI $ERR" "^1 .*no disk of this machine 'file:zzz'" "a disk that is not there is refused"
cli capture web1 --image other --disk file:
like "$STATUS_CLI $ERR" "^1 .*more than one disk of this machine" "a disk that could be two as well"
for words in audit jobs "machine show web1"; do
	# shellcheck disable=SC2086 # words
	"$HOIST" $words >/dev/full 2>"$TAP_TMP/cli.err"
	like "$? $(cat "$TAP_TMP/cli.err")" "^1 hoist: write to standard output: No space left" "$words: a full disk is no success"
done
"$HOIST" machines >&- 2>"$TAP_TMP/cli.err"
like "$? $(cat "$TAP_TMP/cli.err")" "^1 hoist: write to standard output: Bad file" "nor is no standard output at all"
cli machine forget web1
is "$STATUS_CLI" 1 "a machine with a job is not forgotten"
cli job cancel "$job"
like "$STATUS_CLI $OUT" "^0 job $job: cancelled" "job cancel"
cli job show "$job" --wait
is "$STATUS_CLI" 1 "job show --wait of a cancelled job: status 1"
cli job show nothere
is "$STATUS_CLI" 1 "job show: none"
cli machine forget web1
like "$STATUS_CLI $OUT" "^0 forgot" "machine forget"
cli machine show web1
is "$STATUS_CLI" 1 "it is gone"

# ---- images: none yet
cli images
is "$STATUS_CLI:$(wc -l <<<"$OUT")" "0:1" "images: only the heading"
cli image show web1
is "$STATUS_CLI" 1 "image show: none"
cli image rm web1
is "$STATUS_CLI" 1 "image rm: none"
cli image verify web1
is "$STATUS_CLI" 1 "image verify: none"
cli restore web1 web1
is "$STATUS_CLI" 1 "restore: none"
cli gc --wait
like "$STATUS_CLI $OUT" "^0 gc done" "gc --wait" || diag "$ERR"
done_testing
