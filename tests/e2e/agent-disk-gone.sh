#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Disks that become smaller while they are worked on: a capture is no image with a hole for the rest, a restore is not called done.
# shellcheck disable=SC2034,SC2154
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/agent.sh"
requires curl jq xxd cmp

cd "$TAP_TMP" || exit
truncate -s 64M src.img
fill src.img 0 40000000
start_server
make_token

start_agent src --workers 1 --disk src.img
ok "the machine appears" wait_for 30 machine_is_idle src
ok "a capture is ordered" order_held src '{"kind":"capture","machine":"src","image":"cut"}'
ok "it is at work" valve "$(agent_pid src)" 60 packs_at_least 3
truncate -s 44M src.img
kill -CONT "$(agent_pid src)"
ok "the source was cut: the job ends" job_wait 120
is "$(field '.state + " " + .code')" "failed disk_gone" "as failed"
is "$(field '.message | test("had 67108864 bytes when its capture began, and has 46137344 now")')" true "which says why" || diag "$BODY"
api GET /v1/images/cut
is "$STATUS" 404 "there is no such image"

stop_agent src
truncate -s 64M src.img
start_agent src --disk src.img
is_whole() { api GET /v1/machines/src && [ "$(field '.disks[0].size')" = 67108864 ]; }
ok "whole again" wait_for 30 is_whole
ok "a capture is ordered" order '{"kind":"capture","machine":"src","image":"whole"}'
ok "it ends" job_wait 120
is "$(field .state)" "done" "well" || diag "$BODY"

truncate -s 64M dst.img
start_agent dst --workers 1 --disk dst.img
ok "a target appears" wait_for 30 machine_is_idle dst
ok "a restore is ordered" order_held dst '{"kind":"restore","machine":"dst","image":"whole","end":"stay"}'
written() { [ "$(allocated dst.img)" -ge "$1" ]; }
ok "it writes" valve "$(agent_pid dst)" 60 written 10000000
truncate -s 5M dst.img
kill -CONT "$(agent_pid dst)"
ok "the target was cut: the job ends" job_wait 120
is "$(field .state)" failed "not done"
is "$(field '.message | test("holds no complete image")')" true "and the target is said to be lost" || diag "$BODY"
done_testing
