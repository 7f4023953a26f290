#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What people type: sealabctl, through a bus of its own, to sealabd on a machine that is a folder (test/updater-tool.c) with a
# repository that "sealab publish" made.

. "$(dirname "$0")/../lib.sh"

TOOL=$BUILD/updater-tool
NAME=io.sealab.Updater1
W=$SCRATCH/w

if [ -z "${SEALAB_TEST_BUS:-}" ]; then
        command -v dbus-run-session >/dev/null || { echo "skip sealabctl: dbus-run-session is not installed" >&3; exit 0; }
        SEALAB_TEST_BUS=1 dbus-run-session -- "$0" 2> >(grep -v 'Failed to set fd limit' >&2)
        exit
fi

daemon=
server=
export no_proxy=127.0.0.1 NO_PROXY=127.0.0.1
cleanup() {
        [ -z "$daemon" ] || kill "$daemon" 2>/dev/null
        [ -z "$server" ] || kill "$server" 2>/dev/null
        rm -rf "$SCRATCH"
}
trap cleanup EXIT
mkdir -p "$W"
# The workers are somebody else.
chmod 0755 "$BUILD/scratch" "$SCRATCH" "$W"

ctl() { "$BUILD/sealabctl" --user "$@"; }
owned() { busctl --user call org.freedesktop.DBus / org.freedesktop.DBus NameHasOwner s "$NAME" | grep -q true; }
entries() { (cd "$W/m/esp/EFI/Linux" && find . -mindepth 1 -printf '%P\n' | sort | tr '\n' ' '); }

# The machine is what these say, for the daemon's jobs and for those without it.
OPTIONS=()
start_daemon() {
        local option arguments=()
        # A test may have killed it; and its status is the signal's.
        [ -z "$daemon" ] || { kill "$daemon"; wait "$daemon"; } 2>/dev/null || true
        OPTIONS=("--root=$W/m/root" "--disk=$W/m/disk" "--boot=$W/m/esp" "--state=$W/m/state"
                "--anchor=$W/repo/metadata/1.root.json" "--running=$(cat "$W/releases/desk_1/desk_1.usr.roothash")")
        for option in "${OPTIONS[@]}"; do arguments+=(--job-option "$option"); done
        "$BUILD/sealabd" --user --stay "${arguments[@]}" >"$SCRATCH/daemon.log" 2>&1 &
        daemon=$!
        for _ in $(seq 100); do owned && return; sleep 0.1; done
        fail "sealabd does not come up: $(cat "$SCRATCH/daemon.log")"
}

publish() { "$SEALAB" publish "$W/releases/desk_$1" "$W/repo" --keys "$W/keys" --allow-development "${@:2}"; }

set_up() {
        for v in 1:a 2:b 3:c; do "$TOOL" release "$W/releases" "${v%:*}" "${v#*:}"; done
        "$TOOL" machine "$W/pristine" "$W/releases/desk_1"
        new_repository "$W/repo" --channel stable
        publish 2 --epoch 5 --notes "what is new"
        cp -a "$W/repo" "$W/repo-2"
        publish 3 --epoch 6
}

# fresh: the machine runs 1, its repository has 2.
fresh() {
        rm -rf "$W/m" "$W/served"
        cp -a "$W/pristine" "$W/m"
        cp -a "$W/repo-2" "$W/served"
        mkdir -p "$W/m/root/etc/sealab"
        printf '[Repository]\nUrl=file://%s\n' "$W/served" >"$W/m/root/etc/sealab/updater.conf"
}

set_up >"$SCRATCH/set-up" 2>&1 || { cat "$SCRATCH/set-up" >&2; echo "not ok sealabctl: no machine could be made" >&3; exit 1; }
fresh
start_daemon

# --- JSON -------------------------------------------------------------------------------------------------------------------

# shape NAME WORDS...: what sealabctl prints has the shape that its manual page gives it; the document is $SCRATCH/document.
shape() {
        local name=$1
        shift
        ctl --json "$@" >"$SCRATCH/document" || { [ "$name" = result ] && [ -s "$SCRATCH/document" ]; } || fail "$*: $(cat "$SCRATCH/document")"
        python3 "$SOURCE/test/integration/json-shape.py" "$name" "$SOURCE/docs/sealabctl.1" <"$SCRATCH/document" >"$SCRATCH/complaints" ||
                fail "$*: $(cat "$SCRATCH/complaints")"
}
document() { json "$SCRATCH/document" "$1"; }

