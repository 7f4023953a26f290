#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What is in an image is what the locked packages ship: compared entry by entry with the packages, by other programs than the
# ones that made it (contents.py).

. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/fixture"

# as_root COMMAND...: with the power to give files away; in a user namespace where there is no root.
as_root() {
        if [ "$(id -u)" = 0 ]; then
                "$@"
        else
                unshare --map-root-user --map-auto "$@"
        fi
}

FSCK=$(find "$BUILD/subprojects" -name fsck.erofs -type f -perm -1 -print -quit 2>/dev/null)

# unpack_and_compare IMAGE CHANGE: compares what another program reads from the image, after the change to it; 1: different.
# The kernel itself is the better reader, where it may be asked; and an image must be unpacked to be changed.
unpack_and_compare() {
        "$SEALAB" explain --json "$RECIPE" >"$SCRATCH/explain.json"
        mkdir -p "$SCRATCH/image"
        # shellcheck disable=SC2016
        as_root unshare --mount bash -ec '
                image=$2/image
                if [ "$6" = : ] && mount -t erofs -o ro,loop "$3" "$image" 2>/dev/null; then
                        command -v getcap >/dev/null && getcap -r "$image" >"$2/capabilities"
                else
                        rmdir "$image"
                        "$1" --extract="$image" --preserve --xattrs "$3" >/dev/null
                        (cd "$image" && eval "$6")
                fi
                python3 "$4/contents.py" "$image" "$5/recipe.lock" "$SEALAB_STORE" "$2/explain.json" >"$2/compared" && status=0 || status=$?
                # It may be a folder that was unpacked.
                umount "$image" 2>/dev/null || true
                rm -rf "$image"
                exit $status' - "${FSCK:-fsck.erofs}" "$SCRATCH" "$1" "$HERE" "$RECIPE" "$2"
}

# compare RELEASE-FOLDER: its image with the packages of $RECIPE.
compare() {
        unpack_and_compare "$(find "$1" -name '*.usr.erofs')" : || {
                cat "$SCRATCH/compared"
                fail "$(grep -c '^problem:' "$SCRATCH/compared") differences, first: $(grep -m 1 '^problem:' "$SCRATCH/compared")"
        }
        cat "$SCRATCH/compared"
}

the_image_holds_what_its_packages_ship() {
        variant plain
        compare "$RELEASE"
}

# entry RELEASE PATH: its line of the contents manifest.
entry() {
        zstdcat "$1"/*.contents.jsonl.zst | python3 -c '
import json, sys
for line in sys.stdin:
    entry = json.loads(line)
    if entry.get("path") == sys.argv[1]:
        print(entry["type"], entry["mode"], entry.get("hardLink", "-"), entry.get("package", "-"))' "$2"
}

rights_links_and_diversions_of_a_package_arrive() {
        local release
        variant odd
        odd_package
        lock_deb "$DEB"
        drop_in "$ODD_ALLOWED"
        build -o "$SCRATCH/out"
        release=$(echo "$SCRATCH"/out/minimal_*)
        compare "$release"
        assert_equal "$(entry "$release" /usr/bin/odd-setuid)" "file 4755 - odd" "setuid"
        assert_equal "$(entry "$release" /usr/bin/odd-setgid)" "file 2755 - odd" "setgid"
        # struct vfs_cap_data: effective, revision 2, bit 13 permitted.
        zstdcat "$release"/*.contents.jsonl.zst >"$SCRATCH/manifest"
        grep '"path":"/usr/bin/odd-cap"' "$SCRATCH/manifest" | grep -F '"security.capability":"01000002002000000000' ||
                fail "no capability in the manifest"
        if [ -e "$SCRATCH/capabilities" ]; then
                grep -q '/odd-cap cap_net_raw=ep$' "$SCRATCH/capabilities" || fail "the kernel finds no capability: $(cat "$SCRATCH/capabilities")"
        fi
        assert_equal "$(entry "$release" /usr/lib/odd/one)" "file 0644 /usr/lib/odd/another name of one odd" "the hard link"
        assert_equal "$(entry "$release" /usr/bin/arch)" "file 0755 - odd" "the diverting file"
        [ -n "$(entry "$release" /usr/bin/arch.diverted)" ] || fail "the diverted file is not there"
        "$SEALAB" verify "$release" --keys "$KEYS"
}

# The comparison itself must notice things: an image with one byte, mode, link or file changed is told from the real one.
the_comparison_notices_changes() {
        local change status
        variant plain
        for change in 'echo x >>bin/cat' 'chmod 4755 bin/cat' 'rm bin/cat' 'echo x >lib/planted' 'chown 7 bin/cat' \
                'ln -sf /etc/shadow bin/awk' 'find lib/modules -name ext4.ko -exec rm {} +'; do
                status=0
                unpack_and_compare "$(find "$RELEASE" -name '*.usr.erofs')" "$change" || status=$?
                [ $status = 1 ] && grep -q '^problem: /usr/' "$SCRATCH/compared" || fail "not noticed: $change ($(cat "$SCRATCH/compared"))"
        done
}

run the_image_holds_what_its_packages_ship
run rights_links_and_diversions_of_a_package_arrive
if [ "${SEALAB_TEST_ALL:-0}" = 1 ]; then
        run the_comparison_notices_changes
fi
finish
