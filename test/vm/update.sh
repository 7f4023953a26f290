#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# A machine that updates itself: recipes/minimal with the updater's package, published into a repository behind nginx,
# updated, reverted, pinned, and given a bad release. One machine goes through all of it, boot after boot, as a real one
# would; a test that fails leaves the rest without ground to stand on, and they say so.
#
# Versions: 1 is what is installed, 2 the update, 3 a release that few may take and that is withdrawn later, 4 is bad,
# 5 mends it. What the server has at which time is a folder of its own: one, few, cut, withdrawn, bad, mended.

. "$(dirname "$0")/../lib.sh"

TIMEOUT=400
MACHINE=$SCRATCH/machine
GIVEN=$BUILD/tested-updater # made once for each build of the programs
PORT=
server=
cleanup() {
        [ -z "$server" ] || kill "$server" 2>/dev/null
        wait 2>/dev/null
        # What was seen of a machine that did what it should not.
        if [ "$failed" = 1 ]; then
                rm -rf "$BUILD/failed-consoles"
                mkdir -p "$BUILD/failed-consoles"
                cp "$SCRATCH"/*.{console,all,errors} "$BUILD/failed-consoles/" 2>/dev/null
                echo "consoles and answers are in $BUILD/failed-consoles" >&2
        fi
        rm -rf "$SCRATCH"
}
trap cleanup EXIT

# --- what is given ------------------------------------------------------------------------------------------------------------

# release NAME VERSION [ARGUMENT...]: builds $GIVEN/NAME/minimal into $GIVEN/out.
release() {
        local name=$1 version=$2
        shift 2
        offline "$SEALAB" build "$GIVEN/$name/minimal" -o "$GIVEN/out" --keys "$GIVEN/keys" --version "$version" "$@"
}

# next FROM TO: what the server has later, sharing what is the same. In another second: nginx makes ETags of time and size, and
# would otherwise take the next timestamp for the same.
next() { sleep 1.1; cp -al "$GIVEN/www/$1" "$GIVEN/www/$2"; }

# publish TO VERSION [ARGUMENT...]
publish() {
        local to=$1 version=$2
        shift 2
        "$SEALAB" publish "$GIVEN/out/minimal_$version" "$GIVEN/www/$to" --keys "$GIVEN/tuf" --allow-development "$@"
}

# unit NAME UNIT TEXT: a unit in the image of $GIVEN/NAME, started at boot.
unit() {
        local recipe=$GIVEN/$1/minimal
        mkdir -p "$recipe/files/usr/lib/systemd/system"
        printf '%b\n' "$3" >"$recipe/files/usr/lib/systemd/system/$2"
        printf '[Units]\nEnable=%s\n' "$2" >"$recipe/recipe.conf.d/60-$2.conf"
}

make_recipe() {
        local deb=$1 recipe=$GIVEN/good/minimal
        mkdir -p "$GIVEN/www"
        cp -a "$SOURCE/recipes" "$GIVEN/good"
        mkdir -p "$recipe/debs" "$recipe/recipe.conf.d" "$recipe/files/usr/lib/sealab"
        cp "$deb" "$recipe/debs/"
        printf '[Packages]\nInstall=sealab-updater\nLocalDebs=debs/*.deb\n' >"$recipe/recipe.conf.d/50-updater.conf"
        "$SEALAB" keys generate "$GIVEN/keys"
        "$SEALAB" repo keys generate "$GIVEN/tuf"
        "$SEALAB" repo init "$GIVEN/www/one" --keys "$GIVEN/tuf"
        cp "$GIVEN/www/one/metadata/1.root.json" "$recipe/files/usr/lib/sealab/root.json"
        # One try: each costs a boot of half a minute and more.
        printf '[Policy]\nRandomDelay=0\nTries=1\n' >"$recipe/files/usr/lib/sealab/updater.conf"
        "$SEALAB" lock --update "$recipe"
}

make_repositories() {
        local path
        publish one 2
        next one few
        publish few 3 --rollout 0%
        # The server lost half of a file: a full disk, a bad copy.
        next few cut
        path=$(find "$GIVEN/www/cut/targets" -name '*minimal_3.efi*')
        head -c 9000000 "$path" >"$path.new"
        mv "$path.new" "$path"
        next few withdrawn
        "$SEALAB" repo withdraw "$GIVEN/www/withdrawn" minimal 3 --reason 'eats disks' --keys "$GIVEN/tuf"
        next withdrawn bad
        publish bad 4
        next bad mended
        publish mended 5
}

given() {
        local deb=$SCRATCH/sealab-updater_0_amd64.deb stamp
        "$SOURCE/updater/package" "$BUILD" "$deb"
        stamp=$({
                cat "$deb" "$SEALAB" "$SOURCE"/recipes/minimal/recipe.*
                sed -n '/^# --- what is given/,/^# --- the server/p' "$0"
        } | sha256sum)
        [ "$(cat "$GIVEN/complete" 2>/dev/null)" != "$stamp" ] || return 0
        rm -rf "$GIVEN"
        make_recipe "$deb"
        release good 1
        for version in 2 3 5; do release good "$version" --no-disk; done
        cp -a "$GIVEN/good" "$GIVEN/bad"
        unit bad broken.service '[Service]\nType=oneshot\nExecStart=/bin/false\n[Install]\nWantedBy=multi-user.target'
        release bad 4 --no-disk
        make_repositories
        echo "$stamp" >"$GIVEN/complete"
}

# --- the server ---------------------------------------------------------------------------------------------------------------

serve() {
        local nginx n=$SCRATCH/nginx
        nginx=$(command -v nginx || echo /usr/sbin/nginx)
        [ -x "$nginx" ] || return 0
        PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
        mkdir -p "$n"
        {
                [ "$(id -u)" != 0 ] || echo 'user root;'
                printf '%s\n' 'daemon off;' "pid $n/pid;" 'events { }' 'http {' "access_log $n/access.log;"
                for name in client_body proxy fastcgi uwsgi scgi; do echo "${name}_temp_path $n/$name;"; done
                sed -n '/^server {/,/^}/p' "$SOURCE/test/integration/repository.nginx" |
                        sed "s|listen .*|listen 127.0.0.1:$PORT;|; s|root .*|root $GIVEN/www;|
                                s|location = /metadata|location ~ ^/[a-z]+/metadata|"
                echo '}'
        } >"$n/conf"
        "$nginx" -e "$n/error.log" -c "$n/conf" >"$n/output" 2>&1 &
        server=$!
}

# --- the machine --------------------------------------------------------------------------------------------------------------

# What every script that runs in the machine may use.
guest_words() {
        cat <<WORDS
at() { echo "=== \$1"; }
status() { at \$1.status; sealabctl status --json; at \$1.history; sealabctl history --json; }
follow() { mkdir -p /etc/sealab; printf '[Repository]\nUrl=http://10.0.2.2:$PORT/%s\n' "\$1" >/etc/sealab/updater.conf; }
run() { at \$1; shift; "\$@" --json 2>/dev/null || :; }
for i in \$(seq 60); do systemctl is-active -q sealab-settle.service && break; sleep 1; done
WORDS
}

# boot NAME: starts the machine, runs what standard input says there, as root, and switches it off. What was printed below
# "=== PART" is in $SCRATCH/PART.
boot() {
        local name=$1 script
        script=$(guest_words; cat; echo 'at end')
        "$SEALAB" boot "$GIVEN/out/minimal_1" --state "$MACHINE" --disk-size 2G --network --ssh --timeout $TIMEOUT \
                --log "$SCRATCH/$name.console" "$script" >"$SCRATCH/$name.all" 2>"$SCRATCH/$name.errors" ||
                fail "boot \"$name\": $(tail -n 3 "$SCRATCH/$name.errors")"
        cat "$SCRATCH/$name.errors" "$SCRATCH/$name.all"
        grep -q '^=== end' "$SCRATCH/$name.all" || fail "boot \"$name\" broke off: $(tail -n 3 "$SCRATCH/$name.all")"
        awk -v folder="$SCRATCH/" '/^=== / { file = folder $2; printf "" >file; next } file { print >file }' "$SCRATCH/$name.all"
}

# trial NAME: starts the machine, which must restart by itself. The machine's report may be faster than that; then the console
# tells what it was about to do.
trial() {
        refused 9 "$SEALAB" boot "$GIVEN/out/minimal_1" --state "$MACHINE" --network --timeout $TIMEOUT --log "$SCRATCH/$1.console"
        cat "$SCRATCH/output"
        grep -q 'it restarted by itself' "$SCRATCH/output" || grep -q 'sealab-fall-back' "$SCRATCH/$1.console" ||
                fail "it did not restart by itself: $(tail -n 5 "$SCRATCH/output")"
}

entries() {
        local esp
        esp=$(partition "$MACHINE/disk.raw" esp)
        mdir -b -i "$MACHINE/disk.raw@@${esp% *}" ::/EFI/Linux | sed 's|.*/||' | sort | tr '\n' ' '
}

