#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# updater-faults.py SEALABD FOLDER all|NUMBER: kills an update at its durable calls and lets them fail, one each time.
#
# FOLDER is that of updater.sh: pristine (a machine that runs 1), releases, served (a repository with 2). First a run under
# strace lists every call of the job's own process that changes something: writing, syncing, renaming, removing. Then for each
# of them the job is run again and killed on entering it, or the call fails with EIO, ENOSPC or EINTR. Nothing but these calls
# changes anything, so what is there before one is what is there after the one before.
#
# After each: what runs is as it was; an entry of 2 is there only if 2 is complete behind it; the state is readable; and one
# more run brings it to its end, with the right bytes everywhere.

import collections, hashlib, json, os, re, shutil, subprocess, sys

CALLS = "write,pwrite64,pwritev,fsync,fdatasync,sync_file_range,rename,renameat,renameat2,unlink,unlinkat,ftruncate,fallocate,ioctl,mkdir,mkdirat"
FAULTS = ["signal=KILL", "error=EIO", "error=ENOSPC", "error=EINTR"]
MIB = 1 << 20

program, folder, wanted = sys.argv[1], sys.argv[2], sys.argv[3]
machine = folder + "/faulty"


def read(path):
    with open(path, "rb") as f:
        return f.read()


def release(version, part):
    return read(f"{folder}/releases/desk_{version}/desk_{version}.{part}")


def command(kind):
    return [program, "job", kind, "--root", machine + "/root", "--disk", machine + "/disk", "--boot", machine + "/esp",
            "--running", release(1, "usr.roothash").decode().strip(), "--state", machine + "/state",
            "--anchor", folder + "/repo/metadata/1.root.json", "--repository", "file://" + folder + "/served"]


def run(argv):
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def fresh():
    shutil.rmtree(machine, ignore_errors=True)
    subprocess.run(["cp", "-a", folder + "/pristine", machine], check=True)
    os.makedirs(machine + "/root/var", exist_ok=True)
    for stamp in ("etc", "var"):
        open(f"{machine}/root/{stamp}/.updated", "w").close()


# The table is 1 MiB of ESP, then twice 4 MiB of data, 1 MiB of tree, 1 MiB of signature.
def slot(disk, i):
    return disk[(2 + 6 * i) * MIB:(8 + 6 * i) * MIB]


def complete(disk):
    s = slot(disk, 1)
    return all(s[at:at + len(data)] == data for at, data in
               ((0, release(2, "usr.erofs")), (4 * MIB, release(2, "usr.verity")), (5 * MIB, release(2, "usr.verity-sig"))))


def labels():
    table = json.loads(subprocess.run(["sfdisk", "--json", machine + "/disk"], check=True, stdout=subprocess.PIPE).stdout)
    return [p.get("name", "") for p in table["partitiontable"]["partitions"]]


class Wrong(Exception):
    pass


def expect(condition, what):
    if not condition:
        raise Wrong(what)


def check_fallback(before):
    disk = read(machine + "/disk")
    expect(hashlib.sha256(slot(disk, 0)).digest() == before, "the running slot has changed")
    entries = sorted(os.listdir(machine + "/esp/EFI/Linux"))
    expect("desk_1.efi" in entries, "the running entry is gone")
    expect(read(machine + "/esp/EFI/Linux/desk_1.efi") == release(1, "efi"), "the running entry has changed")
    expect(set(entries) <= {"desk_1.efi", "desk_2+3-0.efi", ".sealab-desk_2"}, f"entries: {entries}")
    names = labels()
    expect(names[1:4] == ["desk_1", "desk_1_verity", "desk_1_verity_sig"], f"labels: {names}")
    if "desk_2+3-0.efi" in entries:
        expect(read(machine + "/esp/EFI/Linux/desk_2+3-0.efi") == release(2, "efi"), "an entry that is not complete")
        expect(complete(disk) and names[4] == "desk_2", "an entry without what it starts")
    return entries


