#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Suite: only with --all
#
# Every way in which a release can be bad: each is given to a machine as its update, and the machine is left alone. It must
# restart by itself, be back on the version before after as many trial boots as the update was given, know why, and not
# try it again. What cannot be a release at all is refused before that.
#
# Version 6 can do harm in many ways, and does what the machine is told by a credential of its firmware (harm.NAME), so that
# one release and one installation of it serve all tests: each begins with a copy of a machine on which version 6 waits for
# its first start. What does not depend on the system inside is done to the kernel image on the ESP.
#
# test/vm/bad-releases.sh [TEST...]: only these.

. "$(dirname "$0")/../lib.sh"
. "$SOURCE/test/lib-machine.sh"

LABORATORY=$GIVEN/laboratory

# --- what is given ------------------------------------------------------------------------------------------------------------

# harm NAME UNIT-LINES COMMAND [INSTALL-LINE]: a unit of version 6 that does COMMAND if the machine is told to.
harm() {
        unit harmful "harm-$1.service" "[Unit]\nConditionCredential=harm.$1\n$2\n[Service]\nType=oneshot\nTimeoutStartSec=infinity
ExecStart=/bin/sh -c '$3'\n[Install]\n${4:-WantedBy=multi-user.target}"
}

# dropin FOLDER LINES
dropin() {
        mkdir -p "$GIVEN/harmful/minimal/files/usr/lib/systemd/$1"
        printf '%b\n' "$2" >"$GIVEN/harmful/minimal/files/usr/lib/systemd/$1/60-harm.conf"
}

harmful_release() {
        local early='DefaultDependencies=no\nAfter=systemd-tmpfiles-setup-dev.service\nBefore=local-fs.target'
        cp -a "$GIVEN/good" "$GIVEN/harmful"
        harm fails '' 'exit 1'
        harm hangs '' 'exec sleep 10000'
        harm check 'Before=sealab-health.target' 'exit 1' 'RequiredBy=sealab-health.target'
        harm waits 'Before=sealab-health.target' 'exec sleep 10000' 'RequiredBy=sealab-health.target'
        harm restarts "$early" 'systemctl reboot --force --force' 'WantedBy=sysinit.target'
        harm emergency "$early" 'exit 1' 'RequiredBy=local-fs.target'
        harm panic '' 'echo c >/proc/sysrq-trigger'
        harm crash '' 'kill -SEGV 1'
        # Nothing of systemd runs any more, but the kernel does: only a watchdog of the hardware can end this.
        harm freezes '' 'echo 1 >/sys/fs/cgroup/init.scope/cgroup.freeze'
        harm fills 'Before=sealab-health-state.service\nAfter=local-fs.target' \
                'fallocate -l $(($(stat -f -c "%%a * %%S" /var) - 1000000)) /var/full'
        harm esp 'Before=boot-complete.target' 'ls /boot/EFI && mount -o remount,ro /boot'
        harm network 'DefaultDependencies=no\nBefore=systemd-networkd.service' \
                'cd /run/systemd; mkdir -p network; for line in [Match] Type=ether [Network] DHCP=no; do echo $$line; done >network/1.network'
        # A quarter of an hour and two minutes are what people get.
        dropin system/boot-complete.target.d '[Unit]\nJobTimeoutSec=180'
        dropin system.conf.d '[Manager]\nRuntimeWatchdogSec=40s'
        release harmful 6 --no-disk
        next one harmful
        publish harmful 6
}

laboratory_machine() {
        rm -rf "$GIVEN"/{harmful,laboratory,www/harmful} "$GIVEN/out/minimal_6"
        harmful_release
        MACHINE=$LABORATORY
        boot laboratory <<'END'
follow harmful
run laboratory.update sealabctl update
status laboratory
END
        is laboratory.status '[d["version"], d["restartNeeded"]]' '["1", true]'
}

# --- the tests' own words -----------------------------------------------------------------------------------------------------

# laboratory: a machine of this test's own.
laboratory() {
        given laboratory_machine
        rm -rf "$SCRATCH/machine-of-one"
        cp -a --sparse=always "$LABORATORY" "$SCRATCH/machine-of-one"
        MACHINE=$SCRATCH/machine-of-one
        ESP=$(esp_of_machine)
        assert_equal "$(entries)" "minimal_1.efi minimal_6+1-0.efi " "entries"
}