reached() { [ -e "$SCRATCH/reached-$1" ] || skip "the machine did not get that far"; }
reach() { : >"$SCRATCH/reached-$1"; }

# is PART EXPRESSION EXPECTED: see json() in lib.sh.
is() { assert_equal "$(json "$SCRATCH/$1" "$2")" "$3" "$1: $2"; }

# refusal PART ID
refusal() { assert_equal "$(json "$SCRATCH/$1" 'd.get("result")')" "$2" "$1 ($(json "$SCRATCH/$1" 'd.get("message")'))"; }

# --- one machine's life -------------------------------------------------------------------------------------------------------

an_update_comes_from_the_repository_and_waits_for_a_restart() {
        given
        boot first <<'END'
follow one
run check sealabctl check
run update sealabctl update
status installed
at files; ls /etc/.updated /var/.updated 2>/dev/null
at failed; systemctl list-units --state=failed --plain --no-legend
END
        is check '[d["from"], d["to"]]' '["1", "2"]'
        is installed.status '[d["version"], d["restartNeeded"], d["blessed"]]' '["1", true, true]'
        is installed.status '[[s.get("version"), s["running"]] for s in d["slots"]]' '[["1", true], ["2", false]]'
        is installed.history '[[h["action"], h["from"], h["to"], h["result"]] for h in d]' '[["update", "1", "2", "done"]]'
        assert_equal "$(entries)" "minimal_1.efi minimal_2+1-0.efi " "entries"
        [ ! -s "$SCRATCH/files" ] || fail "the stamps are still there: $(cat "$SCRATCH/files")"
        [ ! -s "$SCRATCH/failed" ] || fail "failed units: $(cat "$SCRATCH/failed")"
        reach first
}

