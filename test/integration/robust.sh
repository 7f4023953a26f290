#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# When a build cannot go on it says why, with the documented exit status and what to do, and leaves nothing half-made.

. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/fixture"

# not_built EXIT-STATUS REFUSAL PATTERN ARGUMENT...: with that name and words, and with an output folder that stays as it was.
not_built() {
        local status=$1 refusal=$2 pattern=$3
        shift 3
        refused "$status" build -o "$SCRATCH/out" --json "$@"
        expect_refusal "$refusal" "$pattern"
        assert_empty "$SCRATCH/out"
}

# expect_refusal REFUSAL PATTERN: of what refused() left.
expect_refusal() {
        assert_equal "$(json "$SCRATCH/output" 'd["error"]')" "$1" "the refusal"
        json "$SCRATCH/output" 'd["message"] + " | " + d.get("hint", "")' | tr '\n' ' ' >"$SCRATCH/message"
        grep -qiE "$2" "$SCRATCH/message" || fail "the message does not say \"$2\": $(cat "$SCRATCH/message")"
}

assert_empty() {
        [ ! -e "$1" ] || [ -z "$(ls -A "$1")" ] || fail "left in $(basename "$1"): $(find "$1" -mindepth 1 | head -n 5 | tr '\n' ' ')"
}

# --- what a person got wrong --------------------------------------------------------------------------------------------------

missing_and_foreign_keys_are_refused() {
        variant keys
        mkdir -p "$SCRATCH/none" "$SCRATCH/half"
        refused 5 offline "$SEALAB" build "$RECIPE" -o "$SCRATCH/out" --no-disk --json --keys "$SCRATCH/none"
        expect_refusal key 'verity|none'
        cp "$KEYS"/verity.* "$SCRATCH/half"
        refused 5 offline "$SEALAB" build "$RECIPE" -o "$SCRATCH/out" --no-disk --json --keys "$SCRATCH/half"
        expect_refusal key secureboot
        # A certificate that is not this key's.
        cp -a "$KEYS" "$SCRATCH/mixed"
        cp "$KEYS/verity.crt" "$SCRATCH/mixed/secureboot.crt"
        refused 5 offline "$SEALAB" build "$RECIPE" -o "$SCRATCH/out" --no-disk --json --keys "$SCRATCH/mixed"
        expect_refusal key secureboot
        assert_empty "$SCRATCH/out"
}

a_key_that_others_may_read_is_refused() {
        variant mode
        cp -a "$KEYS" "$SCRATCH/open"
        chmod 0644 "$SCRATCH/open/verity.key"
        refused 5 offline "$SEALAB" build "$RECIPE" -o "$SCRATCH/out" --no-disk --json --keys "$SCRATCH/open"
        expect_refusal key '0?644.*chmod|chmod.*0?600'
        assert_empty "$SCRATCH/out"
}

development_keys_make_no_release() {
        variant dev
        not_built 5 key 'development' --release
}

an_unsigned_release_is_refused() {
        variant unsigned
        (cd "$SCRATCH" && refused 5 offline "$SEALAB" build "$RECIPE" -o "$SCRATCH/out" --no-disk --json --release)
        expect_refusal key 'sealab keys generate|--keys'
        assert_empty "$SCRATCH/out"
}

a_recipe_that_names_a_missing_file_is_refused_with_its_line() {
        variant file
        drop_in '[Content]\nFiles=not/there'
        refused 3 build -o "$SCRATCH/out"
        grep -qE '50-test.conf:2:.*not/there' "$SCRATCH/output" || fail "no file:line: $(cat "$SCRATCH/output")"
        variant deb
        drop_in '[Packages]\nLocalDebs=none.deb'
        refused 3 build -o "$SCRATCH/out"
        grep -qE '50-test.conf:2:.*none.deb' "$SCRATCH/output" || fail "no file:line: $(cat "$SCRATCH/output")"
        refused 3 "$SEALAB" build "$SCRATCH/no-such-recipe" -o "$SCRATCH/out"
        assert_empty "$SCRATCH/out"
}

