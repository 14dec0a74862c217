#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2153
# Starting and stopping: the identity is made once, bad starts are refused with a sentence, TLS is 1.3 and pinned.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
requires curl jq xxd openssl perl sqlite3

mode() { stat -c %a "$DATA/$1"; }
# refuses NAME REGEX OPTION...: the server ends at once with status 1 (2 for bad options) and says so.
refuses()
{
	local name=$1 regex=$2 out status=0
	shift 2
	out=$(timeout -k 5 30 "$SERVER" "$@" 2>&1 >/dev/null) || status=$?
	[ "$status" = 1 ] || [ "$status" = 2 ] || { fail "$name: status $status"; return; }
	like "$out" "$regex" "$name"
}

start_server
first=$FINGERPRINT
is "$(mode .) $(mode key.pem) $(mode cert.pem) $(mode operator.token) $(mode state.db)" "700 600 600 600 600" "nobody else can read"
is "$(openssl pkey -in "$DATA/key.pem" -noout -text | grep -c 'NIST CURVE: P-256')" 1 "the key is on P-256"
is "$(openssl x509 -in "$DATA/cert.pem" -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum | cut -c1-64)" "$FINGERPRINT" \
	"the fingerprint is that of the key, as OpenSSL sees it"
like "$FINGERPRINT" '^[0-9a-f]{64}$' "the fingerprint is printed"
like "$URL" '^https://127\.0\.0\.1:[1-9][0-9]*$' "and the address, with the port that was free"
call '' GET /v1/info
is "$STATUS $(field '[.product, .api[0], .fingerprint] | map(tostring) | join(",")')" "200 hoist,1,$FINGERPRINT" "info answers"
api GET /v1/server
is "$(field .port)" "${URL##*:}" "the server knows its port"
refuses "a second server on the same data is refused" "another|in use|busy|locked" --data "$DATA" --listen 127.0.0.1:0 --discovery no
refuses "an address in use is refused" "${URL#https://}.*[Aa]ddress already in use" --data "$TAP_TMP/other" --listen "${URL#https://}" --discovery no

# ---- TLS
tls() { timeout 20 openssl s_client -connect "${URL#https://}" "$@" </dev/null 2>&1; }
like "$(tls -tls1_3)" 'TLSv1\.3, Cipher is TLS_' "TLS 1.3 is spoken"
for version in tls1_2 tls1_1; do
	unlike "$(tls -$version -cipher 'ALL:@SECLEVEL=0')" 'Cipher is [A-Z]+-' "$version is refused"
done
unlike "$(curl -s --max-time 10 "http://${URL#https://}/v1/info" 2>&1)" hoist "without TLS there is no answer"
nok "another pin is refused" curl -sk --pinnedpubkey "sha256//$(head -c 32 /dev/zero | base64)" --max-time 10 "$URL/v1/info"

# ---- stopping
(
	call '' GET /v1/info
	make_machine waiting
	call "$SECRET" POST /v1/agent/poll -d '{"state":"idle"}'
	echo "$STATUS $(error_code)" >"$TAP_TMP/polled"
) &
poller=$!
wait_line 20 "$TAP_TMP/server.log" ' waiting machine=' >/dev/null
before=$SECONDS
stop_server
is "$SERVER_STATUS" 0 "SIGTERM ends it cleanly"
ok "at once, though a machine waits for orders" test $((SECONDS - before)) -le 10 # of 25
wait "$poller"
is "$(cat "$TAP_TMP/polled")" "503 busy" "who is told to come again"
ok "the state was closed" test ! -s "$DATA/state.db-wal"

# ---- the identity outlives a restart, and is not replaced by accident
start_server
is "$FINGERPRINT" "$first" "the fingerprint is the same after a restart"
stop_server
is "$("$SERVER" --data "$DATA" --print-fingerprint)" "$first" "--print-fingerprint"
rm "$DATA/cert.pem"
start_server
is "$FINGERPRINT" "$first" "a lost certificate is made again for the same key"
stop_server
mv "$DATA/key.pem" "$TAP_TMP/key.pem"
refuses "a lost key is no reason for another identity" "key.pem.* is not" --data "$DATA"
nok "and none is made" test -e "$DATA/key.pem"
openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt >"$DATA/key.pem" 2>/dev/null
chmod 600 "$DATA/key.pem"
refuses "a key that is not the certificate's" "key.pem.*cert.pem" --data "$DATA"
echo no key >"$DATA/key.pem"
refuses "a key that is none: it says what to do" "key.pem.*; put both back in '$DATA' from a backup; or remove cert.pem" --data "$DATA"
cp "$TAP_TMP/key.pem" "$DATA/key.pem"
chmod 644 "$DATA/key.pem"
refuses "a key that others can read" "chmod 600" --data "$DATA"
chmod 600 "$DATA/key.pem"
echo short >"$DATA/operator.token"
refuses "an operator's token that can be guessed" "operator.token.* at least 32" --data "$DATA" --listen 127.0.0.1:0 --discovery no
rm "$DATA/operator.token"
start_server
isnt "$OPERATOR" short "a new operator's token is made when it was removed"
api GET /v1/server
is "$STATUS" 200 "and works"
stop_server
sqlite3 "$DATA/state.db" 'PRAGMA user_version = 99'
refuses "a database of a later version" "version 99" --data "$DATA" --listen 127.0.0.1:0 --discovery no
rm "$DATA"/state.db*
echo this is no database >"$DATA/state.db"
refuses "a damaged database: it says what to do" "state.db.*not a database; put it back from a backup, or move it away" --data "$DATA" --listen 127.0.0.1:0 --discovery no
rm "$DATA"/state.db*
sqlite3 "$DATA/state.db" 'CREATE TABLE mine(x)'
refuses "a database of something else" "another program" --data "$DATA" --listen 127.0.0.1:0 --discovery no

# ---- options
refuses "no data directory" "--data DIR is missing"
refuses "a data directory that is a file" "it is a file; --data names a folder" --data "$DATA/operator.token"
refuses "an unknown option" "no-such" --no-such
refuses "an address that is none" "no address to listen at" --data "$DATA" --listen localhost:1
refuses "a port that is none" "no address to listen at" --data "$DATA" --listen 127.0.0.1:66000
refuses "an operand" "no operands" --data "$DATA" something
like "$("$SERVER" --version)" '^hoist-server [0-9]' "--version"
like "$("$SERVER" --help)" 'Examples:' "--help ends with examples"
is "$("$SERVER" --help | awk 'length > 80' | wc -l)" 0 "and is at most 80 columns wide"

# ---- several addresses, IPv6 and systemd's socket
rm -rf "$DATA"
socket=$TAP_TMP/n
perl -MSocket -e 'alarm 60; socket(S, AF_UNIX, SOCK_DGRAM, 0) and bind(S, pack_sockaddr_un($ARGV[0])) or die;
	for (1..2) { recv(S, $m, 100, 0); print "$m\n" }' "$socket" >"$TAP_TMP/notified" &
listener=$!
wait_for 10 test -S "$socket"
NOTIFY_SOCKET=$socket start_server --listen '[::1]:0' --name other
is "$(grep -c '^listening ' "$TAP_TMP/server.out")" 2 "two addresses"
six=$(sed -n 's/^listening \(https:..\[.*\)/\1/p' "$TAP_TMP/server.out")
is "$(curl -skg --pinnedpubkey "$PIN" --max-time 20 "$six/v1/info" | jq -r .name)" other "IPv6, and the name"
stop_server
wait "$listener"
is "$(tr '\n' ' ' <"$TAP_TMP/notified")" "READY=1 STOPPING=1 " "systemd is told"
done_testing
