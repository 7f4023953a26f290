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
. "$SOURCE/test/lib-machine.sh"

# --- what is given ------------------------------------------------------------------------------------------------------------

releases_and_repositories() {
        local path
        rm -rf "$GIVEN"/{bad,www/{few,cut,withdrawn,bad,mended}} "$GIVEN"/out/minimal_{3,4,5}
        release good 3 --no-disk
        release good 5 --no-disk
        cp -a "$GIVEN/good" "$GIVEN/bad"
        unit bad broken.service '[Service]\nType=oneshot\nExecStart=/bin/false\n[Install]\nWantedBy=multi-user.target'
        release bad 4 --no-disk
        next one few
        publish few 3 --rollout 0%
        # The server lost half of a file: a full disk, a bad copy.
        next few cut
        path=$(find "$GIVEN/www/cut/targets" -name '*minimal_3.efi')
        head -c 9000000 "$path" >"$path.new"
        mv "$path.new" "$path"
        next few withdrawn
        "$SEALAB" repo withdraw "$GIVEN/www/withdrawn" minimal 3 --reason 'eats disks' --keys "$GIVEN/tuf"
        next withdrawn bad
        publish bad 4
        next bad mended
        publish mended 5
}

# --- one machine's life -------------------------------------------------------------------------------------------------------

an_update_comes_from_the_repository_and_waits_for_a_restart() {
        given releases_and_repositories
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

serve
[ -n "$server" ] || { echo "skip update: nginx is not installed" >&3; exit 0; }
run an_update_comes_from_the_repository_and_waits_for_a_restart
run the_new_version_starts_and_is_blessed
run going_back_starts_the_old_version_which_stays
run a_version_with_a_failing_unit_restarts_by_itself
run the_machine_is_back_and_does_not_try_again
run a_version_that_mends_it_is_taken
finish
