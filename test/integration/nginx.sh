#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# A repository's folder behind nginx, configured as sealab-publish(1) shows it: what a device and a cache get, and what it
# costs to ask when nothing is new.

. "$(dirname "$0")/../lib.sh"

TOOL=${STORAGE_TOOL:-$BUILD/storage-tool}
N=$SCRATCH/nginx
PORT=
export no_proxy=127.0.0.1 NO_PROXY=127.0.0.1

nginx_serves_the_folder() {
        mkdir -p "$N/www"
        printf '{"signed": "root"}' >"$N/root"
        head -c 1500 /dev/urandom | base64 >"$N/timestamp"
        head -c 3000000 /dev/urandom >"$N/pack"
        "$TOOL" "$N/www" write metadata/1.root.json "$N/root"
        "$TOOL" "$N/www" short metadata/timestamp.json "$N/timestamp"
        "$TOOL" "$N/www" upload targets/laptop/1/hash.pack "$N/pack"
        "$TOOL" "$N/www" lock 0
        # What people are told to write, on a machine whose administrator compresses everything.
        start_nginx "$(repository_server "$N/www")" 'gzip on;' 'gzip_types *;' 'gzip_min_length 1;'
}

# get PATH [CURL OPTION...]: headers in $N/headers, body in $N/body, prints the status.
get() {
        local path=$1
        shift
        curl -sS -D "$N/raw" -o "$N/body" -w '%{http_code}' "$@" "http://127.0.0.1:$PORT/$path"
        tr -d '\r' <"$N/raw" >"$N/headers"
}
has() { grep -qix -- "$1" "$N/headers" || fail "no \"$1\" in: $(cat "$N/headers")"; }
has_not() { ! grep -qi -- "$1" "$N/headers" || fail "\"$1\" in: $(cat "$N/headers")"; }

caches_may_keep_what_does_not_change() {
        assert_equal "$(get metadata/1.root.json)" 200 status
        has 'cache-control: public, max-age=31536000, immutable, no-transform'
        has 'content-type: application/json'
        assert_equal "$(get targets/laptop/1/hash.pack)" 200 status
        has 'cache-control: public, max-age=31536000, immutable, no-transform'
        has 'content-type: application/octet-stream'
        assert_equal "$(get metadata/timestamp.json)" 200 status
        has 'cache-control: public, max-age=60, no-transform'
}

what_is_not_there_yet_is_not_remembered() {
        assert_equal "$(get metadata/2.root.json)" 404 status
        has_not immutable
}

nothing_is_compressed() {
        assert_equal "$(get metadata/timestamp.json -H 'Accept-Encoding: gzip, br, zstd')" 200 status
        has_not content-encoding
        cmp "$N/body" "$N/timestamp"
        has "content-length: $(stat -c %s "$N/timestamp")"
}

ranges_are_served() {
        assert_equal "$(get targets/laptop/1/hash.pack -r 1000000-1000999)" 206 status
        has 'content-range: bytes 1000000-1000999/3000000'
        cmp "$N/body" <(tail -c +1000001 "$N/pack" | head -c 1000)
        assert_equal "$(get targets/laptop/1/hash.pack -r 2999000-)" 206 status
        assert_equal "$(stat -c %s "$N/body")" 1000 bytes
}

what_is_known_is_not_sent_again() {
        local etag
        get metadata/timestamp.json
        etag=$(sed -n 's/^etag: //Ip' "$N/headers")
        case $etag in '"'*'"') ;; *) fail "no strong etag: $etag" ;; esac
        assert_equal "$(get metadata/timestamp.json -H "If-None-Match: $etag")" 304 status
        # A new one of the same size in the same second has another etag only if the time differs: it has by then.
        sleep 1
        tr A-Za-z N-ZA-Mn-za-m <"$N/timestamp" >"$N/timestamp2"
        "$TOOL" "$N/www" short metadata/timestamp.json "$N/timestamp2"
        assert_equal "$(get metadata/timestamp.json -H "If-None-Match: $etag")" 200 status
        cmp "$N/body" "$N/timestamp2"
}

# Two requests (is there a next root, is there a new timestamp), headers of both directions.
a_poll_without_news_costs_little() {
        local etag bytes
        get metadata/timestamp.json
        etag=$(sed -n 's/^etag: //Ip' "$N/headers")
        bytes=$(curl -sS -o /dev/null -o /dev/null -w '%{size_request} %{size_header} %{size_download}\n' -A sealab/0.1.0 \
                -H "If-None-Match: $etag" "http://127.0.0.1:$PORT/metadata/2.root.json" "http://127.0.0.1:$PORT/metadata/timestamp.json" |
                awk '{ n += $1 + $2 + $3 } END { print n }')
        echo "a poll without news: $bytes bytes"
        [ "$bytes" -gt 200 ] && [ "$bytes" -le 4096 ] || fail "$bytes bytes"
}

unfinished_files_are_hidden() {
        printf x >"$N/www/targets/.hidden.upload.tmp"
        chmod 644 "$N/www/targets/.hidden.upload.tmp"
        assert_equal "$(get .lock)" 404 "status of the lock"
        assert_equal "$(get targets/.hidden.upload.tmp)" 404 "status of an unfinished file"
        assert_equal "$(get targets/)" 404 "status of a folder"
        assert_equal "$(get targets/laptop/1/hash.pack -X PUT)" 405 "status of PUT"
}

# directives FILE: without comments, white space and roff's escapes.
directives() {
        sed -n '/^ *server {/,/^}/p' "$1" | sed 's/\\-/-/g; s/\\e/\\/g; s/\\&//g; s/#.*//' | tr -s ' \t\n' ' ' | sed 's/^ //; s/ $//'
}

the_manual_page_says_the_same() {
        local page=$SOURCE/docs/sealab-publish.1
        grep -q '^ *server {' "$page" 2>/dev/null || skip "sealab-publish(1) shows no configuration"
        assert_equal "$(directives "$page")" "$(directives "$SOURCE/test/integration/repository.nginx")" "sealab-publish(1)"
}

run nginx_serves_the_folder
if [ ! -e "$N/port" ]; then finish; fi
PORT=$(cat "$N/port")
run the_manual_page_says_the_same
run caches_may_keep_what_does_not_change
run what_is_not_there_yet_is_not_remembered
run nothing_is_compressed
run ranges_are_served
run what_is_known_is_not_sent_again
run a_poll_without_news_costs_little
run unfinished_files_are_hidden
finish
