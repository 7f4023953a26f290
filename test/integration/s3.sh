#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Repositories in a bucket: against s3rver, a server that speaks S3 (npm), behind a proxy of ours that checks signatures,
# which s3rver does not, and fails on demand (s3-proxy.py).

. "$(dirname "$0")/../lib.sh"

TOOL=${STORAGE_TOOL:-$BUILD/storage-tool}
S=$SCRATCH/s3
mkdir -p "$S/data" "$S/state"
export AWS_ACCESS_KEY_ID=S3RVER AWS_SECRET_ACCESS_KEY=S3RVER AWS_REGION=eu-test-1 XDG_STATE_HOME=$S/state
unset AWS_SESSION_TOKEN AWS_DEFAULT_REGION AWS_ENDPOINT_URL AWS_ENDPOINT_URL_S3 AWS_CA_BUNDLE
export no_proxy=127.0.0.1 NO_PROXY=127.0.0.1
PLACE=s3://bucket/some/place
pids=()
cleanup() { kill "${pids[@]}" 2>/dev/null; rm -rf "$SCRATCH"; }
trap cleanup EXIT

mode() { printf '%s' "$1" >"$S/mode.new"; mv "$S/mode.new" "$S/mode"; }
random_file() { dd if=/dev/urandom of="$1" bs=1M count="$2" status=none; }
waited() { local i; for i in $(seq 300); do [ -e "$1" ] && return; sleep 0.1; done; fail "$1 does not appear"; }
sent_parts() { awk '/partNumber=/ { n += $NF } END { print n + 0 }' "$S/log"; }

install_server() {
        command -v node >/dev/null && command -v npm >/dev/null || skip "node or npm is not installed"
        [ -e "$BUILD/npm/node_modules/s3rver/package.json" ] ||
                npm install --no-audit --no-fund --prefix "$BUILD/npm" s3rver@3.7.1 ||
                skip "npm cannot install s3rver (no network, or no registry)"
}

start_server() {
        local port legacy=()
        python3 - <<'END' >"$S/server-port"
import socket
with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    print(s.getsockname()[1])
END
        port=$(cat "$S/server-port")
        # Its continuation tokens are made with DES.
        node --openssl-legacy-provider -e '' 2>/dev/null && legacy=(--openssl-legacy-provider)
        node "${legacy[@]}" "$BUILD/npm/node_modules/s3rver/bin/s3rver.js" -d "$S/data" -a 127.0.0.1 -p "$port" --no-vhost-buckets \
                --configure-bucket bucket >"$S/server.log" 2>&1 &
        pids+=($!)
        python3 "$SOURCE/test/integration/s3-proxy.py" "$port" "$S" >"$S/proxy.log" 2>&1 &
        pids+=($!)
        for _ in $(seq 100); do
                [ -e "$S/port" ] && grep -q listening "$S/server.log" && break
                sleep 0.1
        done
        AWS_ENDPOINT_URL=http://127.0.0.1:$(cat "$S/port")
        export AWS_ENDPOINT_URL
}

# An object's headers, as anybody gets them.
headers() {
        mode '{"public": true}'
        curl -sSI "$AWS_ENDPOINT_URL/bucket/some/place/$1" | tr -d '\r'
        mode '{}'
}

files_are_written_read_listed_and_removed() {
        local f=$S/small
        printf 'one' >"$f"
        "$TOOL" $PLACE write metadata/1.root.json "$f"
        "$TOOL" $PLACE short metadata/timestamp.json "$f"
        # Everything that needs escaping in a path, a signature or XML.
        "$TOOL" $PLACE write "targets/a+b~c=d&e<f> %41 ü'\"*(1)!.efi" "$f"
        assert_equal "$("$TOOL" $PLACE read metadata/1.root.json)" one "content"
        printf 'another' >"$f"
        "$TOOL" $PLACE write metadata/1.root.json "$f"
        assert_equal "$("$TOOL" $PLACE read metadata/1.root.json)" another "content that replaces"
        assert_equal "$("$TOOL" $PLACE size metadata/1.root.json)" 7 size
        assert_equal "$("$TOOL" $PLACE list "" | cut -d' ' -f1-2 | head -n 2 | tr '\n' ,)" \
                "metadata/1.root.json 7,metadata/timestamp.json 3," "the list"
        assert_equal "$("$TOOL" $PLACE list targets/ | grep -c "a+b~c=d&e<f> %41 ü'\"\*(1)!.efi 3 ")" 1 "the name in the list"
        "$TOOL" $PLACE list metadata/ | awk -v now="$(date +%s)" '{ if ($3 < now - 100 || $3 > now + 100) exit 1 }' ||
                fail "times of the list"
        assert_equal "$("$TOOL" $PLACE read "targets/a+b~c=d&e<f> %41 ü'\"*(1)!.efi")" one "the name with everything"
        refused 100 "$TOOL" $PLACE read metadata/none.json
        refused 100 "$TOOL" $PLACE size metadata/none.json
        refused 100 "$TOOL" $PLACE remove metadata/none.json
        "$TOOL" $PLACE remove metadata/1.root.json
        refused 100 "$TOOL" $PLACE read metadata/1.root.json
        : >"$f"
        "$TOOL" $PLACE write empty "$f"
        assert_equal "$("$TOOL" $PLACE size empty)" 0 "the size of nothing"
        # The same place by its other name.
        assert_equal "$("$TOOL" "$AWS_ENDPOINT_URL/bucket/some/place/" read metadata/timestamp.json)" one "path style"
}