the_new_version_starts_and_is_blessed() {
        reached first
        boot second <<'END'
status second
run verify sealabctl verify --all
at mark; ls /var/lib/sealab
run revert sealabctl revert
END
        is second.status '[d["version"], d["blessed"], d["restartNeeded"]]' '["2", true, false]'
        is second.history '[[h["action"], h["result"]] for h in d][-1]' '["boot", "blessed"]'
        is verify '[[s["version"], s["good"]] for s in d]' '[["1", true], ["2", true]]'
        ! grep -qx trial "$SCRATCH/mark" || fail "the trial is still marked"
        assert_equal "$(entries)" "minimal_1.efi minimal_2.efi " "entries"
        reach second
}

going_back_starts_the_old_version_which_stays() {
        reached second
        boot third <<'END'
status third
run automatic sealabctl update --automatic
run pinned sealabctl update --version 2
run unpin sealabctl unpin
status unpinned
follow few
run few sealabctl check
follow cut
run cut sealabctl update --version 3
at entries; ls /boot/EFI/Linux
follow withdrawn
run after sealabctl check
run withdrawn sealabctl update --version 3
follow bad
run bad sealabctl update
END
        is third.status '[d["version"], d["state"]["pinned"], d["state"]["pin"]]' '["1", true, "1"]'
        is automatic 'd["result"]' nothing
        refusal pinned pinned
        is unpinned.status 'd["state"].get("pinned", False)' false
        is few '[d["outcome"], "3 is passed over" in d["text"]]' '["nothing", true]'
        refusal cut download
        ! grep -q '_3' "$SCRATCH/entries" || fail "an entry for what did not arrive: $(cat "$SCRATCH/entries")"
        is after 'd.get("to") != "3"' true
        refusal withdrawn withdrawn
        assert_equal "$(entries)" "minimal_1.efi minimal_4+1-0.efi " "entries"
        reach third
}

a_version_with_a_failing_unit_restarts_by_itself() {
        reached third
        trial fourth
        assert_equal "$(entries)" "minimal_1.efi minimal_4+0-1.efi " "entries"
        reach fourth
}