a_version_is_never_built_twice() {
        variant twice
        mkdir -p "$SCRATCH/out/minimal_7"
        echo precious >"$SCRATCH/out/minimal_7/file"
        refused 3 build -o "$SCRATCH/out" --version 7 --json
        expect_refusal exists 'minimal_7'
        assert_equal "$(cat "$SCRATCH/out/minimal_7/file")" precious "what was there"
        rm -r "$SCRATCH/out"
}

a_version_that_fits_no_label_is_refused() {
        variant label
        not_built 3 bad-value 'version|label' --version "$(printf '1%.0s' {1..60})"
        not_built 3 bad-value 'version' --version '1/../../x'
        not_built 3 bad-value 'version' --version ''
}

# --- what the gate keeps out --------------------------------------------------------------------------------------------------

the_gate_names_everything_that_breaks_its_rules() {
        local text
        variant gate
        odd_package
        lock_deb "$DEB"
        mkdir -p "$RECIPE/files/usr/lib/x" "$RECIPE/files/etc"
        openssl genpkey -algorithm ed25519 -out "$RECIPE/files/usr/lib/x/service.pem" 2>/dev/null
        openssl genpkey -algorithm ed25519 -out "$RECIPE/files/etc/tls.key" 2>/dev/null
        ln -s /usr/lib/nothing "$RECIPE/files/usr/lib/x/leads-nowhere"
        head -c 512 /dev/urandom >"$RECIPE/files/usr/lib/x/random-seed"
        not_built 6 gate "private-key"
        text=$(cat "$SCRATCH/message")
        for word in /usr/lib/x/service.pem /etc/tls.key /usr/lib/x/leads-nowhere /usr/lib/x/random-seed \
                /usr/lib/odd/writable /usr/bin/odd-setgid /usr/lib/odd/unowned 4242 'package odd' 'Allow='; do
                [[ $text = *$word* ]] || fail "the message does not name $word: $text"
        done
        # With exceptions for the package's faults those of the overlay remain; and an exception for nothing is one more.
        drop_in "$ODD_ALLOWED\nAllow=device-node:/usr/lib/none: was needed once"
        not_built 6 gate 'private-key'
        text=$(cat "$SCRATCH/message")
        [[ $text != *odd/writable* ]] || fail "an allowed finding was refused: $text"
        [[ $text = *"matches nothing any more"* ]] || fail "an exception for nothing was accepted: $text"
}

an_empty_root_password_needs_an_exception() {
        variant password
        drop_in '[Image]\nRootPassword=empty'
        not_built 6 gate 'password-hash.*root has an empty password'
}

frozen_ids_stay_as_they_are() {
        variant ids
        mkdir -p "$RECIPE/sysusers.d"
        echo 'u newcomer - "somebody new"' >"$RECIPE/sysusers.d/new.conf"
        cp "$RECIPE/ids.lock" "$SCRATCH/before"
        not_built 6 ids 'newcomer' --frozen-ids
        cmp "$RECIPE/ids.lock" "$SCRATCH/before" || fail "ids.lock was changed"
        # Somebody else's number.
        echo 'user newcomer 0' >>"$RECIPE/ids.lock"
        refused 3 build -o "$SCRATCH/out" --json
}

# --- what goes wrong on the way ------------------------------------------------------------------------------------------------

# The lock cut down to the essential packages and what they need, so that an installation takes seconds.
essential_only() {
        # shellcheck disable=SC2016
        edit_lock "$RECIPE/recipe.lock" '
import re
def needs(x):
    f = os.path.join(os.environ["SEALAB_STORE"], "sha256", x["sha256"][:2], x["sha256"])
    out = subprocess.run(["dpkg-deb", "-f", f, "Depends", "Pre-Depends"], capture_output=True, text=True).stdout
    return set(re.findall(r"[a-z0-9][a-z0-9.+-]+", re.sub(r"\([^)]*\)|^\S+:", "", out, flags=re.M)))
names = {n for n, x in p.items() if x.get("essential")} | {"mawk"} # "awk" is a name that several packages provide
todo = list(names)
while todo:
    for n in needs(p[todo.pop()]):
        if n in p and n not in names and "image" in p[n]["for"]:
            names.add(n)
            todo.append(n)
for x in d["packages"]:
    if "image" in x["for"] and x["name"] not in names:
        x["for"].remove("image")
d["packages"] = [x for x in d["packages"] if x["for"]]'
}

