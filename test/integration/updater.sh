#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The updater's work ("sealabd job") on a machine that is a folder: a disk image, an ESP and a root (test/updater-tool.c),
# with releases of some MiB from a repository that "sealab publish" made. What the boot loader, the kernel and
# systemd-bless-boot would do in between is done by hand.

. "$(dirname "$0")/../lib.sh"

SEALABD=$BUILD/sealabd
TOOL=$BUILD/updater-tool
# Thousands of syncs, of which none is for ever: memory is as good where there is enough.
W=$SCRATCH/w
if [ -w /dev/shm ] && [ "$(df --output=avail -k /dev/shm | tail -n 1)" -gt 400000 ]; then W=$(mktemp -d /dev/shm/sealab-updater-XXXXXX); fi
REPO=
trap 'stop_nginx; rm -rf "$SCRATCH" "$W"' EXIT
export no_proxy=127.0.0.1 NO_PROXY=127.0.0.1
# The workers are somebody else.
mkdir -p "$W"
chmod 0755 "$BUILD/scratch" "$SCRATCH" "$W"

publish() { "$SEALAB" publish "$W/releases/desk_$1" "$W/repo" --keys "$W/keys" --allow-development "${@:2}"; }

releases_are_published() {
        mkdir -p "$W"
        for v in 1:a 2:b 3:c 4:d; do "$TOOL" release "$W/releases" "${v%:*}" "${v#*:}"; done
        "$TOOL" machine "$W/pristine" "$W/releases/desk_1"
        new_repository "$W/repo" --channel stable --channel beta
        publish 2 --epoch 5
        cp -a "$W/repo" "$W/repo-2"
        cp -a "$W/repo" "$W/served-deltas"
        "$BUILD/delta-tool" publish "$W/served-deltas" "$W/keys" "$W/releases/desk_1" "$W/releases/desk_2"
        publish 3 --epoch 6
        cp -a "$W/repo" "$W/repo-3"
}

# --- the machine --------------------------------------------------------------------------------------------------------------

# fresh [REPOSITORY]: a machine that runs 1, with the repository as it was when 2 (or 3) was the newest.
fresh() {
        M=$W/m
        rm -rf "$M" "$W/served"
        cp -a "$W/pristine" "$M"
        cp -a "$W/repo-${1:-2}" "$W/served"
        REPO=file://$W/served
        runs 1
}

hash_of() { cat "$W/releases/desk_$1/desk_$1.usr.roothash"; }

# runs VERSION: as after a restart.
runs() {
        RUNNING=$(hash_of "$1")
        sed -i "s/^IMAGE_VERSION=.*/IMAGE_VERSION=$1/" "$M/root/usr/lib/os-release"
}

# job KIND ARGUMENT...: output in $SCRATCH/lines, its last line in $SCRATCH/last.
job() {
        local status=0
        # shellcheck disable=SC2086
        "$SEALABD" job "$@" --root "$M/root" --disk "$M/disk" --boot "$M/esp" --running "$RUNNING" --state "$M/state" \
                --anchor "$W/repo/metadata/1.root.json" ${REPO:+$(printf -- '--repository %s ' $REPO)} \
                >"$SCRATCH/lines" 2>"$SCRATCH/errors" || status=$?
        tail -n 1 "$SCRATCH/lines" >"$SCRATCH/last"
        return $status
}
last() { json "$SCRATCH/last" "$1"; }
# succeeds KIND ARGUMENT...; finds_nothing KIND ARGUMENT...: the job ends well, and had something or nothing to do.
succeeds() { ends_with 'done' "$@"; }
finds_nothing() { ends_with nothing "$@"; }
ends_with() {
        local wanted=$1
        shift
        job "$@" || fail "job $*: $(cat "$SCRATCH/last" "$SCRATCH/errors")"
        assert_equal "$(last 'd["result"]')" "$wanted" "the result of $* ($(cat "$SCRATCH/last"))"
}
# job_refused REFUSAL KIND ARGUMENT...
job_refused() {
        local wanted=$1
        shift
        if job "$@"; then fail "job $* succeeded: $(cat "$SCRATCH/last")"; fi
        assert_equal "$(last 'd["result"]')" "$wanted" "the refusal of $* ($(cat "$SCRATCH/last"))"
}

entries() { (cd "$M/esp/EFI/Linux" && find . -mindepth 1 -printf '%P\n' | sort | tr '\n' ' '); }

