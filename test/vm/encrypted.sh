#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# RootEncryption=tpm2: the first boot makes a root partition that only this machine opens. Only with --all: a build and three
# boots, the last of which has to run into its time limit.

. "$(dirname "$0")/../lib.sh"

TIMEOUT=600
MACHINE=$SCRATCH/machine

# An image of its own beside that of minimal_release, made once for each build folder: sets RELEASE.
encrypted_release() {
        local base=$BUILD/tested-encrypted recipes=$BUILD/tested-encrypted/recipes
        [ "${SEALAB_TEST_ALL:-0}" = 1 ] || skip "a build and three boots: with --all"
        command -v swtpm >/dev/null || skip "swtpm is not installed"
        minimal_release
        mkdir -p "$base"
        exec 9>"$base/.made-by-one"
        flock 9
        if [ ! -e "$base/complete" ] || [ "$BUILD/tested-image/complete" -nt "$base/complete" ]; then
                rm -rf "$base/complete" "$base/out" "$recipes"
                mkdir -p "$recipes/encrypted"
                cp -a "$BUILD/tested-image/recipes/minimal" "$recipes/"
                cp "$recipes/minimal/ids.lock" "$recipes/encrypted/"
                printf '[Recipe]\nExtends=minimal\n[Image]\nId=encrypted\n[Disk]\nRootEncryption=tpm2\n' \
                        >"$recipes/encrypted/recipe.conf"
                "$SEALAB" lock "$recipes/encrypted" || fail "the recipe cannot be locked"
                offline "$SEALAB" build "$recipes/encrypted" -o "$base/out" --keys "$KEYS" || fail "the recipe cannot be built"
                : >"$base/complete"
        fi
        exec 9>&-
        RELEASE=$(find "$base/out" -mindepth 1 -maxdepth 1 -type d -name 'encrypted_*')
}

# boot ARGUMENT...: once more if the TPM in software was too slow for the kernel, which a real one is not: with many processes
# for each core it answers late.
boot() {
        local try
        for try in 1 2; do
                offline "$SEALAB" boot "$RELEASE" --tpm --state "$MACHINE" --timeout $TIMEOUT --log "$SCRATCH/console" "$@" && return
                grep -q 'tpm0: Operation Timed out' "$SCRATCH/console" || break
        done
        fail "did not come up: $(tail -c 600 "$SCRATCH/console")"
}

# What the root partition holds, up to its first 256 MiB: the file system's own tables and its first files.
root_partition() {
        local place
        place=$(partition "$MACHINE/disk.raw" root) || fail "no root partition"
        dd if="$MACHINE/disk.raw" bs=1M iflag=skip_bytes,count_bytes skip="${place% *}" count=$((256 << 20)) status=none
}

the_first_boot_makes_an_encrypted_root_partition() {
        encrypted_release
        boot --disk-size 4G --json >"$SCRATCH/first.json"
        assert_equal "$(json "$SCRATCH/first.json" 'd["failed_units"]')" "[]" "failed units ($(json "$SCRATCH/first.json" 'd["failed_logs"]'))"
        assert_equal "$(json "$SCRATCH/first.json" 'd["boot_complete"]')" true "boot-complete.target reached"
        [ "$(json "$SCRATCH/first.json" 'd["root_size"]')" -gt $((3 << 30)) ] || fail "the root file system is too small"
        root_partition >"$SCRATCH/root"
        assert_equal "$(head -c 8 "$SCRATCH/root" | xxd -p)" 4c554b53babe0002 "beginning of the root partition, LUKS version 2"
        cryptsetup luksDump "$SCRATCH/root" >"$SCRATCH/luks"
        grep -q 'systemd-tpm2' "$SCRATCH/luks" || fail "no key is with the TPM: $(cat "$SCRATCH/luks")"
        grep -Eq 'tpm2-hash-pcrs: +7\+15' "$SCRATCH/luks" || fail "the TPM looks at other registers: $(cat "$SCRATCH/luks")"
        # Every ext4 has it in its first block group.
        if grep -aq 'lost+found' "$SCRATCH/root"; then fail "the root partition can be read without a key"; fi
}

the_second_boot_opens_it_by_itself_and_grows_it() {
        encrypted_release
        [ -e "$SCRATCH/luks" ] || skip "the first boot did not get that far"
        boot --disk-size 6G --ssh 'cat /var/lib/sealab/recovery-key; echo; stat -c %a:%u /var/lib/sealab/recovery-key
                df -B1 --output=size / | tail -n 1; cat /sys/class/tpm/tpm0/pcr-sha256/15; findmnt -no SOURCE /' >"$SCRATCH/said"
        mapfile -t said <"$SCRATCH/said"
        assert_equal "${said[1]:-}" 600:0 "who can read the recovery key"
        [ "${said[2]:-0}" -gt $((5 << 30)) ] || fail "the root file system did not grow: ${said[2]:-?} bytes"
        [[ ${said[3]:-} =~ [1-9A-F] ]] || fail "the opened volume was not measured: PCR 15 is ${said[3]:-?}"
        assert_equal "${said[4]:-}" /dev/mapper/root "what is mounted on /"
        root_partition >"$SCRATCH/root"
        printf %s "${said[0]}" >"$SCRATCH/key"
        cryptsetup open --test-passphrase --key-file "$SCRATCH/key" "$SCRATCH/root" || fail "the recovery key opens nothing"
        printf x >>"$SCRATCH/key"
        if cryptsetup open --test-passphrase --key-file "$SCRATCH/key" "$SCRATCH/root"; then fail "another key opens it, too"; fi
}

another_tpm_does_not_open_it() {
        encrypted_release
        [ -e "$SCRATCH/key" ] || skip "the second boot did not get that far"
        rm -r "$MACHINE/tpm"
        refused 9 offline "$SEALAB" boot "$RELEASE" --tpm --state "$MACHINE" --timeout 300 --log "$SCRATCH/console"
        grep -q 'Found device.*dev-mapper-root' "$SCRATCH/console" && fail "somebody opened it"
        grep -q 'systemd-cryptsetup@root' "$SCRATCH/console" || fail "it failed before anybody tried: $(tail -n 5 "$SCRATCH/output")"
}

run the_first_boot_makes_an_encrypted_root_partition
run the_second_boot_opens_it_by_itself_and_grows_it
run another_tpm_does_not_open_it
finish