caches_are_told_how_long() {
        headers metadata/timestamp.json >"$S/headers"
        grep -qi '^cache-control: public, max-age=60, no-transform$' "$S/headers" || fail "$(cat "$S/headers")"
        grep -qi '^content-type: application/json$' "$S/headers" || fail "$(cat "$S/headers")"
        headers empty >"$S/headers"
        grep -qi '^cache-control: public, max-age=31536000, immutable, no-transform$' "$S/headers" || fail "$(cat "$S/headers")"
        random_file "$S/20" 20
        "$TOOL" $PLACE upload targets/20 "$S/20"
        headers targets/20 >"$S/headers"
        grep -qi '^cache-control: public, max-age=31536000, immutable, no-transform$' "$S/headers" || fail "$(cat "$S/headers")"
        grep -qi '^content-type: application/octet-stream$' "$S/headers" || fail "$(cat "$S/headers")"
}

long_lists_come_in_pages() {
        local i
        node --openssl-legacy-provider -e 'require("crypto").createCipheriv("des", Buffer.alloc(8), Buffer.alloc(8))' ||
                skip "this node has no DES, with which s3rver makes its continuation tokens"
        printf x >"$S/x"
        for i in 1 2 3 4 5 6 7; do "$TOOL" s3://bucket/pages write "list/$i" "$S/x"; done
        mode '{"page": 3}'
        : >"$S/log"
        assert_equal "$("$TOOL" s3://bucket/pages list list/ | cut -d' ' -f1 | tr '\n' ' ')" \
                "list/1 list/2 list/3 list/4 list/5 list/6 list/7 " "the list"
        assert_equal "$(grep -c list-type "$S/log")" 3 "pages"
        mode '{}'
}

# What versions of libcurl sign in different ways; in prefixes, since tokens are the server's.
signatures_hold_for_every_character() {
        local prefix
        for prefix in 'a+b' 'a b' 'a=b' 'a&b' 'a%b' 'a%2Bb' 'a~b' 'a*b' 'aüb' "a:b;,@!\$'()" '+'; do
                printf '%s' "$prefix" >"$S/x"
                "$TOOL" s3://bucket/signed write "$prefix/x" "$S/x"
                assert_equal "$("$TOOL" s3://bucket/signed list "$prefix/" | sed 's/ [0-9]* [0-9]*$//')" "$prefix/x" "the list"
                assert_equal "$("$TOOL" s3://bucket/signed read "$prefix/x")" "$prefix" "the content"
                "$TOOL" s3://bucket/signed remove "$prefix/x"
        done
}

large_files_go_in_parts_and_are_not_sent_twice() {
        random_file "$S/40" 40
        printf tail >>"$S/40"
        : >"$S/log"
        "$TOOL" $PLACE upload targets/40 "$S/40"
        assert_equal "$(grep -c partNumber= "$S/log")" 6 "parts"
        assert_equal "$("$TOOL" $PLACE size targets/40)" $((40 * 1048576 + 4)) size
        "$TOOL" $PLACE read targets/40 | cmp - "$S/40"
        : >"$S/log"
        refused 100 "$TOOL" $PLACE upload targets/40 "$S/40"
        assert_equal "$(sent_parts)" 0 "bytes sent the second time"
        [ -z "$(ls -A "$S/state/sealab/uploads")" ] || fail "the upload is remembered for ever"
}