# holds VERSION: it is in a slot and on the ESP, byte for byte.
holds() {
        disk_holds "$M/disk" "$W/releases/desk_$1"
        cmp "$W/releases/desk_$1/desk_$1.efi" "$M"/esp/EFI/Linux/desk_"$1"[+.]*efi
}
slot() { dd "if=$M/disk" bs=1M skip=$(($1 * 6 + 2)) count=6 status=none | sha256sum; }

# --- updating -----------------------------------------------------------------------------------------------------------------

checking_changes_nothing() {
        fresh
        sha256sum "$M/disk" "$M"/esp/EFI/Linux/* >"$SCRATCH/before"
        succeeds check
        assert_equal "$(last 'd["data"]["outcome"] + " " + d["data"]["to"]')" "update 2" "the plan"
        sha256sum -c --quiet "$SCRATCH/before"
        succeeds status
        assert_equal "$(last 'd["data"]["state"]["available"]')" 2 "what is available"
        # Asking again costs a few bytes of metadata.
        succeeds check
        [ "$(last 'd["data"]["pollBytes"]')" -lt 4096 ] || fail "$(last 'd["data"]["pollBytes"]') bytes"
}

an_update_is_in_the_other_slot_byte_for_byte() {
        local before
        fresh
        before=$(slot 0)
        touch "$M/root/etc/.updated"
        mkdir -p "$M/root/var"
        touch "$M/root/var/.updated"
        succeeds update
        holds 1
        holds 2
        assert_equal "$(slot 0)" "$before" "the running slot"
        assert_equal "$(entries)" "desk_1.efi desk_2+3-0.efi " entries
        [ ! -e "$M/root/etc/.updated" ] && [ ! -e "$M/root/var/.updated" ] || fail "stamps are left"
        succeeds status
        assert_equal "$(last 'd["data"]["restartNeeded"]')" true restartNeeded
        finds_nothing update
        succeeds history
        assert_equal "$(last '[(x["action"], x["from"], x["to"], x["result"]) for x in d["data"]] == [("update", "1", "2", "done")]')" true history
        succeeds verify --all
        assert_equal "$(last '[(x["version"], x["good"]) for x in d["data"]] == [("1", True), ("2", True)]')" true verification
}

bless() { mv "$M/esp/EFI/Linux/desk_$1+$2.efi" "$M/esp/EFI/Linux/desk_$1.efi"; }
tries() { mv "$M/esp/EFI/Linux/desk_$1+$2.efi" "$M/esp/EFI/Linux/desk_$1+$3.efi"; }

updates_go_back_and_forth_between_the_slots() {
        fresh
        succeeds update
        tries 2 3-0 2-1
        runs 2
        # On trial: nothing is judged, and the slot to fall back to stays.
        finds_nothing settle
        rm -rf "$W/served"
        cp -a "$W/repo-3" "$W/served"
        job_refused machine update
        holds 1
        bless 2 2-1
        succeeds settle
        finds_nothing settle
        succeeds status
        assert_equal "$(last 'd["data"]["state"]["epoch"]')" 5 "the floor"
        succeeds update
        holds 3
        holds 2
        assert_equal "$(entries)" "desk_2.efi desk_3+3-0.efi " entries
        tries 3 3-0 2-1
        bless 3 2-1
        runs 3
        succeeds settle
        succeeds history
        assert_equal "$(last '[x["result"] for x in d["data"]]')" '["done", "blessed", "done", "blessed"]' history
        # Below the floor now.
        job_refused rollback update 2
}

# $1: whether sealab-settle.service ran.
fall_back() {
        fresh
        succeeds update
        tries 2 3-0 0-3
        if [ "$1" = settled ]; then
                succeeds settle
                [[ $(last 'd["message"]') = *"update to 2 failed"* ]] || fail "$(cat "$SCRATCH/last")"
        fi
        finds_nothing update
        succeeds status
        assert_equal "$(last '[x["version"] for x in d["data"]["state"]["bad"]]')" '["2"]' "known bad"
        assert_equal "$(last 'd["data"]["state"].get("epoch", 0)')" 0 "the floor"
        succeeds history
        assert_equal "$(last 'd["data"][-1]["result"]')" fell-back history
}
a_version_that_failed_is_not_taken_again() {
        fall_back settled
        # A person may insist.
        succeeds update 2
        holds 2
        # And the next one is another one.
        fall_back settled
        rm -rf "$W/served"
        cp -a "$W/repo-3" "$W/served"
        succeeds update
        holds 3
        assert_equal "$(entries)" "desk_1.efi desk_3+3-0.efi " entries
}
a_failure_that_nobody_judged_is_judged_before_the_next_update() { fall_back unsettled; }

# --- staying and going back -----------------------------------------------------------------------------------------------------

pins_hold() {
        fresh
        succeeds pin
        finds_nothing update
        job_refused pinned update 2
        succeeds unpin
        succeeds update
        holds 2
        # Past the newest.
        fresh 3
        succeeds pin 2
        succeeds update
        holds 2
        succeeds unpin
        succeeds update
        holds 3
}

default_entry() { tail -c +5 "$M"/root/sys/firmware/efi/efivars/LoaderEntryDefault-* 2>/dev/null | tr -d '\0'; }

going_back_makes_the_other_one_the_default_and_stays() {
        fresh
        succeeds update
        bless 2 3-0
        runs 2
        succeeds settle
        sha256sum "$M/disk" "$M"/esp/EFI/Linux/* >"$SCRATCH/before"
        succeeds revert
        assert_equal "$(default_entry)" 'desk_1[+.]*' "the default"
        sha256sum -c --quiet "$SCRATCH/before"
        # Before the restart nothing is written over what is to start.
        finds_nothing update
        sha256sum -c --quiet "$SCRATCH/before"
        runs 1
        finds_nothing update
        rm -rf "$W/served"
        cp -a "$W/repo-3" "$W/served"
        finds_nothing update
        succeeds unpin
        [ -z "$(default_entry)" ] || fail "the default is still $(default_entry)"
        succeeds update
        holds 3
}

a_pin_holds_back_a_version_that_waits() {
        local waiting="desk_1.efi desk_2+3-0.efi "
        fresh
        succeeds update
        assert_equal "$(entries)" "$waiting" entries
        # What is wanted goes on.
        succeeds pin 2
        assert_equal "$(entries)" "$waiting" entries
        succeeds unpin
        assert_equal "$(entries)" "$waiting" entries
        succeeds pin
        last 'd["message"]' | grep -q '^2 waited for the next restart, and will not start' || fail "$(cat "$SCRATCH/last")"
        assert_equal "$(entries)" "desk_1.efi " entries
        [ ! -e "$M/state/trial" ] || fail "the trial's mark is left"
        succeeds status
        assert_equal "$(last '[d["data"]["restartNeeded"], d["data"]["state"]["trial"]]')" "[false, null]" status
        finds_nothing update
        # Its /usr is still in the slot: only the kernel image comes again.
        succeeds unpin
        succeeds update
        holds 2
        succeeds history
        [ "$(last 'd["data"][-1]["bytes"]')" -lt 1000000 ] || fail "$(last 'd["data"][-1]["bytes"]') bytes"
        # Somebody took the old one in the menu after a first try.
        tries 2 3-0 2-1
        succeeds pin
        assert_equal "$(entries)" "desk_1.efi " entries
        # One that has failed is for settling; so is one that runs.
        fresh
        succeeds update
        tries 2 3-0 0-3
        succeeds pin
        succeeds settle
        succeeds status
        assert_equal "$(last '[b["version"] for b in d["data"]["state"]["bad"]]')" '["2"]' "bad versions"
        fresh
        succeeds update
        tries 2 3-0 2-1
        runs 2
        succeeds pin 1
        assert_equal "$(entries)" "desk_1.efi desk_2+2-1.efi " entries
}

a_pin_makes_the_older_of_two_good_versions_the_default() {
        fresh
        succeeds update
        bless 2 3-0
        runs 2
        succeeds settle
        succeeds pin
        [ -z "$(default_entry)" ] || fail "the newest needs no default: $(default_entry)"
        # Taken in the boot menu.
        runs 1
        succeeds pin
        assert_equal "$(default_entry)" 'desk_1[+.]*' "the default"
        finds_nothing update
        succeeds unpin
        [ -z "$(default_entry)" ] || fail "the default is still $(default_entry)"
        runs 2
        succeeds revert
        runs 1
        succeeds pin
        assert_equal "$(default_entry)" 'desk_1[+.]*' "the default after going back"
        succeeds pin 2
        assert_equal "$(default_entry)" 'desk_2[+.]*' "the default"
        succeeds pin 7
        [ -z "$(default_entry)" ] || fail "the default is still $(default_entry)"
}

an_older_version_by_name_is_what_starts() {
        fresh 3
        succeeds update 2
        bless 2 3-0
        runs 2
        succeeds settle
        succeeds update 3
        bless 3 3-0
        runs 3
        # 2 is in the other slot: nothing is downloaded.
        rm -rf "$W/served/targets"
        sed -i 's/"epoch": *[0-9]*/"epoch": 0/' "$M/state/state.json"
        succeeds update 2
        assert_equal "$(default_entry)" 'desk_2[+.]*' "the default"
        assert_equal "$(entries)" "desk_2.efi desk_3.efi " entries
        finds_nothing update
}

