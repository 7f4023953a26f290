#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# sealabd on a real message bus, a private one: on a machine that is no sealed system each method answers, with the right
# error; it survives callers that vanish and messages that make no sense. And what people see of it: sealabctl, sealab-notify.

. "$(dirname "$0")/../lib.sh"

CTL=$BUILD/sealabctl
TOOL=$BUILD/bus-tool
NAME=io.sealab.Updater1
OBJECT=/io/sealab/Updater1
ROOT=$SCRATCH/root
STORM=2000
# What it may have more after a storm than before, in KiB; sanitizers keep what is freed for a while.
GROWTH=512
ldd "$BUILD/sealabd" | grep -q libasan && GROWTH=16384
[ "${SEALAB_TEST_ALL:-0}" = 1 ] && STORM=100000

# All of the script runs inside one bus of its own.
if [ -z "${SEALAB_TEST_BUS:-}" ]; then
        if ! command -v dbus-run-session >/dev/null; then
                echo "skip bus: dbus-run-session is not installed" >&3
                exit 0
        fi
        SEALAB_TEST_BUS=1 dbus-run-session -- "$0" 2> >(grep -v 'Failed to set fd limit' >&2)
        exit
fi

daemon=
cleanup() {
        [ -z "$daemon" ] || kill "$daemon" 2>/dev/null
        rm -rf "$SCRATCH"
}
trap cleanup EXIT

# until_true COMMAND...: at most 30 s
until_true() {
        local i
        for ((i = 0; i < 300; i++)); do
                "$@" >/dev/null 2>&1 && return
                sleep 0.1
        done
        fail "did not become true within 30 s: $*"
}

call() { busctl --user --timeout=60 call "$NAME" "$OBJECT" "$NAME" "$@"; }
owned() { busctl --user call org.freedesktop.DBus / org.freedesktop.DBus NameHasOwner s "$1" | grep -q true; }

# The machine is an empty folder, whatever this one is.
start_daemon() {
        mkdir -p "$ROOT/etc"
        echo 0123456789abcdef0123456789abcdef >"$ROOT/etc/machine-id"
        "$BUILD/sealabd" --user --stay --job-option "--root=$ROOT" --job-option "--state=$ROOT/var/lib/sealab" \
                >"$SCRATCH/daemon.log" 2>&1 &
        daemon=$!
        until_true owned "$NAME"
}
start_daemon

alive() {
        kill -0 "$daemon" 2>/dev/null || fail "sealabd is gone: $(tail -n 3 "$SCRATCH/daemon.log")"
        busctl --user call "$NAME" "$OBJECT" org.freedesktop.DBus.Peer Ping || fail "sealabd does not answer"
}
not_at_work() { busctl --user get-property "$NAME" "$OBJECT" "$NAME" Job | grep -q ' "" "" 0 0$'; }
resident() { sed -nE 's/^VmRSS:\s+([0-9]+) kB/\1/p' "/proc/$daemon/status"; }

# --- the interface ---

