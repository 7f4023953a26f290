# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# For test/integration/*.sh and test/vm/*.sh, which start with
#
#     . "$(dirname "$0")/../lib.sh"
#
# A test is a function whose name says what is the case; "run NAME" calls it in a subshell with -e and prints
#
#     ok NAME        not ok NAME: reason        skip NAME: reason
#
# on descriptor 3, which test/run-all counts. Inside: fail REASON, skip REASON, or any command that fails.
# $SEALAB is the program, $SOURCE the checkout, $SCRATCH a folder of the script's own that is gone afterwards.

set -uo pipefail
export LC_ALL=C.UTF-8

SOURCE=${SEALAB_TEST_SOURCE:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)}
BUILD=${SEALAB_TEST_BUILD:-$SOURCE/build}
# shellcheck disable=SC2034  # for the scripts
SEALAB=$BUILD/sealab
mkdir -p "$BUILD/scratch"
SCRATCH=$(mktemp -d "$BUILD/scratch/XXXXXX")
trap 'stop_nginx; rm -rf "$SCRATCH"' EXIT
# Run by hand: results to where people look.
{ : >&3; } 2>/dev/null || exec 3>&1
failed=0

reason() { printf '%s' "$*" | tr '\n' ' ' | cut -c1-400 >"$SCRATCH/.reason"; }
fail() { reason "$*"; exit 1; }
skip() { reason "$*"; exit 77; }

# assert_equal ACTUAL EXPECTED WHAT
assert_equal() { [ "$1" = "$2" ] || fail "$3: \"$1\" instead of \"$2\""; }

# refused EXIT-STATUS COMMAND...: the command must fail with exactly that; its output is in $SCRATCH/output.
refused() {
        local wanted=$1 status=0
        shift
        "$@" >"$SCRATCH/output" 2>&1 || status=$?
        [ "$status" = "$wanted" ] || fail "exit status $status instead of $wanted from: $* ($(tail -n 3 "$SCRATCH/output"))"
}

# killed PID: kills what this shell has started in the background, which must still be at work.
killed() {
        local status=0
        kill -KILL "$1"
        wait "$1" || status=$?
        [ $status = 137 ] || fail "it ended with status $status before it was killed"
}

# Without any network where this machine lets us take it away. An ordinary user could only do that inside a user namespace,
# where a build would not find its subordinate ids; then at least every download runs against a wall.
offline() {
        if unshare -n true 2>/dev/null; then
                unshare -n "$@"
        else
                env http_proxy=http://127.0.0.1:9 https_proxy=http://127.0.0.1:9 "$@"
        fi
}

# json FILE EXPRESSION: python over the document d; true, false and null as JSON has them.
json() {
        python3 - "$1" "$2" <<'END'
import json, sys
d = json.load(open(sys.argv[1]))
v = eval(sys.argv[2], {"d": d})
print(v if isinstance(v, str) else json.dumps(v))
END
}

# The release of recipes/minimal that tests look at but never change, made once for each build folder: sets RELEASE, DISK and
# KEYS. Works on copies: the checkout's own locks and keys stay as they are. Only locking may use the network.
minimal_release() {
        local base=$BUILD/tested-image status=0
        KEYS=$base/keys
        # One at a time; the next one finds it made.
        mkdir -p "$base"
        exec 9>"$base/.made-by-one"
        flock 9
        if [ ! -e "$base/complete" ] || [ "$SEALAB" -nt "$base/complete" ] ||
                [ -n "$(find "$SOURCE/recipes" -newer "$base/complete" -type f -print -quit)" ]; then
                rm -rf "$base/complete" "$base/out" "$base/recipes"
                cp -a "$SOURCE/recipes" "$base/recipes"
                [ -e "$KEYS" ] || "$SEALAB" keys generate "$KEYS" || fail "no keys could be generated"
                "$SEALAB" lock "$base/recipes/minimal" || status=$?
                # 4 is what sealab(1) documents for a mirror that has moved on.
                if [ $status = 4 ]; then status=0; "$SEALAB" lock --update "$base/recipes/minimal" || status=$?; fi
                [ $status = 0 ] || fail "recipes/minimal cannot be locked (exit status $status)"
                offline "$SEALAB" build "$base/recipes/minimal" -o "$base/out" --keys "$KEYS" || fail "recipes/minimal cannot be built"
                : >"$base/complete"
        fi
        exec 9>&-
        RELEASE=$(find "$base/out" -mindepth 1 -maxdepth 1 -type d -name 'minimal_*')
        DISK=$(find "$RELEASE" -name '*.disk.raw')
        [ -n "$DISK" ] || fail "the release of recipes/minimal has no disk image"
}

