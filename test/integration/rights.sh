#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Who may do what: every method of sealabd by everybody who could call it, with the real message bus and the real polkit, on a
# /run of their own. polkit asks libsystemd whether a caller sits at the machine: libsystemd finds the session's name in the
# caller's control group and the rest in /run/systemd/sessions, which are laid out here as logind does it.

. "$(dirname "$0")/../lib.sh"

TOOL=$BUILD/bus-tool
ROOT=$SCRATCH/root
POLKITD=/usr/lib/polkit-1/polkitd
[ -x $POLKITD ] || POLKITD=/usr/libexec/polkitd

leave() { echo "skip rights: $*" >&3; exit 0; }

# Everything but the cgroups is inside a mount namespace of its own.
if [ -z "${SEALAB_TEST_RIGHTS:-}" ]; then
        [ "$(id -u)" = 0 ] || leave "only root can lay out sessions"
        [ -x "$POLKITD" ] || leave "polkitd is not installed"
        for program in dbus-daemon setpriv; do
                command -v $program >/dev/null || leave "$program is not installed"
        done
        unshare -m true 2>/dev/null || leave "mounts are not allowed here"
        SEALAB_TEST_RIGHTS=1 unshare -m --propagation private "$0"
        exit
fi

# The hierarchy that libsystemd reads.
hierarchy=
for folder in /sys/fs/cgroup /sys/fs/cgroup/unified; do
        [ "$(stat -f -c %T $folder 2>/dev/null)" = cgroup2fs ] && hierarchy=$folder
done
[ -n "$hierarchy" ] || hierarchy=/sys/fs/cgroup/systemd
slice=$hierarchy/sealab-rights-$$.slice