introspection_shows_all_of_it() {
        local members
        members=$(busctl --user introspect "$NAME" "$OBJECT" "$NAME" | awk '
                NR > 1 { print $2, $1, $3, $2 == "method" ? $4 : "-" }' | sort)
        # The same list stands in the manual page.
        assert_equal "$members" "$(sed -n '/^interface /,/^}/p' "$SOURCE/docs/sealabd.8" | sed -nE \
                's/^ +(method|signal|property) ([A-Za-z]+) +(\S+) +(\S+)$/\1 .\2 \3 \4/p' | sort)" "the interface and sealabd(8)"
}
run introspection_shows_all_of_it

# refused_call ERROR METHOD [TEXT]
refused_call() {
        local error=$1
        shift
        assert_equal "$("$TOOL" error "$@")" "$error" "$*"
}

questions_are_refused_with_the_right_name() {
        refused_call $NAME.Error.Machine GetStatus
        refused_call $NAME.Error.Machine GetDrift
        refused_call org.freedesktop.DBus.Error.InvalidArgs Update "../../etc"
        refused_call org.freedesktop.DBus.Error.InvalidArgs Pin "a+3"
        refused_call org.freedesktop.DBus.Error.InvalidArgs ResetDrift "/etc/passwd"
        refused_call org.freedesktop.DBus.Error.InvalidArgs ResetDrift ""
        refused_call org.freedesktop.DBus.Error.UnknownMethod Mount "/dev/sda"
        until_true not_at_work
        refused_call $NAME.Error.NotFound Cancel
}
run questions_are_refused_with_the_right_name

every_method_answers() {
        local method
        assert_equal "$(call GetHistory)" 's "[]"' "history of a machine without any"
        call GetConfig | grep -q 'Channel.*stable' || fail "no settings: $(call GetConfig)"
        for method in Check "Update s 2.0" "Update s " UpdateAutomatically "Pin s " "Pin s 1.0" Unpin Revert "Verify b true" \
                "ResetDrift s 0123456789ab" FactoryReset CancelFactoryReset; do
                until_true not_at_work
                # shellcheck disable=SC2086  # words
                if [ "${method% }" = "$method" ]; then
                        call $method >"$SCRATCH/output" 2>&1
                else
                        call $method "" >"$SCRATCH/output" 2>&1
                fi || fail "$method: $(cat "$SCRATCH/output")"
                grep -qE '^t [0-9]+$' "$SCRATCH/output" || fail "$method answered $(cat "$SCRATCH/output")"
        done
        until_true not_at_work
        alive
}
run every_method_answers

# --- sealabctl ---

sealabctl_says_what_is_missing_and_exits_with_7() {
        local verb
        for verb in status check list update revert pin unpin "verify --all" "drift" "drift --reset /etc/passwd" \
                "factory-reset --yes" "factory-reset --cancel" "update --json"; do
                until_true not_at_work
                # shellcheck disable=SC2086  # words
                refused 7 "$CTL" --user $verb </dev/null
                grep -qE 'no system made by sealab|no overlay' "$SCRATCH/output" || fail "$verb: $(cat "$SCRATCH/output")"
                grep -qE 'sealab build|made by sealab' "$SCRATCH/output" || fail "$verb has no hint: $(cat "$SCRATCH/output")"
        done
        refused 2 "$CTL" --user drift --reset </dev/null
        "$CTL" --user history | grep -q "nothing has happened yet"
        "$CTL" --user --json config >"$SCRATCH/config.json"
        assert_equal "$(json "$SCRATCH/config.json" 'len([e for e in d if e["source"] == "default"]) == len(d) > 10')" true "settings"
}
run sealabctl_says_what_is_missing_and_exits_with_7

drift_is_listed_and_put_back_by_path() {
        local R=$ROOT
        mkdir -p "$R/usr/share/factory/etc/ssh" "$R/.etc/upper/ssh"
        printf 'Port 22\n' >"$R/usr/share/factory/etc/ssh/sshd_config"
        # Without an overlay the same folder stands for upper and merged.
        printf 'Port 2222\n' >"$R/.etc/upper/ssh/sshd_config"
        cp "$R/etc/machine-id" "$R/.etc/upper/"
        mount --bind "$R/.etc/upper" "$R/etc" 2>/dev/null || skip "mounts are not allowed here"
        trap 'umount "$ROOT/etc"' EXIT
        "$CTL" --user drift >"$SCRATCH/output"
        grep -qx 'changed    /etc/ssh/sshd_config' "$SCRATCH/output" || fail "$(cat "$SCRATCH/output")"
        grep -q 2222 "$SCRATCH/output" && fail "contents are shown"
        "$CTL" --user drift --all | grep -q "machine-id  (this machine's id)" || fail "own files with --all"
        "$CTL" --user --json drift /etc/ssh >"$SCRATCH/drift.json"
        assert_equal "$(json "$SCRATCH/drift.json" '[e["kind"] for e in d["entries"]] == ["changed"]')" true "JSON"
        refused 3 "$CTL" --user drift --reset /etc/passwd
        refused 3 "$CTL" --user drift --reset /etc/machine-id
        "$CTL" --user drift --reset /etc/ssh/sshd_config | grep -qx '/etc/ssh/sshd_config is as the image has it'
        assert_equal "$(cat "$R/etc/ssh/sshd_config")" "Port 22" "the default"
        assert_equal "$("$CTL" --user drift | head -n 1)" "/etc is as the image has it" "afterwards"
}
run drift_is_listed_and_put_back_by_path
rm -rf "$ROOT/.etc" "$ROOT/usr"

# --- callers that misbehave ---

# What it took is given back when its last job has ended.
at_most() { call GetHistory && [ "$(resident)" -le "$1" ]; }

callers_may_vanish() {
        local before after
        "$TOOL" vanish 200 || fail "bus-tool"
        alive
        until_true not_at_work
        before=$(resident)
        "$TOOL" vanish 2000 || fail "bus-tool"
        alive
        until_true not_at_work
        until_true at_most $((before + GROWTH))
        after=$(resident)
        [ "$(find "/proc/$daemon/fd" -mindepth 1 | wc -l)" -le 16 ] || fail "descriptors: $(ls -l "/proc/$daemon/fd")"
        echo "# 2000 callers that vanish, resident $before -> $after KiB" >&3
        "$CTL" --user history >/dev/null
}
run callers_may_vanish

random_messages_do_no_harm() {
        local before after
        # What it takes once, for its first jobs and matches, is no growth.
        "$TOOL" storm 2000 7 || fail "storm to warm up"
        until_true not_at_work
        before=$(resident)
        "$TOOL" storm "$STORM" 4711 || fail "storm"
        alive
        until_true not_at_work
        until_true at_most $((before + GROWTH))
        after=$(resident)
        [ ! -e "$ROOT/sys" ] || fail "something was written: $(find "$ROOT/sys")"
        grep -qiE 'sanitizer|assert' "$SCRATCH/daemon.log" && fail "$(grep -iE 'sanitizer|assert' "$SCRATCH/daemon.log" | head -n 3)"
        echo "# $STORM messages, resident $before -> $after KiB" >&3
}
run random_messages_do_no_harm

kill "$daemon"
wait "$daemon" 2>/dev/null
daemon=

# --- sealab-notify ---

told() { [ "$(wc -l <"$SCRATCH/told")" = "$1" ]; }

desktop_is_told_once_for_each_event() {
        export XDG_STATE_HOME=$SCRATCH/xdg
        printf '{"version": "1", "state": {}}' >"$SCRATCH/status"
        "$TOOL" receive "$SCRATCH/told" &
        receiver=$!
        "$TOOL" pretend "$SCRATCH/status" &
        updater=$!
        trap 'kill $receiver $updater $notify 2>/dev/null' EXIT
        until_true owned org.freedesktop.Notifications
        until_true owned "$NAME"
        "$BUILD/sealab-notify" --user &
        notify=$!
        sleep 0.5
        told 0 || fail "told for nothing: $(cat "$SCRATCH/told")"
        printf '{"version": "1", "restartNeeded": true, "state": {"trial": {"version": "2", "when": 5}}}' >"$SCRATCH/status"
        call Emit
        until_true told 1
        call Emit
        call Emit
        sleep 0.5
        told 1 || fail "told twice: $(cat "$SCRATCH/told")"
        assert_equal "$(cat "$SCRATCH/told")" \
                "sealab|0|Restart to finish the update to 2|It is installed beside 1, which is kept to go back to." "the message"
        # The next session, after the fall-back.
        kill $notify
        printf '{"version": "1", "state": {"bad": [{"version": "2", "when": 9, "reason": "<b>no</b> & never"}]}}' >"$SCRATCH/status"
        "$BUILD/sealab-notify" --user --once
        assert_equal "$(tail -n 1 "$SCRATCH/told")" "sealab|0|The update to 2 failed, you are back on 1|It will not be tried again. What\
 happened: &lt;b>no&lt;/b> &amp; never" "the message"
        "$BUILD/sealab-notify" --user --once
        told 2 || fail "told again in the next session"
        # Nothing to say, nobody to say it to: no reason to fail.
        rm "$SCRATCH/status"
        "$BUILD/sealab-notify" --user --once
        kill $receiver
        printf '{"version": "1", "restartNeeded": true, "state": {"trial": {"version": "3", "when": 5}}}' >"$SCRATCH/status"
        "$BUILD/sealab-notify" --user --once
        assert_equal "$(cat "$XDG_STATE_HOME/sealab/told")" "failed 2 9" "what could not be shown is not taken for told"
}
run desktop_is_told_once_for_each_event
exit $failed
