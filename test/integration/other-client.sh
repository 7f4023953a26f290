#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What we publish, read by a client of The Update Framework that is not ours: tuf-js (npm), over a web server.

. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/fixture"

cleanup() {
        [ ! -e "$SCRATCH/server.pid" ] || kill "$(cat "$SCRATCH/server.pid")" 2>/dev/null
        rm -rf "$SCRATCH"
}
trap cleanup EXIT
export no_proxy=127.0.0.1 NO_PROXY=127.0.0.1

install_client() {
        command -v node >/dev/null && command -v npm >/dev/null || skip "node or npm is not installed"
        [ -e "$BUILD/npm-tuf/node_modules/tuf-js/package.json" ] && return
        # It tries for minutes; once is enough.
        [ ! -e "$SCRATCH/npm.failed" ] &&
                npm install --no-audit --no-fund --prefix "$BUILD/npm-tuf" tuf-js@2.2.1 >"$SCRATCH/npm.log" 2>&1 && return
        touch "$SCRATCH/npm.failed"
        skip "npm cannot install tuf-js (no network, or no registry)"
}

# A web server over $SCRATCH/repo; sets URL. Once for all tests.
serve() {
        [ ! -e "$SCRATCH/url" ] || return 0
        python3 - "$SCRATCH" <<'SERVER' &
import functools, http.server, os, sys
class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *a): pass
s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=sys.argv[1] + "/repo"))
open(sys.argv[1] + "/url.new", "w").write("http://127.0.0.1:%d" % s.server_address[1])
os.rename(sys.argv[1] + "/url.new", sys.argv[1] + "/url")
s.serve_forever()
SERVER
        echo $! >"$SCRATCH/server.pid"
        for _ in $(seq 100); do [ -e "$SCRATCH/url" ] && return 0; sleep 0.1; done
        fail "the web server did not start"
}

# client NAME [TARGET...]: refreshes and downloads; starts from the first root.
client() {
        local name=$1
        shift
        if [ ! -e "$SCRATCH/$name" ]; then
                mkdir -p "$SCRATCH/$name"
                cp "$SCRATCH/repo/metadata/1.root.json" "$SCRATCH/$name/root.json"
        fi
        node "$SOURCE/test/integration/other-client.mjs" "$BUILD/npm-tuf" "$(cat "$SCRATCH/url")" "$SCRATCH/$name" "$@" >"$SCRATCH/client.log" 2>&1
}

repo() { "$SEALAB" repo "$@" >"$SCRATCH/output" 2>&1 || fail "repo $*: $(tail -n 3 "$SCRATCH/output")"; }