json_has_its_shape_when_nothing_is_known() {
        fresh
        shape status status
        assert_equal "$(document '[d["state"]["pinned"], d["state"]["pin"], d["state"]["trial"], d["factoryReset"]]')" \
                "[false, null, null, false]" "status"
        shape history history
        shape config config
        shape verify verify
        shape result unpin
        # Refused.
        shape result revert
        assert_equal "$(document '[d["result"], d["policy"], d["hint"]]')" '["not-found", null, null]' "a refusal"
        shape result update --version 9
        shape result drift
        printf '[Repository]\nUrl=\n' >"$W/m/root/etc/sealab/updater.conf"
        shape status status
        shape result check
}
run json_has_its_shape_when_nothing_is_known

json_has_its_shape_through_an_update() {
        fresh
        shape check check
        assert_equal "$(document '[d["outcome"], d["from"], d["to"], d["slot"], d["until"]]')" '["update", "1", "2", "B", null]' "the plan"
        shape check update --dry-run
        shape list list
        assert_equal "$(document '[[o["version"], o["notes"], o["withdrawn"]] for o in d]')" '[["2", "what is new", null]]' "offers"
        shape result update
        assert_equal "$(document 'd["result"]')" "done" "the update"
        shape status status
        assert_equal "$(document '[d["restartNeeded"], d["state"]["trial"]["version"], [s["triesLeft"] for s in d["slots"]]]')" \
                '[true, "2", [null, 3]]' "status"
        shape check check
        assert_equal "$(document '[d["outcome"], d["to"]]')" '["nothing", null]' "the plan"
        shape history history
        shape verify verify --all
        shape result pin
        shape result update
        mv "$W/m/esp/EFI/Linux/desk_1.efi" "$W/m/esp/EFI/Linux/desk_1+1-2.efi"
        shape status status
        shape history history
}
run json_has_its_shape_through_an_update

json_has_its_shape_when_a_version_failed() {
        fresh
        ctl update
        mv "$W/m/esp/EFI/Linux/desk_2+3-0.efi" "$W/m/esp/EFI/Linux/desk_2+0-3.efi"
        shape check check
        shape status status
        assert_equal "$(document '[b["version"] for b in d["state"]["bad"]]')" '["2"]' "bad versions"
        mkdir -p "$W/m/root/proc/sys/kernel/random"
        echo 01234567-89ab-cdef-0123-456789abcdef >"$W/m/root/proc/sys/kernel/random/boot_id"
        ctl unpin
        shape history history
        assert_equal "$(document '[d[-1]["boot"], [e["boot"] for e in d if e["action"] == "boot"]]')" \
                '["0123456789abcdef0123456789abcdef", [null]]' "boots"
        "$SEALAB" repo withdraw "$W/served" desk 2 --reason "it eats files" --keys "$W/keys"
        shape list list
        assert_equal "$(document '[o["withdrawn"] for o in d]')" '["it eats files"]' "offers"
        shape check check
        rm -rf "$W/served"
        shape result check
        shape status status
        assert_equal "$(document '[d["state"]["lastResult"]]')" '["download"]' "the last result"
}
run json_has_its_shape_when_a_version_failed

json_of_drift_has_its_shape() {
        local R=$W/m/root
        fresh
        mkdir -p "$R/usr/share/factory/etc/ssh" "$R/.etc/upper/ssh" "$R/.etc/upper/new"
        printf 'Port 22\n' >"$R/usr/share/factory/etc/ssh/sshd_config"
        printf 'x\n' >"$R/usr/share/factory/etc/plain"
        printf 'Port 2222\n' >"$R/.etc/upper/ssh/sshd_config"
        printf 'x\n' >"$R/.etc/upper/plain"
        chmod 600 "$R/.etc/upper/plain"
        echo 0123456789abcdef0123456789abcdef >"$R/.etc/upper/machine-id"
        mount --bind "$R/.etc/upper" "$R/etc" 2>/dev/null || skip "mounts are not allowed here"
        trap 'umount "$W/m/root/etc"' EXIT
        shape drift drift --all
        [ "$(document 'len({e["kind"] for e in d["entries"]})')" -ge 3 ] || fail "kinds: $(cat "$SCRATCH/document")"
        shape drift drift /etc/ssh
        shape result drift --reset /etc/ssh/sshd_config
        shape result factory-reset --cancel
}
run json_of_drift_has_its_shape

# --- a repository in a folder ---------------------------------------------------------------------------------------------------

# Without a network: the machine's own repository is not there.
offline_machine() {
        [ "$(id -u)" = 0 ] || skip "only root may name a folder"
        fresh
        rm -rf "$W/served" "$W/stick"
        mkdir -p "$W/stick"
        cp -a "$W/repo-2" "$W/stick/my copy"
        STICK="$W/stick/my copy"
}

