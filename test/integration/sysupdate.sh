#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# A device that has only systemd follows what "sealab publish --sysupdate-layout" writes: Debian 13's own systemd-sysupdate, in
# a chroot, with the transfer files and keys out of the image, over HTTP, on a disk with two slots. Network: the Debian mirror.

. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/fixture"

export no_proxy=127.0.0.1 NO_PROXY=127.0.0.1
S=$SCRATCH/sysupdate
WEB=$S/web
ROOT=$S/root
DEVICE_DISK=$ROOT/disk.img
OUT=$S/out
OLD=2026.10.1 ONE=2026.11.1 TWO=2026.11.2
mkdir -p "$WEB" "$OUT"
server=
cleanup() {
        [ -z "$server" ] || kill "$server" 2>/dev/null
        rm -rf "$SCRATCH"
}
trap cleanup EXIT

# --- the publisher ------------------------------------------------------------------------------------------------------

# make_key NAME: $S/NAME.secret and $S/NAME.public.
make_key() {
        local home=$S/gpg-$1
        mkdir -m 700 "$home"
        gpg --homedir "$home" --batch --quiet --passphrase '' --quick-generate-key "$1 <$1@example.org>" ed25519 sign never
        gpg --homedir "$home" --batch --export-secret-keys >"$S/$1.secret"
        gpg --homedir "$home" --batch --export >"$S/$1.public"
        gpgconf --homedir "$home" --kill all
}

start_server() {
        (
                cd "$WEB" || exit
                exec python3 - "$S/port" <<'END'
import http.server, os, sys
s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
with open(sys.argv[1] + ".new", "w") as f:
    f.write(str(s.server_address[1]))
os.rename(sys.argv[1] + ".new", sys.argv[1])
s.serve_forever()
END
        ) >"$S/server.log" 2>&1 &
        server=$!
        for _ in $(seq 100); do
                [ ! -e "$S/port" ] || return 0
                sleep 0.1
        done
        return 1
}

publish() {
        local version=$1
        shift
        "$SEALAB" publish "$OUT/minimal_$version" "$WEB" --sysupdate-layout --gpg-key "$S/updates.secret" --allow-development "$@"
}

# --- the device ---------------------------------------------------------------------------------------------------------

no_programs() { echo "$1" >"$S/no-programs"; skip "$1"; }

# What systemd-sysupdate and systemd-pull load, partly at run time. Kept in the build folder.
sysupdate_root() {
        local archive=$BUILD/sysupdate-root.tar uri
        command -v mmdebstrap >/dev/null || no_programs "mmdebstrap is not installed"
        if [ ! -f "$archive" ]; then
                # shellcheck disable=SC2016  # apt's own words
                uri=$(apt-get indextargets --format '$(REPO_URI) $(COMPONENT)' 'Created-By: Packages' |
                        awk '$2 == "main" && $1 ~ /debian\/?$/ { print $1; exit }')
                [ -n "$uri" ] || no_programs "apt is not set up for a Debian mirror"
                mmdebstrap --quiet --format=tar --variant=extract --include=systemd-container,gpg,libfdisk1,libcurl4t64,libssl3t64 \
                        --aptopt='Acquire::Check-Valid-Until "false"' trixie "$archive.part" \
                        "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri trixie main"
                mv "$archive.part" "$archive"
        fi
        mkdir -p "$ROOT"
        tar -C "$ROOT" -xf "$archive" --exclude='./dev/*' --no-same-owner
        mkdir -p "$ROOT/proc" "$ROOT/dev" "$ROOT/efi/EFI/Linux"
}

# sysupdate ARGUMENT...: as root of the chroot, which takes a user namespace where this is not root.
sysupdate() {
        local namespaces=(--mount)
        [ "$(id -u)" = 0 ] || namespaces+=(--map-root-user)
        # shellcheck disable=SC2016  # for the shell inside
        unshare "${namespaces[@]}" sh -c '
                mount --rbind /proc "$0/proc" && mount --rbind /dev "$0/dev" &&
                exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_ESP_PATH=/efi SYSTEMD_RELAX_ESP_CHECKS=1 \
                        chroot "$0" /usr/lib/systemd/systemd-sysupdate "$@"' "$ROOT" "$@"
}

# runs VERSION: what the device says that it runs, and protects.
runs() {
        sed -i '/^IMAGE_/d' "$ROOT/usr/lib/os-release"
        printf 'IMAGE_ID=minimal\nIMAGE_VERSION=%s\n' "$1" >>"$ROOT/usr/lib/os-release"
}