# told NAME: arguments for QEMU.
told() { echo "-smbios type=11,value=io.systemd.credential:harm.$1=yes"; }

# credential NAME TEXT: such an argument with any text.
credential() { echo "-smbios type=11,value=io.systemd.credential.binary:$1=$(printf '%b' "$2" | base64 -w 0)"; }

# fall_back NAME TRIES [QEMU-ARGUMENT...]: as many trials as there are (0: the one that there was is over), then the old version
# without help.
fall_back() {
        local name=$1 tries=$2 seconds=0 left
        shift 2
        for ((left = tries - 1; left >= 0; left--)); do
                trial "$name-$left" "$@"
                seconds=$((seconds + SECONDS_OF_TRIAL))
                assert_equal "$(entries)" "minimal_1.efi minimal_6+$left-$((tries - left)).efi " "entries"
        done
        boot "$name-back" <<'END'
follow harmful
status back
run again sealabctl check
END
        is back.status '[d["version"], d["blessed"], d["restartNeeded"], [b["version"] for b in d["state"]["bad"]]]' \
                '["1", true, false, ["6"]]'
        is back.history '[[h["action"], h.get("to"), h["result"]] for h in d][-1]' '["boot", "6", "fell-back"]'
        is again '[d.get("to"), "6 is passed over: failed its trial" in d["text"]]' '["2", true]'
        [ "$tries" != 0 ] || { tries=1; seconds=$SECONDS_OF_TRIAL; }
        assert_equal "$(entries)" "minimal_1.efi minimal_6+0-$tries.efi " "entries"
        # What programs said in that boot, or nothing: not what others said before.
        is back.history 'd[-1]["message"].split(";")[0]' "6 did not come up well in $tries $([ "$tries" = 1 ] && echo try || echo tries)"
        echo "# $name: $tries trial boot(s), $seconds s; $(json "$SCRATCH/back.history" 'd[-1]["message"]')" >&3
}

# back_and_anew NAME: the try is used up, the old version runs, and nothing is known against the other: what changed was a copy.
back_and_anew() {
        assert_equal "$(entries)" "minimal_1.efi minimal_6+0-1.efi " "entries"
        boot "$1-back" <<'END'
follow harmful
status back
run anew sealabctl check
END
        is back.status '[d["version"], d["blessed"], d["restartNeeded"], d["state"]["bad"]]' '["1", true, false, []]'
        is anew 'd.get("to")' 6
}

# harmed NAME [QEMU-ARGUMENT...]: by the unit of that name, in one trial.
harmed() {
        local name=$1
        shift
        laboratory
        # shellcheck disable=SC2046  # words
        fall_back "$name" 1 $(told "$name") "$@"
}

# change_uki FILE (rename OLD NEW | say OLD NEW): a section's name; words of the command line, which may grow.
change_uki() {
        python3 - "$@" <<'END'
import struct, sys
path, verb, old, new = sys.argv[1:]
data = bytearray(open(path, "rb").read())
pe = struct.unpack_from("<I", data, 0x3c)[0]
count, optional = struct.unpack_from("<H12xH", data, pe + 6)
for at in range(pe + 24 + optional, pe + 24 + optional + 40 * count, 40):
    name = bytes(data[at:at + 8]).rstrip(b"\0").decode()
    if verb == "rename" and name == old:
        data[at:at + 8] = new.encode().ljust(8, b"\0")
        break
    if verb == "say" and name == ".cmdline":
        size, _, room, start = struct.unpack_from("<4I", data, at + 8)
        line = bytes(data[start:start + size])
        assert line.count(old.encode()) == 1, line
        line = line.replace(old.encode(), new.encode())
        assert len(line) <= room
        data[start:start + room] = line.ljust(room, b"\0")
        struct.pack_into("<I", data, at + 8, len(line))
        break
else:
    sys.exit("nothing to change")
open(path, "wb").write(data)
END
}

