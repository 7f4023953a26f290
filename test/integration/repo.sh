#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# "sealab repo" as its users enter it: the ceremonies of keys/README.md, two publishers, damage.

. "$(dirname "$0")/../lib.sh"

# fresh: $SCRATCH/w with the keys of two root holders and of a publisher, as the first ceremony makes them.
fresh() {
        rm -rf "$SCRATCH/w"
        mkdir "$SCRATCH/w"
        cd "$SCRATCH/w" || exit 1
        for who in anna ben online; do "$SEALAB" repo keys generate "$who"; done
        rm ben/{targets,snapshot,timestamp,channel}.* anna/{snapshot,timestamp,channel}.*
        rm online/{root-1,targets}.*
        cp anna/root-1.pub online/root-1.pub
        cp ben/root-1.pub online/root-2.pub
        cp anna/targets.pub online/targets.pub
}

# signed: both holders sign tosign.json, the publisher imports.
signed() {
        "$SEALAB" repo sign tosign.json --keys anna -o anna.json
        "$SEALAB" repo sign tosign.json --keys ben -o ben.json
        "$SEALAB" repo import repo anna.json ben.json --keys online
}

repository() {
        fresh
        "$SEALAB" repo init repo --keys online --root-threshold 2 --channel stable --channel beta --export tosign.json
        [ ! -e repo/metadata ] || fail "an export has published something"
        signed
        "$SEALAB" repo verify repo
}

status() { "$SEALAB" repo status repo --keys online --json >status.json; json status.json "$1"; }
version() { status "[r['version'] for r in d['roles'] if r['role'] == '$1'][0]"; }

two_holders_begin_a_repository() {
        repository
        [ "$(status "sum(r['canSign'] for r in d['roles'])")" = 4 ] || fail "$(cat status.json)"
        refused 3 "$SEALAB" repo init repo --keys online
        refused 5 "$SEALAB" repo refresh repo root --keys online
        grep -q "root: 0 of 2" "$SCRATCH/output" || fail "the missing signatures are not named"
}

without_keys_it_says_how_to_make_them() {
        cd "$SCRATCH"
        mkdir -p empty
        refused 5 "$SEALAB" repo init none --keys empty
        grep -q "sealab repo keys generate empty" "$SCRATCH/output" || fail "no hint"
        [ ! -e none ] || fail "it left a folder"
        refused 3 "$SEALAB" repo status none
        refused 2 "$SEALAB" repo withdraw none laptop 1
        refused 2 "$SEALAB" repo keys generate empty --type dsa
        refused 2 "$SEALAB" repo keys
}

the_cron_job_needs_the_online_keys_only() {
        repository
        mkdir cron
        cp online/{snapshot,timestamp}.key cron
        [ -z "$("$SEALAB" repo refresh --quiet repo --keys cron 2>&1)" ] || fail "it is not quiet"
        assert_equal "$(version timestamp)" 2 "timestamp"
        assert_equal "$(version snapshot)" 1 "snapshot, which is not half over"
}

the_yearly_renewal_lives_beside_the_cron_job() {
        repository
        "$SEALAB" repo refresh repo root targets --export tosign.json
        "$SEALAB" repo refresh repo --keys online
        signed
        assert_equal "$(version root) $(version targets) $(version timestamp)" "2 2 3" "versions"
        "$SEALAB" repo import repo anna.json ben.json --keys online
        assert_equal "$(version root)" 2 "root after a second import"
        "$SEALAB" repo verify repo
}

holders_come_and_go() {
        repository
        "$SEALAB" repo keys generate carla
        "$SEALAB" repo keys add repo root carla/root-1.pub --threshold 2 --export tosign.json
        signed
        "$SEALAB" repo keys remove repo root ben/root-1.pub --export tosign.json
        # Ben signs for the holders until now, Carla for those from now on.
        "$SEALAB" repo sign tosign.json --keys anna -o 1.json
        refused 5 "$SEALAB" repo import repo 1.json --keys online
        "$SEALAB" repo sign 1.json --keys carla -o 2.json
        "$SEALAB" repo import repo 2.json --keys online
        "$SEALAB" repo keys show repo --json >keys.json
        assert_equal "$(json keys.json "len(d[0]['keys'])")" 2 "root keys"
        refused 3 "$SEALAB" repo keys remove repo root carla/root-1.pub
        "$SEALAB" repo verify repo
}

