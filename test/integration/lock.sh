#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Nothing that the lock does not name gets into an image, and where the lock does not hold, nothing is built.

. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/fixture"

# not_built EXIT-STATUS REFUSAL PATTERN ARGUMENT...: refused with that name and words, with what to do next, and no trace.
not_built() {
        local status=$1 refusal=$2 pattern=$3
        shift 3
        refused "$status" build -o "$SCRATCH/out" --json "$@"
        assert_equal "$(json "$SCRATCH/output" 'd["error"]')" "$refusal" "the refusal"
        json "$SCRATCH/output" 'd["message"] + " | " + d.get("hint", "")' | tr '\n' ' ' | grep -qiE "$pattern" ||
                fail "the message does not say \"$pattern\": $(cat "$SCRATCH/output")"
        [ -z "$(ls -A "$SCRATCH/out" 2>/dev/null)" ] || fail "left in the output folder: $(ls -A "$SCRATCH/out")"
}

no_lock_builds_nothing() {
        variant none
        rm "$RECIPE/recipe.lock"
        not_built 4 no-lock 'sealab lock'
}

a_lock_of_the_future_is_refused() {
        variant future
        edit_lock "$RECIPE/recipe.lock" 'd["format"] = 2'
        not_built 3 bad-format 'format|newer'
}

a_damaged_lock_is_refused() {
        variant damaged
        head -c 3000 "$RECIPE/recipe.lock" >"$RECIPE/cut"
        mv "$RECIPE/cut" "$RECIPE/recipe.lock"
        not_built 3 'bad-format' 'recipe.lock'
}

a_package_named_twice_is_refused() {
        variant twice
        edit_lock "$RECIPE/recipe.lock" 'd["packages"].append(dict(p["bash"], version="9:9"))'
        not_built 3 bad-format bash
}

a_changed_recipe_makes_the_lock_stale() {
        variant stale
        drop_in '[Packages]\nInstall=sl'
        not_built 4 lock-stale 'new package sl.*sealab lock --update'
        variant stale
        drop_in '[Archive]\nSuites=\nSuites=trixie trixie-updates'
        not_built 4 lock-stale 'trixie-security'
        variant stale
        drop_in '[Packages]\nRecommends=yes'
        not_built 4 lock-stale 'sealab lock --update'
}

# What does not say which packages are wanted needs no new lock.
another_overlay_needs_no_new_lock() {
        variant overlay
        mkdir -p "$RECIPE/files/etc"
        echo hello >"$RECIPE/files/etc/motd"
        drop_in '[Image]\nHostname=other\n[Units]\nDisable=systemd-timesyncd.service'
        build -o "$SCRATCH/overlay" --plan >"$SCRATCH/plan"
        grep -E '^base +cached' "$SCRATCH/plan" || fail "the configured tree is not taken from the cache: $(cat "$SCRATCH/plan")"
}

# The lock says one digest, the store has the package under its true one.
a_changed_digest_is_refused() {
        variant digest
        edit_lock "$RECIPE/recipe.lock" 'p["bash"]["sha256"] = hashlib.sha256(b"something else").hexdigest()'
        not_built 4 not-in-store 'bash.*sealab lock'
}

a_changed_size_is_refused() {
        variant size
        edit_lock "$RECIPE/recipe.lock" 'p["bash"]["size"] += 1'
        not_built 4 not-in-store 'bash.*sealab lock'
}

a_missing_object_is_named_with_what_to_do() {
        variant missing
        private_store missing
        rm -f "$(object_of "$RECIPE" bash)" "$(object_of "$RECIPE" dosfstools)"
        not_built 4 not-in-store '2 locked packages are not in the store.*bash.*sealab lock'
}

# Same name, same size, other bytes: found when it is read, moved away, and fetched again by the next lock.
a_poisoned_object_is_refused_and_moved_away() {
        local object package
        variant poisoned
        private_store poisoned
        # One of each kind: for the image, for the tools, for the initrd.
        for package in less libkmod2 systemd-boot-efi; do
                object=$(object_of "$RECIPE" $package)
                [ -s "$object" ] || fail "$package is not in the lock"
                cp "$object" "$SCRATCH/good"
                chmod u+w "$object"
                flip_byte "$object" $(($(stat -c %s "$object") / 2))
                not_built 5 hash-mismatch "$package|${object##*/}" --no-cache
                [ ! -e "$object" ] || fail "$package: the bad file still has the name of the good one"
                cp "$SCRATCH/good" "$object"
        done
}

