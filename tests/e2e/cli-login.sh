#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck disable=SC2153
# hoist login and what an admin does with operators, tokens and the audit log, from the command line and from a terminal.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/cli.sh"
requires curl jq xxd script

pw() { printf '%s\n' "$1" >"$TAP_TMP/pw"; }
home_files() { (cd "$HOME" && find . -type f -printf '%m %P\n' | sort); }
remote() { HOIST_DATA='' cli "$@" --server "$URL" --pin "$FINGERPRINT"; }

start_server
pw "password of alice"
cli operator add alice
is "$STATUS_CLI" 2 "an operator needs a role"
cli operator add alice --role king
is "$STATUS_CLI" 2 "one of three"
cli operator add alice --role operator
is "$STATUS_CLI" 2 "without a terminal a password file is needed"
like "$ERR" "--password-file" "as it says"
cli operator add alice --role operator --password-file "$TAP_TMP/pw"
is "$STATUS_CLI $OUT" "0 added operator alice" "alice is added"
cli operator add alice --role operator --password-file "$TAP_TMP/pw"
is "$STATUS_CLI" 1 "once"
: >"$TAP_TMP/empty"
cli operator add bob --role viewer --password-file "$TAP_TMP/empty"
is "$STATUS_CLI $ERR" "1 hoist: no password was given" "not with no password"
cli operator list
like "$OUT" $'alice +operator +[0-9-]+' "she is in the list"

# ---- from elsewhere
remote whoami
is "$STATUS_CLI" 2 "from elsewhere nobody is known"
like "$ERR" "hoist login" "and it says what to do"
HOIST_DATA='' cli login alice --server "$URL"
like "$STATUS_CLI $ERR" "2 .*fingerprint of the server's key is missing: give --pin" "what else is missing is said before a password is asked for"
remote login alice --password-file "$TAP_TMP/empty"
is "$STATUS_CLI $(home_files)" "1 " "no password: nothing is kept"
pw "wrong password"
remote login alice --password-file "$TAP_TMP/pw"
is "$STATUS_CLI $ERR $(home_files)" "1 hoist: The name or the password is wrong. " "a wrong one: nothing is kept"
pw "password of alice"
remote login alice --password-file "$TAP_TMP/pw" --expires never
is "$STATUS_CLI" 2 "no token lives for ever"
remote login alice --password-file "$TAP_TMP/pw" --expires 367d
like "$STATUS_CLI $ERR" "^2 hoist: --expires: '367d' is not .*at most 366d" "nor longer than the server makes them"
HOME=/proc/none remote login alice --password-file "$TAP_TMP/pw"
like "$STATUS_CLI $ERR" "^1 hoist: make the folder '/proc/none" "a token that cannot be kept is told of"
cli access-token list
unlike "$OUT" alice "and not left behind at the server"
remote login alice --password-file "$TAP_TMP/pw"
like "$STATUS_CLI $OUT" "^0 logged in as alice \(operator\) until 20" "logged in"
is "$(home_files)" "600 .config/hoist/tokens/$FINGERPRINT" "the token is in a file of hers alone, named by the server's key"
remote whoami
like "$OUT" "alice.*operator.*token" "and is used"
remote machines
is "$STATUS_CLI" 0 "by all commands"
remote operator list
is "$STATUS_CLI" 1 "as far as the role goes"
like "$ERR" "needs the role admin" "which it says"
cli whoami
like "$OUT" "alice" "it is stronger than a data folder"
cp "$DATA/operator.token" "$TAP_TMP/file"
cli whoami --token-file "$TAP_TMP/file"
like "$OUT" "operator.token" "and weaker than a file that is named"
HOIST_TOKEN_FILE=$TAP_TMP/file cli whoami
like "$OUT" "operator.token" "also by a variable"
cli access-token list
like "$OUT" "hoist-on-.*operator" "she sees the token in the list"
nok "of the session nothing is left" grep -q '"kind":"session"' <<<"$OUT"
is "$(sqlite3 "$DATA/state.db" "SELECT count(*) FROM credentials WHERE session")" 0 "the session has been ended"
kept=$(cat "$HOME/.config/hoist/tokens/$FINGERPRINT")

# ---- tokens
cli access-token create nightly --role viewer --password-file "$TAP_TMP/pw" --expires 2h
like "$STATUS_CLI $OUT" "^0 [0-9a-f]{64}$" "a token for a program"
echo "$OUT" >"$TAP_TMP/nightly"
chmod 600 "$TAP_TMP/nightly"
remote whoami --token-file "$TAP_TMP/nightly"
like "$OUT" "alice.*viewer" "is a viewer"
remote token list --token-file "$TAP_TMP/nightly"
like "$STATUS_CLI $ERR" "1.*needs the role operator" "and may not more"
id=$(cli access-token list --json && jq -r '.access_tokens[] | select(.name == "nightly") | .id' <<<"$OUT")
cli access-token revoke "${id:0:5}"
is "$STATUS_CLI $OUT" "0 revoked token $id" "it is revoked"
remote whoami --token-file "$TAP_TMP/nightly"
like "$STATUS_CLI $ERR" "^1 .*session or token that is known" "at once"
cli access-token create ci --operator alice --token-file "$TAP_TMP/file"
is "$STATUS_CLI" 0 "the owner of the file makes one for her without her password"