# Slots with room for both releases; the old version fills one of them, dirt the other.
make_disk() {
        local usr
        usr=$(($(stat -c %s "$OUT/minimal_$ONE/minimal_$ONE.usr.erofs") / 1048576 + 8))
        rm -f "$DEVICE_DISK"
        truncate -s $((2 * (usr + 10) + 80))M "$DEVICE_DISK"
        sfdisk -q "$DEVICE_DISK" <<END
label: gpt
size=64MiB, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name=esp
size=${usr}MiB, type=8484680c-9521-48c6-9c11-b0720656f69e, name=minimal_$OLD, attrs="GUID:60"
size=8MiB, type=77ff5f63-e7b6-4633-acf4-1565b864c0e6, name=minimal_${OLD}_verity, attrs="GUID:60"
size=1MiB, type=e7bb33fb-06cf-4e81-8273-e543b413e2e2, name=minimal_${OLD}_verity_sig, attrs="GUID:60"
size=${usr}MiB, type=8484680c-9521-48c6-9c11-b0720656f69e, name=_empty, attrs="GUID:60,63"
size=8MiB, type=77ff5f63-e7b6-4633-acf4-1565b864c0e6, name=_empty, attrs="GUID:60,63"
size=1MiB, type=e7bb33fb-06cf-4e81-8273-e543b413e2e2, name=_empty, attrs="GUID:60,63"
END
        python3 - "$DEVICE_DISK" <<'END'
import json, subprocess, sys
table = json.loads(subprocess.check_output(["sfdisk", "--json", sys.argv[1]]))["partitiontable"]
with open(sys.argv[1], "r+b") as f:
    for i, p in enumerate(table["partitions"][1:]):
        f.seek(p["start"] * 512)
        f.write((b"old system" if i < 3 else b"{dirt}").ljust(16) * 4096)
END
        rm -f "$ROOT"/efi/EFI/Linux/*
        echo 'old UKI' >"$ROOT/efi/EFI/Linux/minimal_$OLD.efi"
        runs "$OLD"
}

# The image's own transfer files and keys; only which disk it is they find out on a booted system alone.
install_transfers() {
        local tool name
        tool=$(find "$BUILD/subprojects" -name fsck.erofs -type f -perm -1 -print -quit)
        "${tool:-fsck.erofs}" --extract="$S/usr" --no-preserve "$OUT/minimal_$ONE/minimal_$ONE.usr.erofs" >/dev/null
        rm -rf "$ROOT/usr/lib/sysupdate.d"
        cp -r "$S/usr/lib/sysupdate.d" "$ROOT/usr/lib/"
        rm -f "$ROOT"/usr/lib/systemd/import-pubring.*
        cp -P "$S"/usr/lib/systemd/import-pubring.* "$ROOT/usr/lib/systemd/"
        rm -rf "${S:?}/usr"
        for name in 10-verity-sig 20-verity 30-usr; do
                mkdir -p "$ROOT/etc/sysupdate.d/$name.transfer.d"
                printf '[Target]\nPath=/disk.img\n' >"$ROOT/etc/sysupdate.d/$name.transfer.d/disk.conf"
        done
}

# holds VERSION: one slot holds exactly this release (bytes, ids, labels, flags), and the ESP its UKI with three tries.
holds() {
        cmp "$OUT/minimal_$1/minimal_$1.efi" "$ROOT/efi/EFI/Linux/minimal_$1+3-0.efi"
        python3 - "$DEVICE_DISK" "$OUT/minimal_$1/minimal_$1" "$1" <<'END'
import json, subprocess, sys, uuid
disk, stem, version = sys.argv[1:]
table = json.loads(subprocess.check_output(["sfdisk", "--json", disk]))["partitiontable"]["partitions"]
root_hash = open(stem + ".usr.roothash").read().strip()
f = open(disk, "rb")
for part, label, kind, wanted in (
        ("usr.erofs", "", "8484680c-9521-48c6-9c11-b0720656f69e", root_hash[:32]),
        ("usr.verity", "_verity", "77ff5f63-e7b6-4633-acf4-1565b864c0e6", root_hash[32:]),
        ("usr.verity-sig", "_verity_sig", "e7bb33fb-06cf-4e81-8273-e543b413e2e2", None)):
    found = [p for p in table if p.get("name") == f"minimal_{version}{label}"]
    assert len(found) == 1, (part, table)
    p = found[0]
    assert p["type"].lower() == kind, p
    assert p.get("attrs") == "GUID:60", p
    assert wanted is None or uuid.UUID(p["uuid"]) == uuid.UUID(wanted), p
    f.seek(p["start"] * 512)
    content = open(f"{stem}.{part}", "rb").read()
    assert f.read(len(content)) == content, part + " differs"
    if wanted is None:
        # systemd reads JSON and then zeros only.
        assert not any(f.read(16384 - len(content))), "there is something behind the signature"
END
}

# state: everything that an update may change.
state() {
        sfdisk -d "$DEVICE_DISK"
        (cd "$ROOT/efi" && find . -type f -name '*.efi' -exec sha256sum {} + | sort)
}

# slot VERSION: digest of its three partitions, with the table's lines.
slot() {
        local label
        sfdisk -d "$DEVICE_DISK" | grep "name=\"minimal_$1"
        for label in "minimal_$1" "minimal_$1_verity" "minimal_$1_verity_sig"; do
                # shellcheck disable=SC2046  # two numbers
                set -- "$1" $(partition "$DEVICE_DISK" "$label")
                dd if="$DEVICE_DISK" bs=1M iflag=skip_bytes,count_bytes skip="$2" count="$3" status=none | sha256sum
        done
}

# refuses NAME: an update ends with an error, and the device is as before.
refuses() {
        local before
        before=$(state)
        if sysupdate update; then fail "$1: it was installed"; fi
        # Parts that were fetched lie in the empty slot, without a name.
        assert_equal "$(state | grep -c "$TWO")" 0 "$1: names of the new version"
        assert_equal "$(state | grep "$ONE")" "$(grep "$ONE" <<<"$before")" "$1: the running version"
}

# Without the programs of Debian 13 there is nothing to look at; other reasons for there being no device are failures.
need_device() {
        [ ! -e "$S/no-programs" ] || skip "$(cat "$S/no-programs")"
        [ -e "$1" ] || fail "the step before did not get so far"
}

# --- tests --------------------------------------------------------------------------------------------------------------

releases_are_built_and_the_first_one_published() {
        local version
        variant sysupdate
        make_key updates
        make_key stranger
        cp "$S/updates.public" "$RECIPE/updates.gpg"
        drop_in "[Update]\nSysupdateSource=http://127.0.0.1:$(cat "$S/port")\nSysupdateKeyring=updates.gpg"
        for version in "$ONE" "$TWO"; do build -o "$OUT" --version "$version"; done
        publish "$ONE"
        (cd "$WEB" && sha256sum --strict -c SHA256SUMS && gpgv --keyring "$S/updates.public" SHA256SUMS.gpg SHA256SUMS)
}

systemd_sees_the_release() {
        sysupdate_root
        install_transfers
        make_disk
        sysupdate --version
        assert_equal "$(sysupdate check-new)" "$ONE" "check-new"
        sysupdate list | grep -E "$ONE .*candidate"
        sysupdate list | grep -E "$OLD .*current"
}

systemd_installs_what_the_release_holds() {
        local before
        need_device "$DEVICE_DISK"
        before=$(slot "$OLD")
        sysupdate update
        holds "$ONE"
        assert_equal "$(slot "$OLD")" "$before" "the slot of the running version"
        assert_equal "$(cat "$ROOT/efi/EFI/Linux/minimal_$OLD.efi")" "old UKI" "the UKI of the running version"
        if sysupdate check-new; then fail "there still is something new"; fi
}

tampering_is_refused() {
        local payload
        need_device "$ROOT/efi/EFI/Linux/minimal_$ONE+3-0.efi"
        runs "$ONE"
        publish "$TWO" --best-before 30
        sysupdate check-new | grep -Fx "$TWO"

        payload=$(find "$WEB" -name "minimal_${TWO}_*.usr.raw.xz")
        flip_byte "$payload" 1000000
        refuses "a changed payload"
        flip_byte "$payload" 1000000

        flip_byte "$WEB/minimal_$TWO.efi" 5000
        refuses "a changed UKI"
        flip_byte "$WEB/minimal_$TWO.efi" 5000

        # The manifest follows the payload, but nobody signed that.
        cp "$WEB/SHA256SUMS" "$S/sums"
        cp "$WEB/SHA256SUMS.gpg" "$S/signature"
        flip_byte "$payload" 1000000
        (cd "$WEB" && sha256sum -b -- *.xz *.efi >SHA256SUMS)
        refuses "a changed manifest"
        gpg --homedir "$S/gpg-stranger" --batch --quiet --yes --output "$WEB/SHA256SUMS.gpg" --detach-sign "$WEB/SHA256SUMS"
        gpgconf --homedir "$S/gpg-stranger" --kill all
        refuses "a manifest signed by a stranger"
        rm "$WEB/SHA256SUMS.gpg"
        refuses "a manifest without a signature"
        flip_byte "$payload" 1000000

        # What a publication leaves that was stopped between signature and manifest.
        cp "$S/signature" "$WEB/SHA256SUMS.gpg"
        grep -v "$TWO" "$S/sums" >"$WEB/SHA256SUMS"
        refuses "an old manifest under a new signature"
        cp "$S/sums" "$WEB/SHA256SUMS"
}

the_next_release_takes_the_other_slot() {
        local before
        need_device "$S/sums"
        publish "$TWO"
        before=$(slot "$ONE")
        sysupdate update
        holds "$TWO"
        assert_equal "$(slot "$ONE")" "$before" "the slot of the running version"
        assert_equal "$(cd "$ROOT/efi/EFI/Linux" && echo *)" "minimal_$ONE+3-0.efi minimal_$TWO+3-0.efi" "the ESP"
        assert_equal "$(sfdisk -d "$DEVICE_DISK" | grep -c "$OLD")" 0 "partitions of the version before"
}

start_server || { echo "not ok sysupdate: the web server does not start" >&3; exit 1; }
run releases_are_built_and_the_first_one_published
run systemd_sees_the_release
run systemd_installs_what_the_release_holds
run tampering_is_refused
run the_next_release_takes_the_other_slot
finish
