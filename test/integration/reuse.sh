#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What a device downloads that holds most of a release already ("sealabd job update" on a machine that is a folder, with
# releases of some MiB from "sealab publish" behind nginx): counted by the web server, not by us.

. "$(dirname "$0")/../lib.sh"

SEALABD=$BUILD/sealabd
TOOL=$BUILD/updater-tool
W=$SCRATCH/w
export no_proxy=127.0.0.1 NO_PROXY=127.0.0.1
# The workers are somebody else.
chmod 0755 "$BUILD/scratch" "$SCRATCH"

serve() { start_nginx "server { listen 80; root $W/repo; }"; }

# sent SUFFIX: bytes of answers with files of that name since the log was cut.
sent() { awk -v suffix="$1" 'index($7, suffix) == length($7) - length(suffix) + 1 { n += $10 } END { print n + 0 }' "$SCRATCH/nginx/access.log"; }

# update MACHINE FROM TO [ARGUMENT...]
update() {
        local m=$1 from=$2 to=$3
        : >"$SCRATCH/nginx/access.log"
        "$SEALABD" job update "$to" --root "$m/root" --disk "$m/disk" --boot "$m/esp" --running "$(cat "$W/releases/desk_$from/desk_$from.usr.roothash")" \
                --state "$m/state" --anchor "$W/repo/metadata/1.root.json" --repository "http://127.0.0.1:$PORT" "${@:4}" \
                >"$SCRATCH/lines" 2>"$SCRATCH/errors" || fail "$(tail -n 1 "$SCRATCH/lines") $(cat "$SCRATCH/errors")"
        pack=$(sent .usr.pack) map=$(sent .usr.map) index=$(sent .usr.index)
        echo "from $from to $to: $pack of $(stat -c %s "$W"/repo/targets/desk/"$to"/*.usr.pack) bytes of the pack, index $index, map $map"
}
# holds MACHINE VERSION: it is in a slot, byte for byte.
holds() { disk_holds "$1/disk" "$W/releases/desk_$2"; }
# foretold VERSION: what the publisher says that a device with version 1 fetches by blocks: /usr, what belongs to it, and the kernel image.
foretold() {
        "$SEALAB" repo delta "$W/repo" desk "$1" --from "$W/releases/desk_1" --dry-run --json >"$SCRATCH/foretold"
        json "$SCRATCH/foretold" '"%(usr)d %(metadata)d %(uki)d" % d["downloads"]["from"][0]["reuse"]'
}
pack_size() { stat -c %s "$W"/repo/targets/desk/"$1"/*.usr.pack; }
fresh() {
        rm -rf "$W/m"
        cp -a "$W/pristine" "$W/m"
}

# 1 and 2 differ in one block; 3 shares its first half with 1.
releases_are_published() {
        mkdir -p "$W"
        "$TOOL" release "$W/releases" 1 a
        "$TOOL" release "$W/releases" 2 A
        "$TOOL" release "$W/releases" 3 c
        "$TOOL" machine "$W/pristine" "$W/releases/desk_1"
        new_repository "$W/repo"
        for v in 2 3; do "$SEALAB" publish "$W/releases/desk_$v" "$W/repo" --keys "$W/keys" --allow-development; done
}

# By what the manual page says, and with other programs than ours.
packs_are_read_by_others() {
        local frames=$SOURCE/test/integration/frames.py v of
        for v in 2 3; do
                of=$W/repo/targets/desk/$v
                python3 "$frames" "$of"/*.usr.index "$of"/*.usr.pack | cmp - "$W/releases/desk_$v/desk_$v.usr.erofs" || fail "another image"
        done
}

a_release_that_is_nearly_the_same_costs_next_to_nothing() {
        fresh
        serve
        update "$W/m" 1 2
        holds "$W/m" 1
        holds "$W/m" 2
        [ "$pack" -gt 0 ] && [ $((pack * 10)) -lt "$(pack_size 2)" ] || fail "$pack bytes of the pack"
        assert_equal "$pack $((index + map + $(sent .usr.verity-sig))) $(($(sent .efi) + $(sent .efi.map)))" "$(foretold 2)" "what was fetched"
        [ $(((pack + index + map) * 10)) -lt "$(pack_size 2)" ] || fail "$((pack + index + map)) bytes in all"
        # Most of the kernel image is here, too.
        [ "$(sent .efi)" -gt 0 ] && [ $(($(sent .efi) * 3)) -lt "$(stat -c %s "$W/releases/desk_2/desk_2.efi")" ] || fail "$(sent .efi) bytes of the kernel image"
        # History says what it was.
        "$SEALABD" job history --state "$W/m/state" --root "$W/m/root" --disk "$W/m/disk" --boot "$W/m/esp" >"$SCRATCH/last"
        json "$SCRATCH/last" 'd["data"][-1]["bytes"]' | grep -qx "$((pack + index + map + $(sent .efi) + $(sent .efi.map) + $(sent .usr.verity-sig)))" ||
                fail "history: $(cat "$SCRATCH/last"); $pack + $index + $map + $(sent .efi) + $(sent .efi.map) + $(sent .usr.verity-sig)"
        stop_nginx
}

half_of_a_release_costs_half() {
        fresh
        serve
        update "$W/m" 1 3
        holds "$W/m" 1
        holds "$W/m" 3
        assert_equal "$pack $((index + map + $(sent .usr.verity-sig))) $(($(sent .efi) + $(sent .efi.map)))" "$(foretold 3)" "what was fetched"
        [ $((pack * 100)) -gt $(($(pack_size 3) * 40)) ] && [ $((pack * 100)) -lt $(($(pack_size 3) * 60)) ] || fail "$pack bytes of the pack"
        stop_nginx
}

what_has_rotted_is_fetched() {
        local offset
        fresh
        serve
        read -r offset _ <<<"$(partition "$W/m/disk" desk_1)"
        for i in 5 300 301 400; do flip_byte "$W/m/disk" $((offset + i * 4096 + 77)); done
        update "$W/m" 1 2
        holds "$W/m" 2
        # Three frames of 32 KiB more than otherwise, and nothing else.
        [ "$pack" -gt 100000 ] && [ "$pack" -lt 200000 ] || fail "$pack bytes of the pack"
        stop_nginx
}

without_a_map_everything_is_downloaded() {
        fresh
        serve
        mkdir "$W/aside"
        mv "$W"/repo/targets/desk/2/*.usr.map "$W/aside/"
        # Five times the same one, so that nothing waits.
        update "$W/m" 1 2 --repository "http://127.0.0.1:$PORT/" --repository "http://127.0.0.1:$PORT/." \
                --repository "http://127.0.0.1:$PORT/./" --repository "http://127.0.0.1:$PORT/././"
        holds "$W/m" 2
        assert_equal "$pack" "$(pack_size 2)" "bytes of the pack"
        grep -q "everything is downloaded" "$SCRATCH/errors" || fail "nobody says why"
        mv "$W"/aside/* "$W/repo/targets/desk/2/"
        stop_nginx
}

a_map_that_was_changed_is_not_used() {
        local file
        fresh
        serve
        file=$(echo "$W"/repo/targets/desk/2/*.usr.map)
        cp "$file" "$W/good.map"
        flip_byte "$file" 40
        # Five times the same one, so that nothing waits.
        update "$W/m" 1 2 --repository "http://127.0.0.1:$PORT/" --repository "http://127.0.0.1:$PORT/." \
                --repository "http://127.0.0.1:$PORT/./" --repository "http://127.0.0.1:$PORT/././"
        holds "$W/m" 2
        assert_equal "$pack" "$(pack_size 2)" "bytes of the pack"
        cp "$W/good.map" "$file"
        stop_nginx
}

run releases_are_published
run packs_are_read_by_others
run a_release_that_is_nearly_the_same_costs_next_to_nothing
run half_of_a_release_costs_half
run what_has_rotted_is_fetched
run without_a_map_everything_is_downloaded
run a_map_that_was_changed_is_not_used
finish
