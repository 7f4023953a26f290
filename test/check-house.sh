#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The house rules that a machine can check (common/README.md). One result line for each rule; each violation is named with
# file and line. --lint: also formatting and cppcheck, where they are installed.

set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0

# What is ours: nothing built, fetched, generated. Works without git.
find . \( -name .git -o -path './build' -o -path './build-*' -o -path ./out -o -path './keys/*/*' -o -path './subprojects/*/*' \
        -o -name .cache \) -prune -o -type f -print | sed 's|^\./||' | sort >"$work/all"
grep -E '\.[ch]$' "$work/all" >"$work/c"
grep -vE '^test/' "$work/c" >"$work/product"

# rule NAME EXPLANATION: violations on standard input.
rule() {
        local found
        found=$(cat)
        if [ -z "$found" ]; then
                echo "ok house/$1"
        else
                status=1
                echo "not ok house/$1: $2 ($(printf '%s\n' "$found" | wc -l) places)"
                printf '%s\n' "$found" | head -n 40 | sed 's/^/        | /'
        fi
}

# C without comments and string contents, lines kept: "file:line:code".
code() {
        xargs -r python3 -c '
import re, sys
token = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|\x27(?:\\.|[^\x27\\\n])*\x27", re.S)
def blank(m):
    s = m.group(0)
    return "\n" * s.count("\n") if s[0] == "/" else "\"\""
for path in sys.argv[1:]:
    for number, line in enumerate(token.sub(blank, open(path, encoding="utf-8").read()).split("\n"), 1):
        if line.strip():
            print(f"{path}:{number}:{line}")
'
}
code <"$work/product" >"$work/code"

# Everything with a comment syntax; not data, not inputs of tests.
grep -E '(\.([ch]|sh|build)|^dev|^\.ci/run|^test/run-[a-z]+|^subprojects/fetch)$' "$work/all" | while read -r file; do
        head -n 3 "$file" | grep -q 'SPDX-License-Identifier: LGPL-2.1-or-later' || echo "$file"
done | rule spdx "no licence line at the top"

# What must survive a power cut is written in one place (fault tests hook there). The exceptions, each for one call:
#   sandbox, install    on a tmpfs of the sandbox, which dies with it
#   disk, erofs         gives a file its size that has no name yet, or lies in the hidden folder of an unfinished release
#   gpt                 gives a copy of the table in memory (memfd) the disk's size
#   store               empties a partial download; what it is filled with counts only once its digest is right
cat >"$work/exceptions" <<'END'
builder/tree/sandbox
builder/tree/install.c.*unlink
builder/image/disk.c.*ftruncate
builder/image/erofs.c.*ftruncate
builder/recipe/store.c.*ftruncate
common/disk/gpt.c.*ftruncate
END
grep -E '[^a-z_.>](fsync|fdatasync|sync_file_range|rename|renameat|renameat2|unlink|unlinkat|truncate|ftruncate) *\(' "$work/code" |
        grep -v '^common/base/io\.c:' | grep -vf "$work/exceptions" |
        rule durable "calls that change durable things belong into common/base/io.c"

grep -E '[^a-z_](strcpy|strcat|sprintf|vsprintf|gets|strtok|system|popen|tmpnam|tempnam|mktemp|alloca|pthread_create|rand|signal) *\(' "$work/code" |
        grep -vE 'signal *\([^,]*, *SIG_(DFL|IGN)\)' |
        rule functions "functions that this project does not use"

xargs -r wc -l <"$work/c" | awk '$2 != "total" && $1 > 800 { print $2 ": " $1 " lines" }' |
        rule file-length "files over 800 lines have more than one subject"

# A function begins with a line at the left margin that ends in "{" and ends with "}" at the margin.
xargs -r awk '
        FNR == 1 { start = 0 }
        /^[a-zA-Z_].*\) \{$/ || (/^ .*\) \{$/ && head) { start = FNR; name = $0 }
        { head = /^[a-zA-Z_][^;=]*[,(]$/ || /^[a-zA-Z_][^;={]*,$/ }
        /^}/ { if (start && FNR - start > 100) print FILENAME ":" start ": " FNR - start " lines: " name; start = 0 }' <"$work/product" |
        rule function-length "functions over 100 lines do more than one thing"

# A lock or recipe that names a mirror works on one machine only; the words stand apart so that this file passes.
hosts="(deb|snapshot|security|ftp\.[a-z.]+|cdn-aws)\.debian""\.org|deb\.debian\.net"
more=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | sed -E 's|^[a-z+]*://||; s|[:/].*||; s|\.|\\.|g' |
        grep -v '^$' | sort -u | paste -sd'|' -)
[ -z "$more" ] || hosts="$hosts|$more"
xargs -r grep -InE "$hosts" <"$work/all" | cut -c1-160 |
        rule mirrors "names of package mirrors: they come from the system's own configuration"

xargs -r grep -InE '\b(TODO|FIXME|XXX|HACK)\b' <"$work/all" | grep -v '^test/check-house.sh:' | cut -c1-160 |
        rule unfinished "finish it, or write down in the issue why not"

xargs -r grep -nE '.{121,}' <"$work/c" | cut -c1-100 | rule width "lines over 120 columns"
xargs -r grep -InE '[[:blank:]]+$' <"$work/c" | cut -c1-100 | rule white-space "white space at the end of a line"

if [ "${1:-}" = --lint ]; then
        if clang-format --version 2>/dev/null | grep -q 'version 14'; then
                while read -r file; do clang-format --dry-run -Werror "$file" >/dev/null 2>&1 || echo "$file"; done <"$work/c" |
                        rule format "clang-format -i FILE"
        else
                # Every major version formats some things differently; the one of the older host decides.
                echo "skip house/format: needs clang-format 14 (Debian 12)"
        fi
        if command -v cppcheck >/dev/null; then
                grep '\.c$' "$work/product" | xargs -r cppcheck --quiet --std=c11 --enable=warning,portability --inline-suppr \
                        --suppress=missingInclude --suppress=unknownMacro -D_cleanup_\(x\)= -D_GNU_SOURCE \
                        -Icommon/base -Icommon/disk -Icommon/trust -Ibuilder/recipe -Ibuilder/tree -Ibuilder/image \
                        -Ibuilder/report -Ibuilder/vm -Ibuilder 2>&1 | grep -E ': (error|warning|portability):' |
                        rule cppcheck "cppcheck's findings"
        else
                echo "skip house/cppcheck: it is not installed"
        fi
fi
exit $status
