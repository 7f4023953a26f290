#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Other people's programs accept what a build puts out, and agree with what it says about itself.

. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/fixture"

needs() {
        local tool
        for tool; do command -v "$tool" >/dev/null || skip "$tool is missing"; done
}

# part SUFFIX: the release's file.
part() {
        local file
        file=$(find "$RELEASE" -name "$(basename "$RELEASE").$1")
        [ -n "$file" ] || fail "the release has no $1"
        printf '%s\n' "$file"
}

veritysetup_accepts_the_hash_tree() {
        minimal_release
        needs veritysetup
        veritysetup verify "$(part usr.erofs)" "$(part usr.verity)" "$(cat "$(part usr.roothash)")"
        # And no other image.
        cp "$(part usr.erofs)" "$SCRATCH/changed"
        flip_byte "$SCRATCH/changed" 5000000
        if veritysetup verify "$SCRATCH/changed" "$(part usr.verity)" "$(cat "$(part usr.roothash)")"; then
                fail "a changed image was accepted"
        fi
        rm "$SCRATCH/changed"
}

fsck_erofs_accepts_the_image() {
        local tool
        minimal_release
        tool=$(find "$BUILD/subprojects" -name fsck.erofs -type f -perm -1 -print -quit)
        "${tool:-fsck.erofs}" -d1 --extract --xattrs "$(part usr.erofs)"
        # Debian's own, when it is there, has another version.
        if command -v fsck.erofs >/dev/null; then fsck.erofs -d1 --extract "$(part usr.erofs)"; fi
}

# The kernel's own check of a verity signature is the same: PKCS#7, detached, over the root hash in hexadecimal.
openssl_accepts_the_signature_of_the_root_hash() {
        minimal_release
        needs openssl
        python3 - "$(part usr.verity-sig)" "$SCRATCH/signature.p7" "$SCRATCH/signed" <<'END'
import base64, json, sys
d = json.loads(open(sys.argv[1], "rb").read().rstrip(b"\0"))
open(sys.argv[2], "wb").write(base64.b64decode(d["signature"]))
open(sys.argv[3], "w").write(d["rootHash"])
END
        assert_equal "$(cat "$SCRATCH/signed")" "$(cat "$(part usr.roothash)")" "the root hash that is signed"
        openssl smime -verify -inform DER -in "$SCRATCH/signature.p7" -content "$SCRATCH/signed" -binary -noverify \
                -certfile "$KEYS/verity.crt" -nointern -out /dev/null || fail "the signature does not hold"
        echo x >>"$SCRATCH/signed"
        if openssl smime -verify -inform DER -in "$SCRATCH/signature.p7" -content "$SCRATCH/signed" -binary -noverify \
                -certfile "$KEYS/verity.crt" -nointern -out /dev/null; then
                fail "the signature holds for something else, too"
        fi
        printf %s "$(cat "$(part usr.roothash)")" >"$SCRATCH/signed"
        if openssl smime -verify -inform DER -in "$SCRATCH/signature.p7" -content "$SCRATCH/signed" -binary -noverify \
                -certfile "$KEYS/secureboot.crt" -nointern -out /dev/null; then
                fail "the signature is by any key"
        fi
        openssl x509 -in "$KEYS/verity.crt" -noout -fingerprint -sha256 | cut -d= -f2 | tr -d : | tr A-F a-f >"$SCRATCH/fingerprint"
        grep -qF "$(cat "$SCRATCH/fingerprint")" "$(part usr.verity-sig)" || fail "the fingerprint is not the certificate's"
}

sbverify_accepts_the_uki_and_the_boot_loader() {
        local esp
        minimal_release
        needs sbverify mcopy
        sbverify --cert "$KEYS/secureboot.crt" "$(part efi)"
        if sbverify --cert "$KEYS/verity.crt" "$(part efi)"; then fail "any certificate will do"; fi
        cp "$(part efi)" "$SCRATCH/changed.efi"
        flip_byte "$SCRATCH/changed.efi" $(($(stat -c %s "$SCRATCH/changed.efi") / 2))
        if sbverify --cert "$KEYS/secureboot.crt" "$SCRATCH/changed.efi"; then fail "a changed UKI was accepted"; fi
        esp=$(partition "$DISK" esp)
        mcopy -n -i "$DISK@@${esp% *}" ::/EFI/BOOT/BOOTX64.EFI "$SCRATCH/loader.efi"
        sbverify --cert "$KEYS/secureboot.crt" "$SCRATCH/loader.efi"
}

# section NAME: a section of the UKI, to $SCRATCH/section.
section() { objcopy --dump-section "$1=$SCRATCH/section" "$(part efi)" "$SCRATCH/copy.efi"; }

