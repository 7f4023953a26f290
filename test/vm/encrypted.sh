#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# RootEncryption=tpm2: the first boot makes a root partition that only this machine opens. A build and four boots, one of
# which has to run into its time limit.
#
# Suite: only with --all

. "$(dirname "$0")/../lib.sh"

TIMEOUT=600
MACHINE=$SCRATCH/machine

# An image of its own beside that of minimal_release, made once for each build folder: sets RELEASE.
encrypted_release() {
        local base=$BUILD/tested-encrypted recipes=$BUILD/tested-encrypted/recipes
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
                # The libraries are for giving the TPM a key on the running machine.
                printf '%s\n' '[Recipe]' Extends=minimal '[Image]' Id=encrypted '[Disk]' RootEncryption=tpm2 \
                        '[Packages]' 'Install=libtss2-esys-3.0.2-0t64 libtss2-rc0t64' >"$recipes/encrypted/recipe.conf"
                "$SEALAB" lock "$recipes/encrypted" || fail "the recipe cannot be locked"
                offline "$SEALAB" build "$recipes/encrypted" -o "$base/out" --keys "$KEYS" || fail "the recipe cannot be built"
                : >"$base/complete"
        fi
        exec 9>&-
        RELEASE=$(find "$base/out" -mindepth 1 -maxdepth 1 -type d -name 'encrypted_*')
}

# boot ARGUMENT...: once more if the TPM in software was too slow for the kernel, which a real one is not: with many processes
# for each core it answers late. Not offline: a session needs the loopback, and the machine itself has no way out anyway.
boot() {
        for _ in 1 2; do
                "$SEALAB" boot "$RELEASE" --tpm --state "$MACHINE" --timeout $TIMEOUT --log "$SCRATCH/console" "$@" && return
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

# token FILE KEY: of the one token that systemd keeps beside a LUKS header.
token() { cryptsetup luksDump --dump-json-metadata "$1" | python3 -c 'import json, sys
t, = json.load(sys.stdin)["tokens"].values()
print(json.dumps(t[sys.argv[1]]))' "$2"; }

the_first_boot_makes_an_encrypted_root_partition() {
        encrypted_release
        boot --disk-size 4G --json >"$SCRATCH/first.json"
        assert_equal "$(json "$SCRATCH/first.json" 'd["failed_units"]')" "[]" "failed units ($(json "$SCRATCH/first.json" 'd["failed_logs"]'))"
        assert_equal "$(json "$SCRATCH/first.json" 'd["boot_complete"]')" true "boot-complete.target reached"
        [ "$(json "$SCRATCH/first.json" 'd["root_size"]')" -gt $((3 << 30)) ] || fail "the root file system is too small"
        root_partition >"$SCRATCH/root"
        assert_equal "$(head -c 8 "$SCRATCH/root" | xxd -p)" 4c554b53babe0002 "beginning of the root partition, LUKS version 2"
        assert_equal "$(token "$SCRATCH/root" type)" '"systemd-tpm2"' "where a key is"
        assert_equal "$(token "$SCRATCH/root" tpm2-pcrs)" '[7, 15]' "what the TPM looks at"
        # Every ext4 has it in its first block group.
        if grep -aq 'lost+found' "$SCRATCH/root"; then fail "the root partition can be read without a key"; fi
        mv "$SCRATCH/root" "$SCRATCH/first-root"
}

the_second_boot_opens_it_by_itself_and_grows_it() {
        encrypted_release
        [ -e "$SCRATCH/first-root" ] || skip "the first boot did not get that far"
        boot --disk-size 6G --ssh 'cat /var/lib/sealab/recovery-key; echo; stat -c %a:%u /var/lib/sealab/recovery-key
                df -B1 --output=size / | tail -n 1; cat /sys/class/tpm/tpm0/pcr-sha256/15; findmnt -no SOURCE /
                systemd-cryptenroll --wipe-slot=tpm2 /dev/gpt-auto-root-luks >&2 &&
                        systemd-cryptenroll --unlock-key-file=/var/lib/sealab/recovery-key --tpm2-device=auto \
                        --tpm2-pcrs=7+15:sha256=$(printf %064d 0) /dev/gpt-auto-root-luks >&2 && echo enrolled' >"$SCRATCH/said"
        mapfile -t said <"$SCRATCH/said"
        assert_equal "${said[1]:-}" 600:0 "who can read the recovery key"
        [ "${said[2]:-0}" -gt $((5 << 30)) ] || fail "the root file system did not grow: ${said[2]:-?} bytes"
        [[ ${said[3]:-} =~ [1-9A-F] ]] || fail "the opened volume was not measured: PCR 15 is ${said[3]:-?}"
        assert_equal "${said[4]:-}" /dev/mapper/root "what is mounted on /"
        assert_equal "${said[5]:-}" enrolled "a new key for the TPM, as sealab-recipe(5) has it"
        root_partition >"$SCRATCH/root"
        if [ "$(token "$SCRATCH/root" tpm2-blob)" = "$(token "$SCRATCH/first-root" tpm2-blob)" ]; then fail "the old key stayed"; fi
        assert_equal "$(token "$SCRATCH/root" tpm2-policy-hash)" "$(token "$SCRATCH/first-root" tpm2-policy-hash)" \
                "under which conditions the TPM gives the new key"
        printf %s "${said[0]}" >"$SCRATCH/key"
        cryptsetup open --test-passphrase --key-file "$SCRATCH/key" "$SCRATCH/root" || fail "the recovery key opens nothing"
        printf x >>"$SCRATCH/key"
        if cryptsetup open --test-passphrase --key-file "$SCRATCH/key" "$SCRATCH/root"; then fail "another key opens it, too"; fi
}

another_tpm_does_not_open_it() {
        encrypted_release
        [ -e "$SCRATCH/key" ] || skip "the second boot did not get that far"
        rm -r "$MACHINE/tpm"
        refused 9 offline "$SEALAB" boot "$RELEASE" --tpm --state "$MACHINE" --timeout 240 --log "$SCRATCH/console"
        if grep -aq 'Found device.*/dev/mapper/root' "$SCRATCH/console"; then fail "somebody opened it"; fi
        # The way in that is left.
        grep -aq 'Please enter passphrase for disk root' "$SCRATCH/console" ||
                fail "it failed before anybody was asked: $(tail -n 5 "$SCRATCH/output")"
}

# As somebody would put it there who wants this system to run with what they wrote.
a_root_partition_that_is_not_encrypted_is_refused() {
        local disk=$SCRATCH/plain.disk.raw place
        encrypted_release
        cp --sparse=always "$RELEASE"/*.disk.raw "$disk"
        truncate -s 3G "$disk"
        sgdisk -e -n 0:0:0 -t 0:4f68bce3-e8cd-4db1-96e7-fbcaf984b709 -c 0:root "$disk" >/dev/null
        place=$(partition "$disk" root)
        mkfs.ext4 -q -F -E offset="${place% *}" "$disk" 1G
        refused 9 offline "$SEALAB" boot "$disk" --tpm --timeout 300 --log "$SCRATCH/console"
        grep -q 'failed units: .*systemd-repart' "$SCRATCH/output" || fail "for another reason: $(tail -n 5 "$SCRATCH/output")"
}

run the_first_boot_makes_an_encrypted_root_partition
run the_second_boot_opens_it_by_itself_and_grows_it
run another_tpm_does_not_open_it
run a_root_partition_that_is_not_encrypted_is_refused
finish
