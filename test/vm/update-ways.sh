#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Suite: only with --all
#
# A machine that updates itself by each way, and from each way to the next where something is missing, damaged or rotten:
# judged by what it says afterwards (history), by what nginx sent, and by what runs after a restart. One machine goes through
# all of it. Where only the download matters, the same version is installed several times in one boot: its entry is removed and
# its slot overwritten in between.
#
# Versions: 1 is what is installed; 21, 22 and 23 have a text that changes from each to the next. What a server has is a folder
# of its own, so that its log says for what it sent: delta (21, with deltas from 1), lost (those deltas are gone), damaged (they
# have changed), blocks (22, without any), whole (23, its maps are gone).

. "$(dirname "$0")/../lib.sh"
. "$SOURCE/test/lib-machine.sh"

# --- what is given ------------------------------------------------------------------------------------------------------------

# changing_release VERSION SEED: a list of two million bytes, one line in fifty is the seed's.
changing_release() {
        local text=$GIVEN/changing/minimal/files/usr/share/changing
        mkdir -p "$(dirname "$text")"
        python3 - "$2" >"$text" <<'END'
import hashlib, sys
for i in range(30000):
    word = hashlib.sha256(f"{i} {sys.argv[1] if i % 50 == 0 else ''}".encode()).hexdigest()
    print(f"{i:6} {word[:48]}")
END
        release changing "$1" --no-disk
}

