#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The same lock and recipe give the same bytes. The reference is built with warm caches; the others from nothing, by another
# user, at other paths, with other settings, on one core, on another file system, in another year, and with --all on another
# release of Debian.

. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/fixture"

VERSION=2031.7
PARTS=(contents.jsonl.zst packages.json spdx.json usr.roothash usr.erofs usr.verity initrd boot.unsigned.efi unsigned.efi)

# A recipe in which everything that a cache key could forget differs from the one that filled the caches.
make_reference() {
        variant reference
        drop_in '[Image]\nLocale=de_DE.UTF-8\nHostname=somewhere\n[OsRelease]\nPRETTY_NAME=Reproducible'
        mkdir -p "$RECIPE/files/etc/x" "$RECIPE/files/usr/lib/x" "$RECIPE/sysusers.d" "$RECIPE/tmpfiles.d"
        # Names in an order that depends on the collation.
        for name in a B c Z _ ä É; do echo "$name" >"$RECIPE/files/usr/lib/x/$name"; done
        printf '#!/bin/sh\n' >"$RECIPE/files/usr/lib/x/run"
        chmod 0755 "$RECIPE/files/usr/lib/x/run"
        echo 'u reproducible - "A user of the recipe" /var/lib/x' >"$RECIPE/sysusers.d/x.conf"
        echo 'd /var/lib/x 0750 reproducible reproducible -' >"$RECIPE/tmpfiles.d/x.conf"
        # The numbers of its accounts are part of what must come out the same.
        rm -f "$RECIPE/ids.lock"
        cp -a "$SCRATCH/recipes-reference" "$SCRATCH/recipes-untouched"
        build --version $VERSION -o "$SCRATCH/reference"
        REFERENCE=$SCRATCH/reference/minimal_$VERSION
}

# Once for all tests here; each runs in a subshell.
reference() {
        REFERENCE=$SCRATCH/reference/minimal_$VERSION
        RECIPE=$SCRATCH/recipes-reference/minimal
        [ -e "$REFERENCE/release.json" ] || skip "the reference was not built"
        minimal_release
}