pids=()
cleanup() {
        [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null
        wait
        rmdir "$slice"/*.scope "$slice" 2>/dev/null
        rm -rf "$SCRATCH"
}
trap cleanup EXIT

mkdir "$slice" 2>/dev/null || leave "control groups cannot be made here"

# session USER UID [KEY=VALUE...]: as logind writes it. Without one: a user with no session.
session() {
        local user=$1 uid=$2 state
        shift 2
        echo "$user:x:$uid:$uid::/:/bin/sh" >>"$SCRATCH/passwd"
        [ $# -gt 0 ] || return 0
        mkdir "$slice/session-$user.scope"
        printf '%s\n' "UID=$uid" "USER=$user" REMOTE=0 TYPE=tty CLASS=user "$@" >"/run/systemd/sessions/$user"
        state=$(printf '%s\n' "$@" | grep '^STATE=')
        printf '%s\n' "NAME=$user" "$state" "SESSIONS=$user" >"/run/systemd/users/$uid"
}

set_up() {
        mount -t tmpfs -o mode=755 none /run
        mkdir -p /run/dbus /run/systemd/{seats,sessions,users,machines} "$ROOT/etc" "$SCRATCH"/{bus,actions,rules,services}
        echo 0123456789abcdef0123456789abcdef >"$ROOT/etc/machine-id"
        cp /usr/share/dbus-1/system.d/org.freedesktop.PolicyKit1.conf "$SOURCE/updater/units/io.sealab.Updater1.conf" "$SCRATCH/bus/"
        cp /usr/share/polkit-1/actions/org.freedesktop.policykit.policy "$SOURCE/updater/units/io.sealab.Updater1.policy" \
                "$SCRATCH/actions/"
        cat >"$SCRATCH/rules/10-helpdesk.rules" <<'END'
polkit.addRule(function(action, subject) {
        if (action.id.indexOf("io.sealab.Updater1.") == 0 && subject.user == "helpdesk")
                return polkit.Result.YES;
        if (action.id == "io.sealab.Updater1.update-to-version" && subject.user == "picky")
                return action.lookup("version") == "2.0" ? polkit.Result.YES : polkit.Result.NO;
        if (action.id == "io.sealab.Updater1.check" && subject.user == "picky")
                return polkit.Result.NO;
});
END
        cp /etc/passwd "$SCRATCH/passwd"
        session seated 61001 ACTIVE=1 STATE=active SEAT=seat0
        session away 61002 ACTIVE=0 STATE=online SEAT=seat0
        session remote 61003 ACTIVE=1 STATE=active REMOTE=1
        session helpdesk 61004
        session picky 61005
        chmod -R a+rX "$SCRATCH"
        mount --bind "$SCRATCH/passwd" /etc/passwd
        mount --bind "$SCRATCH/bus" /usr/share/dbus-1/system.d
        # Nothing starts by itself: neither polkit, nor sealabd.
        mount --bind "$SCRATCH/services" /usr/share/dbus-1/system-services
        mount --bind "$SCRATCH/actions" /usr/share/polkit-1/actions
        mount --bind "$SCRATCH/rules" /etc/polkit-1/rules.d
}

until_true() {
        local i
        for ((i = 0; i < 100; i++)); do
                "$@" >/dev/null 2>&1 && return
                sleep 0.1
        done
        echo "not ok rights: did not become true within 10 s: $*" >&3
        cat "$SCRATCH"/*.log >&2
        exit 1
}
owned() { busctl --system call org.freedesktop.DBus / org.freedesktop.DBus NameHasOwner s "$1" | grep -q true; }
has_gone() { ! owned "$1"; }

start() {
        local log=$1
        shift
        "$@" >"$SCRATCH/$log.log" 2>&1 &
        pids+=($!)
}

unset DBUS_SYSTEM_BUS_ADDRESS DBUS_SESSION_BUS_ADDRESS
umask 022
set -e
set_up
set +e
start dbus dbus-daemon --system --nofork --nopidfile --nosyslog
until_true test -S /run/dbus/system_bus_socket
start polkitd $POLKITD
until_true owned org.freedesktop.PolicyKit1
start daemon "$BUILD/sealabd" --stay --job-option "--root=$ROOT" --job-option "--state=$ROOT/var/lib/sealab"
until_true owned io.sealab.Updater1

# as USER COMMAND...: with the session that it has
as() {
        local user=$1 scope=$slice/session-$1.scope
        shift
        [ -d "$scope" ] || scope=$hierarchy
        # shellcheck disable=SC2016  # the inner shell's own
        sh -c 'echo $$ >"$1/cgroup.procs" && user=$2 && shift 2 && exec setpriv --reuid "$user" --regid nogroup --clear-groups "$@"' \
                sh "$scope" "$user" "$@"
}

not_at_work() { busctl --system get-property io.sealab.Updater1 /io/sealab/Updater1 io.sealab.Updater1 Job | grep -q ' "" "" 0 0$'; }
jobs_started() { grep -cE '^[a-z-]+: [a-z-]+' "$SCRATCH/daemon.log"; }

# may USER EXPECTED: EXPECTED is "password" or so for all that change something, with exceptions METHOD=VERDICT. What the
# caller may not do starts no job.
may() {
        local user=$1 default=$2 method verdict wanted
        shift 2
        declare -A expected=([GetStatus]=yes [GetHistory]=yes [GetConfig]=yes [Properties]=yes [Introspect]=yes)
        for wanted; do expected[${wanted%=*}]=${wanted#*=}; done
        as "$user" "$TOOL" rights >"$SCRATCH/rights" || fail "$user: $(cat "$SCRATCH/rights")"
        assert_equal "$(wc -l <"$SCRATCH/rights")" 19 "$user: methods"
        while read -r method verdict; do
                assert_equal "$verdict" "${expected[$method]:-$default}" "$user: $method"
        done <"$SCRATCH/rights"
        until_true not_at_work
}

root_may_do_everything() {
        may root yes
        # What the tests below count.
        [ "$(jobs_started)" -ge 8 ] || fail "jobs: $(cat "$SCRATCH/daemon.log")"
}
run root_may_do_everything

who_sits_at_the_machine_may_check_update_verify_and_stop() {
        may seated password Check=yes Update=yes UpdateAutomatically=yes Verify=yes Cancel=yes GetDrift=yes
}
run who_sits_at_the_machine_may_check_update_verify_and_stop

# USER...: no job may come of it
needs_a_password() {
        local before
        before=$(jobs_started)
        may "$1" password
        assert_equal "$(jobs_started)" "$before" "jobs that $1 started"
}
who_was_switched_away_from_needs_an_administrator() { needs_a_password away; }
run who_was_switched_away_from_needs_an_administrator
who_came_by_ssh_needs_an_administrator() { needs_a_password remote; }
run who_came_by_ssh_needs_an_administrator
who_has_no_session_needs_an_administrator() { needs_a_password nobody; }
run who_has_no_session_needs_an_administrator

# Somebody could type it; there is no agent who would ask.
without_an_agent_asking_changes_nothing() {
        as seated "$TOOL" rights ask >"$SCRATCH/rights"
        grep -qx 'Pin password' "$SCRATCH/rights" || fail "$(cat "$SCRATCH/rights")"
        grep -qx 'Verify yes' "$SCRATCH/rights" || fail "$(cat "$SCRATCH/rights")"
        until_true not_at_work
}
run without_an_agent_asking_changes_nothing

a_rule_can_let_a_helpdesk_do_everything() { may helpdesk yes; }
run a_rule_can_let_a_helpdesk_do_everything

a_rule_can_look_at_the_version_and_forbid() { may picky password Update-to-version=yes Check=no; }
run a_rule_can_look_at_the_version_and_forbid

nobody_can_take_the_name_or_speak_for_sealabd() {
        as nobody busctl --system call org.freedesktop.DBus / org.freedesktop.DBus RequestName su io.sealab.Updater1 2 \
                >"$SCRATCH/output" 2>&1 && fail "the name could be had: $(cat "$SCRATCH/output")"
        grep -qi 'denied\|not allowed' "$SCRATCH/output" || fail "$(cat "$SCRATCH/output")"
        refused 1 as nobody busctl --system set-property io.sealab.Updater1 /io/sealab/Updater1 io.sealab.Updater1 DaemonVersion s x
}
run nobody_can_take_the_name_or_speak_for_sealabd

# The last one: polkit goes.
without_polkit_only_root_may() {
        kill "${pids[1]}"
        until_true has_gone org.freedesktop.PolicyKit1
        may root yes
        may seated no
        may helpdesk no
}
run without_polkit_only_root_may
exit $failed
