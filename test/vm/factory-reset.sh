#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The second half of a factory reset, which is the initrd's: what "sealabctl factory-reset" leaves in the firmware makes
# systemd-repart wipe the root partition before anything has it open, once, and the machine comes up as new. The first half
# is test-factory-reset's. Two boots.

. "$(dirname "$0")/../lib.sh"

TIMEOUT=600
VARIABLE=/sys/firmware/efi/efivars/FactoryReset-8cf2644b-4b0b-428f-9387-6d876050dc67

on_machine() { # COMMAND; its output is in $SCRATCH/output
        "$SEALAB" boot "$RELEASE" --ssh --state "$SCRATCH/machine" --timeout $TIMEOUT --log "$SCRATCH/console" -- "$1" \
                >"$SCRATCH/output" 2>"$SCRATCH/errors" || fail "$(tail -n 4 "$SCRATCH/errors")"
}
said() { sed -n "s/^$1=//p" "$SCRATCH/output"; }

a_reset_wipes_the_root_partition_once() {
        local first
        minimal_release
        # One write() is one change of the variable.
        # shellcheck disable=SC2016  # the machine's
        on_machine 'touch /root/marker /var/marker /etc/marker; echo id=$(cat /etc/machine-id)
                printf "\007\000\000\000y\000e\000s\000\000\000" >'"$VARIABLE"'; sync'
        first=$(said id)
        [ -n "$first" ] || fail "no machine id: $(cat "$SCRATCH/output")"
        # shellcheck disable=SC2016
        on_machine 'for f in /root/marker /var/marker /etc/marker '"$VARIABLE"'; do [ ! -e $f ] || echo left=$f; done
                echo id=$(cat /etc/machine-id); echo failed=$(systemctl --failed --no-legend | wc -l)
                echo errors=$(dmesg | grep -c "EXT4-fs \(error\|warning\)")'
        assert_equal "$(said left)" "" "what should be gone"
        [ "$(said id)" != "$first" ] || fail "the machine id is the old one"
        assert_equal "$(said failed)" 0 "failed units"
        assert_equal "$(said errors)" 0 "complaints of the file system"
}
run a_reset_wipes_the_root_partition_once
exit $failed