# change FILE: half of its bytes and more, from the middle on, are others.
change() {
        python3 - "$1" <<'END'
import sys
data = bytearray(open(sys.argv[1], "rb").read())
for at in range(len(data) // 2, len(data), 100):
    data[at] ^= 0x10
open(sys.argv[1] + ".new", "wb").write(data)
END
        mv "$1.new" "$1"
}

ways() {
        local file
        rm -rf "$GIVEN"/{changing,www/{delta,lost,damaged,blocks,whole}} "$GIVEN"/out/minimal_2[123]
        cp -a "$GIVEN/good" "$GIVEN/changing"
        changing_release 21 a
        changing_release 22 b
        changing_release 23 c
        next empty delta
        publish delta 21 --from "$GIVEN/out/minimal_1"
        next delta lost
        find "$GIVEN/www/lost/targets" -name '*.delta' -delete
        next delta damaged
        for file in "$GIVEN"/www/damaged/targets/minimal/21/*.delta; do change "$file"; done
        next delta blocks
        publish blocks 22 --deltas 0
        next blocks whole
        publish whole 23 --deltas 0
        find "$GIVEN/www/whole/targets/minimal/23" -name '*.map' -delete
}

# --- the tests' own words -----------------------------------------------------------------------------------------------------

# For the machine: "again LABEL", so that nothing of this version is there any more, and it can be installed once more; "rot BLOCK" of what runs, and "heal BLOCK". The
# updater works on the whole disk, of which the kernel remembers other pages: it must not believe those of the slot.
WORDS=$(
        cat <<'END'
again() {
        rm -f /boot/EFI/Linux/$1[+.]*efi
        dd if=/dev/zero of=/dev/disk/by-partlabel/$1 bs=1M count=120 conv=fsync status=none
}
rot() {
        dd if=/dev/disk/by-partlabel/minimal_1 of=/run/block bs=4096 skip=$1 count=1 iflag=direct status=none
        tr '\0-\377' '\200-\377\0-\177' </run/block | dd of=/dev/disk/by-partlabel/minimal_1 bs=4096 seek=$1 count=1 conv=fsync status=none
        echo 3 >/proc/sys/vm/drop_caches
}
heal() { dd if=/run/block of=/dev/disk/by-partlabel/minimal_1 bs=4096 seek=$1 count=1 conv=fsync status=none; }
END
)

# sent FOLDER [PATTERN]: bytes of targets of that server.
sent() {
        awk -v prefix="/$1/targets/" -v pattern="${2:-.}" \
                'index($7, prefix) == 1 && $7 ~ pattern && $9 ~ /^20[06]$/ { n += $10 } END { print n + 0 }' "$SCRATCH/nginx/access.log"
}

# A block of a file that nobody reads, which 21 has too.
block_under_a_copy() {
        local extent
        extent=$(dump.erofs -e --path="/lib/modules/$(kernel)/kernel/drivers/thunderbolt/thunderbolt.ko" "$GIVEN/out/minimal_1/minimal_1.usr.erofs" |
                sed -n 's/^ *3: *[0-9]*\.\. *[0-9]* *| *[0-9]* *: *\([0-9]*\)\.\..*/\1/p')
        python3 - "$extent" "$GIVEN"/out/minimal_{1/minimal_1,21/minimal_21}.usr.erofs <<'END'
import sys
at = int(sys.argv[1])
old, new = (open(path, "rb").read() for path in sys.argv[2:])
assert any(new[i:i + 4096] == old[at:at + 4096] for i in range(0, len(new), 4096))
print(at // 4096)
END
}
kernel() { json "$GIVEN/out/minimal_1/release.json" 'd["kernelVersion"]'; }

# was NAME USR-WAY UKI-WAY: the update before "status NAME".
was() {
        is "$1.history" '[[h["action"], h["result"]] for h in d][-1]' '["update", "done"]'
        # shellcheck disable=SC2053  # patterns
        [[ $(json "$SCRATCH/$1.history" '"%s %s" % (d[-1]["usrWay"], d[-1]["ukiWay"])') == $2\ $3 ]] ||
                fail "$1: $(json "$SCRATCH/$1.history" 'd[-1]')"
        echo "# $1: $(json "$SCRATCH/$1.history" '"%(usrWay)s, %(ukiWay)s; %(bytes)d bytes, planned %(plannedBytes)d, %(durationSeconds)d s" % d[-1]')" >&3
}
bytes() { json "$SCRATCH/$1.history" 'd[-1]["bytes"]'; }
planned() { json "$SCRATCH/$1.history" 'd[-1]["plannedBytes"]'; }
# size FOLDER VERSION SUFFIX
size() { find "$GIVEN/www/$1/targets/minimal/$2" -name "*$3" -printf '%s\n'; }

# --- one machine's life -------------------------------------------------------------------------------------------------------

what_is_missing_damaged_or_rotten_is_got_in_another_way() {
        local block index
        given ways
        block=$(block_under_a_copy)
        {
                echo "$WORDS"
                cat <<END
status before
follow lost
run lost.update sealabctl update
status lost
again minimal_21
follow damaged
run damaged.update sealabctl update
status damaged
again minimal_21
rot $block
follow delta
run rotten.update sealabctl update
status rotten
heal $block
again minimal_21
run delta.check sealabctl check
run delta.update sealabctl update
status delta
END
        } | boot first
        is before.status '[d["version"], d["blessed"]]' '["1", true]'
        index=$(size delta 21 .usr.index)

        was lost reuse reuse
        assert_equal "$(bytes lost)" "$(sent lost)" "bytes"

        was damaged 'delta+*' reuse
        # What was on its way when the machine had enough of it comes to nothing.
        [ "$(bytes damaged)" -le "$(sent damaged)" ] && [ $(($(sent damaged) - $(bytes damaged))) -lt 1000000 ] ||
                fail "$(bytes damaged) bytes, nginx sent $(sent damaged)"

        # One frame more than by the delta alone, and what is needed to know which.
        was rotten delta+full delta
        assert_equal "$(sent delta .usr.index)" "$index" "bytes of the index"
        assert_equal "$(sent delta .usr.map)" 0 "bytes of the map"
        [ "$(sent delta .usr.pack)" -gt 0 ] && [ "$(sent delta .usr.pack)" -lt 100000 ] || fail "$(sent delta .usr.pack) bytes of the pack"
        assert_equal "$(bytes rotten)" "$(($(planned rotten) + index + $(sent delta .usr.pack)))" "bytes with a rotten block"
        reach first
}

an_update_by_delta_is_installed() {
        reached first
        was delta delta delta
        is delta.check '[d["to"], d["usrWay"], d["ukiWay"], d["atMost"]]' '["21", "delta", "delta", false]'
        assert_equal "$(json "$SCRATCH/delta.check" 'd["downloadBytes"]')" "$(bytes delta)" "bytes that were told before"
        assert_equal "$(planned delta)" "$(bytes delta)" "bytes that were planned"
        # This update and the one before it.
        assert_equal "$(($(bytes delta) + $(bytes rotten)))" "$(sent delta)" "bytes"
        [ "$(bytes delta)" -lt "$(bytes lost)" ] || fail "$(bytes delta) bytes by delta, $(bytes lost) without"
        assert_equal "$(entries)" "minimal_1.efi minimal_21+1-0.efi " "entries"
        reach delta
}

it_starts_and_updates_itself_by_blocks() {
        reached delta
        {
                echo "$WORDS"
                cat <<'END'
status second
again minimal_1
follow blocks
run blocks.check sealabctl check
run blocks.update sealabctl update
status blocks
END
        } | boot second
        is second.status '[d["version"], d["blessed"]]' '["21", true]'
        is blocks.check '[d["to"], d["usrWay"], d["ukiWay"], d["atMost"]]' '["22", "reuse", "reuse", true]'
        was blocks reuse reuse
        assert_equal "$(bytes blocks)" "$(sent blocks)" "bytes"
        # Neither kernel nor initrd has changed.
        [ $(($(sent blocks .usr.pack) * 10)) -lt "$(size blocks 22 .usr.pack)" ] || fail "$(sent blocks .usr.pack) bytes of the pack"
        [ $(($(sent blocks .efi$) * 10)) -lt "$(size blocks 22 .efi)" ] || fail "$(sent blocks .efi$) bytes of the kernel image"
        reach blocks
}

that_starts_and_updates_itself_as_a_whole() {
        reached blocks
        {
                echo "$WORDS"
                cat <<'END'
status third
again minimal_21
follow whole
run whole.update sealabctl update
status whole
END
        } | boot third
        is third.status '[d["version"], d["blessed"]]' '["22", true]'
        was whole full full
        assert_equal "$(bytes whole)" "$(sent whole)" "bytes"
        assert_equal "$(sent whole .usr.pack)" "$(size whole 23 .usr.pack)" "bytes of the pack"
        assert_equal "$(sent whole .efi$)" "$(size whole 23 .efi)" "bytes of the kernel image"
        reach whole
}

that_starts_too() {
        reached whole
        boot fourth <<'END'
status fourth
run verify sealabctl verify --all
END
        is fourth.status '[d["version"], d["blessed"], d["restartNeeded"]]' '["23", true, false]'
        is verify '[[s["version"], s["good"]] for s in d]' '[["22", true], ["23", true]]'
}

serve
[ -n "$server" ] || { echo "skip update-ways: nginx is not installed" >&3; exit 0; }
run what_is_missing_damaged_or_rotten_is_got_in_another_way
run an_update_by_delta_is_installed
run it_starts_and_updates_itself_by_blocks
run that_starts_and_updates_itself_as_a_whole
run that_starts_too
finish