going_back_needs_something_to_go_back_to() {
        fresh
        job_refused not-found revert
        # What has never started is not where one goes back to.
        succeeds update
        job_refused not-found revert
        [ -z "$(default_entry)" ] || fail "a default: $(default_entry)"
}

# --- what the publisher says ------------------------------------------------------------------------------------------------------

withdrawn_releases_are_not_taken() {
        fresh
        "$SEALAB" repo withdraw "$W/served" desk 2 --reason "it eats files" --keys "$W/keys"
        finds_nothing update
        job_refused withdrawn update 2
}

a_rollout_reaches_this_machine_later() {
        fresh
        "$SEALAB" repo rollout "$W/served" desk 2 --channel stable --rollout 0.01% --keys "$W/keys"
        finds_nothing update
        assert_equal "$(entries)" "desk_1.efi " entries
        # Not for a person who names it.
        succeeds update 2
        holds 2
}

repositories_that_are_of_no_use_are_told_apart() {
        fresh
        REPO=http://127.0.0.1:1
        job_refused download update
        REPO="http://127.0.0.1:1 file://$W/none file://$W/served"
        succeeds update
        holds 2
        fresh
        # Somebody else's keys.
        if [ ! -e "$W/foreign" ]; then
                "$SEALAB" repo keys generate "$W/foreign-keys"
                "$SEALAB" repo init "$W/foreign" --keys "$W/foreign-keys"
        fi
        REPO=file://$W/foreign
        job_refused bad-signature update
        # A channel that is not there.
        mkdir -p "$M/root/etc/sealab"
        printf '[Repository]\nChannel=nightly\n' >"$M/root/etc/sealab/updater.conf"
        REPO=file://$W/served
        if job update; then fail "a channel that is not there"; fi
        printf '[Repository]\nChannel=beta\n' >"$M/root/etc/sealab/updater.conf"
        finds_nothing update
        assert_equal "$(entries)" "desk_1.efi " entries
        # None at all.
        rm "$M/root/etc/sealab/updater.conf"
        REPO=
        job_refused not-found update
}