# partition DISK LABEL-GLOB|esp: "OFFSET SIZE" in bytes.
partition() {
        sfdisk --json "$1" | python3 -c '
import fnmatch, json, sys
table = json.load(sys.stdin)["partitiontable"]
size = table.get("sectorsize", 512)
for p in table["partitions"]:
    esp = p["type"].upper() == "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
    if esp if sys.argv[1] == "esp" else fnmatch.fnmatch(p.get("name", ""), sys.argv[1]):
        print(p["start"] * size, p["size"] * size)
        break
else:
    sys.exit("no such partition: " + sys.argv[1])
' "$2"
}

# disk_holds DISK RELEASE: image, hash tree and signature of the release's folder are in a slot, byte for byte.
disk_holds() {
        local name=${2##*/} part offset
        for part in "$name:usr.erofs" "${name}_verity:usr.verity" "${name}_verity_sig:usr.verity-sig"; do
                offset=$(partition "$1" "${part%:*}") || fail "no partition ${part%:*}"
                part=$2/$name.${part#*:}
                cmp -n "$(stat -c %s "$part")" -i "${offset% *}:0" "$1" "$part" || fail "$part is not in its partition"
        done
}

# new_repository FOLDER [ARGUMENT...]: with new keys in the folder "keys" beside it.
new_repository() {
        "$SEALAB" repo keys generate "${1%/*}/keys"
        "$SEALAB" repo init "$1" --keys "${1%/*}/keys" "${@:2}"
}

# repository_server FOLDER: nginx's server block of sealab-publish(1) for a folder; port 80 is for start_nginx to replace.
repository_server() { sed -n "s|root /srv/repository;|root $1;|; /^server {/,/^}/p" "$SOURCE/test/integration/repository.nginx"; }

nginx_program() { command -v nginx || { [ -x /usr/sbin/nginx ] && echo /usr/sbin/nginx; }; }

# start_nginx SERVER-BLOCK [DIRECTIVE...]: a web server on a free port instead of 80, with these directives besides the block's
# own; sets PORT, which is also in $SCRATCH/nginx/port. Its log is $SCRATCH/nginx/access.log. It ends with stop_nginx, or with the script.
start_nginx() {
        local nginx n=$SCRATCH/nginx name
        nginx=$(nginx_program) || skip "nginx is not installed"
        stop_nginx
        PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
        mkdir -p "$n/tmp"
        {
                # Its workers must get into this folder.
                [ "$(id -u)" != 0 ] || echo 'user root;'
                printf '%s\n' 'daemon off;' "pid $n/pid;" "error_log $n/error.log;" 'events { }' 'http {' "access_log $n/access.log;"
                for name in client_body proxy fastcgi uwsgi scgi; do echo "${name}_temp_path $n/tmp/$name;"; done
                printf '%s\n' "${@:2}" "${1/listen 80;/listen 127.0.0.1:$PORT;}" '}'
        } >"$n/conf"
        "$nginx" -e "$n/error.log" -c "$n/conf" >"$n/output" 2>&1 &
        echo $! >"$n/running"
        echo "$PORT" >"$n/port"
        for _ in $(seq 50); do curl -s -o "$n/answer" "http://127.0.0.1:$PORT/" && return; sleep 0.1; done
        fail "nginx does not answer: $(cat "$n/output" "$n/error.log")"
}
stop_nginx() {
        local running=$SCRATCH/nginx/running
        [ -e "$running" ] || return 0
        kill "$(cat "$running")"
        # Its status is that of what was killed; started in a subshell of a test that failed, it is nobody's child here.
        wait "$(cat "$running")" 2>/dev/null || true
        rm "$running"
}

# flip_byte FILE OFFSET: changes one bit of one byte.
flip_byte() {
        python3 - "$1" "$2" <<'END'
import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(int(sys.argv[2]))
    old = f.read(1)
    f.seek(int(sys.argv[2]))
    f.write(bytes([old[0] ^ 1]))
END
}

run() {
        local name=$1 status=0
        rm -f "$SCRATCH/.reason"
        # Not "if (...)": there -e would mean nothing inside.
        (set -e; "$@") >"$SCRATCH/.log" 2>&1
        status=$?
        case $status in
        0) echo "ok $name" >&3 ;;
        77) echo "skip $name: $(cat "$SCRATCH/.reason" 2>/dev/null || echo 'no reason given')" >&3 ;;
        *)
                failed=1
                echo "not ok $name: $(cat "$SCRATCH/.reason" 2>/dev/null || echo "exit status $status")" >&3
                sed 's/^/        | /' "$SCRATCH/.log" | tail -n 40 >&2
                ;;
        esac
}

# The end of every script.
finish() { exit $failed; }