# changed COMMAND...: the new version's kernel image on the ESP, changed by COMMAND FILE ...
changed() {
        local program=$1 entry=::/EFI/Linux/minimal_6+1-0.efi
        shift
        laboratory
        mcopy -n -i "$ESP" "$entry" "$SCRATCH/uki"
        "$program" "$SCRATCH/uki" "$@"
        mcopy -D o -i "$ESP" "$SCRATCH/uki" "$entry"
}

on_console() { grep -qiE "$2" "$SCRATCH/$1.console" || fail "it restarted, but not because of \"$2\": $(tail -n 5 "$SCRATCH/$1.console")"; }

# --- the system is not well ---------------------------------------------------------------------------------------------------

a_failing_unit_gets_as_many_tries_as_were_given() {
        laboratory
        mren -i "$ESP" ::/EFI/Linux/minimal_6+1-0.efi ::/EFI/Linux/minimal_6+3-0.efi
        # shellcheck disable=SC2046  # words
        fall_back fails 3 $(told fails)
        is back.history '"harm-fails.service" in d[-1]["message"]' true
}

a_failing_health_check_falls_back() { harmed check; }
a_health_check_that_never_ends_falls_back() { harmed waits; }
a_unit_that_hangs_falls_back() { harmed hangs; }
a_machine_that_restarts_early_falls_back() { harmed restarts; }
emergency_mode_falls_back() { harmed emergency; }
a_crash_of_systemd_falls_back() { harmed crash; }

# The old version comes up on the full disk, though not well; it waits for somebody who makes room.
a_full_disk_falls_back() {
        local root
        laboratory
        # shellcheck disable=SC2046  # words
        trial fills-0 $(told fills)
        assert_equal "$(entries)" "minimal_1.efi minimal_6+0-1.efi " "entries"
        refused 9 turn "$SEALAB" boot "$GIVEN/out/minimal_1" --state "$MACHINE" --timeout $TIMEOUT --log "$SCRATCH/fills-1.console" --json
        grep -q '"image_version": "1"' "$SCRATCH/output" || fail "not the old version: $(cat "$SCRATCH/output")"
        root="$MACHINE/disk.raw?offset=$(partition "$MACHINE/disk.raw" root | cut -d" " -f1)"
        e2fsck -p "$root" || :
        debugfs -w -R 'rm /var/full' "$root"
        fall_back fills 0
}

a_network_that_does_not_work_falls_back() { harmed network; }
an_esp_that_cannot_be_written_falls_back() { harmed esp; }

a_system_that_hangs_is_ended_by_the_watchdog() {
        harmed freezes -global ICH9-LPC.noreboot=off
        ! grep -q 'reboot: Restarting' "$SCRATCH/freezes-0.console" || fail "the kernel restarted, not the watchdog"
}

# --- the kernel does not get that far -----------------------------------------------------------------------------------------

a_panic_falls_back() { harmed panic; on_console panic-0 'Kernel panic'; }

a_kernel_without_init_falls_back() {
        changed change_uki say systemd.firstboot=no 'systemd.firstboot=no rdinit=/nowhere init=/nowhere'
        fall_back no-init 1
        on_console no-init-0 'Kernel panic'
}

a_missing_initrd_falls_back() {
        changed change_uki rename .initrd .imitrd
        fall_back no-initrd 1
        on_console no-initrd-0 'Kernel panic'
}

an_initrd_that_hangs_falls_back() {
        local unit='[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nTimeoutStartSec=infinity\nExecStart=sleep 10000\n'
        # Ten minutes are what people get.
        local more='[Unit]\nRequires=harm-initrd.service\nAfter=harm-initrd.service\nJobTimeoutSec=90\n'
        laboratory
        # shellcheck disable=SC2046  # words
        fall_back initrd-hangs 1 $(credential systemd.extra-unit.harm-initrd.service "$unit") \
                $(credential 'systemd.unit-dropin.initrd.target~60-harm' "$more")
}

a_driver_that_is_missing_falls_back() {
        changed change_uki say systemd.firstboot=no 'systemd.firstboot=no module_blacklist=virtio_blk'
        fall_back no-driver 1
}

