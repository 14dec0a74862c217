#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# hoist-agent ssh with Debian's dropbear and OpenSSH's client, in a network and with a home of root of its own: the keys of the settings get in, and
# nobody and nothing else; the server is kept running, out of the way, and ends with whoever keeps it.
. "$(dirname "$0")/../lib/tap.sh"
requires_root
requires /usr/sbin/dropbear /usr/bin/dropbearkey ssh ssh-keygen ssh-keyscan unshare nsenter ss

agent=$TOP/${O:-build/release}/agent/hoist-agent

cd "$TAP_TMP" || exit
key() { ssh-keygen -q -N '' -C "$1@desk" -t "$2" -f "$1" "${@:3}"; }
key jo ed25519
key al ecdsa -b 384
key bo rsa -b 2048
key stranger ed25519
{
	echo "token=$(printf 'ab%.0s' {1..32})"
	for name in jo al bo; do echo "ssh-key=$(cat $name.pub)"; done
	echo "ssh-key=command=\"id\" $(cat stranger.pub)"
	echo "ssh-key=-----BEGIN OPENSSH PRIVATE KEY-----"
} >settings

# ---- what the settings come to
"$agent" ssh --settings settings --check >check 2>&1
is "$?" 0 "--check"
is "$(grep -c 'may log in as root' check)" 3 "three may log in"
for name in jo al bo; do
	ok "by fingerprint and comment: $name" grep -qF "$(ssh-keygen -lf $name.pub | cut -d ' ' -f 2) $name@desk" check
done
ok "options are refused, with the number of the line" grep -q 'ssh-key 4: options before a key .* it is passed over' check
ok "a private key too" grep -q 'ssh-key 5: this is a private key' check
nok "nothing of what is refused is printed" grep -qE 'BEGIN|command="id"|stranger' check
printf 'name=x\nssh-key=nonsense\n' >none
"$agent" ssh --settings none --port 22 --state state --home home >none.log 2>&1
is "$?" 2 "no key that can be used: it ends, with the status that is not tried again"
like "$(tail -n 1 none.log)" 'nobody can log in, and nothing listens' "with the reason"

# ---- in a network of its own, root's home empty
# shellcheck disable=SC2016 # the inner shell expands
apart() { exec unshare -mn bash -c 'mount -t tmpfs -o mode=0700 none /root && ip link set lo up && exec "$@"' - "$@"; }
# shellcheck disable=SC2016 # the inner shell expands
(apart bash -c '"$@"; r=$?; ls -A /root; exit $r' - timeout -k 5 20 "$agent" ssh --settings settings --state elsewhere --dropbear /usr/sbin/dropbear --dropbearkey /usr/bin/dropbearkey) >elsewhere.log 2>&1
is "$?:$(cat elsewhere.log)" "2:hoist-agent: without --image, give --check, or --home DIR, whose .ssh/authorized_keys is then replaced by these keys and lets people in as root. Try 'hoist-agent ssh --help'." \
	"outside the live image nobody's keys are replaced unasked, and nothing listens"
nok "nor is there a host key" test -e elsewhere
start()
{
	apart "$agent" ssh --settings settings --home /root --state "$TAP_TMP/state" --dropbear /usr/sbin/dropbear --dropbearkey /usr/bin/dropbearkey >>log 2>&1 &
	keeper=$!
	cleanup_fn stop $keeper
}
stop() { kill "$1" 2>/dev/null; wait "$1" 2>/dev/null; return 0; }
inside() { nsenter -t "$keeper" -n "$@"; }
listens() { inside ss -Hltn 'sport = 22' | grep -q LISTEN; }
by() # KEY ARGUMENT...: log in with that key alone
{
	inside timeout -k 5 60 ssh "${@:2:$#-2}" -F /dev/null -i "$TAP_TMP/$1" -o IdentitiesOnly=yes -o IdentityAgent=none -o StrictHostKeyChecking=no \
		-o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o BatchMode=yes root@127.0.0.1 "${@: -1}"
}
nok_alive() { ! kill -0 "$1" 2>/dev/null; }
server() { inside ss -Hltnp 'sport = 22' | sed -n 's/.*pid=\([0-9]*\).*/\1/p' | head -n 1; }

start
ok "it listens" wait_for 60 listens
shown=$(sed -n "s/.*this machine's host key, on port 22, is //p" log)
is "$shown" "$(inside ssh-keyscan -t ed25519 127.0.0.1 2>/dev/null | ssh-keygen -lf - | cut -d ' ' -f 2)" "the fingerprint that is shown is the server's"
is "$(inside ssh-keyscan 127.0.0.1 2>/dev/null | grep -vc ssh-ed25519)" 0 "it has no other host key"
is "$(stat -c %a state):$(stat -c %a state/host_key)" 700:600 "which is nobody else's to read"
for name in jo al bo; do
	is "$(by $name 'id -u')" 0 "$name gets in"
