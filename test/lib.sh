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
SCRATCH=$(mktemp -d "${TMPDIR:-/var/tmp}/sealab-test-XXXXXX")
trap 'rm -rf "$SCRATCH"' EXIT
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