large_files_are_read_in_pieces() {
        random_file "$S/20" 20
        printf tail >>"$S/20"
        "$TOOL" $PLACE upload targets/pieces "$S/20"
        : >"$S/log"
        "$TOOL" $PLACE stream targets/pieces $((20 * 1048576 + 4)) | cmp - "$S/20"
        assert_equal "$(grep -c 'GET .*pieces' "$S/log")" 3 "requests"
        refused 3 "$TOOL" $PLACE stream targets/pieces $((20 * 1048576))
        refused 3 "$TOOL" $PLACE stream targets/pieces $((20 * 1048576 + 5))
        refused 100 "$TOOL" $PLACE stream targets/none 5
}

deltas_are_made_from_what_the_bucket_holds() {
        local place=s3://bucket/deltas v
        for v in 1a 2A; do "$BUILD/updater-tool" release "$S/releases" "${v%?}" "${v#?}"; done
        "$SEALAB" repo keys generate "$S/keys"
        "$SEALAB" repo init $place --keys "$S/keys"
        "$SEALAB" publish "$S/releases/desk_1" $place --keys "$S/keys" --allow-development
        rm -r "$S/releases/desk_1"
        : >"$S/log"
        "$SEALAB" publish "$S/releases/desk_2" $place --keys "$S/keys" --allow-development --json >"$S/said"
        assert_equal "$(json "$S/said" '[(f["version"], f["offered"]) for f in d["downloads"]["from"]]')" '[["1", ["uki"]]]' "deltas"
        grep -q 'GET .*desk_1.usr.pack' "$S/log" || fail "the old image was not read: $(cat "$S/log")"
        "$SEALAB" repo verify $place
}

a_killed_upload_goes_on_where_it_was() {
        local pid first second
        random_file "$S/killed" 40
        # The hang comes in the middle of the fourth of five parts.
        rm -f "$S/hangs"
        : >"$S/log"
        mode '{"hang_next": 29360128}'
        "$TOOL" $PLACE upload targets/killed "$S/killed" &
        pid=$!
        waited "$S/hangs"
        killed $pid
        mode '{}'
        first=$(sent_parts)
        assert_equal "$(ls "$S/state/sealab/uploads" | wc -l)" 1 "remembered uploads"
        refused 100 "$TOOL" $PLACE size targets/killed
        : >"$S/log"
        "$TOOL" $PLACE upload targets/killed "$S/killed"
        second=$(sent_parts)
        echo "sent: $first until it was killed, $second afterwards"
        assert_equal "$second" $((16 * 1048576)) "bytes of the second run"
        "$TOOL" $PLACE read targets/killed | cmp - "$S/killed"
}

a_remembered_upload_of_other_content_begins_anew() {
        local pid
        random_file "$S/before" 24
        random_file "$S/after" 24
        rm -f "$S/hangs"
        mode '{"hang_next": 12582912}'
        "$TOOL" $PLACE upload targets/changed "$S/before" &
        pid=$!
        waited "$S/hangs"
        killed $pid
        mode '{}'
        "$TOOL" $PLACE upload targets/changed "$S/after"
        "$TOOL" $PLACE read targets/changed | cmp - "$S/after"
}

a_server_that_fails_now_and_then_is_asked_again() {
        random_file "$S/failing" 30
        mode '{"fail": 3}'
        "$TOOL" $PLACE upload targets/failing "$S/failing"
        "$TOOL" $PLACE read targets/failing | cmp - "$S/failing"
        mode '{"drop": 3}'
        random_file "$S/dropping" 30
        "$TOOL" $PLACE upload targets/dropping "$S/dropping"
        "$TOOL" $PLACE read targets/dropping | cmp - "$S/dropping"
        mode '{"fail": 1}'
        refused 4 "$TOOL" $PLACE write metadata/x.json "$S/small"
        grep -q '^download: ' "$SCRATCH/output" || fail "$(cat "$SCRATCH/output")"
        mode '{}'
}

what_is_damaged_on_its_way_is_refused() {
        mode '{"damage": true}'
        printf content >"$S/content"
        refused 5 "$TOOL" $PLACE write metadata/damaged.json "$S/content"
        grep -q '^hash-mismatch: ' "$SCRATCH/output" || fail "$(cat "$SCRATCH/output")"
        mode '{}'
        refused 100 "$TOOL" $PLACE read metadata/damaged.json
}

# refused_with STATUS ID WORD COMMAND...
refused_with() {
        local status=$1 id=$2 word=$3
        shift 3
        refused "$status" "$@"
        grep -q "^$id: " "$SCRATCH/output" || fail "not $id: $(cat "$SCRATCH/output")"
        grep -qF -- "$word" "$SCRATCH/output" || fail "does not name $word: $(cat "$SCRATCH/output")"
        ! grep -q 'very-secret' "$SCRATCH/output" || fail "the secret key is shown"
}

