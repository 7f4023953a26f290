#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# A device's three ways to a release, and from each to the next: delta.py has the cases.
#
# SEALAB_TEST_CUTS: how often each way is cut (5).

. "$(dirname "$0")/../lib.sh"

TOOL=$BUILD/delta-tool
W=$SCRATCH/w
export no_proxy=127.0.0.1 NO_PROXY=127.0.0.1
# The workers are somebody else.
chmod 0755 "$BUILD/scratch" "$SCRATCH"

releases_are_published() {
        mkdir -p "$W"
        "$TOOL" release "$W/releases" 1 a
        "$TOOL" release "$W/releases" 2 b
        "$BUILD/updater-tool" machine "$W/pristine" "$W/releases/desk_1" 16
        new_repository "$W/repo"
        "$SEALAB" publish "$W/releases/desk_2" "$W/repo" --keys "$W/keys" --allow-development
        cp -a "$W/repo" "$W/repo-plain"
        cp -a "$W/repo" "$W/repo-bad"
        "$TOOL" publish "$W/repo" "$W/keys" "$W/releases/desk_1" "$W/releases/desk_2"
        "$TOOL" publish "$W/repo-bad" "$W/keys" "$W/releases/desk_1" "$W/releases/desk_2" bad
        cp -a "$W/repo-plain" "$W/repo-large"
        "$TOOL" publish "$W/repo-large" "$W/keys" "$W/releases/desk_1" "$W/releases/desk_2" large
        chmod -R a+rX "$W"
}

run releases_are_published
[ "$failed" = 0 ] || finish
python3 "$SOURCE/test/integration/delta.py" "$BUILD/sealabd" "$W" "${SEALAB_TEST_CUTS:-5}" ${SEALAB_TEST_CASES:-} >&3 || failed=1
finish
