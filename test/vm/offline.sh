#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Suite: only with --all
#
# A machine that is updated from a USB stick: a FAT file system with a repository as "sealab publish" makes it, and beside
# it one in which a byte of the kernel image has changed, and one that is older.

. "$(dirname "$0")/../lib.sh"
. "$SOURCE/test/lib-machine.sh"

STICK=$GIVEN/stick.raw

# --- what is given ------------------------------------------------------------------------------------------------------------

stick() {
        local folder=$SCRATCH/stick path
        rm -f "$STICK"
        mkdir "$folder"
        cp -a "$GIVEN/www/one" "$folder/good"
        cp -a "$GIVEN/www/one" "$folder/changed"
        # Of what is fetched in any case: what the running version has too is not read from a stick.
        path=$(find "$folder/changed/targets" -name '*minimal_2.efi')
        flip_byte "$path" $(($(stat -c %s "$path") / 2))
        # What the publisher had before version 2.
        cp -a "$GIVEN/www/empty" "$folder/older"
        mkfs.vfat -F 32 -n STICK -C "$STICK" $((512 << 10))
        mcopy -s -i "$STICK" "$folder"/* ::/
        rm -r "$folder"
}

# --- one machine --------------------------------------------------------------------------------------------------------------

plugged_in() {
        MORE_QEMU="-drive if=none,id=stick,format=raw,readonly=on,file=$STICK -device qemu-xhci,id=xhci -device usb-storage,bus=xhci.0,drive=stick"
        export MORE_QEMU
}

a_stick_is_as_good_as_a_server() {
        given stick
        plugged_in
        boot stick <<'END'
from() { mkdir -p /etc/sealab; printf '[Repository]\nUrl=file:///run/media/stick/%s\n' "$1" >/etc/sealab/updater.conf; }
from good
run absent sealabctl check
mkdir -p /run/media/stick
for i in $(seq 30); do [ -e /dev/disk/by-label/STICK ] && break; sleep 1; done
mount -o ro /dev/disk/by-label/STICK /run/media/stick
from changed
run changed sealabctl update
at entries; ls /boot/EFI/Linux
from good
run check sealabctl check
# As support staff would: without settings.
rm /etc/sealab/updater.conf
run update sealabctl update --from /run/media/stick/good
status stick
from older
run older sealabctl check
END
        refusal absent download
        refusal changed hash-mismatch
        ! grep -q '_2' "$SCRATCH/entries" || fail "an entry for what is not as it was signed: $(cat "$SCRATCH/entries")"
        is check '[d["from"], d["to"]]' '["1", "2"]'
        is update 'd["result"]' done
        is stick.status '[d["version"], d["restartNeeded"]]' '["1", true]'
        refusal older rollback
        assert_equal "$(entries)" "minimal_1.efi minimal_2+1-0.efi " "entries"
        reach stick
}

without_the_stick_the_new_version_starts_and_is_blessed() {
        reached stick
        boot without <<'END'
status without
END
        is without.status '[d["version"], d["blessed"]]' '["2", true]'
        is without.history '[[h["action"], h["result"]] for h in d][-1]' '["boot", "blessed"]'
}

run a_stick_is_as_good_as_a_server
run without_the_stick_the_new_version_starts_and_is_blessed
finish