# It also says what it can see and reach of the machine around it: nothing.
a_script_that_fails_is_named_and_sees_nothing_of_the_host() {
        variant script
        essential_only
        make_deb trouble postinst "
                for path in '$SCRATCH' '$SOURCE/meson.build' /host /work '$SEALAB_STORE'; do
                        [ ! -e \"\$path\" ] || echo \"REACHED \$path\"
                done
                ls /proc | grep -c '^[0-9]' | while read -r n; do [ \"\$n\" -lt 30 ] || echo \"REACHED \$n processes\"; done
                grep -v -e '^ *lo:' -e '|' /proc/net/dev && echo 'REACHED a network interface'
                [ -z \"\$SEALAB_STORE\$SSH_AUTH_SOCK\$SECRET\" ] || echo 'REACHED the environment'
                echo 'this is what went wrong' >&2
                exit 3"
        lock_deb "$DEB"
        SECRET=yes not_built 1 script-failed 'package trouble .*this is what went wrong.*exit status 3'
        if grep -q REACHED "$SCRATCH/message"; then fail "a script got out: $(cat "$SCRATCH/message")"; fi
}

# lock_cut PURPOSE: into the lock a package whose digest is as locked, but whose archive ends too early.
lock_cut() {
        local object
        mkdir -p "$SCRATCH/deb-cut/usr/lib"
        head -c 300000 /dev/urandom >"$SCRATCH/deb-cut/usr/lib/x"
        make_deb cut
        truncate -s 200000 "$DEB"
        edit_lock "$RECIPE/recipe.lock" 'd["packages"].append({"name": "cut", "version": "1.0", "architecture": "all", "path": "cut.deb",
                "size": os.path.getsize(a[0]), "sha256": hashlib.sha256(open(a[0], "rb").read()).hexdigest(), "for": [a[1]]})' "$DEB" "$1"
        object=$(object_of "$RECIPE" cut)
        mkdir -p "$(dirname "$object")"
        mv "$DEB" "$object"
}

a_damaged_package_is_named() {
        variant package
        essential_only
        lock_cut image
        not_built 1 script-failed 'package cut could not be installed.*(unexpected end|lzma|decompress|corrupt)'
        variant package
        lock_cut tools
        not_built 3 bad-format 'cut 1.0'
}

a_usr_that_is_too_small_is_refused() {
        variant small
        drop_in '[Disk]\nUsrSize=64M'
        refused 7 offline "$SEALAB" build "$RECIPE" -o "$SCRATCH/out" --keys "$KEYS" --json
        expect_refusal no-space 'UsrSize=[0-9]+M'
        assert_empty "$SCRATCH/out"
}

# A kernel with much behind its end makes a UKI that is larger than the smallest ESP.
an_esp_that_is_too_small_is_refused() {
        local kernel
        variant esp
        # In the overlay it counts, although no image has it in /usr.
        kernel=$(zstdcat "$RELEASE"/*.contents.jsonl.zst | sed -nE 's,.*"path":"/(usr/lib/modules/[^"/]*/)modules.order".*,\1vmlinuz,p')
        mkdir -p "$RECIPE/files/$(dirname "$kernel")"
        objcopy --dump-section ".linux=$RECIPE/files/$kernel" "$(echo "$RELEASE"/*[0-9].efi)" "$SCRATCH/copy.efi"
        # Behind a signature nothing may stand.
        sbattach --remove "$RECIPE/files/$kernel"
        head -c 60000000 /dev/urandom >>"$RECIPE/files/$kernel"
        drop_in '[Disk]\nEspSize=64M\n[Usr]\nLayout=plain'
        refused 7 offline "$SEALAB" build "$RECIPE" -o "$SCRATCH/out" --keys "$KEYS" --json
        expect_refusal no-space 'EspSize=[0-9]+M'
        assert_empty "$SCRATCH/out"
}

# without_space PLACE: a build with only 20 MB at that place, which is a folder below $SCRATCH.
without_space() {
        local place=$SCRATCH/$1
        shift
        mkdir -p "$place"
        # shellcheck disable=SC2016
        refused 7 offline unshare --mount sh -ec '
                mount -t tmpfs -o size=20m,mode=1777 tmpfs "$1"
                shift
                status=0
                "$@" || status=$?
                # It would be gone with the file system. What a step had finished before may stay in the cache.
                left=$(find "$0" -type f ! -path "*/cache/*/????????????????????????????????????????????????????????????????")
                [ -z "$left" ] || { echo "left: $left" >&2; exit 99; }
                exit $status' "$place" "$place" "$@"
        expect_refusal no-space 'free some space|--output|--store|TMPDIR'
}

a_full_disk_is_named_and_left_clean() {
        [ "$(id -u)" = 0 ] || skip "only root can make small file systems"
        variant full
        without_space full-output "$SEALAB" build "$RECIPE" --keys "$KEYS" --no-disk --json -o "$SCRATCH/full-output"
        without_space full-tmp env TMPDIR="$SCRATCH/full-tmp" "$SEALAB" build "$RECIPE" --keys "$KEYS" --no-disk --json -o "$SCRATCH/out"
        private_store full
        # The cache of derived things is part of the store.
        without_space store-full/cache "$SEALAB" build "$RECIPE" --keys "$KEYS" --no-disk --json -o "$SCRATCH/out"
        assert_empty "$SCRATCH/out"
}

# --- interrupted ----------------------------------------------------------------------------------------------------------------

# interrupt VICTIM SIGNAL WORDS EXIT-STATUS ARGUMENT...: starts a build, and shortly after it has said the words the victim
# (supervisor or worker) gets the signal.
interrupt() {
        local victim=$1 signal=$2 words=$3 expected=$4 pid target status=0 n=0
        shift 4
        rm -rf "$SCRATCH/tmp"
        mkdir -p "$SCRATCH/tmp"
        # What starts in the background of a script ignores SIGINT, unless somebody undoes that.
        TMPDIR=$SCRATCH/tmp env --default-signal=INT,TERM,HUP "$SCRATCH/sealab-under-test" build "$RECIPE" --keys "$KEYS" \
                -o "$SCRATCH/out" "$@" >"$SCRATCH/progress" 2>&1 &
        pid=$!
        until grep -qF "$words ..." "$SCRATCH/progress"; do
                sleep 0.05
                n=$((n + 1))
                [ $n -lt 2400 ] && kill -0 $pid 2>/dev/null || fail "it never said \"$words\": $(cat "$SCRATCH/progress")"
        done
        sleep "0.0$((RANDOM % 10))"
        target=$pid
        [ "$victim" = supervisor ] || target=$(cut -d' ' -f1 "/proc/$pid/task/$pid/children")
        kill -"$signal" "$target"
        wait $pid || status=$?
        assert_equal "$status" "$expected" "exit status after SIG$signal to the $victim at \"$words\""
        # Nothing that it started lives on.
        n=0
        while pgrep -f "^$SCRATCH/sealab-under-test" >"$SCRATCH/alive"; do
                sleep 0.1
                n=$((n + 1))
                [ $n -lt 100 ] || fail "still running after SIG$signal to the $victim: $(cat "$SCRATCH/alive")"
        done
        [ -z "$(find "$SCRATCH/out" -mindepth 1 -maxdepth 1 -name 'minimal_*' 2>/dev/null)" ] || fail "a release appeared: $(ls "$SCRATCH/out")"
        # Only a supervisor that is killed cannot clean up after itself.
        if [ "$victim $signal" = 'supervisor KILL' ]; then
                # A minute later the next one removes it. (The kernel may still be closing the files of the dead.)
                for ((n = 0; n < 50; n++)); do
                        find "$SCRATCH/tmp" -mindepth 1 -maxdepth 1 -exec touch -d '-2 minutes' {} +
                        TMPDIR=$SCRATCH/tmp "$SEALAB" explain "$RECIPE" >/dev/null
                        [ -n "$(ls -A "$SCRATCH/tmp")" ] || break
                        sleep 0.1
                done
                assert_empty "$SCRATCH/tmp"
        else
                assert_empty "$SCRATCH/tmp"
                assert_empty "$SCRATCH/out"
        fi
}

# A copy, so that nobody else's processes are taken for ours.
interruptible() {
        variant "$1"
        cp "$SEALAB" "$SCRATCH/sealab-under-test"
        drop_in '[Usr]\nLayout=plain'
}

a_killed_build_leaves_no_release_and_the_next_one_cleans_up() {
        local victims=(worker supervisor) i=0 words victim
        interruptible killed
        for words in 'Making the tree hermetic' 'Writing the EROFS image' 'Building the hash tree' 'Making the initrd' \
                'Attaching signatures' 'Laying out the disk image'; do
                for victim in "${victims[@]}"; do
                        i=$((i + 1))
                        # One victim for each moment, unless there is time for both.
                        [ "${SEALAB_TEST_ALL:-0}" = 1 ] || [ $((i % 4)) = 1 ] || [ $((i % 4)) = 0 ] || continue
                        interrupt "$victim" KILL "$words" 137
                done
        done
        interrupt supervisor KILL 'Installing packages' 137 --no-cache
        build -o "$SCRATCH/out" --version 5
        assert_equal "$(ls -A "$SCRATCH/out")" minimal_5 "the output folder after the next build"
        "$SEALAB" verify "$SCRATCH/out/minimal_5" --keys "$KEYS"
        rm -r "$SCRATCH/out"
}

ctrl_c_and_termination_leave_nothing() {
        interruptible signals
        interrupt supervisor INT 'Installing packages' 130 --no-cache
        interrupt supervisor INT 'Making the initrd' 130
        interrupt supervisor TERM 'Writing the EROFS image' 143
        interrupt supervisor TERM 'Reading packages' 143 --no-cache
        interrupt supervisor HUP 'Laying out the disk image' 129
}

# Two at once, of the same recipe into the same folder: each makes its own version, or is refused.
two_builds_at_once_do_not_disturb_each_other() {
        local first second=0
        variant two
        drop_in '[Usr]\nLayout=plain'
        build -o "$SCRATCH/two" --version 1 >"$SCRATCH/first" 2>&1 &
        first=$!
        build -o "$SCRATCH/two" --version 2 >"$SCRATCH/second" 2>&1 || second=$?
        wait $first || fail "the first: $(cat "$SCRATCH/first")"
        [ $second = 0 ] || fail "the second: $(cat "$SCRATCH/second")"
        assert_equal "$(ls -A "$SCRATCH/two" | tr '\n' ' ')" 'minimal_1 minimal_2 ' "the output folder"
        "$SEALAB" verify "$SCRATCH/two/minimal_1" --keys "$KEYS"
        "$SEALAB" verify "$SCRATCH/two/minimal_2" --keys "$KEYS"
}

run missing_and_foreign_keys_are_refused
run a_key_that_others_may_read_is_refused
run development_keys_make_no_release
run an_unsigned_release_is_refused
run a_recipe_that_names_a_missing_file_is_refused_with_its_line
run a_version_is_never_built_twice
run a_version_that_fits_no_label_is_refused
run the_gate_names_everything_that_breaks_its_rules
run an_empty_root_password_needs_an_exception
run frozen_ids_stay_as_they_are
run a_script_that_fails_is_named_and_sees_nothing_of_the_host
run a_damaged_package_is_named
run a_usr_that_is_too_small_is_refused
run a_full_disk_is_named_and_left_clean
run a_killed_build_leaves_no_release_and_the_next_one_cleans_up
run ctrl_c_and_termination_leave_nothing
run two_builds_at_once_do_not_disturb_each_other
if [ "${SEALAB_TEST_ALL:-0}" = 1 ]; then
        run an_esp_that_is_too_small_is_refused
fi
finish