a_root_hash_of_nothing_falls_back() {
        local hash
        given laboratory_machine
        hash=$(json "$GIVEN/out/minimal_6/release.json" 'd["rootHash"]')
        changed change_uki say "$hash" "$(tr 0123456789abcdef 123456789abcdef0 <<<"$hash")"
        trial no-usr-0
        # The updater would not have installed it like that.
        back_and_anew no-usr
}

a_slot_that_changed_falls_back() {
        local usr
        laboratory
        usr=$(partition "$MACHINE/disk.raw" minimal_6)
        flip_byte "$MACHINE/disk.raw" "${usr% *}"
        fall_back slot 1
        on_console slot-0 'is corrupted'
}

# --- the firmware does not start it -------------------------------------------------------------------------------------------

# What was whole when it was installed and is not any more: a rotten ESP. The boot loader counts the try, and the firmware shows
# a menu or a shell. The one case that needs a hand; it needs no more than the power switch. Nothing is known against the
# version then: it is installed anew.
a_kernel_image_that_rots_waits_for_the_power_switch() {
        changed truncate -s 9000000
        if (TIMEOUT=120; trial rotten-0); then fail "it did restart: say so in sealabd(8)"; fi
        back_and_anew rotten
}

# --- refused before any machine has it ----------------------------------------------------------------------------------------

# not_published NAME PATTERN COMMAND...: version 2 with its kernel image changed by COMMAND FILE ..., signed again with the right
# key, and its digest written down: there is nothing wrong with it but what it is.
not_published() {
        local folder=$SCRATCH/$1/minimal_2 pattern=$2 program=$3 uki
        shift 3
        given
        mkdir "$(dirname "$folder")"
        cp -a "$GIVEN/out/minimal_2" "$folder"
        cp -al "$GIVEN/www/empty" "$folder.www"
        uki=$folder/minimal_2.efi
        "$program" "$uki" "$@"
        python3 - "$folder" <<'END'
import hashlib, json, sys
path = sys.argv[1] + "/release.json"
record = json.load(open(path))
data = open(sys.argv[1] + "/minimal_2.efi", "rb").read()
record["files"]["minimal_2.efi"] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
json.dump(record, open(path, "w"))
END
        refused 3 "$SEALAB" publish "$folder" "$folder.www" --keys "$GIVEN/tuf" --allow-development
        grep -qE "$pattern" "$SCRATCH/output" || fail "refused, but not because of \"$pattern\": $(cat "$SCRATCH/output")"
}

without_kernel() {
        sbattach --remove "$1"
        change_uki "$1" rename .linux .linus
        sbsign --key "$GIVEN/keys/secureboot.key" --cert "$GIVEN/keys/secureboot.crt" --output "$1" "$1"
}

# The updater looks for itself, too: what_does_not_belong_never_becomes_an_entry in test-boot.
a_release_without_a_kernel_is_not_published() { not_published no-kernel 'linux is missing' without_kernel; }
a_release_that_is_cut_is_not_published() { not_published cut 'reaches beyond' truncate -s 9000000; }

tests=(
        a_release_without_a_kernel_is_not_published
        a_release_that_is_cut_is_not_published
        a_failing_unit_gets_as_many_tries_as_were_given
        a_failing_health_check_falls_back
        a_health_check_that_never_ends_falls_back
        a_unit_that_hangs_falls_back
        a_machine_that_restarts_early_falls_back
        emergency_mode_falls_back
        a_crash_of_systemd_falls_back
        a_full_disk_falls_back
        a_network_that_does_not_work_falls_back
        an_esp_that_cannot_be_written_falls_back
        a_system_that_hangs_is_ended_by_the_watchdog
        a_panic_falls_back
        a_kernel_without_init_falls_back
        a_missing_initrd_falls_back
        an_initrd_that_hangs_falls_back
        a_driver_that_is_missing_falls_back
        a_root_hash_of_nothing_falls_back
        a_slot_that_changed_falls_back
        a_kernel_image_that_rots_waits_for_the_power_switch
)
serve
[ -n "$server" ] || { echo "skip bad-releases: nginx is not installed" >&3; exit 0; }
for test in "${tests[@]}"; do
        case " $* " in '  ' | *" $test "*) run "$test" ;; esac
done
finish