errors_name_what_is_wrong() {
        printf x >"$S/x"
        refused_with 5 key AWS_ACCESS_KEY_ID env AWS_ACCESS_KEY_ID=nobody "$TOOL" $PLACE write a "$S/x"
        refused_with 5 key AWS_SECRET_ACCESS_KEY env AWS_SECRET_ACCESS_KEY=very-secret "$TOOL" $PLACE write a "$S/x"
        refused_with 5 key AWS_SECRET_ACCESS_KEY env AWS_SECRET_ACCESS_KEY=very-secret "$TOOL" $PLACE list ""
        refused_with 5 key AWS_ACCESS_KEY_ID env -u AWS_ACCESS_KEY_ID -u AWS_SECRET_ACCESS_KEY "$TOOL" $PLACE write a "$S/x"
        refused_with 5 key AWS_SECRET_ACCESS_KEY env -u AWS_SECRET_ACCESS_KEY "$TOOL" $PLACE read a
        refused_with 3 bad-value "AWS_REGION=eu-test-1" env AWS_REGION=elsewhere "$TOOL" $PLACE write a "$S/x"
        refused_with 3 not-found no-such-bucket "$TOOL" s3://no-such-bucket/place write a "$S/x"
        refused_with 3 not-found no-such-bucket "$TOOL" s3://no-such-bucket/place list ""
        refused_with 3 bad-value BUCKET "$TOOL" s3:///place read a
        refused_with 3 bad-value "holds one of" "$TOOL" https://user:very-secret@host/bucket/place read a
        refused_with 4 download AWS_ENDPOINT_URL env AWS_ENDPOINT_URL=http://127.0.0.1:1 "$TOOL" $PLACE read a
        mode '{"clock": 4000}'
        refused_with 7 machine "behind" "$TOOL" $PLACE write a "$S/x"
        mode '{"clock": -4000}'
        refused_with 7 machine "ahead of" "$TOOL" $PLACE list ""
        mode '{"token": "a/temporary+token="}'
        refused_with 5 key AWS_SESSION_TOKEN env AWS_SESSION_TOKEN=very-secret "$TOOL" $PLACE write a "$S/x"
        AWS_SESSION_TOKEN='a/temporary+token=' "$TOOL" $PLACE write a "$S/x"
        mode '{}'
}

anybody_may_read_what_is_public() {
        mode '{"public": true}'
        assert_equal "$(env -u AWS_ACCESS_KEY_ID -u AWS_SECRET_ACCESS_KEY "$TOOL" $PLACE read metadata/timestamp.json)" one "content"
        mode '{}'
        # Without the right to list, a server says 403 for what is not there.
        refused 100 env -u AWS_ACCESS_KEY_ID -u AWS_SECRET_ACCESS_KEY "$TOOL" $PLACE read metadata/none.json
}

