#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Servers that misbehave in every way that came to mind (hostile.py has the table), each against "sealabd job update" on a
# machine that is a folder.

. "$(dirname "$0")/../lib.sh"

TOOL=$BUILD/updater-tool
W=$SCRATCH/w
export no_proxy=127.0.0.1 NO_PROXY=127.0.0.1
# The workers are somebody else.
chmod 0755 "$BUILD/scratch" "$SCRATCH"

publish() { "$SEALAB" publish "$W/releases/desk_$1" "$W/repo" --keys "$W/keys" --allow-development "${@:2}"; }

key() { openssl ecparam -name prime256v1 -genkey -noout -out "$W/tls/$1.key"; }

# Of the right host, of another one, and by an authority that nobody knows.
certificates() {
        local name address authority
        mkdir "$W/tls"
        for name in ca foreign-ca; do
                key $name
                openssl req -x509 -new -days 2 -subj "/CN=$name" -key "$W/tls/$name.key" -out "$W/tls/$name.crt"
        done
        for name in good:127.0.0.1:ca other:127.0.0.9:ca foreign:127.0.0.1:foreign-ca; do
                IFS=: read -r name address authority <<<"$name"
                key "$name"
                openssl req -new -subj "/CN=$name" -key "$W/tls/$name.key" -out "$W/tls/$name.csr"
                openssl x509 -req -days 2 -in "$W/tls/$name.csr" -CA "$W/tls/$authority.crt" -CAkey "$W/tls/$authority.key" \
                        -CAcreateserial -extfile <(echo "subjectAltName=IP:$address") -out "$W/tls/$name.crt"
                cat "$W/tls/$name.crt" "$W/tls/$name.key" >"$W/tls/$name.pem"
        done
}

two_releases_and_foreign_metadata_are_made() {
        command -v openssl >/dev/null || skip "openssl is missing"
        mkdir -p "$W"
        for v in 1:a 2:b 3:c; do "$TOOL" release "$W/releases" "${v%:*}" "${v#*:}"; done
        "$TOOL" machine "$W/pristine" "$W/releases/desk_1"
        new_repository "$W/repo" --channel stable --channel beta
        publish 2 --epoch 5
        cp -a "$W/repo" "$W/repo-2"
        publish 3 --epoch 6
        mv "$W/repo" "$W/repo-3"
        "$SEALAB" repo keys generate "$W/foreign-keys"
        "$SEALAB" repo init "$W/foreign" --keys "$W/foreign-keys" --channel stable
        certificates
}

run two_releases_and_foreign_metadata_are_made
[ -e "$W/tls/foreign.pem" ] || finish
python3 "$SOURCE/test/integration/hostile.py" "$BUILD/sealabd" "$W" >&3 || failed=1
finish
