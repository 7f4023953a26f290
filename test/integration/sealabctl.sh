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
cleanup() {
        [ -z "$daemon" ] || kill "$daemon" 2>/dev/null
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
        "$SEALAB" repo keys generate "$W/keys"
        "$SEALAB" repo init "$W/repo" --keys "$W/keys" --channel stable
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
        shape history history
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
exit $failed
