#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The image of recipes/minimal, started the way a computer starts it: firmware, systemd-boot, UKI, system; and not started
# when a byte of it is changed. Each boot takes 10 s with KVM and 20-60 s without, so the first ones check much at once; the
# rest runs with --all.

. "$(dirname "$0")/../lib.sh"

TIMEOUT=600 # the emulation on a busy machine; what fails, mostly fails long before

# boot RESULT ARGUMENT...: must come up; the result's JSON is in RESULT.
boot() {
        local result=$1
        shift
        offline "$SEALAB" boot "$@" --json --timeout $TIMEOUT --log "$result.log" >"$result" ||
                fail "did not come up: $(tail -c 600 "$result")"
}

# What every good boot has in common.
assert_sealed() {
        local result=$1
        assert_equal "$(json "$result" 'd["failed_units"]')" "[]" "failed units ($(json "$result" 'd.get("failed_logs")'))"
        assert_equal "$(json "$result" 'd["state"]')" running "state"
        assert_equal "$(json "$result" 'd["boot_complete"]')" true "boot-complete.target reached"
        assert_equal "$(json "$result" 'd["usr_on_verity"]')" true "/usr on dm-verity"
        assert_equal "$(json "$result" 'd["usr_type"]')" erofs "file system of /usr"
        assert_equal "$(json "$result" 'd["etc_overlay"]')" true "/etc an overlay"
        assert_equal "$(json "$result" 'd["image_id"] + "_" + d["image_version"]')" "$(basename "$RELEASE")" "version"
        assert_equal "$(json "$result" 'd["clean_shutdown"]')" true "clean shutdown"
}

entries() {
        local esp
        esp=$(partition "$1" esp) || fail "no ESP in $1"
        mdir -b -i "$1@@${esp% *}" ::/EFI/Linux
}

# changed_uki DISK COMMAND...: runs the command on a copy of the UKI and puts it back in place.
changed_uki() {
        local disk=$1 esp entry
        shift
        esp=$(partition "$disk" esp)
        entry=$(entries "$disk" | head -n 1)
        mcopy -n -i "$disk@@${esp% *}" "$entry" "$SCRATCH/uki.efi"
        "$@" "$SCRATCH/uki.efi"
        mcopy -D o -i "$disk@@${esp% *}" "$SCRATCH/uki.efi" "$entry"
        rm "$SCRATCH/uki.efi"
}

# A byte in the middle: the initrd, by far the largest section.
flip_middle() { flip_byte "$1" $(($(stat -c %s "$1") / 2)); }

# In the first digit of the root hash in the command line.
flip_root_hash() {
        local at
        at=$(grep -abo 'usrhash=' "$1" | head -n 1 | cut -d: -f1) || fail "no usrhash= in the UKI"
        flip_byte "$1" $((at + 8))
}

copy_disk() { cp --sparse=always "$DISK" "$1"; }

# not_booted PATTERN ARGUMENT...: must be refused as a failed boot, and for the reason expected.
not_booted() {
        local pattern=$1
        shift
        refused 9 offline "$SEALAB" boot "$@" --timeout $TIMEOUT
        grep -qiE "$pattern" "$SCRATCH/output" || fail "refused, but not because of \"$pattern\": $(tail -n 5 "$SCRATCH/output")"
}

# --- the boots of every run ---------------------------------------------------------------------------------------------------

boots_on_a_larger_disk_and_is_blessed() {
        minimal_release
        entries "$DISK" | grep -q '+3-0\.efi$' || fail "the entry does not begin with three tries: $(entries "$DISK")"
        boot "$SCRATCH/first.json" "$RELEASE" --state "$SCRATCH/machine" --disk-size 8G
        assert_sealed "$SCRATCH/first.json"
        # The image reserves far less than that for the root partition.
        [ "$(json "$SCRATCH/first.json" 'd["root_size"]')" -gt $((4 << 30)) ] ||
                fail "the root file system did not grow: $(json "$SCRATCH/first.json" 'd["root_size"]') bytes"
        assert_equal "$(json "$SCRATCH/first.json" 'd["bless_boot"]')" active "systemd-bless-boot.service"
        if entries "$SCRATCH/machine/disk.raw" | grep -q '+'; then
                fail "the entry still counts: $(entries "$SCRATCH/machine/disk.raw")"
        fi
}

boots_again_from_what_the_first_boot_left() {
        minimal_release
        [ -e "$SCRATCH/machine/disk.raw" ] || skip "the first boot did not get that far"
        boot "$SCRATCH/second.json" "$RELEASE" --state "$SCRATCH/machine"
        assert_sealed "$SCRATCH/second.json"
}