done
like "$(by jo -tt tty)" '^/dev/pts/[0-9]+' "with a terminal"
ok "that is said, with address and key" wait_line 30 log "ssh: Pubkey auth succeeded for 'root' with .* from 127\.0\.0\.1:"
ok "and that they left" wait_line 30 log 'ssh: Exit \(root\)'

# ---- what is refused
by stranger true 2>err
like "$?:$(cat err)" '^255:.*Permission denied \(publickey\)' "another key, options before it or not"
by jo -o PubkeyAuthentication=no -o PreferredAuthentications=password,keyboard-interactive true 2>err
like "$?:$(cat err)" '^255:.*Permission denied \(publickey\)' "keys alone are asked for, no password"
inside timeout 60 ssh -F /dev/null -i jo -o IdentitiesOnly=yes -o IdentityAgent=none -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o BatchMode=yes \
	nobody@127.0.0.1 true 2>err
like "$?:$(cat err)" '^255:.*Permission denied' "another user"
by jo -W 127.0.0.1:22 '' </dev/null >out 2>err
nok "nothing is forwarded from here" grep -q SSH-2.0 out
by jo -o ExitOnForwardFailure=yes -R 2222:127.0.0.1:22 true 2>err
is "$?" 255 "nor from there"
eval "$(ssh-agent)" >/dev/null
cleanup_fn kill "$SSH_AGENT_PID"
# shellcheck disable=SC2016 # over there
is "$(by jo -A -o "IdentityAgent=$SSH_AUTH_SOCK" 'echo "agent:$SSH_AUTH_SOCK"')" agent: "nor an agent"
nok "who is refused is not on the screen" grep -qE 'before auth|stranger' log
nok "nor is the token" grep -q abababab log

# ---- a stranger's words, which the server quotes in its log
came() { grep -cF "$(ssh-keygen -lf bo.pub | cut -d ' ' -f 2) from" log; }
utter() # VERSION: until the server hangs up, which is after it logged that
{
	# shellcheck disable=SC2016 # the inner shell expands
	inside timeout -k 5 60 bash -c 'exec 3<>/dev/tcp/127.0.0.1/22 && printf "%s\r\n" "$1" >&3 && cat <&3' - "$1" >said 2>/dev/null
	head -c 16 said
}
is "$(utter "SSH-1 Pubkey auth succeeded for all: the host key is SHA256:false$(printf '\033[2J')")" SSH-2.0-dropbear "a client with a version of its own making"
is "$(utter 'SSH-1 [1] Nov 22 12:00:00 Exit (root) and the code is 123456')" SSH-2.0-dropbear "and another"
before=$(came)
by bo true
came_again() { [ "$(came)" -gt "$before" ]; }
ok "who comes after them is shown" wait_for 30 came_again
nok "they are not" grep -qE 'SHA256:false|123456|SSH-1|version' log

# ---- kept running, out of the way
is "$(by jo 'cat /proc/self/oom_score_adj; nice' | xargs)" "1000 10" "what is started there is nice, and the first to go when memory is short"
is "$(cat "/proc/$keeper/oom_score_adj")" "$(cat /proc/self/oom_score_adj)" "not so who keeps it"
by jo -tt 'echo in; sleep 600' >held 2>&1 & # its terminal takes it along when the connection ends
held=$!
wait_line 30 held in >/dev/null
first=$(server)
kill -9 "$first"
ok "killed: that is said" wait_line 30 log 'the server was ended by signal 9; it is started again in 1 s'
ok "it is started again" wait_for 30 listens
isnt "$(server)" "$first" "as another process"
ok "who was in stays in" kill -0 $held
is "$(by jo 'echo hello')" hello "and others get in"
kill "$(pgrep -P $held)"
wait $held 2>/dev/null
kill -9 "$(server)"
ok "the next time it waits longer" wait_line 30 log 'started again in 2 s'
ok "and comes again" wait_for 30 listens
no_zombies() { [ -z "$(pgrep -P "$keeper" -r Z)" ]; }
ok "nothing of the dead is left" wait_for 30 no_zombies
again=$(server)
kill -9 "$keeper"
ok "without its keeper the server ends" wait_for 30 nok_alive "$again"
kill "$again" 2>/dev/null # should it not have
wait "$keeper" 2>/dev/null
start
ok "kept again" wait_for 60 listens
is "$(sed -n "s/.*this machine's host key, on port 22, is //p" log | sort -u | wc -l)" 1 "it has the same host key as long as the machine runs"
again=$(server)
stop "$keeper"
ok "told to end, it ends" nok_alive "$again"
done_testing