old_metadata_is_refused() {
        fresh
        job_refused expired update --now $(($(date +%s) + 400 * 86400))
        succeeds status
        assert_equal "$(last 'd["data"]["state"]["lastResult"]')" expired "the last result"
        succeeds check
        # A server that went back in time; a mirror beside it that did not.
        fresh 3
        succeeds check
        rm -rf "$W/served"
        cp -a "$W/repo-2" "$W/served"
        job_refused rollback update
        assert_equal "$(entries)" "desk_1.efi " entries
        REPO="file://$W/served file://$W/repo-3"
        succeeds update
        holds 3
}

# Every file of the repository with one bit turned: refused, or without consequence.
damaged_files_are_refused() {
        local name n=0
        fresh
        mkdir "$W/mirror"
        while read -r name; do
                rm -rf "$M" "$W/mirror"
                cp -a "$W/pristine" "$M"
                cp -a "$W/served" "$W/mirror"
                flip_byte "$W/mirror/$name" "$(($(stat -c %s "$W/mirror/$name") / 2))"
                # Five times the same one, so that nothing waits.
                REPO="file://$W/mirror file://$W/mirror/ file://$W/mirror/. file://$W/mirror/./ file://$W/mirror/././"
                if job update; then holds 2; else assert_equal "$(entries | sed 's/ .sealab[^ ]*//; s/^.sealab[^ ]* //')" "desk_1.efi " "entries after $name"; fi
                succeeds status
                REPO=file://$W/served
                job update
                holds 2
                holds 1
                n=$((n + 1))
        done < <(cd "$W/served" && find metadata targets -type f -size +0 | sort)
        echo "$n files"
        [ $n -ge 12 ] || fail "only $n files"
}

# --- over the network ----------------------------------------------------------------------------------------------------------------

serve() { start_nginx "server { listen 80; root $W/served; location /slow/ { alias $W/served/; limit_rate 1m; } }"; }