# Never through the bus: it is told of a job that is none of its own by nothing.
ctl_from() {
        local option arguments=()
        for option in "${OPTIONS[@]}"; do arguments+=("--job-option=$option"); done
        ctl "$@" "${arguments[@]}"
}

an_update_comes_from_a_folder() {
        offline_machine
        refused 4 ctl update
        ctl_from check --from "$STICK" | grep -qx 'update: from 1 to 2' || fail "$(ctl_from check --from "$STICK")"
        assert_equal "$(entries)" "desk_1.efi " entries
        ctl_from --json update --from "$STICK" --dry-run >"$SCRATCH/document"
        assert_equal "$(document 'd["to"]')" 2 "the plan"
        (cd "$STICK" && ctl_from update --from . >"$SCRATCH/output" 2>&1) || fail "$(cat "$SCRATCH/output")"
        grep -qx '2 is installed and starts with the next restart' "$SCRATCH/output" || fail "$(cat "$SCRATCH/output")"
        assert_equal "$(entries)" "desk_1.efi desk_2+3-0.efi " entries
        shape status status
        assert_equal "$(document '[d["restartNeeded"], d["repositories"]]')" "[true, [\"file://$W/served\"]]" "status"
}
run an_update_comes_from_a_folder

a_folder_is_held_to_the_same_rules() {
        offline_machine
        ctl pin
        ctl_from --json update --from "$STICK" >"$SCRATCH/document"
        assert_equal "$(document 'd["result"]')" nothing "pinned, and updated"
        refused 4 ctl_from update --from "$STICK" --version 2
        ctl unpin
        # Older than what the machine has seen.
        cp -a "$W/repo" "$W/served"
        ctl check
        refused 5 ctl_from update --from "$STICK"
        grep -q 'was seen before' "$SCRATCH/output" || fail "$(cat "$SCRATCH/output")"
        # Somebody else's.
        offline_machine
        "$SEALAB" repo keys generate "$W/foreign-keys"
        "$SEALAB" repo init "$W/stick/foreign" --keys "$W/foreign-keys" --channel stable
        refused 5 ctl_from update --from "$W/stick/foreign"
        # One bit of each file.
        while read -r file; do
                flip_byte "$file" $(($(stat -c %s "$file") / 2))
        done < <(find "$STICK/targets" -type f -size +0)
        ctl_from update --from "$STICK" && fail "changed files were taken"
        assert_equal "$(entries | sed 's/[.]sealab[^ ]* //')" "desk_1.efi " entries
}
run a_folder_is_held_to_the_same_rules

folders_that_are_none_are_told_apart() {
        offline_machine
        refused 3 ctl_from update --from "$W/none"
        refused 3 ctl_from update --from "$W/stick"
        grep -q 'holds no repository' "$SCRATCH/output" || fail "$(cat "$SCRATCH/output")"
        # Nothing waits for a pipe.
        mv "$STICK/metadata/timestamp.json" "$W/stick/kept"
        mkfifo -m 644 "$STICK/metadata/timestamp.json"
        refused 4 timeout 60 "$BUILD/sealabctl" update --from "$STICK" "${OPTIONS[@]/#/--job-option=}"
        mv "$W/stick/kept" "$STICK/metadata/timestamp.json"
        # As the desktop mounts a stick: for one user.
        chmod 700 "$W/stick"
        refused 5 ctl_from update --from "$STICK"
        grep -q 'mount -o ro' "$SCRATCH/output" || fail "$(cat "$SCRATCH/output")"
        chmod 755 "$W/stick"
        refused 2 ctl_from update --from "$STICK" --host root@laptop
        refused 2 ctl_from update --from "$STICK" --automatic
        refused 5 setpriv --reuid 65534 --regid 65534 --clear-groups "$BUILD/sealabctl" update --from "$STICK"
        grep -q 'only root' "$SCRATCH/output" || fail "$(cat "$SCRATCH/output")"
        # The daemon's jobs and those without it are one at a time.
        ctl unpin
        (
                flock 8
                refused 7 ctl_from update --from "$STICK"
        ) 8>"$W/m/state/lock"
}
run folders_that_are_none_are_told_apart

# A server that never answers: whoever asks it waits until it takes it for stalled.
silent_server() {
        python3 -c 'import socket, time
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1], flush=True)
time.sleep(600)' >"$SCRATCH/port" &
        server=$!
        for _ in $(seq 100); do [ -s "$SCRATCH/port" ] && break; sleep 0.1; done
        SILENT=http://127.0.0.1:$(cat "$SCRATCH/port")
}
# at_work: the update that wrote $SCRATCH/output has begun.
at_work() {
        for _ in $(seq 300); do grep -qs poll "$SCRATCH/output" && return; sleep 0.1; done
        fail "no update: $(cat "$SCRATCH/output")"
}
job_is_gone() {
        for _ in $(seq 300); do pgrep -f "sealabd-job update.*$W" >/dev/null || return 0; sleep 0.1; done
        fail "the job goes on"
}