the_machine_is_back_and_does_not_try_again() {
        reached fourth
        boot fifth <<'END'
status fifth
follow bad
run automatic sealabctl update --automatic
run again sealabctl check
follow mended
run mended sealabctl update
END
        is fifth.status '[d["version"], d["restartNeeded"], [b["version"] for b in d["state"]["bad"]]]' '["1", false, ["4"]]'
        is fifth.history '[[h["action"], h.get("to"), h["result"]] for h in d][-1]' '["boot", "4", "fell-back"]'
        is fifth.history '"broken.service" in d[-1]["message"]' true
        # The best of the others instead.
        is automatic '[d["result"], d["message"].split()[0]]' '["done", "2"]'
        is again '[d.get("to") != "4", "4 is passed over: failed its trial" in d["text"]]' '[true, true]'
        reach fifth
}

a_version_that_mends_it_is_taken() {
        reached fifth
        boot sixth <<'END'
status sixth
END
        is sixth.status '[d["version"], d["blessed"]]' '["5", true]'
        is sixth.history '[[h["action"], h.get("to"), h["result"]] for h in d][-1]' '["boot", "5", "blessed"]'
}

# --- every way in which a release can be bad ----------------------------------------------------------------------------------

# Version 2 waits for its trial on a machine whose /etc holds units that do harm in version 2 only, and only if the ESP has a
# file of their name: so each of them costs two boots and no release of its own.
a_machine_with_a_trial_to_come() {
        given
        MACHINE=$SCRATCH/laboratory
        boot laboratory <<'END'
harm() {
        { printf '[Unit]\nConditionOSRelease=IMAGE_VERSION=2\nConditionPathExists=/boot/harm/%s\n%b\n[Service]\nType=oneshot\n' "$1" "$3"
        printf 'TimeoutStartSec=infinity\nExecStart=/bin/sh -c "%s"\n[Install]\nWantedBy=multi-user.target\n' "$2"; } \
                >/etc/systemd/system/$1.service
        systemctl enable --quiet $1.service
}
harm fails 'exit 1'
harm hangs 'exec sleep 10000'
harm restarts 'systemctl reboot --force --force' 'After=local-fs.target\nDefaultDependencies=no'
harm crash 'kill -SEGV 1'
harm panic 'echo c >/proc/sysrq-trigger'
harm fills 'fallocate -l $(($(stat -f -c "%a * %S" /var) - 1000000)) /var/full' 'Before=sealab-health-state.service'
mkdir -p /etc/systemd/system/boot-complete.target.d
printf '[Unit]\nJobTimeoutSec=120\n' >/etc/systemd/system/boot-complete.target.d/60-test.conf
mkdir /boot/harm
follow one
run laboratory.update sealabctl update
status laboratory
END
        is laboratory.status '[d["version"], d["restartNeeded"]]' '["1", true]'
        reach laboratory
}

# laboratory NAME: a machine of this test's own.
laboratory() {
        reached laboratory
        rm -rf "$SCRATCH/machine-of-one"
        cp -a --sparse=always "$SCRATCH/laboratory" "$SCRATCH/machine-of-one"
        MACHINE=$SCRATCH/machine-of-one
        ESP="$MACHINE/disk.raw@@$(partition "$MACHINE/disk.raw" esp | cut -d' ' -f1)"
        ENTRY=::/EFI/Linux/minimal_2+1-0.efi
}

# back NAME: one more boot, in which all is as it was and the version is remembered.
back() {
        boot "$1" <<'END'
follow one
status back
run automatic sealabctl update --automatic
END
        is back.status '[d["version"], d["blessed"], d["restartNeeded"], [b["version"] for b in d["state"]["bad"]]]' \
                '["1", true, false, ["2"]]'
        is back.history '[[h["action"], h.get("to"), h["result"]] for h in d][-1]' '["boot", "2", "fell-back"]'
        is automatic 'd["result"]' nothing
        entries | grep -q '^minimal_1.efi ' || fail "entries: $(entries)"
}

# harmed NAME: by the unit of that name.
harmed() {
        laboratory
        echo | mcopy -i "$ESP" - "::/harm/$1"
        trial "$1"
        assert_equal "$(entries)" "minimal_1.efi minimal_2+0-1.efi " "entries"
        back "$1-back"
}