an_update_comes_from_a_web_server() {
        fresh
        serve
        REPO=http://127.0.0.1:$PORT
        succeeds update
        holds 2
        finds_nothing check
        # Nothing new: two requests.
        assert_equal "$(last 'd["data"]["requests"]')" 2 "requests of a poll without news"
        [ "$(last 'd["data"]["pollBytes"]')" -lt 2048 ] || fail "$(last 'd["data"]["pollBytes"]') bytes"
        stop_nginx
}

an_interrupted_download_goes_on_where_it_was() {
        local pid whole rest
        fresh
        serve
        REPO=http://127.0.0.1:$PORT/slow
        job update &
        pid=$!
        # One MiB of three is there after a second.
        for _ in $(seq 100); do grep -Eq '"done":[1-9][0-9]{6,},"step":"download"' "$SCRATCH/lines" 2>/dev/null && break; sleep 0.1; done
        pkill -KILL -P $pid || fail "it was done already"
        # Its status is that of what was killed.
        wait $pid || true
        assert_equal "$(entries)" "desk_1.efi " entries
        REPO=http://127.0.0.1:$PORT
        succeeds check
        whole=$(last 'd["data"]["downloadBytes"]')
        succeeds update
        holds 2
        succeeds history
        rest=$(last 'd["data"][-1]["bytes"]')
        echo "$whole bytes, the rest: $rest"
        [ "$rest" -lt $((whole - 1000000)) ] || fail "$rest bytes of $whole were downloaded again"
        stop_nginx
}

two_jobs_do_not_work_at_once() {
        fresh
        mkdir -p "$M/state"
        (
                flock 8
                job_refused busy update
        ) 8>"$M/state/lock"
        succeeds update
}

# --- faults ---------------------------------------------------------------------------------------------------------------------------

every_durable_call_may_be_the_last_or_fail() {
        command -v strace >/dev/null || skip "strace is missing"
        strace -o /dev/null true 2>/dev/null || skip "strace may not trace here"
        fresh
        python3 "$SOURCE/test/integration/updater-faults.py" "$SEALABD" "$BUILD/libshort-writes.so" "$W" "$([ "${SEALAB_TEST_ALL:-0}" = 1 ] && echo all || echo 60)" >"$SCRATCH/faults" 2>&1 ||
                { cat "$SCRATCH/faults"; fail "$(tail -n 1 "$SCRATCH/faults")"; }
        cat "$SCRATCH/faults" >&2
}

# And a disk that lies about flushing must be noticed, or the test could not fail.
a_power_cut_leaves_the_old_or_the_new() {
        local how=(2 update "update by delta" revert factory-reset)
        strace -o /dev/null true 2>/dev/null || skip "strace is missing, or may not trace here"
        [ "${SEALAB_TEST_ALL:-0}" = 0 ] || how=(16)
        fresh
        python3 "$SOURCE/test/integration/updater-powercut.py" "$SEALABD" "$W" "${how[@]}" >"$SCRATCH/cuts" 2>&1 ||
                { cat "$SCRATCH/cuts"; fail "$(tail -n 1 "$SCRATCH/cuts")"; }
        cat "$SCRATCH/cuts" >&2
        python3 "$SOURCE/test/integration/updater-powercut.py" "$SEALABD" "$W" 8 update --lying >"$SCRATCH/cuts" 2>&1 ||
                { cat "$SCRATCH/cuts"; fail "nothing is wrong without any sync"; }
}

run releases_are_published
[ -d "$W/repo-3" ] || finish
run checking_changes_nothing
run an_update_is_in_the_other_slot_byte_for_byte
run updates_go_back_and_forth_between_the_slots
run a_version_that_failed_is_not_taken_again
run a_failure_that_nobody_judged_is_judged_before_the_next_update
run pins_hold
run a_pin_holds_back_a_version_that_waits
run going_back_makes_the_other_one_the_default_and_stays
run a_pin_makes_the_older_of_two_good_versions_the_default
run an_older_version_by_name_is_what_starts
run going_back_needs_something_to_go_back_to
run withdrawn_releases_are_not_taken
run a_rollout_reaches_this_machine_later
run repositories_that_are_of_no_use_are_told_apart
run old_metadata_is_refused
run damaged_files_are_refused
run an_update_comes_from_a_web_server
run an_interrupted_download_goes_on_where_it_was
run two_jobs_do_not_work_at_once
run every_durable_call_may_be_the_last_or_fail
run a_power_cut_leaves_the_old_or_the_new
finish