objdump_finds_the_sections_of_the_uki() {
        local name
        minimal_release
        needs objdump objcopy
        objdump -h "$(part efi)" >"$SCRATCH/sections"
        for name in .linux .initrd .cmdline .osrel .uname; do
                grep -qF " $name " "$SCRATCH/sections" || fail "no section $name: $(cat "$SCRATCH/sections")"
        done
        section .cmdline
        tr -d '\0' <"$SCRATCH/section" | grep -qE "(^| )usrhash=$(cat "$(part usr.roothash)")( |\$)" || fail "usrhash= is not on the command line"
        section .osrel
        grep -qaE '^IMAGE_ID="?minimal"?$' "$SCRATCH/section" || fail "no IMAGE_ID in .osrel"
        section .linux
        # The boot protocol's own mark of a kernel, at its fixed place.
        assert_equal "$(dd if="$SCRATCH/section" bs=1 skip=$((0x202)) count=4 status=none)" HdrS "the header in .linux"
        section .initrd
        cmp -n "$(stat -c %s "$(part initrd)")" "$SCRATCH/section" "$(part initrd)"
}

# As the kernel does it: archive after archive, zeros between them skipped.
zstd_and_cpio_unpack_the_initrd() {
        minimal_release
        needs zstd cpio
        python3 - "$(part initrd)" >"$SCRATCH/list" <<'END'
import subprocess, sys

def frame_end(d, at):
    """RFC 8878: descriptor, window, dictionary, content size, blocks, checksum."""
    descriptor = d[at + 4]
    single = descriptor >> 5 & 1
    at += 5 + (0 if single else 1) + (0, 1, 2, 4)[descriptor & 3] + (single, 2, 4, 8)[descriptor >> 6]
    while True:
        block = int.from_bytes(d[at:at + 3], "little")
        at += 3 + (1 if block >> 1 & 3 == 1 else block >> 3)
        if block & 1:
            return at + (4 if descriptor & 4 else 0)

d, at = open(sys.argv[1], "rb").read(), 0
while at < len(d):
    if d[at] == 0:
        at += 1
        continue
    assert at % 4 == 0 and d[at:at + 4] == b"\x28\xb5\x2f\xfd", f"no zstd frame at {at}"
    end = frame_end(d, at)
    plain = subprocess.run(["zstd", "-dcq"], input=d[at:end], capture_output=True, check=True).stdout
    sys.stdout.write(subprocess.run(["cpio", "-t", "--quiet"], input=plain, capture_output=True, check=True).stdout.decode())
    at = end
END
        assert_equal "$(sort "$SCRATCH/list" | uniq -d | head -n 3)" "" "what is in it twice"
        grep -qE '^init$' "$SCRATCH/list" || fail "no init in the initrd"
        grep -qE 'systemd-veritysetup$' "$SCRATCH/list" || fail "no systemd-veritysetup in the initrd"
}

sfdisk_and_sgdisk_accept_the_disk() {
        local hash usr verity
        minimal_release
        needs sfdisk sgdisk
        sfdisk --verify "$DISK" >"$SCRATCH/output" 2>&1 || fail "sfdisk: $(cat "$SCRATCH/output")"
        if grep -iE 'error|overlap|corrupt|mismatch' "$SCRATCH/output" | grep -viE 'no errors'; then fail "sfdisk: $(cat "$SCRATCH/output")"; fi
        sgdisk --verify "$DISK" >"$SCRATCH/output" 2>&1 || fail "sgdisk: $(cat "$SCRATCH/output")"
        grep -q 'No problems found' "$SCRATCH/output" || fail "sgdisk: $(cat "$SCRATCH/output")"
        # Discoverable Partitions: the first half of the root hash is the data's id, the second half the hash tree's.
        hash=$(cat "$(part usr.roothash)")
        sfdisk --json "$DISK" >"$SCRATCH/table"
        usr=$(json "$SCRATCH/table" '[p["uuid"] for p in d["partitiontable"]["partitions"] if p["type"] == "8484680C-9521-48C6-9C11-B0720656F69E" and p["name"] != "_empty"][0]')
        verity=$(json "$SCRATCH/table" '[p["uuid"] for p in d["partitiontable"]["partitions"] if p["type"] == "77FF5F63-E7B6-4633-ACF4-1565B864C0E6" and p["name"] != "_empty"][0]')
        assert_equal "$(echo "$usr" | tr -d - | tr A-F a-f)" "${hash:0:32}" "the id of the data partition"
        assert_equal "$(echo "$verity" | tr -d - | tr A-F a-f)" "${hash:32:32}" "the id of the hash partition"
}

