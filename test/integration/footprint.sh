#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What sealabd costs while it waits: started by a message bus, in a memory cgroup of its own that pays for every page of program
# and libraries (they are copies that nobody else has in memory), it stays small, never wakes, and leaves after 30 seconds.

. "$(dirname "$0")/../lib.sh"

NAME=io.sealab.Updater1
OBJECT=/io/sealab/Updater1
IDLE_SEC=30
# By cgroup, and by what the process has mapped.
LIMIT=$((8 << 20))
# After a job: what cannot be given back at once, which is everything but clean pages of files.
HELD_LIMIT=$((2 << 20))

leave() { echo "skip footprint: $*" >&3; exit 0; }

if [ -z "${SEALAB_TEST_BUS:-}" ]; then
        command -v dbus-run-session >/dev/null || leave "dbus-run-session is not installed"
        ldd "$BUILD/sealabd" | grep -q libasan && leave "sanitizers have their own footprint"
        cat >"$SCRATCH/bus.conf" <<END
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:tmpdir=/tmp</listen>
  <auth>EXTERNAL</auth>
  <servicedir>$SCRATCH</servicedir>
  <policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy>
</busconfig>
END
        SEALAB_TEST_BUS=$SCRATCH dbus-run-session --config-file="$SCRATCH/bus.conf" -- "$0" 2> >(grep -v 'Failed to set fd limit' >&2)
        exit
fi
rm -rf "$SCRATCH"
SCRATCH=$SEALAB_TEST_BUS
trap - EXIT

# --- a cgroup that counts memory, of either version ---

cgroup=
for folder in /sys/fs/cgroup /sys/fs/cgroup/memory; do
        [ -z "$cgroup" ] && mkdir "$folder/sealab-footprint-$$" 2>/dev/null || continue
        cgroup=$folder/sealab-footprint-$$
        if [ ! -e "$cgroup/memory.current" ] && [ ! -e "$cgroup/memory.usage_in_bytes" ]; then
                rmdir "$cgroup"
                cgroup=
        fi
done

pid_of_daemon() { busctl --user call org.freedesktop.DBus / org.freedesktop.DBus GetConnectionUnixProcessID s "$NAME" 2>/dev/null | cut -d' ' -f2; }
cleanup() {
        local pid
        pid=$(pid_of_daemon)
        [ -z "$pid" ] || kill "$pid"
        while [ -n "$pid" ] && [ -e "/proc/$pid" ]; do sleep 0.1; done
        [ -z "$cgroup" ] || rmdir "$cgroup"
}
trap cleanup EXIT

charged() { cat "$cgroup/memory.current" 2>/dev/null || cat "$cgroup/memory.usage_in_bytes"; }
# Version 2 says "file", version 1 "cache".
of_files() { sed -nE 's/^(file|cache) ([0-9]+)$/\2/p' "$cgroup/memory.stat" | head -n 1; }
resident() { sed -nE 's/^VmRSS:\s+([0-9]+) kB/\1/p' "/proc/$1/status"; }
switches() { grep ctxt_switches "/proc/$1/status"; }
kib() { echo "$(($1 / 1024)) KiB"; }

# --- the program, as a bus would find it ---

mkdir -p "$SCRATCH/lib" "$SCRATCH/root/etc"
echo 0123456789abcdef0123456789abcdef >"$SCRATCH/root/etc/machine-id"
cp "$BUILD/sealabd" "$BUILD/sealabd-job" "$SCRATCH/lib/"
# As it is installed: without what debuggers want.
strip "$SCRATCH"/lib/sealabd*
ldd "$BUILD/sealabd" | awk '$2 == "=>" { print $3 }' | xargs cp -L -t "$SCRATCH/lib"
sync -f "$SCRATCH/lib"
for file in "$SCRATCH"/lib/*; do
        # Out of the page cache, so that whoever reads it first pays.
        dd if=/dev/null of="$file" oflag=nocache conv=notrunc,fdatasync count=0 2>/dev/null
done
cat >"$SCRATCH/start" <<END
#!/bin/sh
[ -z "$cgroup" ] || echo \$\$ >"$cgroup/cgroup.procs"
LD_LIBRARY_PATH=$SCRATCH/lib exec $SCRATCH/lib/sealabd --user --job-option --root=$SCRATCH/root --job-option --state=$SCRATCH/state
END
chmod +x "$SCRATCH/start"
printf '[D-BUS Service]\nName=%s\nExec=%s\n' "$NAME" "$SCRATCH/start" >"$SCRATCH/$NAME.service"

the_bus_starts_it() {
        [ -z "$(pid_of_daemon)" ] || fail "it runs already"
        busctl --user call "$NAME" "$OBJECT" org.freedesktop.DBus.Peer Ping || fail "it does not answer"
        [ -n "$(pid_of_daemon)" ] || fail "it does not run"
}
run the_bus_starts_it

it_is_small_when_it_has_started() {
        local pid n
        pid=$(pid_of_daemon)
        n=$(resident "$pid")
        [ $((n * 1024)) -le $LIMIT ] || fail "$n KiB are resident"
        echo "# resident: $n KiB" >&3
        [ -n "$cgroup" ] || skip "there is no memory cgroup to be had; resident: $n KiB"
        n=$(charged)
        [ "$n" -le $LIMIT ] || fail "the cgroup holds $(kib "$n")"
        echo "# cgroup: $(kib "$n"), $(kib $((n - $(of_files)))) of it not pages of files" >&3
}
run it_is_small_when_it_has_started

it_is_small_after_its_jobs() {
        local pid n method
        for method in GetHistory GetConfig GetHistory; do
                busctl --user call "$NAME" "$OBJECT" "$NAME" $method
        done
        pid=$(pid_of_daemon)
        sleep 0.2
        n=$(resident "$pid")
        [ $((n * 1024)) -le $LIMIT ] || fail "$n KiB are resident"
        echo "# resident after jobs: $n KiB" >&3
        [ -n "$cgroup" ] || skip "there is no memory cgroup to be had; resident: $n KiB"
        n=$(($(charged) - $(of_files)))
        [ $n -le $HELD_LIMIT ] || fail "the cgroup holds $(kib $n) that are no pages of files"
        echo "# cgroup after jobs: $(kib "$(charged)"), $(kib $n) of it not pages of files" >&3
}
run it_is_small_after_its_jobs

it_does_not_wake_and_leaves_when_idle() {
        local pid before began took
        pid=$(pid_of_daemon)
        # Not by its name: asking the bus for it is no message to it.
        busctl --user call "$NAME" "$OBJECT" org.freedesktop.DBus.Peer Ping
        began=$SECONDS
        sleep 1
        before=$(switches "$pid")
        sleep $((IDLE_SEC - 5))
        assert_equal "$(switches "$pid")" "$before" "context switches within $((IDLE_SEC - 5)) s"
        while [ -e "/proc/$pid" ]; do
                [ $((SECONDS - began)) -le $((IDLE_SEC + 10)) ] || fail "it is still there"
                sleep 0.5
        done
        took=$((SECONDS - began))
        [ $took -ge $((IDLE_SEC - 1)) ] || fail "it left after $took s"
        echo "# no context switch in $((IDLE_SEC - 5)) s; gone after $took s" >&3
}
run it_does_not_wake_and_leaves_when_idle

the_bus_starts_the_next_one() {
        assert_equal "$(busctl --user call "$NAME" "$OBJECT" "$NAME" GetHistory)" 's "[]"' "the answer"
}
run the_bus_starts_the_next_one
exit $failed
