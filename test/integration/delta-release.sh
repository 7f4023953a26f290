#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Releases of recipes/minimal from "sealab build" to "sealabd job update": what "sealab publish" says about their deltas is what a
# device downloads, and what it makes of them is the release.

. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/fixture"

W=$SCRATCH/w
OUT=$SCRATCH/out
# The workers are somebody else.
chmod 0755 "$BUILD/scratch" "$SCRATCH"

# made VERSION: a release in which a large file changes here and there, and a small one comes.
made() {
        changing "$1"
        python3 -c '
import random, sys
v = int(sys.argv[1])
random.seed(1)
lines = [" ".join(random.choices(("seal", "slot", "image", "block", "frame", "delta"), k=12)) for _ in range(40000)]
for i in range(v * 7, len(lines), 997):
    lines[i] = f"changed by {v}"
print("\n".join(lines))' "$1" >"$CHANGES/large"
        echo "$1" >"$CHANGES/only-$1"
        released "$1"
}
publish() { "$SEALAB" publish "$OUT/minimal_$1" "$W/repo" --keys "$W/keys" --allow-development --json >"$W/published-$1"; }
job() {
        "$BUILD/sealabd" job "$1" --root "$W/m/root" --disk "$W/m/disk" --boot "$W/m/esp" --running "$(cat "$OUT/minimal_1/minimal_1.usr.roothash")" \
                --state "$W/m/state" --anchor "$W/repo/metadata/1.root.json" "${@:2}" >"$W/lines" 2>"$W/errors" ||
                fail "$1: $(tail -n 1 "$W/lines") $(tail -n 3 "$W/errors")"
        tail -n 1 "$W/lines" >"$W/last"
}

two_releases_are_published() {
        mkdir -p "$W"
        made 1
        made 2
        new_repository "$W/repo"
        publish 1
        publish 2
        "$BUILD/updater-tool" machine "$W/m" "$OUT/minimal_1" $(($(stat -c %s "$OUT/minimal_1/minimal_1.usr.erofs") / 1048576 + 8))
        chmod -R a+rX "$W/repo" "$W"
}

a_device_downloads_what_publish_said() {
        local said
        said=$(json "$W/published-2" "(lambda b: b['usr'] + b['uki'] + b['metadata'])(d['downloads']['from'][0]['cheapest'])")
        job check --repository "file://$W/repo"
        assert_equal "$(json "$W/last" "d['data']['usrWay'] + ' ' + d['data']['ukiWay']")" "delta delta" "ways"
        assert_equal "$(json "$W/last" "d['data']['downloadBytes']")" "$said" "what check says"
        job update --repository "file://$W/repo"
        job history
        assert_equal "$(json "$W/last" "(lambda h: '%s %s %d' % (h['usrWay'], h['ukiWay'], h['bytes']))(d['data'][-1])")" "delta delta $said" "history"
}

the_slot_has_the_release() {
        disk_holds "$W/m/disk" "$OUT/minimal_2"
        cmp "$W"/m/esp/EFI/Linux/minimal_2+*.efi "$OUT/minimal_2/minimal_2.efi" || fail "the entry is not the release's UKI"
}

run two_releases_are_published
run a_device_downloads_what_publish_said
run the_slot_has_the_release
finish
