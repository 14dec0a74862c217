#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# lib/hoist/iscsi of the live image: what it makes of a firmware's table, what it gives the initiator, and what it says of the initiator's words.
. "$(dirname "$0")/../lib/tap.sh"
requires setsid
table=$TAP_TMP/ibft state=$TAP_TMP/state console=$TAP_TMP/console words=$TAP_TMP/words
mkdir "$TAP_TMP/bin"
# Without a mount namespace, which only root has: the initiator is told where its table is.
cat >"$TAP_TMP/bin/unshare" <<'END'
#!/bin/sh
shift
exec "$@"
END
cat >"$TAP_TMP/bin/mount" <<'END'
#!/bin/sh
echo "$2" >"$TAP_TMP/bound"
END
# An initiator that says what it is to say, notes what it was given, and stays.
cat >"$TAP_TMP/bin/iscsistart" <<'END'
#!/bin/sh
echo "$@" >>"$TAP_TMP/called"
cp -r "$(cat "$TAP_TMP/bound")/ibft" "$TAP_TMP/seen" 2>/dev/null
cat "$TAP_TMP/words" >&2
exec sleep 60
END
chmod +x "$TAP_TMP/bin"/*
sed -e "s|^TABLE=.*|TABLE=$table|; s|/bin/modprobe|true|; s|^\. .*|. '$TOP/initramfs/rootfs/lib/hoist/functions'; CONSOLE_LOG=\${CONSOLE:-$console}|" \
	"$TOP/initramfs/rootfs/lib/hoist/iscsi" >"$TAP_TMP/script"
CONSOLE='' # another one
export TAP_TMP CONSOLE HOIST_ISCSI_STATE=$state

put() { mkdir -p "$table/$1"; printf '%s\n' "$3" >"$table/$1/$2"; }
# The test's own: by their numbers.
script=''
end()
{
	[ -z "$script" ] || kill -9 "$script" 2>/dev/null
	for file in "$state"/*.pid; do [ ! -e "$file" ] || kill -9 -- "-$(cat "$file")" 2>/dev/null; done
	# The loop that follows a target is a child of nobody's any more.
	for file in /proc/[0-9]*; do
		[ "$( { tr "\0" " " <"$file/cmdline"; } 2>/dev/null)" != "sh $TAP_TMP/script " ] || kill -9 "${file#/proc/}"
	done
	rm -rf "$state" "$console" "$TAP_TMP/seen" "$TAP_TMP/called"
}
cleanup_fn end
# run WORDS: the initiator says this.
run()
{
	end 2>/dev/null
	printf '%s\n' "$@" >"$words"
	: >"$console"
	PATH=$TAP_TMP/bin:$PATH sh "$TAP_TMP/script" </dev/null >/dev/null 2>&1 &
	script=$!
	wait $script
	script=''
}
gone() { ! kill -0 -- "-$(cat "$state/target0.pid")" 2>/dev/null; }
says() { ok "$2" wait_line 10 "$console" "$1"; }

rm -f "$table"
run nothing
is "$(ls "$state" 2>/dev/null)" '' "no table: nothing is done"

put initiator initiator-name iqn.2026-11.test:machine
put target0 flags 3
put target0 target-name iqn.2026-11.test:boot
put target0 ip-addr 10.0.0.9
put target0 port 3260
put target0 chap-name me
# shellcheck disable=SC2016 # as it is
secret='a secret; $(reboot) "x'
put target0 chap-secret "$secret"
put target1 flags 0

run 'iscsistart: Connection1:0 to [target: iqn.2026-11.test:boot, portal: 10.0.0.9,3260] through [iface: default] is operational now'
says '^hoist: iSCSI disk iqn\.2026-11\.test:boot at 10\.0\.0\.9, port 3260: logged in$' "logged in"
nok "then it is not waited for" test -e "$state/target0.pending"
is "$(cat "$TAP_TMP/seen/target0/chap-secret")" "$secret" "the initiator has the password from a file"
is "$(cat "$TAP_TMP/seen/target0/ip-addr" "$TAP_TMP/seen/target1/ip-addr" "$TAP_TMP/seen/initiator/initiator-name" | tr '\n' ' ')" \
	'10.0.0.9 127.0.0.1 iqn.2026-11.test:machine ' "the target, nobody, and its own name"
unlike "$(cat "$TAP_TMP/called")" secret "and not from its command line"
is "$(stat -c %a "$state/target0" "$state/target0/ibft/target0/chap-secret" | tr '\n' ' ')" '700 600 ' "which root alone can read"
is "$(ls "$state"/*.pid)" "$state/target0.pid" "a target without flags is none"

run 'iscsistart: cannot make a connection to 10.0.0.9:3260 (-1,101)' 'iscsistart: connect to 10.0.0.9:3260 failed (No route to host)' \
	'iscsistart: connect to 127.0.0.1:9 failed (Connection refused)' 'iscsistart: connect to 10.0.0.9 timed out' \
	'iscsistart: connect to 10.0.0.9:3260 failed (No route to host)' 'iscsistart: connect to 10.0.0.9 timed out'
says 'the target does not answer; look at it' "it does not answer"
is "$(grep -c 'no network' "$console")" 0 "that there is no network yet is no news"
is "$(grep -c 'cannot be reached (No route to host); look at it' "$console")" 1 "no way to it: said once"
is "$(grep -c 'does not answer' "$console")" 1 "as is what alternates with that"
is "$(grep -cE 'refused|127\.0' "$console")" 0 "and nothing of nobody"
ok "it is waited for" test -e "$state/target0.pending"
like "$(cat "$state/target0.why")" '^the target (does not answer|cannot be reached)' "the agent finds the reason"

run 'iscsistart: initiator reported error (15 - session exists)'
says 'there is a session already, of an initiator that has ended: the disk is there, but' "a session that nobody keeps up"
nok "is not waited for" test -e "$state/target0.pending"
ok "and the initiator is left alone" kill -0 -- "-$(cat "$state/target0.pid")"

# /run is full: what cannot be said is no reason to end the session of the disk
CONSOLE=/dev/full
run 'iscsistart: Connection1:0 to [target: iqn.2026-11.test:boot, portal: 10.0.0.9,3260] through [iface: default] is operational now' \
	'iscsistart: connection1:0 is operational after recovery (2 attempts)' 'iscsistart: connect to 10.0.0.9 timed out' 'iscsistart: last words'
CONSOLE=''
has_read_all() { [ -e "$state/target0.why" ]; }
ok "nothing can be written to the console" wait_for 10 has_read_all
nok "... and the initiator is not ended" wait_for 2 gone

run 'iscsistart: Login failed to authenticate with target iqn.2026-11.test:boot' 'iscsistart: session 1 login rejected: Initiator failed authentication with target' 'iscsistart: initiator reported error (24 - iSCSI login failed due to authorization failure)'
says 'the target refuses the name or the password \(CHAP\) that the firmware holds, or does not let in the initiator iqn\.2026-11\.test:machine; set it right' "a wrong password"
nok "as the target says, not as the initiator guesses" grep -q 'do not agree' "$console"
ok "the initiator is ended" wait_for 10 gone
nok "it is not waited for" test -e "$state/target0.pending"
called_again() { [ "$(grep -c . "$TAP_TMP/called")" -ge 2 ]; }
ok "and tried again" wait_for 15 called_again

run 'iscsistart: connection1:0 login rejected: initiator error - target not found (02/03)' 'iscsistart: initiator reported error (19 - encountered non-retryable iSCSI login failure)'
says 'there is no target of that name' "a name that the target has not got"
run 'iscsistart: Login authentication failed with target iqn.2026-11.test:boot' 'iscsistart: initiator reported error (24 - iSCSI login failed due to authorization failure)'
says "do not agree about the password" "a target that does not prove who it is"
run 'iscsistart: connection1:0 login rejected: target error (03/01)'
says 'login status 03/01\); look at its log' "a target with an error of its own"
run 'iscsistart: Connection1:0 to [target: iqn.2026-11.test:boot, portal: 10.0.0.9,3260] through [iface: default] is operational now' \
	'iscsistart: Kernel reported iSCSI connection 1:0 error (1022 - ISCSI_ERR_NOP_TIMEDOUT: A NOP has timed out) state (3)' \
	'iscsistart: connection1:0 is operational after recovery (2 attempts)'
says 'the connection is broken; the disk waits for ten minutes' "a broken connection"
says 'iSCSI disk iqn\.2026-11\.test:boot: logged in again' "that is there again"
run 'iscsistart: Kernel reported iSCSI connection 1:0 error (1020 - ISCSI_ERR_TCP_CONN_CLOSE: TCP connection closed) state (1)' \
	'iscsistart: session 1 login rejected: Initiator failed authentication with target' 'iscsistart: initiator reported error (24 - iSCSI login failed due to authorization failure)'
says 'the target refuses the name or the password' "a target that ends the connection with its refusal"
nok "had none that could break" grep -q 'connection is broken' "$console"

for bad in 'x y' $'iqn.1\x1b[2J' "$(printf '%300s' x | tr ' ' x)" ''; do
	put target0 target-name "$bad"
	run nothing
	says "the firmware's table is wrong" "a name that is none: $(tr -dc 'a-z[0-9.' <<<"$bad" | head -c 20)"
	nok "is not tried" test -e "$TAP_TMP/called"
done
put target0 target-name iqn.2026-11.test:boot
put target0 ip-addr 0.0.0.0
run nothing
says "the firmware's table is wrong" "an address that is none"
done_testing