# blkid looks at the partitions as a booting system does.
blkid_knows_what_the_partitions_hold() {
        local place
        minimal_release
        needs blkid
        place=$(partition "$DISK" "$(basename "$RELEASE")")
        assert_equal "$(blkid -p -O "${place% *}" -S "${place#* }" -o value -s TYPE "$DISK")" erofs "the data partition"
        place=$(partition "$DISK" esp)
        assert_equal "$(blkid -p -O "${place% *}" -S "${place#* }" -o value -s TYPE "$DISK")" vfat "the ESP"
}

fsck_fat_and_mtools_accept_the_esp() {
        local esp
        minimal_release
        needs fsck.vfat mdir mcopy
        esp=$(partition "$DISK" esp)
        dd if="$DISK" of="$SCRATCH/esp" bs=1M iflag=skip_bytes,count_bytes skip="${esp% *}" count="${esp#* }" conv=sparse status=none
        fsck.vfat -n "$SCRATCH/esp" || fail "fsck.vfat finds faults"
        mdir -/ -b -i "$SCRATCH/esp" ::/ >"$SCRATCH/files"
        grep -qi '/EFI/BOOT/BOOTX64.EFI' "$SCRATCH/files" || fail "no boot loader: $(cat "$SCRATCH/files")"
        grep -q "/EFI/Linux/$(basename "$RELEASE")+3-0.efi" "$SCRATCH/files" || fail "no entry: $(cat "$SCRATCH/files")"
        mcopy -n -i "$SCRATCH/esp" "::/EFI/Linux/$(basename "$RELEASE")+3-0.efi" "$SCRATCH/entry"
        cmp "$SCRATCH/entry" "$(part efi)"
        rm "$SCRATCH/esp"
}

# Tools for bills of materials are not on Debian; the schema's own rules about references are.
the_bill_of_materials_hangs_together() {
        minimal_release
        python3 - "$(part spdx.json)" "$RECIPE_LOCK" <<'END'
import json, re, sys
d, lock = json.load(open(sys.argv[1])), json.load(open(sys.argv[2]))
assert d["spdxVersion"] == "SPDX-2.3" and d["dataLicense"] == "CC0-1.0" and d["SPDXID"] == "SPDXRef-DOCUMENT"
ids = [p["SPDXID"] for p in d["packages"]]
assert len(ids) == len(set(ids)), "an id is used twice"
assert all(re.fullmatch(r"SPDXRef-[A-Za-z0-9.-]+", i) for i in ids), "an id with a character that is not allowed"
known = set(ids) | {d["SPDXID"]} | {f["SPDXID"] for f in d.get("files", [])}
for r in d["relationships"]:
    assert r["spdxElementId"] in known and r["relatedSpdxElement"] in known, f"leads to nothing: {r}"
have = {(p["name"], p.get("versionInfo")) for p in d["packages"]}
for p in lock["packages"]:
    if "image" in p["for"]:
        assert (p["name"], p["version"]) in have, f"{p['name']} {p['version']} is not in it"
END
}

# A newer systemd than the build host's looks at the disk as the device will.
a_newer_systemd_accepts_the_disk() {
        local root=${SEALAB_TEST_ROOT:-}
        minimal_release
        if [ -z "$root" ]; then
                [ "$(id -u)" = 0 ] || skip "only root can make a chroot"
                needs mmdebstrap
                root=$SCRATCH/root
                mmdebstrap --quiet --variant=apt --include=systemd-container,systemd-repart,udev trixie "$root" || skip "no Debian 13 to be had"
        fi
        [ -x "$root/usr/bin/systemd-dissect" ] || skip "no systemd-dissect in $root"
        # shellcheck disable=SC2016
        unshare --mount sh -ec '
                root=$1
                mount --bind "$root" "$root"
                for folder in proc sys dev; do mount --rbind /$folder "$root/$folder"; done
                mount -t tmpfs tmpfs "$root/mnt"
                : >"$root/mnt/disk.raw"
                mkdir "$root/mnt/repart.d"
                mount --bind "$2" "$root/mnt/disk.raw"
                printf "[Partition]\nType=root\nLabel=root\nFormat=ext4\nSizeMinBytes=512M\n" >"$root/mnt/repart.d/50-root.conf"
                chroot "$root" systemd-dissect --validate /mnt/disk.raw
                chroot "$root" systemd-dissect --json=short /mnt/disk.raw
                chroot "$root" systemd-repart --dry-run=yes --definitions=/mnt/repart.d --size=8G --json=short /mnt/disk.raw' - \
                "$root" "$DISK" >"$SCRATCH/output" 2>&1 || fail "$(cat "$SCRATCH/output")"
        cat "$SCRATCH/output"
        grep -q usr-verity "$SCRATCH/output" || fail "systemd-dissect does not see the hash tree: $(cat "$SCRATCH/output")"
}

minimal_release
RECIPE_LOCK=${KEYS%/*}/recipes/minimal/recipe.lock

run veritysetup_accepts_the_hash_tree
run fsck_erofs_accepts_the_image
run openssl_accepts_the_signature_of_the_root_hash
run sbverify_accepts_the_uki_and_the_boot_loader
run objdump_finds_the_sections_of_the_uki
run zstd_and_cpio_unpack_the_initrd
run sfdisk_and_sgdisk_accept_the_disk
run blkid_knows_what_the_partitions_hold
run fsck_fat_and_mtools_accept_the_esp
run the_bill_of_materials_hangs_together
if [ "${SEALAB_TEST_ALL:-0}" = 1 ]; then
        run a_newer_systemd_accepts_the_disk
fi
finish