silent_server
ctrl_c_stops_it_and_the_next_one_goes_on() {
        local pid status=0 option arguments=()
        offline_machine
        for option in "${OPTIONS[@]}" "--repository=$SILENT"; do arguments+=("--job-option=$option"); done
        # Not "ctl": the signal is for the program, not for a shell.
        rm -f "$SCRATCH/output"
        "$BUILD/sealabctl" update --from "$STICK" "${arguments[@]}" >"$SCRATCH/output" 2>&1 &
        pid=$!
        at_work
        kill -INT $pid
        wait $pid || status=$?
        assert_equal $status 130 "the exit status ($(cat "$SCRATCH/output"))"
        job_is_gone
        ctl_from update --from "$STICK"
        assert_equal "$(entries)" "desk_1.efi desk_2+3-0.efi " entries
}
run ctrl_c_stops_it_and_the_next_one_goes_on

# --- a daemon that is at work -----------------------------------------------------------------------------------------------

# begin_update: the process is $pid.
begin_update() {
        fresh
        printf '[Repository]\nUrl=%s\n' "$SILENT" >"$W/m/root/etc/sealab/updater.conf"
        # The one before must not be taken for this one's.
        rm -f "$SCRATCH/output"
        "$BUILD/sealabctl" --user update >"$SCRATCH/output" 2>&1 &
        pid=$!
        at_work
}

the_next_update_succeeds() {
        job_is_gone
        printf '[Repository]\nUrl=file://%s\n' "$W/served" >"$W/m/root/etc/sealab/updater.conf"
        ctl update
        assert_equal "$(entries)" "desk_1.efi desk_2+3-0.efi " entries
}

ctrl_c_reaches_the_job_through_the_bus() {
        local pid status=0
        begin_update
        ctl --json update >"$SCRATCH/document" && fail "two at once"
        assert_equal "$(document 'd["result"]')" busy "a second one"
        kill -INT $pid
        wait $pid || status=$?
        assert_equal $status 130 "the exit status ($(cat "$SCRATCH/output"))"
        the_next_update_succeeds
}
run ctrl_c_reaches_the_job_through_the_bus

a_daemon_that_is_killed_takes_its_job_along() {
        local pid status=0
        begin_update
        kill -KILL "$daemon"
        wait $pid || status=$?
        assert_equal $status 1 "the exit status ($(cat "$SCRATCH/output"))"
        grep -q 'sealabd went away while it was at work' "$SCRATCH/output" || fail "$(cat "$SCRATCH/output")"
        start_daemon
        # The subshell's own; the script's is gone. Its status is the signal's.
        trap 'kill $daemon; wait $daemon || true' EXIT
        the_next_update_succeeds
}
run a_daemon_that_is_killed_takes_its_job_along
start_daemon

# --- another machine --------------------------------------------------------------------------------------------------------

# What ssh would do there is done here: the bridge, to "the system bus".
another_machine_is_reached_by_ssh() {
        [ -x /usr/bin/systemd-stdio-bridge ] || skip "systemd-stdio-bridge is not installed"
        fresh
        mkdir "$W/bin"
        cat >"$W/bin/ssh" <<END
#!/bin/sh
printf '%s\n' "\$*" >>"$W/ssh-arguments"
case "\$*" in *nobody@*) exit 255 ;; esac
exec systemd-stdio-bridge "--bus-path=$DBUS_SESSION_BUS_ADDRESS"
END
        chmod +x "$W/bin/ssh"
        PATH=$W/bin:$PATH "$BUILD/sealabctl" -H user@laptop status >"$SCRATCH/output"
        grep -q '^desk 1 ' "$SCRATCH/output" || fail "$(cat "$SCRATCH/output")"
        grep -q 'user@laptop.*systemd-stdio-bridge' "$W/ssh-arguments" || fail "$(cat "$W/ssh-arguments")"
        PATH=$W/bin:$PATH "$BUILD/sealabctl" --host=user@laptop update
        assert_equal "$(entries)" "desk_1.efi desk_2+3-0.efi " entries
        # Nobody there.
        PATH=$W/bin:$PATH refused 1 "$BUILD/sealabctl" -H nobody@laptop status
        grep -q '"ssh nobody@laptop true" must work' "$SCRATCH/output" || fail "$(cat "$SCRATCH/output")"
}
run another_machine_is_reached_by_ssh
exit $failed