# changed NAME PATTERN COMMAND...: the UKI on the ESP, changed by the command; the console says PATTERN.
changed() {
        local name=$1 pattern=$2
        shift 2
        laboratory
        mcopy -n -i "$ESP" "$ENTRY" "$SCRATCH/uki"
        "$@" "$SCRATCH/uki"
        mcopy -D o -i "$ESP" "$SCRATCH/uki" "$ENTRY"
        refused 9 "$SEALAB" boot "$GIVEN/out/minimal_1" --state "$MACHINE" --network --timeout $TIMEOUT --log "$SCRATCH/$name.console"
        grep -qiE "$pattern" "$SCRATCH/output" || fail "refused, but not because of \"$pattern\": $(tail -n 5 "$SCRATCH/output")"
        back "$name-back"
}

# replace_text FROM TO FILE: in the command line, of the same length.
replace_text() {
        python3 - "$@" <<'END'
import sys
old, new, path = sys.argv[1].encode(), sys.argv[2].encode(), sys.argv[3]
data = open(path, "rb").read()
assert data.count(old) >= 1 and len(new) <= len(old)
open(path, "wb").write(data.replace(old, new.ljust(len(old))))
END
}

a_failing_unit_gets_as_many_tries_as_were_given() {
        laboratory
        mren -i "$ESP" "$ENTRY" ::/EFI/Linux/minimal_2+3-0.efi
        echo | mcopy -i "$ESP" - ::/harm/fails
        for left in 2 1 0; do
                trial "fails-$left"
                assert_equal "$(entries)" "minimal_1.efi minimal_2+$left-$((3 - left)).efi " "entries"
        done
        back fails-back
}
a_unit_that_hangs_falls_back() { harmed hangs; }
a_unit_that_restarts_the_machine_falls_back() { harmed restarts; }
a_crash_of_systemd_falls_back() { harmed crash; }
a_panic_falls_back() {
        laboratory
        echo | mcopy -i "$ESP" - ::/harm/panic
        refused 9 "$SEALAB" boot "$GIVEN/out/minimal_1" --state "$MACHINE" --network --timeout $TIMEOUT --log "$SCRATCH/panic.console"
        grep -qi panic "$SCRATCH/output" || fail "no panic: $(tail -n 5 "$SCRATCH/output")"
        back panic-back
}
a_kernel_without_init_falls_back() { changed no-init 'panic' replace_text systemd.firstboot=no rdinit=/nowhere; }
a_root_hash_of_nothing_falls_back() { changed no-usr 'restarted by itself|emergency' replace_text usrhash= usrhash=0; }
a_missing_initrd_falls_back() { changed no-initrd 'panic' replace_text .initrd .imitrd; }
a_full_disk_falls_back() {
        laboratory
        MACHINE=$SCRATCH/machine-of-one
        # Filled by the trial itself, before the check looks.
        echo | mcopy -i "$ESP" - ::/harm/fills
        trial full
        back full-back
}
a_slot_that_changed_falls_back() {
        local usr
        laboratory
        usr=$(partition "$MACHINE/disk.raw" minimal_2)
        flip_byte "$MACHINE/disk.raw" "${usr% *}"
        refused 9 "$SEALAB" boot "$GIVEN/out/minimal_1" --state "$MACHINE" --network --timeout $TIMEOUT --log "$SCRATCH/slot.console"
        grep -qiE 'is corrupted|restarted' "$SCRATCH/output" || fail "refused, but not by dm-verity: $(tail -n 5 "$SCRATCH/output")"
        back slot-back
}
a_kernel_image_that_breaks_off_falls_back() { changed cut 'not up after|restarted|failed' truncate -s 9000000; }

serve
[ -n "$server" ] || { echo "skip update: nginx is not installed" >&3; exit 0; }
run an_update_comes_from_the_repository_and_waits_for_a_restart
run the_new_version_starts_and_is_blessed
run going_back_starts_the_old_version_which_stays
run a_version_with_a_failing_unit_restarts_by_itself
run the_machine_is_back_and_does_not_try_again
run a_version_that_mends_it_is_taken
if [ "${SEALAB_TEST_ALL:-0}" = 1 ]; then
        run a_machine_with_a_trial_to_come
        run a_failing_unit_gets_as_many_tries_as_were_given
        run a_unit_that_hangs_falls_back
        run a_unit_that_restarts_the_machine_falls_back
        run a_crash_of_systemd_falls_back
        run a_panic_falls_back
        run a_kernel_without_init_falls_back
        run a_missing_initrd_falls_back
        run a_root_hash_of_nothing_falls_back
        run a_slot_that_changed_falls_back
        run a_full_disk_falls_back
        run a_kernel_image_that_breaks_off_falls_back
fi
finish
