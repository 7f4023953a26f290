#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What "sealab publish" says and makes beyond the release itself, with releases of recipes/minimal: what devices download, deltas,
# how they go, and the budget of a recipe.

. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/fixture"

W=$SCRATCH/w
OUT=$SCRATCH/out

# made VERSION [DROP-IN]: a release with a file of its own, and one that grows by a line.
made() {
        local v
        changing "$1"
        for v in $(seq "$1"); do echo "line $v of what grows"; done >"$CHANGES/grows"
        head -c 3000 /dev/urandom >"$CHANGES/$1"
        [ $# -lt 2 ] || drop_in "$2"
        released "$1"
}
publish() { "$SEALAB" publish "$OUT/minimal_$1" "$W/repo" --keys "$W/keys" --allow-development "${@:2}"; }
# said EXPRESSION: of what publish --json has printed; f is the object of the only older release.
said() { json "$W/said" "(lambda f: $1)(d['downloads']['from'][0])"; }
# deltas VERSION: "1.uki 1.usr 2.uki", as the channel lists them.
deltas() {
        local newest
        newest=$(find "$W/repo/metadata" -name '*.stable.json' -printf '%f\n' | sort -n | tail -n 1)
        json "$W/repo/metadata/$newest" "' '.join(sorted(t.split('/')[2].removesuffix('.delta') for t in d['signed']['targets']
                if t.startswith('minimal/$1/') and t.endswith('.delta')))"
}

a_second_release_costs_what_changed() {
        mkdir -p "$W"
        made 1
        made 2
        new_repository "$W/repo"
        publish 1
        publish 2 --json >"$W/said"
        said "'%(version)s' % f + ' ' + ' '.join(f['offered'])" | grep -qx "1 usr uki" || fail "$(cat "$W/said")"
        [ "$(said "f['delta']['usr'] < 100000 and f['delta']['uki'] < 200000")" = true ] || fail "deltas: $(said f)"
        [ "$(said "f['delta']['usr'] < f['reuse']['usr'] < d['downloads']['full']['usr'] / 10")" = true ] || fail "blocks: $(said f)"
        assert_equal "$(said "f['cheapest']['usr'] == f['delta']['usr'] and f['cheapest']['uki'] == f['delta']['uki']")" true "the cheapest"
        assert_equal "$(deltas 2)" "1.uki 1.usr" "deltas to 2"
        # What is said is what lies there.
        for part in usr uki; do
                assert_equal "$(stat -c %s "$W"/repo/targets/minimal/2/*.1.$part.delta)" "$(said "f['delta']['$part']")" "bytes of the delta of $part"
        done
        "$SEALAB" repo verify "$W/repo"
}

a_table_says_what_devices_download() {
        made 3
        publish 3 --deltas 1 --dry-run >"$W/table"
        grep -qE '^  A device downloads +/usr +UKI +metadata +together$' "$W/table" || fail "$(cat "$W/table")"
        grep -qE '^  all of it +[0-9]+ MiB +[0-9]+ MiB +[0-9]+ KiB +[0-9]+ MiB$' "$W/table" || fail "$(cat "$W/table")"
        grep -qE '^  from 2, by blocks( +[0-9.]+ [KM]iB){4}$' "$W/table" || fail "$(cat "$W/table")"
        grep -qE '^  from 2, by delta( +[0-9.]+ [KM]?i?B){4}$' "$W/table" || fail "$(cat "$W/table")"
        assert_equal "$(grep -c '^  from 1' "$W/table")" 0 "lines about 1"
        assert_equal "$(deltas 3)" "" "deltas after --dry-run"
}

what_is_over_budget_is_refused_with_the_table() {
        made 4 '[Update]\nDownloadBudget=4K'
        refused 2 publish 4 --deltas 33
        refused 2 publish 4 --deltas 1 --sysupdate-layout
        refused 6 publish 4 --deltas 1 --json
        grep '"outcome"' "$SCRATCH/output" >"$W/said"
        [ "$(json "$W/said" 'd["outcome"] + " %d" % d["budget"]')" = "over-budget 4096" ] || fail "$(cat "$SCRATCH/output")"
        refused 6 publish 4 --deltas 1
        grep -q '^  from 2, by delta ' "$SCRATCH/output" || fail "$(cat "$SCRATCH/output")"
        grep -q -- '--allow-over-budget' "$SCRATCH/output" || fail "$(cat "$SCRATCH/output")"
        assert_equal "$(deltas 4)" "" "deltas of what was refused"
        publish 4 --allow-over-budget --deltas 0
        "$SEALAB" repo verify "$W/repo"
}

they_are_made_later_and_go_again() {
        "$SEALAB" repo delta "$W/repo" minimal 4 --keys "$W/keys" --from 1
        assert_equal "$(deltas 4)" "1.uki 1.usr" "deltas to 4"
        "$SEALAB" repo delta "$W/repo" minimal 4 --keys "$W/keys" --from "$OUT/minimal_2"
        assert_equal "$(deltas 4)" "1.uki 1.usr 2.uki 2.usr" "deltas to 4"
        "$SEALAB" repo delta "$W/repo" minimal 4 --keys "$W/keys" >"$W/nothing" 2>&1
        grep -q 'Nothing to do' "$W/nothing" || fail "$(cat "$W/nothing")"
        refused 3 "$SEALAB" repo delta "$W/repo" minimal 4 --keys "$W/keys" --from 7
        refused 3 "$SEALAB" repo delta "$W/repo" minimal 5 --keys "$W/keys"
        "$SEALAB" repo status "$W/repo" --json >"$W/status"
        assert_equal "$(json "$W/status" "[r['deltasFrom'] for r in d['channels'][0]['releases'] if 'deltasFrom' in r]")" '[["1", "2"], ["1"]]' "the status"
        "$SEALAB" repo status "$W/repo" | grep -q 'minimal 4 .*  deltas from 1, 2$' || fail "$("$SEALAB" repo status "$W/repo")"
        # 2 and 4 are the newest; 3 was never published.
        "$SEALAB" repo gc "$W/repo" --keys "$W/keys" --keep-deltas 1
        assert_equal "$(deltas 2),$(deltas 4)" ",1.uki 1.usr 2.uki 2.usr" "deltas that are left"
        "$SEALAB" repo gc "$W/repo" --now --json >"$W/gone"
        assert_equal "$(json "$W/gone" "sum(n.endswith('.delta') for n in d['removed'])")" 2 "files of deltas that went"
        "$SEALAB" repo verify "$W/repo"
}

the_same_releases_make_the_same_deltas() {
        local part
        "$SEALAB" repo init "$W/again" --keys "$W/keys"
        "$SEALAB" publish "$OUT/minimal_4" "$W/again" --keys "$W/keys" --allow-development --workers 1 --deltas 0 --from "$OUT/minimal_1"
        for part in usr uki; do cmp "$W"/repo/targets/minimal/4/*.1.$part.delta "$W"/again/targets/minimal/4/*.1.$part.delta; done
}

run a_second_release_costs_what_changed
run a_table_says_what_devices_download
run what_is_over_budget_is_refused_with_the_table
run they_are_made_later_and_go_again
run the_same_releases_make_the_same_deltas
finish