# Repository and release, once.
published() {
        install_client
        minimal_release
        NAME=$(basename "$RELEASE") VERSION=${RELEASE##*_}
        if [ ! -e "$SCRATCH/repo" ]; then
                "$SEALAB" repo keys generate "$SCRATCH/keys" --root 3 >/dev/null 2>&1 || fail "no keys"
                repo init "$SCRATCH/repo" --keys "$SCRATCH/keys" --root-threshold 2 --channel stable --channel beta
                "$SEALAB" publish "$RELEASE" "$SCRATCH/repo" --keys "$SCRATCH/keys" --channel beta --allow-development --quiet \
                        >"$SCRATCH/output" 2>&1 || fail "publish: $(tail -n 3 "$SCRATCH/output")"
        fi
        serve
        PREFIX=minimal/$VERSION
}

every_target_is_found_and_is_what_was_released() {
        published
        client all "$PREFIX/release.json" "$PREFIX/$NAME.efi" "$PREFIX/$NAME.usr.pack" "$PREFIX/$NAME.usr.index" \
                "$PREFIX/$NAME.spdx.json" || fail "$(cat "$SCRATCH/client.log")"
        cmp "$RELEASE/$NAME.efi" "$SCRATCH/all/targets/minimal_${VERSION}_$NAME.efi" || fail "another UKI"
        # The first of its line, so that all of its frames are zstd's.
        zstd -dq --stdout <"$SCRATCH/all/targets/minimal_${VERSION}_$NAME.usr.pack" | cmp - "$RELEASE/$NAME.usr.erofs" ||
                fail "another image"
}

a_promoted_release_is_found_as_well() {
        published
        repo promote "$SCRATCH/repo" minimal "$VERSION" --from beta --channel stable --rollout 10%/day --keys "$SCRATCH/keys"
        client all "$PREFIX/release.json" || fail "$(cat "$SCRATCH/client.log")"
}

deltas_are_targets_like_all_others() {
        local part target
        published
        variant next
        mkdir -p "$RECIPE/files/usr/share/next"
        echo "what is new" >"$RECIPE/files/usr/share/next/file"
        build -o "$SCRATCH/next" --version "$VERSION.1" >"$SCRATCH/output" 2>&1 || fail "build: $(tail -n 3 "$SCRATCH/output")"
        "$SEALAB" publish "$SCRATCH/next/minimal_$VERSION.1" "$SCRATCH/repo" --keys "$SCRATCH/keys" --channel beta --allow-development \
                --from "$RELEASE" --quiet >"$SCRATCH/output" 2>&1 || fail "publish: $(tail -n 3 "$SCRATCH/output")"
        for part in usr uki; do
                target=minimal/$VERSION.1/$VERSION.$part.delta
                client all "$target" || fail "$(cat "$SCRATCH/client.log")"
                cmp "$SCRATCH"/repo/targets/minimal/"$VERSION.1"/*."$VERSION.$part.delta" "$SCRATCH/all/targets/${target//\//_}"
        done
}

rotated_keys_are_followed() {
        local role
        published
        for role in timestamp snapshot targets stable "root --replace $SCRATCH/keys/root-1.pub"; do
                # shellcheck disable=SC2086  # a role and perhaps an option
                repo keys rotate "$SCRATCH/repo" $role --keys "$SCRATCH/keys"
                client rotated "$PREFIX/release.json" || fail "after the rotation of $role: $(cat "$SCRATCH/client.log")"
        done
        # Who was away all the time follows as well.
        client late "$PREFIX/release.json" || fail "late: $(cat "$SCRATCH/client.log")"
}

keys_of_every_type_are_understood() {
        local type
        published
        for type in ecdsa rsa; do
                "$SEALAB" repo keys generate "$SCRATCH/keys-$type" --type $type --root 1 >/dev/null 2>&1 || fail "no $type keys"
                rm -rf "$SCRATCH/repo.ed25519"
                mv "$SCRATCH/repo" "$SCRATCH/repo.ed25519"
                repo init "$SCRATCH/repo" --keys "$SCRATCH/keys-$type"
                client "$type" || { cp "$SCRATCH/client.log" "$SCRATCH/why"; }
                rm -rf "$SCRATCH/repo"
                mv "$SCRATCH/repo.ed25519" "$SCRATCH/repo"
                [ ! -e "$SCRATCH/why" ] || fail "$type: $(cat "$SCRATCH/why")"
        done
}

a_changed_byte_is_noticed_by_both() {
        local file
        published
        cp -a "$SCRATCH/repo" "$SCRATCH/good"
        for file in timestamp.json "$(cd "$SCRATCH/repo/metadata" && ls -t ./*.stable.json | head -n 1)"; do
                flip_byte "$SCRATCH/repo/metadata/$file" 100
                rm -rf "$SCRATCH/victim"
                if client victim "$PREFIX/release.json"; then fail "tuf-js takes a changed $file"; fi
                refused 5 "$SEALAB" repo verify "$SCRATCH/repo"
                cp "$SCRATCH/good/metadata/$file" "$SCRATCH/repo/metadata/$file"
        done
}

run every_target_is_found_and_is_what_was_released
run a_promoted_release_is_found_as_well
run deltas_are_targets_like_all_others
run rotated_keys_are_followed
run keys_of_every_type_are_understood
run a_changed_byte_is_noticed_by_both
finish