# Without that, the store charges for the parts for ever.
an_upload_that_nobody_continues_is_given_up_after_a_week() {
        local pid
        random_file "$S/left" 24
        rm -f "$S/hangs"
        mode '{"hang_next": 12582912}'
        "$TOOL" $PLACE upload targets/left "$S/left" &
        pid=$!
        waited "$S/hangs"
        killed $pid
        mode '{}'
        : >"$S/log"
        "$TOOL" $PLACE lock 0
        ! grep -q '^DELETE .*uploadId=' "$S/log" || fail "given up at once"
        touch -d '8 days ago' "$S"/state/sealab/uploads/*
        "$TOOL" s3://bucket/another/place lock 0
        ! grep -q '^DELETE .*uploadId=' "$S/log" || fail "given up by another place"
        "$TOOL" $PLACE lock 0
        grep -q '^DELETE .*targets/left?uploadId=[^ ]* 204' "$S/log" || fail "not given up: $(tail -n 5 "$S/log")"
        [ -z "$(ls -A "$S/state/sealab/uploads")" ] || fail "still remembered"
}

# one_of_two NAME: two at the same moment.
one_of_two() {
        local a=0 b=0
        "$TOOL" "s3://bucket/$1" lock 3 >"$S/a" 2>&1 & local pa=$!
        "$TOOL" "s3://bucket/$1" lock 3 >"$S/b" 2>&1 & local pb=$!
        wait $pa || a=$?
        wait $pb || b=$?
        echo "$a and $b: $(cat "$S/a" "$S/b")"
        sed -i '/is broken/d' "$S/a" "$S/b"
        case $a$b in 07 | 70) ;; *) fail "exit statuses $a and $b" ;; esac
        grep -h '^busy: ' "$S/a" "$S/b" | grep -q 'process [0-9]* on ' || fail "the holder is not named"
        # Given back.
        "$TOOL" "s3://bucket/$1" lock 0
}

there_is_one_publisher_where_conditions_are_known() {
        mode '{"conditional": true}'
        one_of_two conditional
}
there_is_one_publisher_where_conditions_are_refused() {
        mode '{"conditional": "refused"}'
        one_of_two refused
}
there_is_one_publisher_where_conditions_are_unknown() {
        mode '{}'
        one_of_two unknown
}

# The lock object of s3://bucket/dead, at the server.
make_old() {
        python3 - "$S/data" <<'END'
import os, sys, time
n = 0
for folder, _, names in os.walk(sys.argv[1]):
    for name in names:
        if "dead" in folder + name and "lock" in name:
            os.utime(os.path.join(folder, name), (time.time() - 4000, time.time() - 4000))
            n += 1
sys.exit(n == 0)
END
}

the_lock_of_a_dead_publisher_is_broken_after_an_hour() {
        local pid
        mode '{"conditional": true}'
        "$TOOL" s3://bucket/dead lock 60 >"$S/dead" &
        pid=$!
        for _ in $(seq 100); do grep -q locked "$S/dead" && break; sleep 0.1; done
        killed $pid
        refused_with 7 busy "process $pid on " "$TOOL" s3://bucket/dead lock 0
        make_old
        "$TOOL" s3://bucket/dead lock 0 >"$S/output" 2>&1 || fail "$(cat "$S/output")"
        grep -q 'is broken' "$S/output" || fail "no warning: $(cat "$S/output")"
        # Two who both find an old one.
        "$TOOL" s3://bucket/dead lock 60 >"$S/dead" &
        pid=$!
        for _ in $(seq 100); do grep -q locked "$S/dead" && break; sleep 0.1; done
        killed $pid
        make_old
        one_of_two dead
        assert_equal "$("$TOOL" s3://bucket/dead list "")" "" "the list (without the lock)"
        mode '{}'
}

another_implementation_reads_what_was_written() {
        /usr/bin/python3 -c 'import boto3' 2>/dev/null || skip "python3-boto3 is not installed"
        random_file "$S/boto" 3
        "$TOOL" $PLACE upload targets/ours "$S/boto"
        /usr/bin/python3 - "$AWS_ENDPOINT_URL" "$S/boto" <<'END'
import boto3, sys
from botocore.config import Config
s3 = boto3.client("s3", endpoint_url=sys.argv[1], config=Config(s3={"addressing_style": "path"}))
data = open(sys.argv[2], "rb").read()
assert s3.get_object(Bucket="bucket", Key="some/place/targets/ours")["Body"].read() == data
names = [o["Key"] for o in s3.list_objects_v2(Bucket="bucket", Prefix="some/place/targets/")["Contents"]]
assert "some/place/targets/ours" in names and "some/place/targets/a+b~c=d&e<f> %41 ü'\"*(1)!.efi" in names, names
s3.put_object(Bucket="bucket", Key="some/place/targets/theirs", Body=data[:1000])
END
        "$TOOL" $PLACE read targets/theirs | cmp -n 1000 - "$S/boto"
}

run install_server
if [ ! -e "$BUILD/npm/node_modules/s3rver/package.json" ]; then finish; fi
start_server
run files_are_written_read_listed_and_removed
run caches_are_told_how_long
run long_lists_come_in_pages
run signatures_hold_for_every_character
run large_files_go_in_parts_and_are_not_sent_twice
run large_files_are_read_in_pieces
run deltas_are_made_from_what_the_bucket_holds
run a_killed_upload_goes_on_where_it_was
run a_remembered_upload_of_other_content_begins_anew
run a_server_that_fails_now_and_then_is_asked_again
run what_is_damaged_on_its_way_is_refused
run errors_name_what_is_wrong
run anybody_may_read_what_is_public
run an_upload_that_nobody_continues_is_given_up_after_a_week
run there_is_one_publisher_where_conditions_are_known
run there_is_one_publisher_where_conditions_are_refused
run there_is_one_publisher_where_conditions_are_unknown
run the_lock_of_a_dead_publisher_is_broken_after_an_hour
run another_implementation_reads_what_was_written
finish