every_key_is_rotated() {
        local role
        fresh
        "$SEALAB" repo keys generate all --root 1
        "$SEALAB" repo init repo --keys all
        for role in timestamp snapshot targets root stable timestamp; do
                "$SEALAB" repo keys rotate repo "$role" --keys all
                "$SEALAB" repo verify repo
        done
        ls all
        [ -e all/timestamp-3.key ] || fail "the second rotation has no third key"
        [ -e all/channel-stable-2.key ] || fail "the channel has no key of its own"
}

kinds_of_keys_can_be_mixed() {
        fresh
        "$SEALAB" repo keys generate all --type rsa
        "$SEALAB" repo init repo --keys all --channel beta
        "$SEALAB" repo keys rotate repo timestamp --keys all --type ecdsa
        "$SEALAB" repo keys rotate repo beta --keys all --type ed25519
        "$SEALAB" repo verify repo
}

two_publishers_do_not_meet() {
        local i pids=() ok=0 busy=0 status
        repository
        for i in 1 2 3 4 5 6; do
                "$SEALAB" repo refresh repo --keys online >"$i.out" 2>&1 &
                pids+=($!)
        done
        for i in "${pids[@]}"; do
                status=0
                wait "$i" || status=$?
                case $status in 0) ok=$((ok + 1)) ;; 7) busy=$((busy + 1)) ;; *) fail "exit status $status" ;; esac
        done
        assert_equal "$((ok + busy))" 6 "outcomes"
        assert_equal "$(version timestamp)" "$((ok + 1))" "timestamp after $ok refreshes"
        "$SEALAB" repo verify repo
        # And for certain, while somebody holds the lock.
        refused 7 flock repo/.lock "$SEALAB" repo refresh repo --keys online
}

killed_at_every_call_it_can_be_repeated() {
        local n role
        command -v strace >/dev/null || skip "strace is missing"
        fresh
        "$SEALAB" repo keys generate all
        "$SEALAB" repo init pristine --keys all
        for role in timestamp targets; do
                for n in 1 2 3 4 5 6 7 8; do
                        rm -rf repo keys
                        cp -a pristine repo
                        cp -a all keys
                        # Killed, unless it syncs less often.
                        strace -f -o /dev/null -e inject=fsync:signal=KILL:when=$n "$SEALAB" repo keys rotate repo "$role" --keys keys || true
                        "$SEALAB" repo keys rotate repo "$role" --keys keys
                        "$SEALAB" repo verify repo
                done
        done
}

damage_is_found() {
        repository
        printf x >>repo/metadata/1.stable.json
        refused 5 "$SEALAB" repo verify repo
        refused 5 "$SEALAB" repo status repo
        rm repo/metadata/1.stable.json
        refused 5 "$SEALAB" repo verify repo
        "$SEALAB" repo verify repo --json >damage.json || assert_equal $? 5 "the exit status"
        assert_equal "$(json damage.json "len(d['damaged'])")" 1 "damaged files"
        refused 3 "$SEALAB" repo status repo
        refused 3 "$SEALAB" repo verify nothing
}

a_file_url_is_a_place_too() {
        repository
        "$SEALAB" repo verify "file://$PWD/repo"
        refused 3 "$SEALAB" repo verify "file://$PWD/nothing"
}

run two_holders_begin_a_repository
run without_keys_it_says_how_to_make_them
run the_cron_job_needs_the_online_keys_only
run the_yearly_renewal_lives_beside_the_cron_job
run holders_come_and_go
run every_key_is_rotated
run kinds_of_keys_can_be_mixed
run two_publishers_do_not_meet
run killed_at_every_call_it_can_be_repeated
run damage_is_found
run a_file_url_is_a_place_too
finish