# A package of the same name that is newer lies in the store, and apt knows it; the image holds what the lock says.
a_newer_package_does_not_enter() {
        local version
        variant newer
        private_store newer
        mkdir -p "$SCRATCH/deb-less/usr/bin"
        echo planted >"$SCRATCH/deb-less/usr/bin/less"
        make_deb less
        version=$(sha256sum "$DEB" | cut -d' ' -f1)
        mkdir -p "$SEALAB_STORE/sha256/${version:0:2}"
        cp "$DEB" "$SEALAB_STORE/sha256/${version:0:2}/$version"
        build -o "$SCRATCH/newer" --no-cache
        version=$(json "$RECIPE/recipe.lock" '[x["version"] for x in d["packages"] if x["name"] == "less"][0]')
        json "$(find "$SCRATCH/newer" -name '*.packages.json')" '[x for x in d["packages"] if x["name"] == "less"]' | grep -qF "\"$version\"" ||
                fail "the image does not hold less $version"
        if grep -qF planted "$(find "$SCRATCH/newer" -name '*.usr.erofs')"; then fail "the planted file is in the image"; fi
}

# A package that claims to be another: the digest is right, the name is not.
a_package_under_another_name_is_refused() {
        variant name
        private_store name
        edit_lock "$RECIPE/recipe.lock" 'for k in ("size", "sha256"): p["less"][k] = p["dosfstools"][k]'
        not_built 8 different 'less.*dosfstools|dosfstools.*less' --no-cache
}

building_opens_no_socket_to_the_network() {
        variant quiet
        command -v strace >/dev/null || skip "strace is missing"
        # What is traced loses its setuid bits, and with them newuidmap its right.
        [ "$(id -u)" = 0 ] || skip "only root can trace a build"
        mkdir -p "$RECIPE/files/etc"
        echo quiet >"$RECIPE/files/etc/motd"
        strace -f -qq -e trace=socket,connect -o "$SCRATCH/trace" "$SEALAB" build "$RECIPE" -o "$SCRATCH/quiet" --no-disk --keys "$KEYS"
        if grep -E 'AF_INET6?[,)]' "$SCRATCH/trace" | head -n 3 >"$SCRATCH/found" && [ -s "$SCRATCH/found" ]; then
                fail "it opened: $(cat "$SCRATCH/found")"
        fi
}

with_the_network_unplugged_a_build_works() {
        variant offline
        if unshare -n true 2>/dev/null; then
                unshare -n "$SEALAB" build "$RECIPE" -o "$SCRATCH/unplugged" --no-disk --keys "$KEYS"
        else
                skip "only root can take the network away"
        fi
}

# Without a network "sealab lock" of something that is complete has nothing to do, and says so.
lock_is_content_with_what_is_there() {
        variant content
        cp "$RECIPE/recipe.lock" "$SCRATCH/before"
        offline "$SEALAB" lock "$RECIPE"
        cmp "$RECIPE/recipe.lock" "$SCRATCH/before"
}

lock_without_a_network_says_what_it_lacks() {
        variant lacking
        private_store lacking
        rm -f "$(object_of "$RECIPE" less)"
        cp "$RECIPE/recipe.lock" "$SCRATCH/before"
        refused 4 offline "$SEALAB" lock --json "$RECIPE"
        grep -q less "$SCRATCH/output" || fail "it does not name the package: $(cat "$SCRATCH/output")"
        cmp "$RECIPE/recipe.lock" "$SCRATCH/before"
        # Another machine's store is as good.
        offline "$SEALAB" lock "$RECIPE" --store-from "${SEALAB_STORE_BEFORE:?}"
        [ -s "$(object_of "$RECIPE" less)" ] || fail "nothing came from the other store"
        cmp "$RECIPE/recipe.lock" "$SCRATCH/before"
}

export SEALAB_STORE_BEFORE=$SEALAB_STORE

run no_lock_builds_nothing
run a_lock_of_the_future_is_refused
run a_damaged_lock_is_refused
run a_package_named_twice_is_refused
run a_changed_recipe_makes_the_lock_stale
run another_overlay_needs_no_new_lock
run a_changed_digest_is_refused
run a_changed_size_is_refused
run a_missing_object_is_named_with_what_to_do
run a_poisoned_object_is_refused_and_moved_away
run a_package_under_another_name_is_refused
run with_the_network_unplugged_a_build_works
run building_opens_no_socket_to_the_network
run lock_is_content_with_what_is_there
run lock_without_a_network_says_what_it_lacks
if [ "${SEALAB_TEST_ALL:-0}" = 1 ]; then
        run a_newer_package_does_not_enter
fi
finish