# same_release A B: or says which file, and what in it.
same_release() {
        local part a b different=()
        for part in "${PARTS[@]}"; do
                a=$(find "$1" -name "*_$VERSION.$part") b=$(find "$2" -name "*_$VERSION.$part")
                [ -n "$a" ] && [ -n "$b" ] || fail "$part is missing in $1 or $2"
                cmp -s "$a" "$b" || different+=("$part")
        done
        [ ${#different[@]} -eq 0 ] && return 0
        # Both find differences, and have more to say than is read: no reason not to get to the verdict.
        "$SEALAB" diff --all "$1" "$2" | head -n 60 || true
        a=$(diff <(zstdcat "$1"/*.contents.jsonl.zst) <(zstdcat "$2"/*.contents.jsonl.zst) | sed -n 2p | cut -c1-200) || true
        fail "different: ${different[*]}${a:+; first entry: $a}"
}

caches_do_not_change_the_result() {
        make_reference
        # A second time, with nothing left to make.
        build --version $VERSION -o "$SCRATCH/again"
        same_release "$REFERENCE" "$SCRATCH/again/minimal_$VERSION"
}

# run_elsewhere FOLDER: in other circumstances, by the user that runs it.
run_elsewhere() {
        env -i PATH="$PATH" HOME="$1/home of x" TMPDIR="$1/t m p" TZ=Pacific/Chatham LANG=tr_TR.UTF-8 LC_ALL=tr_TR.UTF-8 \
                SOURCE_DATE_EPOCH=1 LC_COLLATE=de_DE.UTF-8 http_proxy=http://127.0.0.1:9 \
                bash -c 'umask 077; mkdir "$HOME" "$TMPDIR"; cd "$HOME"; exec "$@"' - \
                taskset -c 0 "$1/sealab" build "../x/Checked out at another place/minimal" -o "../o ü" --keys ../keys \
                --store ../store --no-disk --no-cache --workers 1 --version $VERSION
}

remove_user() {
        userdel "$1" 2>/dev/null
        rm -rf "$2"
}

another_user_in_other_circumstances_gets_the_same() {
        local folder user='' as=()
        reference
        folder=$(mktemp -d "${TMPDIR:-/var/tmp}/sealab-else-XXXXXX")
        # shellcheck disable=SC2064
        trap "rm -rf '$folder'" EXIT
        mkdir "$folder/x"
        cp -a "$SCRATCH/recipes-untouched" "$folder/x/Checked out at another place"
        # As a checkout with that umask leaves it, with times of its own.
        find "$folder/x" -type f -exec touch -d 2001-01-01 {} +
        chmod -R go-rwx "$folder/x"
        cp -a "$KEYS" "$folder/keys"
        cp "$SEALAB" "$folder/sealab"
        copy_store "$RECIPE/recipe.lock" "$folder/store"
        if [ "$(id -u)" = 0 ]; then
                command -v newuidmap >/dev/null || skip "newuidmap is missing (package uidmap)"
                user=sealab-t$$
                # shellcheck disable=SC2064
                trap "remove_user $user '$folder'" EXIT
                useradd --no-create-home --home-dir "$folder/home of x" --shell /bin/sh "$user"
                # Some configurations of useradd give none.
                grep -q "^$user:" /etc/subuid || usermod --add-subuids 1300000000-1300065535 "$user"
                grep -q "^$user:" /etc/subgid || usermod --add-subgids 1300000000-1300065535 "$user"
                chown -R "$user:" "$folder"
                as=(setpriv --reuid "$user" --regid "$user" --init-groups --inh-caps=-all --)
        fi
        export -f run_elsewhere
        export VERSION
        offline "${as[@]}" bash -c 'run_elsewhere "$1"' - "$folder"
        [ -z "$(ls -A "$folder/t m p")" ] || fail "left behind in TMPDIR: $(ls -A "$folder/t m p")"
        assert_equal "$(find "$folder/o ü/minimal_$VERSION" -type f ! -perm 0644)" "" "files of a release that others cannot read"
        same_release "$REFERENCE" "$folder/o ü/minimal_$VERSION"
}

# What one machine alone cannot vary, otherworld.c does. "verify --reproducible" is what looks at the result.
another_year_and_file_system_give_the_same() {
        local world=(env) names=()
        reference
        cc -shared -fPIC -O1 -D_GNU_SOURCE -s -o "$SCRATCH/otherworld.so" "$HERE/otherworld.c" -ldl || skip "no compiler"
        mkdir -p "$SCRATCH/workspace"
        world+=("LD_PRELOAD=$SCRATCH/otherworld.so" OTHERWORLD_DAYS=4000)
        if [ "$(id -u)" = 0 ]; then
                world+=("OTHERWORLD_FOLDER=$SCRATCH/workspace")
                # shellcheck disable=SC2016
                names=(unshare --uts sh -c 'hostname elsewhere.example; exec "$@"' -)
        fi
        offline "${names[@]}" "${world[@]}" "$SEALAB" verify "$REFERENCE" --keys "$KEYS" --reproducible \
                --recipe "$SCRATCH/recipes-untouched/minimal"
        [ "$(id -u)" != 0 ] || [ -n "$(ls "$SCRATCH/workspace")" ] || fail "the other file system was not used"
        if [ "$(id -u)" = 0 ] && ! grep -qr "^$(date -d '+4000 days' +%Y)-" "$SCRATCH"/workspace/*/work/target/var/log/dpkg.log; then
                fail "the clock inside was not another"
        fi
        rm -rf "$SCRATCH/workspace"
}

# Whatever could name the machine, the user, the day or a path.
nothing_of_this_machine_is_in_the_image() {
        local image word found
        reference
        image=$(find "$REFERENCE" -name '*.usr.erofs')
        command -v fsck.erofs >/dev/null || skip "fsck.erofs is missing (package erofs-utils)"
        fsck.erofs --extract="$SCRATCH/extracted" --no-preserve "$image" >/dev/null
        for word in "$(cat /etc/machine-id 2>/dev/null)" "$(cat /proc/sys/kernel/random/boot_id)" "$SCRATCH" "$BUILD" \
                "$SEALAB_STORE" "$(date +%Y-%m-%d)" "$(LC_ALL=C date '+%a %b %e')"; do
                [ -n "$word" ] || continue
                # The lock and what is made from it bear the archive's own dates. That nothing is found is a failure to grep.
                found=$(grep -rlF -- "$word" "$SCRATCH/extracted" | grep -v '/share/sealab/' | head -n 3) || true
                [ -z "$found" ] || fail "\"$word\" is in $found"
        done
        rm -rf "$SCRATCH/extracted"
}

# A Debian 13 beside this Debian 12, or the other way round; with its own compiler, libraries and apt.
another_debian_gives_the_same() {
        local suite root=${SEALAB_TEST_ROOT:-}
        reference
        [ "$(id -u)" = 0 ] || skip "only root can make a chroot"
        suite=$(. /etc/os-release; echo "${VERSION_CODENAME:-}")
        case $suite in trixie) suite=bookworm ;; *) suite=trixie ;; esac
        if [ -z "$root" ]; then
                command -v mmdebstrap >/dev/null || skip "mmdebstrap is missing"
                root=$SCRATCH/root
                mmdebstrap --quiet --variant=apt --include=gcc,libc6-dev,meson,ninja-build,pkg-config,libcryptsetup-dev,libcurl4-openssl-dev,libssl-dev,libsystemd-dev,libfdisk-dev,libblkid-dev,libarchive-dev,libjansson-dev,uuid-dev,libelf-dev,libseccomp-dev "$suite" "$root"
        fi
        cp -a "$SCRATCH/recipes-untouched" "$SCRATCH/other-recipes"
        mkdir -p "$SCRATCH/other"
        # shellcheck disable=SC2016
        offline unshare --mount sh -ec '
                root=$1 source=$2 scratch=$3 store=$4 keys=$5 version=$6
                mount --bind "$root" "$root"
                for folder in proc sys dev; do mount --rbind /$folder "$root/$folder"; done
                mkdir -p "$root/source" "$root/scratch" "$root/store" "$root/keys"
                mount --bind -o ro "$source" "$root/source"
                mount --bind "$scratch" "$root/scratch"
                mount --bind "$store" "$root/store"
                mount --bind -o ro "$keys" "$root/keys"
                exec chroot "$root" sh -ec "
                        export CC=gcc TMPDIR=/var/tmp
                        meson setup --wrap-mode=nodownload -Dtests=false /scratch/other/build /source >/dev/null
                        ninja -C /scratch/other/build >/dev/null
                        /scratch/other/build/sealab build /scratch/other-recipes/minimal -o /scratch/other/out --no-disk \
                                --no-cache --keys /keys --store /store --version $version"
        ' - "$root" "$SOURCE" "$SCRATCH" "$SEALAB_STORE" "$KEYS" "$VERSION"
        same_release "$REFERENCE" "$SCRATCH/other/out/minimal_$VERSION"
}

# The recipe with hundreds of packages, and so with hundreds of scripts that could do something else each time.
a_desktop_is_the_same_again() {
        minimal_release
        [ -e "${KEYS%/*}/recipes/laptop/recipe.lock" ] || skip "recipes/laptop has no lock"
        cp -a "${KEYS%/*}/recipes" "$SCRATCH/desktop"
        "$SEALAB" lock "$SCRATCH/desktop/laptop" || skip "the packages of recipes/laptop cannot be had"
        "$SEALAB" build "$SCRATCH/desktop/laptop" -o "$SCRATCH/desktop-out" --keys "$KEYS" --no-disk --version $VERSION
        cc -shared -fPIC -O1 -D_GNU_SOURCE -s -o "$SCRATCH/otherworld.so" "$HERE/otherworld.c" -ldl
        OTHERWORLD_DAYS=4000 LD_PRELOAD=$SCRATCH/otherworld.so "$SEALAB" verify "$SCRATCH/desktop-out/laptop_$VERSION" \
                --keys "$KEYS" --reproducible --recipe "$SCRATCH/desktop/laptop"
}

run caches_do_not_change_the_result
run another_user_in_other_circumstances_gets_the_same
run another_year_and_file_system_give_the_same
run nothing_of_this_machine_is_in_the_image
if [ "${SEALAB_TEST_ALL:-0}" = 1 ]; then
        run another_debian_gives_the_same
        run a_desktop_is_the_same_again
fi
finish