def check_end():
    r = run(command("status"))
    expect(r.returncode == 0, f"status: {r.stdout}")
    r = run(command("settle"))
    expect(r.returncode == 0, f"settle: {r.stdout}")
    r = run(command("update"))
    expect(r.returncode == 0, f"the next run: {r.stdout.splitlines()[-1:]} {r.stderr}")
    entries = check_fallback(fallback)
    expect(entries == ["desk_1.efi", "desk_2+3-0.efi"], f"entries at the end: {entries}")
    status = json.loads(run(command("status")).stdout.splitlines()[-1])["data"]
    expect(status["restartNeeded"], "no restart is needed")
    expect(not status["state"]["bad"], "something is known to be bad")
    expect(status["state"].get("trial", {}).get("version") == "2", "no trial")
    for stamp in ("etc", "var"):
        expect(not os.path.exists(f"{machine}/root/{stamp}/.updated"), f"{stamp}/.updated is left")
    left = [n for n in os.listdir(machine + "/state") + os.listdir(machine + "/state/metadata") if n.endswith((".tmp", ".damaged"))]
    expect(not left, f"left: {left}")


def list_calls():
    fresh()
    trace = folder + "/trace"
    r = run(["strace", "-qq", "-y", "-s0", "-o", trace, "-e", "trace=" + CALLS] + command("update"))
    expect(r.returncode == 0, f"the first run: {r.stdout} {r.stderr}")
    counts, calls = collections.Counter(), []
    for line in open(trace, errors="replace"):
        m = re.match(r"(\w+)\((.*)", line)
        if not m or line.startswith(("+++", "---")):
            continue
        counts[m[1]] += 1
        # What goes to standard output and error, or asks and changes nothing, counts but is not a case.
        if re.match(r"[12]<", m[2]) or (m[1] == "ioctl" and not re.search(r"BLK(RRPART|FLSBUF|PG)", m[2])):
            continue
        calls.append((m[1], counts[m[1]], re.sub(r"0x\w+|<[^>]*/", "", m[2])[:60]))
    return calls


def one(call, number, fault):
    fresh()
    r = run(["strace", "-qq", "-o", "/dev/null", "-e", "trace=" + call, "-e", f"inject={call}:{fault}:when={number}"] + command("update"))
    killed = fault.startswith("signal")
    expect(not killed or r.returncode in (-9, 137), f"was not killed: {r.returncode}")
    if not killed and r.returncode != 0:
        expect(json.loads(r.stdout.splitlines()[-1])["result"] in ("system", "no-space", "hash-mismatch", "machine"),
               f"refusal: {r.stdout.splitlines()[-1]}")
    check_fallback(fallback)
    check_end()
    return r.returncode == 0


fresh()
fallback = hashlib.sha256(slot(read(machine + "/disk"), 0)).digest()
calls = list_calls()
check_end()
cases = [(c, n, what, f) for c, n, what in calls for f in FAULTS]
if wanted != "all":
    # A sample over all of it, in which each kind of call and of fault has its part.
    step = max(1, len(cases) / int(wanted))
    chosen, i = [], 0.0
    while i < len(calls):
        c = calls[int(i)]
        chosen.append((*c, FAULTS[len(chosen) % len(FAULTS)]))
        i += step / len(FAULTS)
    chosen += [(c, n, what, "signal=KILL") for c, n, what in calls if c.startswith("rename")]
    run_cases = list(dict.fromkeys(chosen))
else:
    run_cases = cases
wrong = survived = 0
for call, number, what, fault in run_cases:
    try:
        survived += one(call, number, fault)
    except Wrong as e:
        wrong += 1
        print(f"{call} {number} ({what}), {fault}: {e}")
print(f"{len(calls)} durable calls, {len(cases)} cases, {len(run_cases)} run ({survived} without consequence), {wrong} wrong")
sys.exit(1 if wrong else 0)