# ---- a terminal: nothing of what is typed is shown
typed() # LINES COMMAND...
{
	local lines=$1
	shift
	printf '%s' "$lines" >"$TAP_TMP/keys"
	# a line is typed when it is asked for
	(
		while IFS= read -r line; do
			n=$((${n:-0} + 1))
			wait_for 60 asked "$n" && printf '%s\n' "$line"
		done <"$TAP_TMP/keys"
		wait_for 60 test -e "$TAP_TMP/typed"
	) | timeout -k 5 100 script -qefc "$* ; echo status \$? ; touch $TAP_TMP/typed" "$TAP_TMP/screen" >/dev/null
	SCREEN=$(tr -d '\r' <"$TAP_TMP/screen")
	rm -f "$TAP_TMP/typed"
}
asked() { [ "$(grep -aoE '(assword|more)[a-z ]*: ' "$TAP_TMP/screen" 2>/dev/null | wc -l)" -ge "$1" ]; }
: >"$TAP_TMP/screen"
typed $'password of bob\npassword of bob\n' "$HOIST" operator add bob --role viewer --token-file "$TAP_TMP/file"
like "$SCREEN" "added operator bob"$'\n'"status 0" "a password is typed twice"
unlike "$SCREEN" "password of bob" "and not seen"
: >"$TAP_TMP/screen"
typed $'password of carl\npassword of karl\n' "$HOIST" operator add carl --role viewer --token-file "$TAP_TMP/file"
like "$SCREEN" "two different"$'.*\n'"status 1" "two different ones"
: >"$TAP_TMP/screen"
typed $'half a pass\x03\n' "trap : INT ; $HOIST operator add carl --role viewer --token-file $TAP_TMP/file ; echo ended \$? ; stty -a"
like "$SCREEN" "ended 130"$'\n'".* echo " "Ctrl-C ends it, and leaves the terminal as it was"
unlike "$SCREEN" "half a pass" "what was typed is not seen after it either"
: >"$TAP_TMP/screen"
typed $'password of alice\nthe next password\nthe next password\n' "$HOIST" operator passwd
like "$SCREEN" "changed the password of alice"$'\n'"status 0" "her own password, by the one before"
pw "the next password"
cli login alice --password-file "$TAP_TMP/pw"
is "$STATUS_CLI" 0 "which is good now"

# ---- an admin who is logged in has a token here, and operators are changed by the password
pw "password of root"
cli operator add root --role admin --password-file "$TAP_TMP/pw" --token-file "$TAP_TMP/file"
mkdir "$TAP_TMP/roots"
as_root() { HOME=$TAP_TMP/roots remote "$@"; }
as_root login root --password-file "$TAP_TMP/pw"
echo "password of dora" >"$TAP_TMP/new"
as_root operator add dora --role viewer --password-file "$TAP_TMP/new" --old-password-file "$TAP_TMP/new"
is "$STATUS_CLI $ERR" "1 hoist: The name or the password is wrong." "an admin adds an operator by the password, not by the token"
as_root operator add dora --role viewer --password-file "$TAP_TMP/new"
like "$STATUS_CLI $ERR" "2 .*Your own password\): give --old-password-file FILE" "which is asked for by the option that it can be given by"
as_root operator add dora --role viewer --password-file "$TAP_TMP/new" --old-password-file "$TAP_TMP/pw"
is "$STATUS_CLI $OUT" "0 added operator dora" "by the right one"
as_root operator role dora operator --old-password-file "$TAP_TMP/pw"
is "$STATUS_CLI $OUT" "0 changed the role of dora" "and gives a role"
as_root operator passwd dora --password-file "$TAP_TMP/new" --old-password-file "$TAP_TMP/pw"
is "$STATUS_CLI $OUT" "0 changed the password of dora" "a password"
as_root operator remove dora --old-password-file "$TAP_TMP/pw"
is "$STATUS_CLI $OUT" "0 removed operator dora" "and removes him"
is "$(sqlite3 "$DATA/state.db" "SELECT count(*) FROM credentials WHERE session AND operator='root'")" 0 "the sessions have been ended"

# ---- the log, and the end
cli audit
is "$STATUS_CLI" 1 "the audit log is an admin's"
cli audit --token-file "$TAP_TMP/file"
like "$OUT" "alice \(127.0.0.1\) login alice: ok" "who logged in"
like "$OUT" "\(127.0.0.1\) login alice: wrong_password" "and who tried"
like "$OUT" "\(operator.token\) \(127.0.0.1\) operator.add bob, viewer: ok" "who added whom"
cli audit --since 1h --json --token-file "$TAP_TMP/file"
is "$(jq -s '[.[] | select(.action == "operator.add" and .result == "ok")] | length' <<<"$OUT")" 4 "as JSON"
cli audit --since 2001-01-01 --token-file "$TAP_TMP/file"
is "$STATUS_CLI $(grep -c operator.add <<<"$OUT")" "0 $(sqlite3 "$DATA/state.db" "SELECT count(*) FROM audit WHERE action='operator.add'")" "since a date"
cli audit --since yesterday --token-file "$TAP_TMP/file"
is "$STATUS_CLI" 2 "not since what is no time"
timeout 100 "$HOIST" audit --follow --token-file "$TAP_TMP/file" >"$TAP_TMP/follow" &
follower=$!
ok "followed" wait_line 30 "$TAP_TMP/follow" "operator.add bob"
cli operator remove bob --token-file "$TAP_TMP/file"
ok "what is done shows" wait_line 30 "$TAP_TMP/follow" "operator.remove bob: ok"
kill "$follower"
cli logout
is "$STATUS_CLI $OUT $(home_files)" "0 logged out " "logged out: the token is gone here"
call "$kept" GET /v1/session
is "$STATUS" 200 "(the one of the login before was another)"
cli logout
is "$STATUS_CLI" 1 "once"
cli whoami
like "$OUT" "operator.token" "and commands are done as before"
done_testing
