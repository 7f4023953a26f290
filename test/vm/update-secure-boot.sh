#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Suite: only with --all
#
# An update where the firmware starts only what its keys have signed: a version of somebody else's key, published in the
# right repository, is refused before it becomes an entry; the next one of the right key starts, and is blessed.

. "$(dirname "$0")/../lib.sh"
. "$SOURCE/test/lib-machine.sh"

BOOT_OPTIONS=(--secure-boot --keys "$GIVEN/keys")

# --- what is given ------------------------------------------------------------------------------------------------------------

foreign_release() {
        rm -rf "$GIVEN"/{others,www/foreign,www/righted,out/minimal_7,out/minimal_8}
        "$SEALAB" keys generate "$GIVEN/others"
        offline "$SEALAB" build "$GIVEN/good/minimal" -o "$GIVEN/out" --keys "$GIVEN/others" --version 7 --no-disk
        next one foreign
        publish foreign 7
        release good 8 --no-disk
        next foreign righted
        publish righted 8
}

# --- one machine --------------------------------------------------------------------------------------------------------------

what_the_firmware_would_not_start_is_not_installed() {
        given foreign_release
        boot foreign <<'END'
follow foreign
run foreign.update sealabctl update
status refused
at entries; ls /boot/EFI/Linux
follow righted
run right.update sealabctl update
END
        refusal foreign.update key
        is refused.status '[d["version"], d["restartNeeded"]]' '["1", false]'
        ! grep -q '_7' "$SCRATCH/entries" || fail "an entry that cannot start: $(cat "$SCRATCH/entries")"
        is right.update 'd["result"]' done
        assert_equal "$(entries)" "minimal_1.efi minimal_8+1-0.efi " "entries"
        reach foreign
}

what_it_would_start_is_installed_and_starts() {
        reached foreign
        boot right <<'END'
status right
at variable; od -An -tu1 -j4 -N1 /sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c
END
        is right.status '[d["version"], d["blessed"]]' '["8", true]'
        assert_equal "$(tr -d ' \n' <"$SCRATCH/variable")" 1 "Secure Boot"
}

serve
[ -n "$server" ] || { echo "skip update-secure-boot: nginx is not installed" >&3; exit 0; }
run what_the_firmware_would_not_start_is_not_installed
run what_it_would_start_is_installed_and_starts
finish