boots_from_a_usb_stick_with_secure_boot() {
        minimal_release
        boot "$SCRATCH/usb.json" "$RELEASE" --bus usb --secure-boot --keys "$KEYS"
        assert_sealed "$SCRATCH/usb.json"
        assert_equal "$(json "$SCRATCH/usb.json" 'd["secure_boot"]')" true "Secure Boot"
        assert_equal "$(json "$SCRATCH/usb.json" 'd["command_line"]')" "$(json "$RELEASE/release.json" 'd["commandLine"]')" \
                "command line"
}

a_changed_byte_of_the_uki_is_refused_by_the_firmware() {
        minimal_release
        copy_disk "$SCRATCH/uki.disk.raw"
        changed_uki "$SCRATCH/uki.disk.raw" flip_middle
        not_booted 'access denied|security violation' "$SCRATCH/uki.disk.raw" --secure-boot --keys "$KEYS"
}

a_changed_command_line_is_refused_by_the_firmware() {
        minimal_release
        copy_disk "$SCRATCH/line.disk.raw"
        changed_uki "$SCRATCH/line.disk.raw" flip_root_hash
        not_booted 'access denied|security violation' "$SCRATCH/line.disk.raw" --secure-boot --keys "$KEYS"
}

# A byte that EROFS itself does not look at: only the hash tree can notice.
a_changed_byte_of_the_slot_is_refused_by_dm_verity() {
        local usr
        minimal_release
        copy_disk "$SCRATCH/slot.disk.raw"
        usr=$(partition "$SCRATCH/slot.disk.raw" "$(basename "$RELEASE")") || fail "no partition named after the release"
        flip_byte "$SCRATCH/slot.disk.raw" "${usr% *}"
        not_booted 'is corrupted' "$SCRATCH/slot.disk.raw"
}

# --- the rest -----------------------------------------------------------------------------------------------------------------

boots_from_nvme() {
        minimal_release
        boot "$SCRATCH/nvme.json" "$RELEASE" --bus nvme
        assert_sealed "$SCRATCH/nvme.json"
}

boots_from_sata() {
        minimal_release
        boot "$SCRATCH/ahci.json" "$RELEASE" --bus ahci
        assert_sealed "$SCRATCH/ahci.json"
}

# Without Secure Boot the firmware starts it; then there is no partition for that hash, and the initrd gives up or restarts.
a_changed_root_hash_finds_no_usr() {
        minimal_release
        copy_disk "$SCRATCH/hash.disk.raw"
        changed_uki "$SCRATCH/hash.disk.raw" flip_root_hash
        not_booted 'emergency|not up after|panic|restarted by itself' "$SCRATCH/hash.disk.raw"
}

a_uki_signed_by_somebody_else_is_refused() {
        minimal_release
        copy_disk "$SCRATCH/other.disk.raw"
        openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=somebody -keyout "$SCRATCH/x.key" -out "$SCRATCH/x.crt" 2>/dev/null
        sign_again() {
                sbattach --remove "$1"
                sbsign --key "$SCRATCH/x.key" --cert "$SCRATCH/x.crt" --output "$1" "$1"
        }
        changed_uki "$SCRATCH/other.disk.raw" sign_again
        not_booted 'access denied|security violation' "$SCRATCH/other.disk.raw" --secure-boot --keys "$KEYS"
}

an_unsigned_uki_is_refused() {
        minimal_release
        copy_disk "$SCRATCH/unsigned.disk.raw"
        changed_uki "$SCRATCH/unsigned.disk.raw" sbattach --remove
        not_booted 'access denied|security violation' "$SCRATCH/unsigned.disk.raw" --secure-boot --keys "$KEYS"
}

run boots_on_a_larger_disk_and_is_blessed
run boots_again_from_what_the_first_boot_left
run boots_from_a_usb_stick_with_secure_boot
run a_changed_byte_of_the_uki_is_refused_by_the_firmware
run a_changed_command_line_is_refused_by_the_firmware
run a_changed_byte_of_the_slot_is_refused_by_dm_verity
if [ "${SEALAB_TEST_ALL:-0}" = 1 ]; then
        run boots_from_nvme
        run boots_from_sata
        run a_changed_root_hash_finds_no_usr
        run a_uki_signed_by_somebody_else_is_refused
        run an_unsigned_uki_is_refused
fi
finish
