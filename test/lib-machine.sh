# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# For test/vm/*.sh, after lib.sh: a machine made of recipes/minimal with the updater's package, that follows a repository
# behind nginx on this host. What takes long is made once for each build of the programs, in $GIVEN:
#
#     good/minimal   the recipe; keys, tuf: development keys
#     out            releases: minimal_1 with a disk image, which is what is installed, and minimal_2
#     www/NAME       what the server has at some time; www/empty has no release, www/one has version 2
#
# The machine is the folder $MACHINE, which keeps its disk from boot to boot. Boots take a minute in software emulation.

TIMEOUT=${SEALAB_TEST_BOOT_TIMEOUT:-400}
MACHINE=$SCRATCH/machine
GIVEN=$BUILD/tested-updater
BOOT_OPTIONS=() # more for "sealab boot"
PORT=
server=

cleanup() {
        stop_nginx
        # What was seen of a machine that did what it should not.
        if [ "$failed" = 1 ]; then
                rm -rf "$BUILD/failed-consoles"
                mkdir -p "$BUILD/failed-consoles"
                cp "$SCRATCH"/*.{console,all,errors,events} "$BUILD/failed-consoles/" 2>/dev/null
                echo "consoles and answers are in $BUILD/failed-consoles" >&2
        fi
        rm -rf "$SCRATCH"
}
trap cleanup EXIT

# Several suites at once on one computer, each slower for it: with SEALAB_TEST_TURNS=FILE one machine runs at a time.
turn() {
        if [ -n "${SEALAB_TEST_TURNS:-}" ]; then flock -F "$SEALAB_TEST_TURNS" "$@"; else "$@"; fi
}

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

# unit NAME UNIT TEXT: a unit in the image of $GIVEN/NAME, started at boot; the text with \n for line ends.
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
        "$SEALAB" repo init "$GIVEN/www/empty" --keys "$GIVEN/tuf"
        next empty one
        cp "$GIVEN/www/one/metadata/1.root.json" "$recipe/files/usr/lib/sealab/root.json"
        # One try: each costs a boot of half a minute and more.
        printf '[Policy]\nRandomDelay=0\nTries=1\n' >"$recipe/files/usr/lib/sealab/updater.conf"
        "$SEALAB" lock --update "$recipe"
}

make_given() {
        local deb=$SCRATCH/sealab-updater_0_amd64.deb stamp
        "$SOURCE/updater/package" "$BUILD" "$deb"
        stamp=$({
                cat "$deb" "$SEALAB" "$SOURCE"/recipes/minimal/recipe.*
                sed -n '/^# --- what is given/,/^# --- the server/p' "$SOURCE/test/lib-machine.sh"
        } | sha256sum)
        [ "$(cat "$GIVEN/complete" 2>/dev/null)" != "$stamp" ] || return 0
        rm -rf "$GIVEN"
        make_recipe "$deb"
        release good 1
        release good 2 --no-disk
        publish one 2
        echo "$stamp" >"$GIVEN/complete"
}

# given [FUNCTION]: the above, and what FUNCTION, the script's own, makes of it. Both once.
given() {
        local function=${1:-} stamp
        exec 9>"$BUILD/.tested-updater"
        flock 9
        make_given
        if [ -n "$function" ]; then
                stamp=$(sed -n '/^# --- what is given/,/^# --- /p' "$0" | sha256sum)
                if [ "$(cat "$GIVEN/complete-$function" 2>/dev/null)" != "$stamp" ]; then
                        "$function"
                        echo "$stamp" >"$GIVEN/complete-$function"
                fi
        fi
        exec 9>&-
}

# --- the server ---------------------------------------------------------------------------------------------------------------

# Sets PORT; leaves $server empty if there is no nginx.
serve() {
        nginx_program >/dev/null || return 0
        start_nginx "$(repository_server "$GIVEN/www" | sed 's|location = /metadata|location ~ ^/[a-z]+/metadata|')"
        server=nginx
}

# --- the machine --------------------------------------------------------------------------------------------------------------

# First in PATH: writes down how sealab starts QEMU, one argument a line, in the machine's folder, and adds what is in
# $MORE_QEMU, words that have no space.
note_qemu() {
        local real
        real=$(command -v qemu-system-x86_64) || return 0
        mkdir -p "$SCRATCH/bin"
        cat >"$SCRATCH/bin/qemu-system-x86_64" <<END
#!/bin/sh
printf '%s\n' '$real' "\$@" >qemu
# shellcheck disable=SC2086  # words
exec '$real' "\$@" \${MORE_QEMU:-}
END
        chmod 755 "$SCRATCH/bin/qemu-system-x86_64"
        PATH=$SCRATCH/bin:$PATH
}
note_qemu

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
        turn "$SEALAB" boot "$GIVEN/out/minimal_1" --state "$MACHINE" --disk-size 2G --network --ssh --timeout $TIMEOUT \
                "${BOOT_OPTIONS[@]}" --log "$SCRATCH/$name.console" "$script" >"$SCRATCH/$name.all" 2>"$SCRATCH/$name.errors" ||
                fail "boot \"$name\": $(tail -n 3 "$SCRATCH/$name.errors")"
        cat "$SCRATCH/$name.errors" "$SCRATCH/$name.all"
        grep -q '^=== end' "$SCRATCH/$name.all" || fail "boot \"$name\" broke off: $(tail -n 3 "$SCRATCH/$name.all")"
        awk -v folder="$SCRATCH/" '/^=== / { file = folder $2; printf "" >file; next } file { print >file }' "$SCRATCH/$name.all"
}

# How QEMU was started, without what sealab tells the system inside: nobody looks, nobody helps.
unattended() {
        local word skip=0
        while IFS= read -r word; do
                if [ $skip = 1 ]; then skip=0; continue; fi
                if [ "$word" = -smbios ]; then skip=1; else printf '%s\n' "$word"; fi
        done <"$MACHINE/qemu"
}

# trial NAME [QEMU-ARGUMENT...]: starts the machine and waits until it restarts by itself, which it must do within the time.
# SECONDS_OF_TRIAL is how long that took. For the kernel's further word see builder/vm/guest.h.
trial() {
        local name=$1 status=0 command=() line=type=11,value=io.systemd.stub.kernel-cmdline-extra=no_timer_check
        shift
        readarray -t command < <(unattended)
        mkfifo "$SCRATCH/$name.control"
        exec 8<>"$SCRATCH/$name.control"
        rm "$SCRATCH/$name.control"
        echo '{"execute":"qmp_capabilities"}' >&8
        command=(timeout "$TIMEOUT" "${command[@]}" -smbios "$line" "$@")
        # When it is its turn, the time begins.
        # shellcheck disable=SC2016  # for that shell
        (cd "$MACHINE" && rm -f console.log && turn sh -c 'date +%s >began; exec "$@"' sh "${command[@]}" <&8) \
                >"$SCRATCH/$name.events" || status=$?
        SECONDS_OF_TRIAL=$(($(date +%s) - $(cat "$MACHINE/began")))
        exec 8>&-
        tr -d '\r' <"$MACHINE/console.log" >"$SCRATCH/$name.console" || :
        tail -n 25 "$SCRATCH/$name.console"
        [ $status = 0 ] || fail "it did not restart by itself within $TIMEOUT s (QEMU: $status): $(tail -n 3 "$SCRATCH/$name.console")"
        grep -q '"event": "SHUTDOWN".*guest-reset' "$SCRATCH/$name.events" ||
                fail "it did not restart, but: $(grep '"event"' "$SCRATCH/$name.events" | tail -n 1)"
}

esp_of_machine() { echo "$MACHINE/disk.raw@@$(partition "$MACHINE/disk.raw" esp | cut -d' ' -f1)"; }

entries() { mdir -b -i "$(esp_of_machine)" ::/EFI/Linux | sed 's|.*/||' | sort | tr '\n' ' '; }

# --- results ------------------------------------------------------------------------------------------------------------------

# A script's tests are one machine's life: one that fails leaves the rest without ground to stand on, and they say so.
reached() { [ -e "$SCRATCH/reached-$1" ] || skip "the machine did not get that far"; }
reach() { : >"$SCRATCH/reached-$1"; }

# is PART EXPRESSION EXPECTED: see json() in lib.sh.
is() { assert_equal "$(json "$SCRATCH/$1" "$2")" "$3" "$1: $2"; }

# refusal PART ID
refusal() { assert_equal "$(json "$SCRATCH/$1" 'd.get("result")')" "$2" "$1 ($(json "$SCRATCH/$1" 'd.get("message")'))"; }
